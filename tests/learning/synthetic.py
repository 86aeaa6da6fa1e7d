"""Small twins with known optima, to test learners and environment views on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from edgewright.core.contracts import Box, Discrete, TwinSpec

Array = Any


@dataclass(frozen=True)
class Bandit:
    """The observation shows which action pays 1; the others pay 0. The best return is `horizon`.

    With `forbidden`, action 0 pays 1000 and is never allowed. Box: pays 1 - |action - target|, target in [-.5, .5].
    """

    count: int = 1
    arms: int = 4
    horizon: int = 8
    box: bool = False
    forbidden: bool = False

    @property
    def spec(self) -> TwinSpec:
        size = 1 if self.box else self.arms
        action = Box(1, -1.0, 1.0) if self.box else Discrete(self.arms)
        return TwinSpec("bandit", tuple(f"agent{i}" for i in range(self.count)), size, action, self.horizon)

    def sample(self, key: Array) -> Array:
        return jax.random.uniform(key, (), maxval=0.1)

    def reset(self, key: Array, params: Array) -> tuple[Array, Array]:
        state = (self._draw(key), jnp.zeros((), jnp.int32))
        return state, self._observe(state)

    def step(self, key: Array, state: Array, action: Array, params: Array) -> Any:
        wanted, time = state
        if self.box:
            reward = 1.0 - jnp.abs(action[:, 0] - wanted)
        else:
            reward = (action == wanted).astype(jnp.float32)
            if self.forbidden:
                reward = jnp.where(action == 0, 1000.0, reward)
        state = (self._draw(key), time + 1)
        return state, self._observe(state), reward, jnp.zeros((), bool), time + 1 >= self.horizon, {"time": time + 1}

    def mask(self, state: Array, params: Array) -> Array:
        mask = jnp.ones((self.count, 1 if self.box else self.arms), bool)
        return mask.at[:, 0].set(False) if self.forbidden else mask

    def _draw(self, key: Array) -> Array:
        if self.box:
            return jax.random.uniform(key, (self.count,), minval=-0.5, maxval=0.5)
        return jax.random.randint(key, (self.count,), int(self.forbidden), self.arms)

    def _observe(self, state: Array) -> Array:
        return state[0][:, None] if self.box else jax.nn.one_hot(state[0], self.arms)


@dataclass(frozen=True)
class Corridor:
    """Walk right to the goal: -0.1 a step, +1 and termination at the end. The best return from 0 is 1 - 0.1*(n-1)."""

    length: int = 6
    horizon: int = 30

    @property
    def spec(self) -> TwinSpec:
        return TwinSpec("corridor", ("walker",), 1, Discrete(2), self.horizon)

    @property
    def best_return(self) -> float:
        return 1.0 - 0.1 * (self.length - 1)

    def sample(self, key: Array) -> Array:
        return jnp.zeros(())

    def reset(self, key: Array, params: Array) -> tuple[Array, Array]:
        state = (jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))
        return state, self._observe(state)

    def step(self, key: Array, state: Array, action: Array, params: Array) -> Any:
        position = jnp.maximum(state[0] + 2 * action[0] - 1, 0)
        state = (position, state[1] + 1)
        goal = position >= self.length - 1
        reward = jnp.where(goal, 0.9, -0.1)[None]
        return state, self._observe(state), reward, goal, (state[1] >= self.horizon) & ~goal, {}

    def mask(self, state: Array, params: Array) -> Array:
        return jnp.stack([state[0] > 0, jnp.ones((), bool)])[None]

    def _observe(self, state: Array) -> Array:
        return (state[0] / (self.length - 1.0)).reshape(1, 1)


@dataclass(frozen=True)
class Constant:
    """Pays 1 a step and nothing changes. Cut after `horizon` steps by termination, or by truncation.

    The value of being there is 1 / (1 - gamma) where it is truncated, and 1 where every step terminates.
    """

    terminates: bool = False
    horizon: int = 1
    box: bool = False

    @property
    def spec(self) -> TwinSpec:
        return TwinSpec("constant", ("one",), 1, Box(1) if self.box else Discrete(2), self.horizon)

    def sample(self, key: Array) -> Array:
        return jnp.zeros(())

    def reset(self, key: Array, params: Array) -> tuple[Array, Array]:
        return jnp.zeros((), jnp.int32), jnp.ones((1, 1))

    def step(self, key: Array, state: Array, action: Array, params: Array) -> Any:
        over, terminates = state + 1 >= self.horizon, jnp.asarray(self.terminates)
        return state + 1, jnp.ones((1, 1)), jnp.ones(1), over & terminates, over & ~terminates, {}

    def mask(self, state: Array, params: Array) -> Array:
        over = jnp.asarray(self.terminates) & (state >= self.horizon)  # in a terminal state nothing is allowed
        return jnp.broadcast_to(~over, (1, 1 if self.box else 2))


class QueueState(NamedTuple):
    backlog: Array  # float32[A], requests waiting
    rate: Array  # float32[A], served per step
    time: Array  # int32[]
    arrived: Array  # float32[A], arrivals of the last step


class QueueParams(NamedTuple):
    arrivals: Array  # float32[A], mean per step
    price: Array  # float32[], of one unit of service rate


@dataclass(frozen=True)
class Queue:
    """Services sharing one capacity: each raises, keeps or lowers its service rate against backlog and price.

    Rates stay in [1, 10], their sum under `capacity`; raising is masked where it would exceed it.
    """

    count: int = 3
    box: bool = False
    horizon: int = 40
    capacity: float = 24.0

    @property
    def spec(self) -> TwinSpec:
        action = Box(1, -1.0, 1.0) if self.box else Discrete(3)
        return TwinSpec("queue", tuple(f"service{i}" for i in range(self.count)), 5, action, self.horizon)

    def sample(self, key: Array) -> QueueParams:
        arrivals = jax.random.uniform(key, (self.count,), minval=2.0, maxval=6.0)
        return QueueParams(arrivals, jnp.asarray(0.05))

    def reset(self, key: Array, params: QueueParams) -> tuple[QueueState, Array]:
        start = jnp.full(self.count, 3.0)
        state = QueueState(jnp.zeros(self.count), start, jnp.zeros((), jnp.int32), jnp.zeros(self.count))
        return state, self._observe(state, params)

    def step(self, key: Array, state: QueueState, action: Array, params: QueueParams) -> Any:
        change = action[:, 0] if self.box else action.astype(jnp.float32) - 1.0
        rate = jnp.clip(state.rate + change, 1.0, 10.0)
        rate = jnp.where(rate.sum() <= self.capacity, rate, jnp.minimum(rate, state.rate))
        noise = jax.random.normal(key, (self.count,))
        arrived = jnp.maximum(jnp.round(params.arrivals + jnp.sqrt(params.arrivals) * noise), 0.0)
        backlog = jnp.clip(state.backlog + arrived - rate, 0.0, 50.0)
        state = QueueState(backlog, rate, state.time + 1, arrived)
        reward = 1.0 - 0.1 * backlog - params.price * rate - 0.02 * backlog.mean()
        return state, self._observe(state, params), reward, jnp.zeros((), bool), state.time >= self.horizon, {}

    def mask(self, state: QueueState, params: QueueParams) -> Array:
        if self.box:
            return jnp.ones((self.count, 1), bool)
        room = (self.capacity - state.rate.sum() >= self.count) & (state.rate < 10.0)
        return jnp.stack([state.rate > 1.0, jnp.ones(self.count, bool), room], -1)

    def _observe(self, state: QueueState, params: QueueParams) -> Array:
        left = jnp.full(self.count, self.capacity - state.rate.sum())
        columns = [
            state.backlog / 10,
            state.rate / 10,
            state.arrived / 10,
            left / 10,
            jnp.full(self.count, state.rate.mean() / 10),
        ]
        return jnp.stack(columns, -1)
