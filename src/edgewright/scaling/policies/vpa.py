"""A percentile of recent usage plus a margin, as Kubernetes' VerticalPodAutoscaler recommends limits.

Usage goes into a histogram whose weights halve every `half_life_s` (VPA: 24 h; here the time scale of a loop).
Source: kubernetes/autoscaler, vertical-pod-autoscaler, recommender (exponential buckets, decaying weights).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from edgewright.core.contracts import BoolArray, FloatArray
from edgewright.scaling.model import Action, Scenario
from edgewright.scaling.observation import Observation

FIRST_BUCKET_CPU, GROWTH = 0.01, 1.05  # each bucket is 5 % wider than the one before


@dataclass(frozen=True)
class Vpa:
    percentile: float
    margin: float
    decay: float  # of a weight, per interval
    buckets: FloatArray  # upper ends, cores

    def decide(
        self, observation: Observation, mask: BoolArray | None, memory: FloatArray | None
    ) -> tuple[Action, Any, tuple[str, ...]]:
        usage = np.asarray(observation.usage_cpu)
        weights = np.zeros((usage.size, self.buckets.size)) if memory is None else memory * self.decay
        bucket = np.minimum(np.searchsorted(self.buckets, usage), self.buckets.size - 1)
        weights[np.arange(usage.size), bucket] += 1.0
        share = np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True)
        index = (share < self.percentile).sum(axis=1)
        target = self.buckets[np.minimum(index, self.buckets.size - 1)]
        reasons = tuple(f"p{self.percentile:.0%} of usage {t:.3f} + {self.margin:.0%}" for t in target)
        return Action(target * (1 + self.margin)), weights, reasons


def vpa(
    scenario: Scenario,
    percentile: Annotated[float, Field(gt=0, le=1)] = 0.9,
    margin: Annotated[float, Field(ge=0)] = 0.15,
    half_life_s: Annotated[float, Field(gt=0)] = 60.0,
) -> Vpa:
    highest = max(service.cpu.max for service in scenario.services)
    count = math.ceil(math.log1p(highest * (GROWTH - 1) / FIRST_BUCKET_CPU) / math.log(GROWTH)) + 1
    buckets = FIRST_BUCKET_CPU * (GROWTH ** np.arange(1.0, count + 1) - 1) / (GROWTH - 1)
    decay = float(0.5 ** (scenario.control.interval_s / half_life_s))
    return Vpa(percentile, margin, decay, np.asarray(buckets, dtype=np.float64))
