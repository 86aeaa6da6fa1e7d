"""Limits that never change: what users do without a loop."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgewright.core.contracts import BoolArray
from edgewright.scaling.model import Action, Scenario
from edgewright.scaling.observation import Observation


class Fixed:
    def __init__(self, scenario: Scenario, cpu: float | None) -> None:
        self._cpu = np.array([s.cpu.initial if cpu is None else cpu for s in scenario.services])

    def decide(
        self, observation: Observation, mask: BoolArray | None, memory: Any
    ) -> tuple[Action, Any, tuple[str, ...]]:
        return Action(self._cpu), None, ("fixed",) * self._cpu.size


def fixed(scenario: Scenario, cpu: float | None = None) -> Fixed:
    """`cpu` cores for every service; None: the scenario's initial limits."""
    return Fixed(scenario, cpu)
