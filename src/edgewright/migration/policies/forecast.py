"""Looks ahead: round-trip times go on as they have gone lately, loads return to their mean; the best plan's first step.

Over what is predicted, the optimum is found by the dynamic programming that is exact for what is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from edgewright.core.contracts import BoolArray, FloatArray
from edgewright.migration.model import Scenario
from edgewright.migration.observation import Observation
from edgewright.migration.optimum import best_nodes
from edgewright.migration.rewards import Terms, worth


@dataclass(frozen=True)
class Forecast:
    terms: Terms
    ahead: int  # steps that are predicted
    window: int  # steps that a trend is taken from
    keeps: float  # of a load's distance from its mean, per step
    usual_load: float

    def decide(
        self, observation: Observation, mask: BoolArray | None, memory: FloatArray | None
    ) -> tuple[int, Any, tuple[str, ...]]:
        newest = np.asarray(observation.rtt_ms, dtype=np.float64)[None]
        seen = newest if memory is None else np.concatenate([memory, newest])[-self.window :]
        steps = np.arange(1, self.ahead + 1)[:, None]
        level, slope = _line(seen)
        rtt = np.maximum(level + slope * steps, self.terms.rtt_min_ms)
        load = self.usual_load + (np.asarray(observation.load) - self.usual_load) * self.keeps**steps
        stays, comes = worth(np, rtt, np.maximum(load, 1.0), self.terms)
        here = int(observation.node)
        nodes, value = best_nodes(stays, comes, here)
        told = (
            f"worth {value / self.ahead:.2f} a step over the next {self.ahead}, if it stays {stays[:, here].mean():.2f}"
        )
        return int(nodes[0]), seen, (told,)


def _line(seen: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Least squares over the last steps [W, N] -> value at the last, change per step"""
    count = len(seen)
    if count < 3:
        return seen.mean(0), np.zeros(seen.shape[1])
    at = np.arange(count) - (count - 1) / 2
    slope = at @ seen / (at @ at)
    return seen.mean(0) + slope * (count - 1) / 2, slope


def forecast(
    scenario: Scenario,
    ahead: Annotated[int, Field(ge=1)] = 8,
    window: Annotated[int, Field(ge=3)] = 18,
    keeps: Annotated[float, Field(ge=0, le=1)] = 0.998,
    usual_load: Annotated[float, Field(ge=1)] = 5.8,
) -> Forecast:
    return Forecast(scenario.objective.terms(scenario.step_s), ahead, window, keeps, usual_load)
