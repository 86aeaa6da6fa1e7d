"""A twin from nothing: admission to the queue of an edge GPU.

Two kinds of requests share one GPU beside a road crossing. An *alert* (pedestrian ahead) needs 10 ms of it and is
worthless after 40 ms. *Analytics* of a video needs 40 ms and has 200 ms; the cloud can do it, too, for half the value.
Requests come in calm and busy phases. At each request: admit it to the GPU's queue (1), or send it to the cloud (0)?
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from edgewright.core.contracts import Discrete, TwinSpec

Array = Any

QUANTUM_MS = 5  # time is counted in these, so that the optimum can be computed exactly (see methods.py)
SIZE = np.array([2, 8])  # GPU time of an alert, of analytics
DEADLINE = np.array([8, 40])
EDGE_VALUE = np.array([1.0, 0.5], np.float32)  # if on time, else 0
CLOUD_VALUE = np.array([0.0, 0.25], np.float32)
LIMIT = 64  # the longest queue


class Params(NamedTuple):
    """One scenario."""

    gap: Array  # float32[2], mean time between requests in the calm and in the busy phase, quanta
    analytics: Array  # float32[], share of analytics among the requests
    switch: Array  # float32[], probability that the phase changes at a request


class State(NamedTuple):
    queue: Array  # int32[], GPU time of what waits, quanta
    analytics: Array  # int32[], 1 if the request at the door is analytics
    busy: Array  # int32[], the phase
    time: Array  # int32[], requests so far


@dataclass(frozen=True)
class GpuQueue:
    """An `edgewright.core.contracts.Twin` with one agent, the door."""

    horizon: int = 500

    @property
    def spec(self) -> TwinSpec:
        return TwinSpec("gpu-queue", ("door",), 6, Discrete(2), self.horizon)

    def sample(self, key: Array) -> Params:
        """The scenarios it is trained on."""
        calm, busy, analytics = jax.random.split(key, 3)
        gap = jnp.stack([_uniform(calm, 8.0, 20.0), _uniform(busy, 1.5, 4.0)])
        return Params(gap, _uniform(analytics, 0.2, 0.6), jnp.float32(0.02))

    def reset(self, key: Array, params: Params) -> tuple[State, Array]:
        nothing = jnp.zeros((), jnp.int32)
        state = self._next(key, State(nothing, nothing, nothing, nothing - 1), params)
        return state, self._observe(state, params)

    def step(self, key: Array, state: State, action: Array, params: Params) -> Any:
        kind, admitted = state.analytics, action[0] == 1
        done_at = state.queue + jnp.asarray(SIZE)[kind]
        on_time = admitted & (done_at <= jnp.asarray(DEADLINE)[kind])
        edge, cloud = jnp.asarray(EDGE_VALUE)[kind] * on_time, jnp.asarray(CLOUD_VALUE)[kind]
        reward = jnp.where(admitted, edge, cloud)[None]
        info = {"analytics": kind == 1, "on_time": on_time}
        state = self._next(key, state._replace(queue=jnp.where(admitted, done_at, state.queue)), params)
        over = state.time >= self.horizon
        # Nothing ends an episode but its length: truncated, so that learners do not take it for the end of the world.
        return state, self._observe(state, params), reward, jnp.zeros((), bool), over, info

    def mask(self, state: State, params: Params) -> Array:
        fits = state.queue + jnp.asarray(SIZE)[state.analytics] <= LIMIT
        return jnp.stack([jnp.ones((), bool), fits])[None]

    def _next(self, key: Array, state: State, params: Params) -> State:
        """Wait for the next request, while the GPU works."""
        turn, wait, kind = jax.random.uniform(key, (3,))
        busy = jnp.where(turn < params.switch, 1 - state.busy, state.busy)
        gap = jnp.floor(jnp.log1p(-wait) / jnp.log1p(-1 / (1 + params.gap[busy])))  # geometric
        queue = jnp.maximum(state.queue - gap.astype(jnp.int32), 0)
        return State(queue, (kind < params.analytics).astype(jnp.int32), busy, state.time + 1)

    def _observe(self, state: State, params: Params) -> Array:
        """float32[1, 6]: what a door at a real GPU could know, scaled to about 1"""
        now = jnp.stack([state.queue / 32, state.analytics, state.busy, params.analytics])
        return jnp.concatenate([now, params.gap / 8])[None].astype(jnp.float32)


def _uniform(key: Array, low: float, high: float) -> Array:
    return jax.random.uniform(key, minval=low, maxval=high)
