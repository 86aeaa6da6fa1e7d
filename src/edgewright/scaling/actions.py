"""From a learner's raw action to limits, and the guard that bounds any limits: over `xp`, the same in twin and live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from edgewright.core.contracts import Array, Box, Discrete
from edgewright.scaling.observation import Observation

Kind = Literal["reference", "headroom"]

REFERENCE_STEP_CPU = 0.025  # DQN of D4.2 4.3.4: decrease, keep, increase
REFERENCE_SPAN_CPU = 0.05  # PPO of D4.2 4.3.5: a * 50m, a in [-1, 1]
HEADROOM_LOW, HEADROOM_HIGH = 0.9, 4.5  # limit / demand
HEADROOM_LEVELS = 9
DEMAND_FRAMES = 3  # seconds over which the demand is averaged


@dataclass(frozen=True)
class ActionMap:
    """`reference`: steps of the limit as published. `headroom`: the limit as a multiple of the recent demand."""

    kind: Kind
    discrete: bool

    @property
    def spec(self) -> Discrete | Box:
        if not self.discrete:
            return Box(1)
        return Discrete(3 if self.kind == "reference" else HEADROOM_LEVELS)

    def limits(self, xp: Any, raw: Array, seen: Observation, demand_cpu: Array) -> Array:
        """raw int[A] or float[A, 1], recent demand float[A] in cores -> wanted limits float[A], cores."""
        if self.kind == "reference":
            change = (raw - 1) * REFERENCE_STEP_CPU if self.discrete else xp.clip(raw[:, 0], -1, 1) * REFERENCE_SPAN_CPU
            return seen.limit_cpu + change
        share = raw / (HEADROOM_LEVELS - 1) if self.discrete else (xp.clip(raw[:, 0], -1, 1) + 1) / 2
        ratio = HEADROOM_LOW * (HEADROOM_HIGH / HEADROOM_LOW) ** share
        return demand_cpu * ratio + seen.min_cpu / 2

    def mask(self, xp: Any, seen: Observation) -> Array:
        """Which actions change something and are within range, bool[A, n]."""
        count = seen.limit_cpu.shape[0]
        if not self.discrete:
            return xp.ones((count, 1), dtype=bool)
        if self.kind == "headroom":
            return xp.ones((count, HEADROOM_LEVELS), dtype=bool)
        left = seen.slice_cpu - seen.limit_cpu.sum()
        up = (seen.limit_cpu + REFERENCE_STEP_CPU <= seen.max_cpu + 1e-6) & (left >= REFERENCE_STEP_CPU - 1e-6)
        down = seen.limit_cpu - REFERENCE_STEP_CPU >= seen.min_cpu - 1e-6
        return xp.stack([down, xp.ones_like(up), up], axis=-1)


def bound(xp: Any, wanted: Array, seen: Observation, hold_when_late: bool = True) -> Array:
    """The guard's rule: limits float[A] within each service's range that sum to at most the slice.

    A wish that is not a number keeps the old limit. A service that misses its SLO keeps at least its old limit
    (`hold_when_late`). If the slice is too small, what each asks above its minimum shrinks by one factor.
    """
    wish = xp.where(xp.isfinite(wanted), wanted, seen.limit_cpu)
    if hold_when_late:
        wish = xp.where(seen.late > seen.slo_late_allowed, xp.maximum(wish, seen.limit_cpu), wish)
    wish = xp.clip(wish, seen.min_cpu, seen.max_cpu)
    extra = wish - seen.min_cpu
    room = xp.maximum(seen.slice_cpu - seen.min_cpu.sum(), 0.0)
    factor = xp.minimum(1.0, room / xp.maximum(extra.sum(), 1e-12))
    return seen.min_cpu + extra * factor


def explain(wanted: Any, allowed: Any, seen: Observation, hold_when_late: bool = True) -> tuple[str, ...]:
    """One note per service: 'allowed', or what the guard changed and why."""
    notes = []
    before_capacity = np.clip(wanted, seen.min_cpu, seen.max_cpu)
    for i, (wish, got) in enumerate(zip(wanted, allowed, strict=True)):
        if not np.isfinite(wish):
            notes.append("not a number: kept the old limit")
        elif abs(wish - got) < 5e-4:
            notes.append("allowed")
        elif got > wish and hold_when_late and seen.late[i] > seen.slo_late_allowed and got > before_capacity[i]:
            notes.append(f"held at {got:.3f}: the service misses its SLO ({seen.late[i]:.0%} late)")
        elif got < before_capacity[i] - 5e-4:
            notes.append(f"cut to {got:.3f}: the slice has {float(seen.slice_cpu):g} CPU")
        else:
            notes.append(f"moved to {got:.3f}: allowed {seen.min_cpu[i]:g} .. {seen.max_cpu[i]:g}")
    return tuple(notes)
