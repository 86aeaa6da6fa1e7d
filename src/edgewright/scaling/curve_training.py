"""Trains the cost curves: states of the twin, the curve of each, a network fitted to them.

From each state every candidate limit is tried for a second, under the same random draws, and the service then goes
on for another second under the queueing model's limit: a label is the late requests of both seconds, and the limit of
the second one. Trying actions from one state is what only a simulator permits ("vine", Schulman et al. 2015, "Trust
region policy optimization", 5.2); common draws leave the differences between candidates little noise.

Shapes: E episodes, T steps, A services, K candidates, F inputs, N = E * T * A states of a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from edgewright import __version__
from edgewright.core.contracts import Array
from edgewright.core.errors import InputError
from edgewright.learning.weights import write_weights
from edgewright.scaling.curves import (
    CANDIDATES,
    INPUTS,
    SPAN,
    CurvesCard,
    Layers,
    Memory,
    candidates,
    inputs,
    middle,
    predict,
    remember,
)
from edgewright.scaling.training import SLO_RESPONSE_MS
from edgewright.scaling.twin import ScalingParams, ScalingState, draw_training_params, last_seen, scaling_twin

SERVICES, HORIZON, EPISODES = 3, 120, 64  # of a batch of states
BATCH, HIDDEN, EPOCHS, LEARNING_RATE = 512, (64, 64), 6, 3e-3
NEXT_LIMIT_WEIGHT = 20.0  # brings the second label's error to the order of the first's
_TWIN = scaling_twin(SERVICES)
PRICE = 12.0  # at which the card tells the regret
RECOMMENDED_PRICE = 18.0  # on the tuning scenarios it reserves no more CPU than the tuned queueing model


class Curves(NamedTuple):
    """Labels of states."""

    inputs: Array  # float32[N, F]
    late: Array  # float32[N, K], requests of two seconds
    limit_cpu: Array  # float32[N, K], of the first second
    next_cpu: Array  # float32[N, K], of the second one


@dataclass(frozen=True)
class TrainedCurves:
    card: CurvesCard
    arrays: dict[str, Any]  # weight.i float32[in, out], bias.i float32[out] of layer i

    def export(self, path: Path) -> Path:
        """Write weights (.npz) and card (.json)."""
        return write_weights(path, self.arrays, self.card)


def train_curves(
    states: int,
    *,
    seed: int = 0,
    price: float = RECOMMENDED_PRICE,
    episodes: int = EPISODES,
    on_progress: Callable[[float], None] = lambda share: None,
) -> TrainedCurves:
    """Compute curves from so many states (rounded up to whole batches) and fit the network.

    price: what the card recommends. episodes: side by side, of a batch of states. on_progress: told
    the share that is done, 0..1.
    """
    if states < 1 or episodes < 1:
        raise InputError("states, episodes", (states, episodes), "whole numbers >= 1")
    key = jax.random.key(seed)
    batches = -(-states // (episodes * HORIZON * SERVICES))
    draw = jax.jit(jax.vmap(_episode))
    parts = []
    for batch in range(batches + 1):  # the last one is kept apart
        found = draw(jax.random.split(jax.random.fold_in(key, batch), episodes))
        parts.append(Curves(*(np.asarray(leaf).reshape(-1, leaf.shape[-1]) for leaf in found)))
        on_progress(0.8 * (batch + 1) / (batches + 1))
    known = Curves(*(np.concatenate(leaves) for leaves in zip(*parts[:-1], strict=True)))
    layers = _fit(known, jax.random.fold_in(key, batches + 1), lambda share: on_progress(0.8 + 0.2 * share))
    card = CurvesCard(
        inputs=INPUTS,
        hidden=HIDDEN,
        candidates=CANDIDATES,
        span=SPAN,
        slo_response_ms=SLO_RESPONSE_MS,
        states=len(known.inputs),
        seed=seed,
        regret=_regret(layers, parts[-1]),
        price=price,
        edgewright=__version__,
    )
    arrays = {f"{name}.{i}": np.asarray(leaf) for i, layer in enumerate(layers) for name, leaf in layer.items()}
    return TrainedCurves(card, arrays)


class _Walk(NamedTuple):
    state: ScalingState
    memory: Memory
    wander: Array  # [A], how far the limit in force is from the model's, in powers of SPAN


def _episode(key: Array) -> Curves:
    """The curves met on a walk whose limits wander around the model's, leaves [T, A, ...]."""
    params_key, reset_key, walk_key = jax.random.split(key, 3)
    # Services meet in the guard alone, which is applied to a choice afterwards: the slice does not bind here.
    params = draw_training_params(params_key, services=SERVICES, horizon=HORIZON, price=(1.0, 1.0))
    params = params._replace(slice_cpu=jnp.float32(SERVICES))
    state, _ = _TWIN.reset(reset_key, params)
    start = _Walk(state, remember(jnp, None, last_seen(state, params)), jnp.zeros(SERVICES))
    _, curves = jax.lax.scan(partial(_step, params), start, jax.random.split(walk_key, HORIZON))
    return curves


def _step(params: ScalingParams, walk: _Walk, key: Array) -> tuple[_Walk, Curves]:
    first_key, second_key, wander_key = jax.random.split(key, 3)
    seen = last_seen(walk.state, params)
    centre = middle(jnp, walk.memory, seen)

    def held(limit: Array, late: Array, before: Array) -> Array:
        """The guard: a service that misses its SLO keeps at least its limit."""
        return jnp.where(late > params.slo_late_allowed, jnp.maximum(limit, before), limit)

    def branch(limit: Array) -> tuple[Array, Array]:
        one, (after, then) = _TWIN.advance(first_key, walk.state, limit, params)
        following = held(middle(jnp, remember(jnp, walk.memory, then), then), then.late, limit)
        two, _ = _TWIN.advance(second_key, after, following, params)
        return one.late + two.late, following

    tried = candidates(jnp, centre, seen.min_cpu, seen.max_cpu)
    late, following = jax.vmap(branch, in_axes=1, out_axes=1)(tried)
    wander = 0.7 * walk.wander + 0.2 * jax.random.normal(wander_key, centre.shape)
    taken = held(jnp.clip(centre * SPAN**wander, params.min_cpu, params.max_cpu), seen.late, seen.limit_cpu)
    _, (after, then) = _TWIN.advance(first_key, walk.state, taken, params)
    after = after._replace(step=walk.state.step + 1)
    curves = Curves(jnp.stack(inputs(jnp, walk.memory, seen, centre), axis=-1), late, tried, following)
    return _Walk(after, remember(jnp, walk.memory, then), wander), curves


def _fit(curves: Curves, key: Array, on_epoch: Callable[[float], None]) -> Layers:
    """Poisson regression of the late requests, least squares of the next limit; Adam, cosine decay."""
    mean, scale = curves.inputs.mean(0), curves.inputs.std(0) + 1e-6
    widths = (INPUTS, *HIDDEN, 2 * CANDIDATES)
    keys = jax.random.split(key, len(widths))
    layers = [
        {"weight": jax.random.normal(k, (a, b)) * (2 / a) ** 0.5, "bias": jnp.zeros(b)}
        for k, a, b in zip(keys[1:], widths[:-1], widths[1:], strict=True)
    ]
    layers[-1]["weight"] = 0.1 * layers[-1]["weight"]
    steps = len(curves.inputs) // BATCH
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, EPOCHS * steps))

    def loss(layers: Layers, x: Array, late: Array, next_cpu: Array) -> Array:
        predicted, following = predict(jnp, layers, x)
        poisson = predicted - late * jnp.log(jnp.maximum(predicted, 1e-6))
        return poisson.mean() + NEXT_LIMIT_WEIGHT * jnp.square(following - next_cpu).mean()

    @jax.jit
    def epoch(layers: Layers, memory: Any, batches: Any) -> tuple[Layers, Any]:
        def step(carry: Any, batch: Any) -> tuple[Any, None]:
            layers, memory = carry
            change, memory = optimizer.update(jax.grad(loss)(layers, *batch), memory)
            return (optax.apply_updates(layers, change), memory), None

        carry, _ = jax.lax.scan(step, (layers, memory), batches)
        result: tuple[Layers, Any] = carry
        return result

    x = ((curves.inputs - mean) / scale).astype(np.float32)
    next_cpu = (curves.next_cpu - curves.next_cpu.mean(1, keepdims=True)).astype(np.float32)
    memory = optimizer.init(layers)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(keys[0])))
    for done in range(EPOCHS):
        order = rng.permutation(len(x))[: steps * BATCH].reshape(steps, BATCH)
        layers, memory = epoch(layers, memory, (x[order], curves.late[order], next_cpu[order]))
        on_epoch((done + 1) / EPOCHS)
    first = layers[0]  # takes the inputs as they are
    weight = first["weight"] / scale[:, None]
    return [{"weight": weight, "bias": first["bias"] - mean @ weight}, *layers[1:]]


def _regret(layers: Layers, apart: Curves) -> float:
    """Mean cost of the choices over that of the best candidate in hindsight, at PRICE."""
    late, following = predict(np, jax.tree.map(np.asarray, layers), apart.inputs)
    chosen = (late + PRICE * (apart.limit_cpu + following)).argmin(1)
    cost = apart.late + PRICE * (apart.limit_cpu + apart.next_cpu)
    return float((cost[np.arange(len(cost)), chosen] - cost.min(1)).mean())
