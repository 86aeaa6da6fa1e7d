"""Rules that look at what is seen now: never move, always the nearest, the best by reward, the same with hysteresis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from edgewright.core.contracts import BoolArray
from edgewright.migration.model import Scenario
from edgewright.migration.observation import Observation
from edgewright.migration.rewards import Terms, worth


@dataclass(frozen=True)
class Never:
    def decide(self, observation: Observation, mask: BoolArray | None, memory: Any) -> tuple[int, Any, tuple[str, ...]]:
        return int(observation.node), None, ("stays whatever happens",)


@dataclass(frozen=True)
class Nearest:
    def decide(self, observation: Observation, mask: BoolArray | None, memory: Any) -> tuple[int, Any, tuple[str, ...]]:
        node = int(np.argmin(observation.rtt_ms))
        return node, None, (f"lowest round-trip time, {observation.rtt_ms[node]:.1f} ms",)


@dataclass(frozen=True)
class Greedy:
    """The node whose reward would be highest if nothing changed, a migration with its price."""

    terms: Terms

    def decide(self, observation: Observation, mask: BoolArray | None, memory: Any) -> tuple[int, Any, tuple[str, ...]]:
        (stays, comes), here = _worth(observation, self.terms), int(observation.node)
        values = np.where(np.arange(stays.size) == here, stays, comes)
        node = int(values.argmax())
        return node, None, (f"worth {values[node]:.2f}, here {stays[here]:.2f}",)


@dataclass(frozen=True)
class Hysteresis:
    """Moves to the best node once that has been better by `margin` for `patience` steps in turn."""

    terms: Terms
    margin: float
    patience: int

    def decide(
        self, observation: Observation, mask: BoolArray | None, memory: int | None
    ) -> tuple[int, Any, tuple[str, ...]]:
        (stays, _), here = _worth(observation, self.terms), int(observation.node)
        best = int(stays.argmax())
        gain = float(stays[best] - stays[here])
        better = (memory or 0) + 1 if gain > self.margin else 0
        told = f"another is better by {gain:.2f}, for {better} of {self.patience} steps"
        return (best, 0, (told,)) if better >= self.patience else (here, better, (told,))


def _worth(observation: Observation, terms: Terms) -> Any:
    return worth(np, np.asarray(observation.rtt_ms), np.asarray(observation.load), terms)


def never(scenario: Scenario) -> Never:
    return Never()


def nearest(scenario: Scenario) -> Nearest:
    return Nearest()


def greedy(scenario: Scenario) -> Greedy:
    return Greedy(scenario.objective.terms(scenario.step_s))


def hysteresis(
    scenario: Scenario,
    margin: Annotated[float, Field(ge=0)] = 0.26,
    patience: Annotated[int, Field(ge=1)] = 1,
) -> Hysteresis:
    return Hysteresis(scenario.objective.terms(scenario.step_s), margin, patience)
