"""One step of the loop without I/O: decide, then guard. The orchestrator, the live study and the twin all use it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgewright.core.contracts import FloatArray, Policy, Verdict
from edgewright.scaling.actions import bound, explain
from edgewright.scaling.model import MB, Action, Scenario
from edgewright.scaling.observation import Observation
from edgewright.scaling.policies.memory import PercentileMemory


@dataclass(frozen=True)
class Step:
    """What was wanted and allowed, and why; arrays float[A] in cores (bytes for memory)."""

    wanted: Action
    allowed: Action
    reasons: tuple[str, ...]  # the policy's, one per service
    verdict: Verdict  # the guard's


@dataclass
class Controller:
    """Policy and guard over one scenario. `pins` fixes a service's CPU limit (cores) whatever the policy says."""

    scenario: Scenario
    policy: Policy[Observation, Action]
    memory: Any = None
    pins: dict[str, float] = field(default_factory=dict)
    _memory_policy: PercentileMemory = field(default_factory=PercentileMemory)
    _memory_state: Any = None

    def step(self, seen: Observation) -> Step:
        wanted, self.memory, reasons = self.policy.decide(seen, None, self.memory)
        hold = self.scenario.control.hold_when_late
        cpu = np.asarray(wanted.cpu, dtype=np.float64).copy()
        for index, name in enumerate(self.scenario.names):
            if name in self.pins:
                cpu[index] = self.pins[name]
        allowed = self._respect_pins(bound(np, cpu, seen, hold), seen)
        notes = list(explain(cpu, allowed, seen, hold))
        for index, name in enumerate(self.scenario.names):
            if name in self.pins:
                notes[index] = f"pinned at {self.pins[name]:g}"
        memory = self._wanted_memory(wanted, seen)
        changed = any(note != "allowed" for note in notes)
        return Step(wanted, Action(allowed, memory), tuple(reasons), Verdict(changed, tuple(notes)))

    def _respect_pins(self, cpu: FloatArray, seen: Observation) -> FloatArray:
        """Pinned services get their pin, as far as the slice goes; the others share what is left of it."""
        if not any(name in self.pins for name in self.scenario.names):
            return cpu
        pinned = np.array([name in self.pins for name in self.scenario.names])
        cpu = cpu.copy()
        cpu[pinned] = [self.pins[name] for name in self.scenario.names if name in self.pins]
        low = np.asarray(seen.min_cpu)
        room = float(seen.slice_cpu) - low.sum()
        for group in (pinned, ~pinned):
            extra = cpu[group] - low[group]
            if extra.sum() > room:
                cpu[group] = low[group] + extra * max(room, 0.0) / extra.sum()
            room -= (cpu[group] - low[group]).sum()
        return cpu

    def _wanted_memory(self, wanted: Action, seen: Observation) -> FloatArray | None:
        memory = wanted.memory_bytes
        if memory is None and self.scenario.control.memory_policy == "percentile" and seen.memory_bytes is not None:
            memory, self._memory_state = self._memory_policy.decide(seen, self._memory_state)
        if memory is None:
            return None
        old = None if seen.memory_limit_bytes is None else np.asarray(seen.memory_limit_bytes)
        return bound_memory(self.scenario, memory, old)


def bound_memory(scenario: Scenario, wanted: FloatArray, old: FloatArray | None = None) -> FloatArray:
    """The guard's rule for memory: limits float[A], bytes, within the services' ranges and the slice.

    A wish that is not a finite number keeps the old limit (the minimum where there is none).
    """
    low = np.array([s.memory.min_mb for s in scenario.services]) * MB
    high = np.array([s.memory.max_mb for s in scenario.services]) * MB
    wish = np.clip(np.where(np.isfinite(wanted), wanted, low if old is None else old), low, high)
    extra = wish - low
    room = scenario.slice.memory_mb * MB - low.sum()
    return low + extra * min(1.0, max(room, 0.0) / max(extra.sum(), 1.0))  # type: ignore[no-any-return]
