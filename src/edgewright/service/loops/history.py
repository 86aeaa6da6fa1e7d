"""The last quarter of an hour of a loop, in memory: what pages and exports read without touching the store."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgewright.scaling.observation import Observation

KEPT_S = 900.0
FIELDS = (
    "limit_cpu",
    "usage_cpu",
    "throttled",
    "arrived_hz",
    "backlog",
    "response_mean_s",
    "response_p95_s",
    "late",
    "failed",
    "memory_bytes",
    "memory_limit_bytes",
    "oom_kills",
)


@dataclass(frozen=True)
class Moment:
    """One interval: `seen[field]` has one number per service."""

    t: float  # end of the interval, seconds since the epoch
    slice_cpu: float
    seen: dict[str, list[float]]


def plain(seen: Observation) -> dict[str, list[float]]:
    """The observed fields as numbers that JSON takes, four significant digits; memory in whole bytes."""
    columns = {name: getattr(seen, name) for name in FIELDS}
    return {name: digits(values) for name, values in columns.items() if values is not None}


def digits(values: Any) -> list[float]:
    """Four significant digits, whole numbers from 10,000; not a number becomes 0."""
    numbers = np.nan_to_num(np.asarray(values, dtype=np.float64), posinf=0.0, neginf=0.0)
    return [float(f"{v:.4g}") if abs(v) < 10_000 else float(round(v)) for v in numbers]


@dataclass
class History:
    """A ring of moments. Thread-safe."""

    services: tuple[str, ...]
    interval_s: float
    slo_window_s: float
    slo_late_allowed: float
    _moments: deque[Moment] = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._moments = deque(maxlen=max(int(KEPT_S / self.interval_s), 10))

    def add(self, moment: Moment) -> None:
        with self._lock:
            self._moments.append(moment)

    def last(self, seconds: float) -> list[Moment]:
        with self._lock:
            moments = list(self._moments)
        return [m for m in moments if m.t > moments[-1].t - seconds] if moments else []

    def series(self, seconds: float) -> dict[str, Any]:
        """Columns: `t`, per service the measured ones, of the slice what its limits leave."""
        moments = self.last(seconds)

        def column(name: str, index: int, scale: float = 1.0) -> list[float]:
            return [round(m.seen[name][index] * scale, 4) for m in moments]

        services = {
            name: {
                "limit_cpu": column("limit_cpu", i),
                "usage_cpu": column("usage_cpu", i),
                "throttled": column("throttled", i),
                "rate_hz": column("arrived_hz", i),
                "response_mean_ms": column("response_mean_s", i, 1e3),
                "response_p95_ms": column("response_p95_s", i, 1e3),
                "late": column("late", i),
                "failed": column("failed", i),
            }
            for i, name in enumerate(self.services)
        }
        left = [round(m.slice_cpu - sum(m.seen["limit_cpu"]), 4) for m in moments]
        cpu = [m.slice_cpu for m in moments]
        return {"t": [round(m.t, 3) for m in moments], "services": services, "slice": {"cpu": cpu, "cpu_left": left}}

    def late(self, index: int) -> float | None:
        """Share of late requests in the SLO's last window, by which the SLO is judged; None without any request."""
        moments = self.last(self.slo_window_s)
        arrived = sum(m.seen["arrived_hz"][index] for m in moments)
        late = sum(m.seen["arrived_hz"][index] * m.seen["late"][index] for m in moments)
        return late / arrived if arrived > 0 else None

    def slo_ok(self, index: int) -> bool | None:
        """Whether the service met its SLO over the last window; None without any request in it."""
        late = self.late(index)
        return None if late is None else late <= self.slo_late_allowed
