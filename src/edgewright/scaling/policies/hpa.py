"""Kubernetes' HorizontalPodAutoscaler rule, applied to a limit instead of a number of replicas.

desired = current * utilisation / target; ignored within the tolerance; lowered only to the highest recommendation
of the stabilisation window. Source: Kubernetes documentation, "Horizontal Pod Autoscaling", Algorithm details.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from edgewright.core.contracts import BoolArray, FloatArray
from edgewright.scaling.model import Action, Scenario
from edgewright.scaling.observation import Observation


@dataclass(frozen=True)
class Hpa:
    target: float
    tolerance: float
    window: int  # intervals

    def decide(
        self, observation: Observation, mask: BoolArray | None, memory: deque[FloatArray] | None
    ) -> tuple[Action, Any, tuple[str, ...]]:
        limit = np.asarray(observation.limit_cpu)
        ratio = observation.usage_cpu / limit / self.target
        desired = np.where(np.abs(ratio - 1) <= self.tolerance, limit, limit * ratio)
        recent = memory if memory is not None else deque(maxlen=self.window)
        recent.append(desired)
        stable = np.max(recent, axis=0)
        cpu = np.where(desired >= limit, desired, np.minimum(stable, limit))
        reasons = tuple(
            f"utilisation {r * self.target:.0%} of target {self.target:.0%}" + ("; stabilising" if s > d + 1e-9 else "")
            for r, s, d in zip(ratio, cpu, desired, strict=True)
        )
        return Action(cpu), recent, reasons


def hpa(
    scenario: Scenario,
    target: Annotated[float, Field(gt=0, le=1)] = 0.6,
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.1,
    window_s: Annotated[float, Field(ge=0)] = 30.0,
) -> Hpa:
    return Hpa(target, tolerance, max(1, round(window_s / scenario.control.interval_s)))
