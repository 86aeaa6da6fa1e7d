"""Inverts a queueing model: the smallest limit whose predicted share of late requests is allowed.

M/G/1, first come first served, with service times stretched by the limit (S / q) and the wait that a CFS period
adds. Tail of the wait: P(W > t) ~ rho * exp(-rho * t / E[W]) with E[W] from Pollaczek and Khinchine. A backlog is
drained within `drain_s`. Knows the service (CPU per request) and the arrival rate; smooths the rate exponentially.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgewright.core.contracts import BoolArray, FloatArray
from edgewright.scaling.model import Action, Scenario
from edgewright.scaling.observation import Observation

PERIOD_S = 0.01
GRID = 64  # candidate limits


@dataclass(frozen=True)
class ModelBased:
    late: float
    smoothing: float
    drain_s: float
    cpu_cv: FloatArray  # [A]
    overhead_s: FloatArray  # [A]

    def decide(
        self, observation: Observation, mask: BoolArray | None, memory: FloatArray | None
    ) -> tuple[Action, Any, tuple[str, ...]]:
        seen = observation
        rate = np.asarray(seen.arrived_hz)
        if memory is not None:
            rate = memory + self.smoothing * (rate - memory)
        work = seen.cpu_per_request_s
        grid = np.linspace(seen.min_cpu, seen.max_cpu, GRID, axis=1)  # [A, GRID]
        late = self._late_share(rate[:, None], work[:, None], grid, seen.slo_response_s)
        index = np.where((late <= self.late).any(axis=1), (late <= self.late).argmax(axis=1), GRID - 1)
        steady = grid[np.arange(rate.size), index]
        queued = np.maximum(seen.backlog - rate * seen.response_mean_s.clip(0, 0.05), 0.0)
        cpu = steady + queued * work / self.drain_s
        reasons = tuple(
            f"{r:.0f}/s needs {s:.3f}" + (f", backlog of {b:.0f} needs {c - s:.3f} more" if b >= 1 else "")
            for r, s, b, c in zip(rate, steady, queued, cpu, strict=True)
        )
        return Action(cpu), rate, reasons

    def _late_share(self, rate: FloatArray, work: FloatArray, limit: FloatArray, bound_s: FloatArray) -> FloatArray:
        usable = np.minimum(limit, 1.0)
        service = work / usable + PERIOD_S * (1 - usable) / 2
        load = np.minimum(rate * work / usable, 0.999)
        moment = service**2 * (1 + self.cpu_cv[:, None] ** 2)
        wait = np.maximum(rate * moment / (2 * (1 - load)), 1e-9)
        slack = bound_s - self.overhead_s[:, None] - service
        share: FloatArray = np.where(slack <= 0, 1.0, load * np.exp(-np.maximum(slack, 0) * load / wait))
        return np.where(rate * work >= usable, 1.0, share)


def model_based(scenario: Scenario, late: float = 0.03, smoothing: float = 0.5, drain_s: float = 2.0) -> ModelBased:
    behaviours = [s.behaviour for s in scenario.services]
    return ModelBased(
        late,
        smoothing,
        drain_s,
        np.array([b.cpu_cv for b in behaviours]),
        np.array([b.overhead_ms / 1e3 for b in behaviours]),
    )
