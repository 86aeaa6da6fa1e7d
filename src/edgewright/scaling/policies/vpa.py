"""A percentile of recent usage plus a margin, as Kubernetes' VerticalPodAutoscaler recommends limits.

Usage goes into a histogram whose weights halve every `half_life_s` (VPA: 24 h; here the time scale of a loop).
Source: kubernetes/autoscaler, vertical-pod-autoscaler, recommender (exponential buckets, decaying weights).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgewright.core.contracts import BoolArray, FloatArray
from edgewright.scaling.model import Action, Scenario
from edgewright.scaling.observation import Observation

FIRST_BUCKET_CPU, GROWTH, BUCKETS = 0.01, 1.05, 110  # up to about two cores


@dataclass(frozen=True)
class Vpa:
    percentile: float
    margin: float
    decay: float  # of a weight, per interval

    def decide(
        self, observation: Observation, mask: BoolArray | None, memory: FloatArray | None
    ) -> tuple[Action, Any, tuple[str, ...]]:
        usage = np.asarray(observation.usage_cpu)
        weights = np.zeros((usage.size, BUCKETS)) if memory is None else memory * self.decay
        bucket = np.log(np.maximum(usage, FIRST_BUCKET_CPU) / FIRST_BUCKET_CPU) / np.log(GROWTH)
        weights[np.arange(usage.size), np.minimum(np.ceil(bucket).astype(int), BUCKETS - 1)] += 1.0
        share = np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True)
        index = (share < self.percentile).sum(axis=1)
        target = FIRST_BUCKET_CPU * GROWTH**index
        reasons = tuple(f"p{self.percentile:.0%} of usage {t:.3f} + {self.margin:.0%}" for t in target)
        return Action(target * (1 + self.margin)), weights, reasons


def vpa(scenario: Scenario, percentile: float = 0.9, margin: float = 0.15, half_life_s: float = 60.0) -> Vpa:
    return Vpa(percentile, margin, float(0.5 ** (scenario.control.interval_s / half_life_s)))
