"""From a learner's raw action to limits, and the guard that bounds any limits: over `xp`, the same in twin and live."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from edgewright.core import scalars
from edgewright.core.contracts import Array, Box, Discrete
from edgewright.scaling.observation import Observation, OneService
from edgewright.scaling.queueing import limit_for, queued_cpu_s

Kind = Literal["reference", "residual"]

REFERENCE_STEP_CPU = 0.025  # DQN of D4.2 4.3.4: decrease, keep, increase
REFERENCE_SPAN_CPU = 0.05  # PPO of D4.2 4.3.5: a * 50m, a in [-1, 1]
RATIO_SPAN = 1.7  # the limit lies between the model's / RATIO_SPAN and the model's * RATIO_SPAN
DRAIN_HIGH_HZ = 6.0  # a backlog of one CPU-second asks for up to so many cores more
RATIO_LEVELS, DRAIN_LEVELS = 7, 3
SMOOTHING = 0.6  # weight of the newest second in the recent rate
MODEL_LATE = 0.08  # share of late requests that the queueing model is asked for


@dataclass(frozen=True)
class ActionMap:
    """`reference`: steps of the limit as published.

    `residual`: the agent corrects a queueing model. It picks the ratio of the limit to the model's, and how fast a
    backlog is drained (discrete: one of RATIO_LEVELS x DRAIN_LEVELS pairs; continuous: two numbers in [-1, 1]).
    After Johannink et al., "Residual reinforcement learning for robot control" (ICRA 2019).
    """

    kind: Kind
    discrete: bool

    @property
    def spec(self) -> Discrete | Box:
        if self.kind == "reference":
            return Discrete(3) if self.discrete else Box(1)
        return Discrete(RATIO_LEVELS * DRAIN_LEVELS) if self.discrete else Box(2)

    def limits(self, xp: Any, raw: Array, seen: Observation | OneService, rate_hz: Array) -> Array:
        """raw int[A] or float[D, A], recent rate float[A] -> wanted limits float[A], cores.

        Of one service where `xp` is `core.scalars`: an int or D floats, and a rate -> a limit.
        """
        if self.kind == "reference":
            if self.discrete:
                return seen.limit_cpu + (raw - 1) * REFERENCE_STEP_CPU
            return seen.limit_cpu + xp.clip(raw[0], -1, 1) * REFERENCE_SPAN_CPU
        ratio, drain = levels(raw) if self.discrete else spans(xp, raw[0], raw[1])
        return residual(xp, ratio, drain, seen, rate_hz)

    def mask(self, xp: Any, seen: Observation) -> Array:
        """Which actions change something and are within range, bool[A, n]."""
        count = seen.limit_cpu.shape[0]
        if not self.discrete:
            return xp.ones((count, 1), dtype=bool)
        if self.kind == "residual":
            return xp.ones((count, RATIO_LEVELS * DRAIN_LEVELS), dtype=bool)
        left = seen.slice_cpu - seen.limit_cpu.sum()
        up = (seen.limit_cpu + REFERENCE_STEP_CPU <= seen.max_cpu + 1e-6) & (left >= REFERENCE_STEP_CPU - 1e-6)
        down = seen.limit_cpu - REFERENCE_STEP_CPU >= seen.min_cpu - 1e-6
        return xp.stack([down, xp.ones_like(up), up], axis=-1)


def levels(raw: Array) -> tuple[Array, Array]:
    """int -> ratio in [-1, 1] and drain in [0, 1] of a residual action."""
    return (raw % RATIO_LEVELS) / (RATIO_LEVELS - 1) * 2 - 1, (raw // RATIO_LEVELS) / (DRAIN_LEVELS - 1)


def spans(xp: Any, first: Array, second: Array) -> tuple[Array, Array]:
    """Two numbers of [-1, 1] -> ratio and drain."""
    return xp.clip(first, -1, 1), (xp.clip(second, -1, 1) + 1) / 2


def residual(xp: Any, ratio: Array, drain: Array, seen: Observation | OneService, rate_hz: Array) -> Array:
    steady = limit_for(xp, rate_hz, seen, MODEL_LATE)
    return steady * RATIO_SPAN**ratio + drain * DRAIN_HIGH_HZ * queued_cpu_s(xp, rate_hz, seen)


def bound(xp: Any, wanted: Array, seen: Observation, hold_when_late: bool = True) -> Array:
    """The guard's rule: limits float[A] within each service's range that sum to at most the slice.

    A wish that is not a number keeps the old limit. A service that misses its SLO keeps at least its old limit
    (`hold_when_late`). If the slice is too small for all wishes, what each service needs (its demand, and a second
    to drain its backlog) goes first, and what is left is shared in proportion to what each asks above that.
    """
    wish = xp.where(xp.isfinite(wanted), wanted, seen.limit_cpu)
    if hold_when_late:
        wish = xp.where(seen.late > seen.slo_late_allowed, xp.maximum(wish, seen.limit_cpu), wish)
    low = seen.min_cpu
    wish = xp.clip(wish, low, seen.max_cpu)
    need = 1.1 * (seen.arrived_hz + seen.backlog) * seen.cpu_per_request_s
    need = xp.minimum(xp.maximum(need, low), wish)
    for_needs = _share(xp, seen.slice_cpu - low.sum(), need - low)
    for_comfort = _share(xp, seen.slice_cpu - need.sum(), wish - need)
    return low + (need - low) * for_needs + (wish - need) * for_comfort


def _share(xp: Any, room: Array, asked: Array) -> Array:
    """The part of what is asked, float[A], that fits into the room, 0..1."""
    return xp.clip(room / xp.maximum(asked.sum(), 1e-9), 0.0, 1.0)


def explain(wanted: Any, allowed: Any, seen: Observation, hold_when_late: bool = True) -> tuple[str, ...]:
    """One note per service: 'allowed', or what the guard changed and why. Arguments are numpy arrays."""
    notes = []
    late_allowed = float(seen.slo_late_allowed)
    columns = (wanted, allowed, seen.late, seen.min_cpu, seen.max_cpu)
    for wish, got, late, low, high in zip(*(np.asarray(column).tolist() for column in columns), strict=True):
        in_range = scalars.clip(wish, low, high)
        if not math.isfinite(wish):
            notes.append("not a number: kept the old limit")
        elif abs(wish - got) < 5e-4:
            notes.append("allowed")
        elif got > wish and hold_when_late and late > late_allowed and got > in_range:
            notes.append(f"held at {got:.3f}: the service misses its SLO ({late:.0%} late)")
        elif got < in_range - 5e-4:
            notes.append(f"cut to {got:.3f}: the slice has {float(seen.slice_cpu):g} CPU")
        else:
            notes.append(f"moved to {got:.3f}: allowed {low:g} .. {high:g}")
    return tuple(notes)
