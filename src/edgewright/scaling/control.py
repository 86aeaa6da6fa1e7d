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
        """Pinned services get their pin; the others share what is left of the slice."""
        pinned = np.array([name in self.pins for name in self.scenario.names])
        if not pinned.any():
            return cpu
        cpu = cpu.copy()
        cpu[pinned] = [self.pins[name] for name in self.scenario.names if name in self.pins]
        low = np.asarray(seen.min_cpu)
        room = float(seen.slice_cpu) - cpu[pinned].sum() - low[~pinned].sum()
        extra = cpu[~pinned] - low[~pinned]
        if extra.sum() > room:
            cpu[~pinned] = low[~pinned] + extra * max(room, 0.0) / extra.sum()
        return cpu

    def _wanted_memory(self, wanted: Action, seen: Observation) -> FloatArray | None:
        memory = wanted.memory_bytes
        if memory is None and self.scenario.control.memory_policy == "percentile" and seen.memory_bytes is not None:
            memory, self._memory_state = self._memory_policy.decide(seen, self._memory_state)
        return None if memory is None else self._bound_memory(memory, seen)

    def _bound_memory(self, wanted: FloatArray, seen: Observation) -> FloatArray:
        services = self.scenario.services
        low = np.array([s.memory.min_mb for s in services]) * MB
        high = np.array([s.memory.max_mb for s in services]) * MB
        old = low if seen.memory_limit_bytes is None else np.asarray(seen.memory_limit_bytes)
        wish = np.clip(np.where(np.isfinite(wanted), wanted, old), low, high)
        extra = wish - low
        room = self.scenario.slice.memory_mb * MB - low.sum()
        return low + extra * min(1.0, max(room, 0.0) / max(extra.sum(), 1.0))  # type: ignore[no-any-return]
