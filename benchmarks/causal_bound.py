"""How near to the optimum, which knows the whole drive, a policy can come that knows only what has been.

    python benchmarks/causal_bound.py [--rounds N] [--paths N] [--out FILE]

On the highway, whose days of load are drawn here step by step by the rule of `loads.draw_days`, so that one knows the
state behind what is seen: the place, the speed, loads without noise, each surge's height and age.
1. A policy that learns like the prospects but is shown that state: no observation can tell more of the present.
2. A bound on any policy without foresight: the best in hindsight where each step's reward is less a penalty that no
   policy without foresight pays in the mean (Brown, Smith and Sun 2010, "Information Relaxations and Duality in
   Stochastic Dynamic Programs"). The penalty is the difference between what the learned values say after a step and
   their mean over SAMPLES next steps drawn from the state before it; so the bound holds in the mean, whatever they are.

Shapes: E drives, T steps, N nodes.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from edgewright.learning.card import Network
from edgewright.learning.networks import forward, initialise
from edgewright.migration import prospect_training as training
from edgewright.migration.drives import round_trips, table_of
from edgewright.migration.loads import MOST
from edgewright.migration.mobility import place
from edgewright.migration.model import SHIPPED, read_scenario
from edgewright.migration.policies import make_policy
from edgewright.migration.prospects import choose
from edgewright.migration.rewards import load, worth

SCENARIO = read_scenario(SHIPPED / "highway.yaml")
NODES, STEPS, TERMS = len(SCENARIO.nodes), SCENARIO.most_steps, SCENARIO.objective.terms(SCENARIO.step_s)
TABLE = jnp.asarray(table_of(SCENARIO), jnp.float32)
KEEPS, WANDER, BEGINS = float(np.exp(-1 / 60)), 0.05, 1 - float(np.exp(-1 / 250))
SHORTEST, LONGEST = 20, 90  # steps of a surge
BURN_IN, SAMPLES, DRIVES = 400, 64, 200
MARGIN = make_policy("hysteresis", SCENARIO).margin  # type: ignore[attr-defined]
AHEAD = (1, 3, 6, 10, 16, 25)  # steps ahead of which the policy is told the round-trip times

Array = Any


class Loads(NamedTuple):
    mean: Array  # [N, 2]
    wander: Array  # [N, 2]
    surges: Array  # bool[N]
    height: Array  # [N]
    age: Array  # [N]


class Way(NamedTuple):
    speed_kmh: Array
    behind_m: Array


def first_loads(key: Array) -> Loads:
    cpu, memory, wander = jax.random.split(key, 3)
    mean = [
        jax.random.uniform(k, (NODES,), minval=low, maxval=high)
        for k, low, high in ((cpu, 0.35, 0.55), (memory, 0.30, 0.45))
    ]
    none = jnp.zeros(NODES)
    return Loads(jnp.stack(mean, -1), jax.random.normal(wander, (NODES, 2)) * WANDER, none > 0, none, none)


def next_loads(key: Array, now: Loads) -> Loads:
    keys, age = jax.random.split(key, 4), now.age + 1
    wander = KEEPS * now.wander + WANDER * np.sqrt(1 - KEEPS**2) * jax.random.normal(keys[0], (NODES, 2))
    ends = jnp.where(age >= SHORTEST, 1 / (LONGEST + 1 - jnp.minimum(age, LONGEST)), 0.0)
    goes_on = now.surges & (jax.random.uniform(keys[1], (NODES,)) >= ends)
    begins = ~goes_on & (jax.random.uniform(keys[2], (NODES,)) < BEGINS)
    height = jax.random.uniform(keys[3], (NODES,), minval=0.15, maxval=0.5)
    return Loads(
        now.mean,
        wander,
        goes_on | begins,
        jnp.where(begins, height, jnp.where(goes_on, now.height, 0.0)),
        jnp.where(goes_on, age, 0.0),
    )


def risen(now: Loads) -> Array:
    """Part of its height that a surge has."""
    return jnp.where(now.surges, jnp.minimum(1.0, now.age / 5 + 0.2), 0.0)


def shares(now: Loads, part: Array) -> Array:
    """With surges at this part of their height, [N, 2]"""
    return jnp.clip(now.mean + now.wander + (now.height * part)[:, None] * jnp.array([1.0, 0.7]), 0, MOST)


def rtt_at(way: Way, step: Array) -> Array:
    driven = jnp.minimum(step * (way.speed_kmh / 3.6 * SCENARIO.step_s), SCENARIO.way_m) + way.behind_m
    metre = jnp.rint(place(jnp, driven, SCENARIO.length_m)).astype(jnp.int32)
    return round_trips(jnp, TABLE[metre], way.speed_kmh, SCENARIO)


def seen(key: Array, now: Loads, way: Way, step: Array) -> tuple[Array, Array]:
    noise = jax.random.normal(key, (NODES, 3))
    rtt = jnp.maximum(rtt_at(way, step) + SCENARIO.rtt.noise_ms * noise[:, 0], SCENARIO.objective.rtt_min_ms)
    used = jnp.clip(shares(now, risen(now)) + SCENARIO.load.noise * noise[:, 1:], 0, MOST)
    return rtt, load(used[:, 0], used[:, 1])


def until_end(rtt: Array, loads: Array, inside: Array) -> tuple[Array, Array]:
    """What a step is worth to one who stays and one who comes; nothing after the end, where coming still costs."""
    stays, comes = worth(jnp, rtt, loads, TERMS)
    return jnp.where(inside, stays, 0.0), jnp.where(inside, comes, -SCENARIO.objective.charge)


def state_of(now: Loads, way: Way, step: Array) -> Array:
    """What there is to know, as the network takes it."""
    loads = [jnp.log(load(*shares(now, part).T)) for part in (risen(now), jnp.ones(NODES), jnp.zeros(NODES))]
    left = SCENARIO.way_m / (way.speed_kmh / 3.6) - step
    return jnp.concatenate(
        [
            *(rtt_at(way, step + ahead) / 20 for ahead in AHEAD),
            *loads,
            *now.mean.T,
            *now.wander.T,
            now.surges * 1.0,
            now.age / 30,
            jnp.stack([way.speed_kmh / 100, left / 100]),
        ]
    )


@partial(jax.jit, static_argnums=1)
def drives(key: Array, count: int) -> dict[str, Array]:
    def one(key: Array) -> dict[str, Array]:
        keys = jax.random.split(key, 5)
        lowest, highest = SCENARIO.speed.lowest_kmh, SCENARIO.speed.highest_kmh
        speed = jax.random.uniform(keys[0], (), minval=lowest, maxval=highest)
        way = Way(speed, jax.random.bernoulli(keys[1]) * SCENARIO.length_m)
        fold = jax.random.fold_in
        settled = jax.lax.fori_loop(
            0, BURN_IN, lambda i, now: next_loads(fold(keys[2], i), now), first_loads(fold(keys[2], BURN_IN))
        )

        def step(now: Loads, at: Array) -> tuple[Loads, Any]:
            rtt, loads = seen(fold(keys[3], at), now, way, at)
            return next_loads(fold(keys[4], at), now), (now, rtt, loads, state_of(now, way, at))

        _, (states, rtt, loads, told) = jax.lax.scan(step, settled, jnp.arange(STEPS + 1))
        steps = jnp.ceil(SCENARIO.way_m / (speed / 3.6 * SCENARIO.step_s))
        stays, comes = until_end(rtt[1:], loads[1:], (jnp.arange(1, STEPS + 1) <= steps)[:, None])
        return {"states": states, "way": way, "told": told, "steps": steps, "first": rtt[0].argmin()} | {
            "stays": stays,
            "comes": comes,
            "seen": worth(jnp, rtt, loads, TERMS)[0],
        }

    return jax.vmap(one)(jax.random.split(key, count))


def gap_of(network: Network, layers: Any, key: Array) -> tuple[Array, Array]:
    """-> below the optimum: hysteresis as it is tuned, and the network; [E] each"""
    found = drives(key, DRIVES * 5)
    at = jnp.arange(len(found["first"])), found["first"]
    best = training.values(found["stays"], found["comes"], None)[0][at]
    target = choose(jnp, forward(network, layers, found["told"][:, :-1]))
    now = found["seen"][:, :-1]
    rule = jnp.where((now.max(-1, keepdims=True) - now) > MARGIN, now.argmax(-1)[..., None], jnp.arange(NODES))
    mine, theirs = (training.values(found["stays"], found["comes"], to)[0][at] for to in (target, rule))
    return best - theirs, best - mine


def learn(rounds: int, seed: int) -> tuple[Network, Any]:
    inputs = drives(jax.random.key(0), 1)["told"].shape[-1]
    network = Network(observation_size=inputs, outputs=2 * NODES, hidden=training.HIDDEN)
    key = jax.random.key(seed)
    layers = initialise(network, jax.random.fold_in(key, 0), output_gain=0.1)
    batches = training.DRIVES * STEPS // training.BATCH
    schedule = optax.cosine_decay_schedule(training.LEARNING_RATE, rounds * training.EPOCHS * batches)
    optimizer = optax.adam(schedule)
    memory = optimizer.init(layers)
    fit = jax.jit(partial(training.fit_epoch, network, optimizer=optimizer))

    @jax.jit
    def label(layers: Any, key: Array, hindsight: Array) -> tuple[Array, ...]:
        found = drives(key, training.DRIVES)
        stays, comes, told = found["stays"], found["comes"], found["told"][:, :-1]
        return training.labelled(network, layers, told, stays, comes, jnp.ones(stays.shape[:2]), hindsight)

    for done in range(rounds):
        known = label(layers, jax.random.fold_in(key, 1 + done), jnp.bool_(done == 0))
        for epoch in range(training.EPOCHS):
            layers, memory = fit(layers, memory, known, jax.random.fold_in(key, 10_000 + 10 * done + epoch))
        if done % 8 == 7 or done == rounds - 1:
            theirs, mine = gap_of(network, layers, jax.random.key(999))
            print(f"round {done + 1}: {mine.mean():.2f} below the optimum, hysteresis {theirs.mean():.2f}", flush=True)
    return network, layers


@partial(jax.jit, static_argnums=0)
def room(network: Network, layers: Any, key: Array) -> Array:
    """How much more than the network anybody without foresight can earn, [E]; both with the penalties, which are
    nothing in the mean and take most of the chance out of the difference.
    """
    found = drives(key, DRIVES)
    stays, comes, steps = found["stays"], found["comes"], found["steps"]

    def with_future(stays: Array, comes: Array, told: Array, more: Array) -> Array:
        """[..., 2 N]: what a step is worth and what the network expects of those after it, up to what all share"""
        on, come = jnp.split(forward(network, layers, told), 2, -1)
        future = jnp.where(more, jnp.maximum(on, come.max(-1, keepdims=True)), 0.0)
        return jnp.concatenate([stays + future, comes + future], -1)

    def expected(one: dict[str, Array]) -> Array:
        def at(step: Array) -> Array:
            now = jax.tree.map(lambda x: x[step], one["states"])

            def sample(key: Array) -> Array:
                loads_key, seen_key = jax.random.split(key)
                then = next_loads(loads_key, now)
                stays, comes = until_end(*seen(seen_key, then, one["way"], step + 1), step + 1 <= one["steps"])
                return with_future(stays, comes, state_of(then, one["way"], step + 1), step + 1 < one["steps"])

            return jax.vmap(sample)(jax.random.split(jax.random.fold_in(one["key"], step), SAMPLES)).mean(0)

        return jax.lax.map(at, jnp.arange(STEPS))

    keys = jax.random.split(jax.random.fold_in(key, 1), DRIVES)
    before = jax.lax.map(expected, {name: found[name] for name in ("states", "way", "steps")} | {"key": keys})
    more = (jnp.arange(1, STEPS + 1)[None] < steps[:, None])[..., None]
    surprise = with_future(stays, comes, found["told"][:, 1:], more) - before
    surprise -= surprise[..., :NODES].mean(-1, keepdims=True)  # of all nodes alike: no choice changes it
    at = jnp.arange(DRIVES), found["first"]
    target = choose(jnp, forward(network, layers, found["told"][:, :-1]))
    stays, comes = stays - surprise[..., :NODES], comes - surprise[..., NODES:]
    best, mine = (training.values(stays, comes, to)[0][at] for to in (None, target))
    return best - mine


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=128)
    parser.add_argument("--paths", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    network, layers = learn(given.rounds, given.seed)
    keys = [jax.random.key(1_000 + i) for i in range(-(-given.paths // DRIVES))]
    rule, mine = np.concatenate([np.stack(gap_of(network, layers, key)) for key in keys], 1)
    more = np.concatenate([room(network, layers, jax.random.fold_in(key, 7)) for key in keys])  # other drives
    told = {}
    for name, parts in (("hysteresis", [rule]), ("state known", [mine]), ("no foresight", [mine, -more])):
        gap = sum(part.mean() for part in parts)
        half = 1.96 * sum(part.var() / part.size for part in parts) ** 0.5
        told[name] = {"gap": float(gap), "half_width": float(half), "closed": float(1 - gap / rule.mean())}
        print(f"{name}: {gap:.2f} +- {half:.2f} below the optimum, {100 * told[name]['closed']:.1f} % closed")
    if given.out:
        given.out.write_text(json.dumps(told, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
