"""CPU limits made to fit the slice of today, wherever they come from; for memory see `scaling.control`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from edgewright.core.contracts import FloatArray
from edgewright.scaling.actions import bound
from edgewright.scaling.model import Scenario, Service
from edgewright.scaling.observation import idle


def least_cpu(scenario: Scenario, pins: Mapping[str, float]) -> float:
    """Cores without which pins and minimums cannot hold."""
    return sum(pins.get(s.name, s.cpu.min) for s in scenario.services)


def least_memory_mb(scenario: Scenario) -> float:
    return sum(s.memory.min_mb for s in scenario.services)


def pins_that_fit(scenario: Scenario, pins: Mapping[str, float]) -> dict[str, float]:
    """Without those that take most, as far as the slice and the services' minimums ask for it."""
    kept = dict(pins)
    least = {service.name: service.cpu.min for service in scenario.services}
    while kept and least_cpu(scenario, kept) > scenario.slice.cpu + 1e-9:
        del kept[max(kept, key=lambda name: kept[name] - least[name])]
    return kept


def fit_cpu(scenario: Scenario, cpu: FloatArray, pins: Mapping[str, float]) -> FloatArray:
    """Limits float[A], cores, within ranges and slice; a pinned service has its pin."""

    def column(of: Any) -> FloatArray:
        return np.array([of(service) for service in scenario.services], dtype=np.float64)

    def low(service: Service) -> float:
        return pins.get(service.name, service.cpu.min)

    def high(service: Service) -> float:
        return pins.get(service.name, service.cpu.max)

    seen = replace(idle(scenario), limit_cpu=cpu, min_cpu=column(low), max_cpu=column(high))
    return bound(np, cpu, seen)  # type: ignore[no-any-return]
