"""Inverts a queueing model: the smallest limit whose predicted share of late requests is allowed.

A backlog is drained within `drain_s`. Knows the service (CPU per request) and the arrival rate; smooths the rate
exponentially.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from edgewright.core.contracts import BoolArray, FloatArray
from edgewright.scaling.model import Action, Scenario
from edgewright.scaling.observation import Observation
from edgewright.scaling.queueing import limit_for, queued_cpu_s


@dataclass(frozen=True)
class ModelBased:
    late: float
    smoothing: float
    drain_s: float

    def decide(
        self, observation: Observation, mask: BoolArray | None, memory: FloatArray | None
    ) -> tuple[Action, Any, tuple[str, ...]]:
        rate = np.asarray(observation.arrived_hz)
        if memory is not None:
            rate = memory + self.smoothing * (rate - memory)
        steady = limit_for(np, rate, observation, self.late)
        extra = queued_cpu_s(np, rate, observation) / self.drain_s
        reasons = tuple(
            f"{r:.0f}/s needs {s:.3f}" + (f", the backlog {e:.3f} more" if e >= 5e-3 else "")
            for r, s, e in zip(rate, steady, extra, strict=True)
        )
        return Action(steady + extra), rate, reasons


def model_based(
    scenario: Scenario,
    late: Annotated[float, Field(gt=0, lt=1)] = 0.08,
    smoothing: Annotated[float, Field(gt=0, le=1)] = 0.6,
    drain_s: Annotated[float, Field(gt=0)] = 0.4,
) -> ModelBased:
    return ModelBased(late, smoothing, drain_s)
