"""Trains prospects: drives of the twin, what each choice would have been worth on them, a network fitted to that.

Policy iteration: the labels of a round are what the drive brings to one who is on a node at a step and then follows the
network as it is; in the first round, who then knows the whole drive. Each round draws new drives.

Shapes: E drives, T steps, N nodes, W steps of the window.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from edgewright import __version__
from edgewright.core.contracts import Array
from edgewright.core.errors import InputError
from edgewright.learning.card import Network
from edgewright.learning.networks import forward, initialise
from edgewright.learning.weights import write_weights
from edgewright.migration.model import Scenario
from edgewright.migration.observation import trained_for
from edgewright.migration.prospects import ProspectsCard, choose, row
from edgewright.migration.rewards import worth
from edgewright.migration.twin import MigrationTwin, migration_twin

STEPS, DRIVES, DAYS = 30_000_000, 1024, 256
WINDOW, HIDDEN = 16, (128, 128)
BATCH, EPOCHS, LEARNING_RATE = 1024, 2, 2e-3
SURPRISE = 3.0  # of a label, beyond which its error counts linearly (Huber)


@dataclass(frozen=True)
class TrainedProspects:
    card: ProspectsCard
    arrays: dict[str, Any]  # weight.i float32[in, out], bias.i float32[out] of layer i

    def export(self, path: Path) -> Path:
        """Write weights (.npz) and card (.json)."""
        return write_weights(path, self.arrays, self.card)


def train_prospects(
    scenario: str | Path | Scenario = "highway",
    *,
    steps: int = STEPS,
    seed: int = 0,
    days: int = DAYS,
    on_progress: Callable[[float, float], None] = lambda share, gap: None,
) -> TrainedProspects:
    """Learn from so many steps of drives (rounded up to whole rounds) over `days` of load.

    on_progress: told the share that is done, 0..1, and the mean gap to the optimum on other drives, of
    other days where loads are drawn (a trace is one day).
    """
    if steps < 1:
        raise InputError("steps", steps, "a whole number >= 1")
    twin, judge = (migration_twin(scenario, days=days, seed=own) for own in (2 * seed, 2 * seed + 1))
    nodes = len(twin.scenario.nodes)
    network = Network(observation_size=2 * nodes, outputs=2 * nodes, hidden=HIDDEN, window=WINDOW)
    key = jax.random.key(seed)
    layers = initialise(network, jax.random.fold_in(key, 0), output_gain=0.1)
    rounds = -(-steps // (DRIVES * twin.spec.horizon))
    batches = DRIVES * twin.spec.horizon // BATCH
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, rounds * EPOCHS * batches))
    memory = optimizer.init(layers)
    label, fit, gaps = (
        jax.jit(partial(function, network)) for function in (_labels, partial(fit_epoch, optimizer=optimizer), _gaps)
    )
    gap = np.nan
    for done in range(rounds):
        draw_key, order_key = jax.random.split(jax.random.fold_in(key, done + 1))
        known = label(twin, layers, draw_key, jnp.bool_(done == 0))
        for epoch in range(EPOCHS):
            layers, memory = fit(layers, memory, known, jax.random.fold_in(order_key, epoch))
        gap = float(gaps(judge, layers, jax.random.fold_in(key, 0)))
        on_progress((done + 1) / rounds, gap)
    card = ProspectsCard(
        window=WINDOW,
        hidden=HIDDEN,
        steps=rounds * DRIVES * twin.spec.horizon,
        seed=seed,
        gap=gap,
        edgewright=__version__,
        scenario={"scenario": twin.scenario.name, **trained_for(twin.scenario)},
    )
    arrays = {f"{name}.{i}": np.asarray(x) for i, layer in enumerate(layers["layers"]) for name, x in layer.items()}
    return TrainedProspects(card, arrays)


def _drives(twin: MigrationTwin, key: Array) -> tuple[Array, Array, Array, Array, Array]:
    """What the network sees, [E, T, W * 2 N]; what a step is worth to one who stays and one who comes, [E, T, N] each,
    0 after the drive's end; which steps are before it, [E, T]; the first node [E]
    """
    scenario, steps = twin.scenario, twin.spec.horizon
    params = jax.vmap(twin.sample)(jax.random.split(key, DRIVES))
    rtt, load = jax.vmap(lambda one: jax.vmap(lambda step: twin.at(step, one))(jnp.arange(steps + 1)))(params)
    rows = row(jnp, rtt[:, :-1], load[:, :-1], scenario.objective.rtt_max_ms, scenario.objective.load_max)
    before = jnp.pad(rows, ((0, 0), (WINDOW - 1, 0), (0, 0)), mode="edge")
    windows = jnp.concatenate([before[:, i : i + steps] for i in range(WINDOW)], -1)
    way_m = jnp.arange(steps) * (params.speed_kmh / 3.6 * scenario.step_s)[:, None]
    under_way = way_m < scenario.way_m
    stays, comes = worth(jnp, rtt[:, 1:], load[:, 1:], scenario.objective.terms(scenario.step_s))
    stays, comes = (jnp.where(under_way[..., None], x, 0.0) for x in (stays, comes))
    return windows, stays, comes, under_way, rtt[:, 0].argmin(-1)


def values(stays: Array, comes: Array, target: Array | None) -> tuple[Array, Array]:
    """-> value of being on a node before the first step, [E, N]; prospects of each step, [E, T, 2 N]

    target int[E, T, N]: where one goes from each node; None: to the best, with all of the drive known.
    """

    def before(after: Array, now: Any) -> tuple[Array, Array]:
        stays, comes, target = now
        stays, comes = stays + after, comes + after
        if target is None:
            value = jnp.maximum(stays, comes.max(-1, keepdims=True))
        else:
            here = target == jnp.arange(target.shape[-1])
            value = jnp.where(here, stays, jnp.take_along_axis(comes, target, -1))
        return value, jnp.concatenate([stays, comes], -1)

    steps = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), (stays, comes, target))
    value, prospects = jax.lax.scan(before, jnp.zeros_like(stays[:, 0]), steps, reverse=True)
    return value, jnp.moveaxis(prospects, 0, 1)


def _labels(network: Network, twin: MigrationTwin, layers: Any, key: Array, hindsight: Array) -> tuple[Array, ...]:
    """Windows, prospects less their mean over the nodes (which no choice changes), and weights: [E * T, ...] each"""
    windows, stays, comes, under_way, _ = _drives(twin, key)
    return labelled(network, layers, windows, stays, comes, under_way, hindsight)


def labelled(
    network: Network, layers: Any, seen: Array, stays: Array, comes: Array, counts: Array, hindsight: Array
) -> tuple[Array, ...]:
    """As `_labels`, of drives given: what the network sees, and which steps count."""

    def followed() -> Array:
        return values(stays, comes, choose(jnp, forward(network, layers, seen)))[1]

    prospects = jax.lax.cond(hindsight, lambda: values(stays, comes, None)[1], followed)
    prospects -= prospects[..., : stays.shape[-1]].mean(-1, keepdims=True)
    return tuple(x.reshape(-1, *x.shape[2:]) for x in (seen, prospects, counts.astype(jnp.float32)))


def fit_epoch(
    network: Network, layers: Any, memory: Any, known: tuple[Array, ...], key: Array, optimizer: Any
) -> tuple[Any, Any]:
    """One epoch."""
    count = len(known[0])
    order = jax.random.permutation(key, count)[: count // BATCH * BATCH].reshape(-1, BATCH)

    def loss(layers: Any, windows: Array, prospects: Array, weights: Array) -> Array:
        error = optax.huber_loss(forward(network, layers, windows), prospects, delta=SURPRISE)
        return (weights * error.mean(-1)).mean()

    def step(carry: Any, chosen: Array) -> tuple[Any, None]:
        layers, memory = carry
        change, memory = optimizer.update(jax.grad(loss)(layers, *(x[chosen] for x in known)), memory)
        return (optax.apply_updates(layers, change), memory), None

    carry, _ = jax.lax.scan(step, (layers, memory), order)
    result: tuple[Any, Any] = carry
    return result


def _gaps(network: Network, twin: MigrationTwin, layers: Any, key: Array) -> Array:
    """Mean reward of a drive below the optimum's."""
    windows, stays, comes, _, first = _drives(twin, key)
    best, mine = (values(stays, comes, target)[0] for target in (None, choose(jnp, forward(network, layers, windows))))
    return (best - mine)[jnp.arange(DRIVES), first].mean()
