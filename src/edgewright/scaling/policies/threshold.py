"""The rule of NANCY D4.2 4.3.6: above one utilisation add a step, below another take one back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from edgewright.core.contracts import BoolArray, FloatArray
from edgewright.core.errors import InputError
from edgewright.scaling.model import Action, Scenario
from edgewright.scaling.observation import Observation


@dataclass(frozen=True)
class Threshold:
    high: float
    low: float
    step_cpu: float

    def decide(
        self, observation: Observation, mask: BoolArray | None, memory: FloatArray | None
    ) -> tuple[Action, Any, tuple[str, ...]]:
        limit = np.asarray(observation.limit_cpu)
        start = limit if memory is None else memory  # a service is only lowered if it was raised before
        utilization = observation.usage_cpu / limit
        left = float(observation.slice_cpu) - limit.sum()
        up = (utilization > self.high) & (left > 0)
        down = (utilization < self.low) & (limit > start + 1e-9)
        cpu = limit + self.step_cpu * up - self.step_cpu * down
        reasons = tuple(
            f"utilisation {u:.0%} " + (f"> {self.high:.0%}" if a else f"< {self.low:.0%}" if b else "in the band")
            for u, a, b in zip(utilization, up, down, strict=True)
        )
        return Action(cpu), start, reasons


def threshold(
    scenario: Scenario,
    high: Annotated[float, Field(gt=0)] = 0.6,
    low: Annotated[float, Field(ge=0)] = 0.3,
    step_cpu: Annotated[float, Field(gt=0)] = 0.025,
) -> Threshold:
    if low > high:
        raise InputError("parameters.low", low, f"at most parameters.high ({high:g})")
    return Threshold(high, low, step_cpu)
