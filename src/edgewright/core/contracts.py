"""The contracts that hold a twin, a policy, a guard and a driver together.

Shapes: A agents, O observation size, D action size. A twin is pure: no I/O, no global state, every random
draw from the key it is given. `state` and `params` are pytrees; `params` is traced, so that one compilation
serves every scenario of the same size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = Any  # jax.Array in a twin, numpy.ndarray live
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Violation:
    """What a capability's `check` finds wrong with a solution."""

    field: str
    value: float
    allowed: str


@dataclass(frozen=True)
class Discrete:
    """Each agent picks one of `n` actions; the twin takes int32[A]."""

    n: int


@dataclass(frozen=True)
class Box:
    """Each agent picks `size` numbers in [low, high]; the twin takes float32[A, size]."""

    size: int
    low: float = -1.0
    high: float = 1.0


@dataclass(frozen=True)
class TwinSpec:
    """What a learner must know of a twin before it compiles anything."""

    name: str
    agents: tuple[str, ...]
    observation_size: int
    action: Discrete | Box
    horizon: int  # steps until truncation

    @property
    def agent_count(self) -> int:
        return len(self.agents)


@runtime_checkable
class Twin(Protocol):
    """A model of one decision problem, pure and seeded. Never resets by itself.

    It may be a pytree (`jax.tree_util.register_dataclass`): its arrays are then arguments of the compiled program, not
    constants in it, and one program serves every such twin of the same size.
    """

    @property
    def spec(self) -> TwinSpec: ...

    def sample(self, key: Array) -> Array:
        """Draw `params` (one scenario) from the twin's training distribution."""
        ...

    def reset(self, key: Array, params: Array) -> tuple[Array, Array]:
        """-> state, observation float32[A, O]"""
        ...

    def step(
        self, key: Array, state: Array, action: Array, params: Array
    ) -> tuple[Array, Array, Array, Array, Array, Mapping[str, Array]]:
        """-> state, observation float32[A, O], reward float32[A], terminated bool[], truncated bool[], info"""
        ...

    def mask(self, state: Array, params: Array) -> Array:
        """Allowed actions, bool[A, n] for Discrete; bool[A, 1], all true, for Box."""
        ...


Observation_contra = TypeVar("Observation_contra", contravariant=True)
Action_co = TypeVar("Action_co", covariant=True)


class Policy(Protocol[Observation_contra, Action_co]):
    """Decides step by step, with numpy alone; belongs to one thread. `memory` is the policy's own; start with None."""

    def decide(
        self, observation: Observation_contra, mask: BoolArray | None, memory: Any
    ) -> tuple[Action_co, Any, tuple[str, ...]]:
        """-> action, memory, one reason per agent"""
        ...


@dataclass(frozen=True)
class Outcome:
    """What a driver did, and what was refused and why. A refused action leaves the old state in force."""

    done: Mapping[str, Any]
    refused: Mapping[str, str]

    @property
    def ok(self) -> bool:
        return not self.refused


@dataclass(frozen=True)
class Verdict:
    """What the guard made of an action: per agent, 'allowed' or how and why it was changed."""

    changed: bool
    notes: tuple[str, ...]


Observation_co = TypeVar("Observation_co", covariant=True)
Action_contra = TypeVar("Action_contra", contravariant=True)


class Driver(Protocol[Observation_co, Action_contra]):
    """The only code that touches the world."""

    def observe(self) -> Observation_co: ...

    def apply(self, action: Action_contra) -> Outcome: ...
