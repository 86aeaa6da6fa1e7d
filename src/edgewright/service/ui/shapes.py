"""The part of the API's answers that the page shows; what it does not know it ignores."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

Column = list[float | None]


class Shape(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Refusal(Shape):
    """Why the API did not do it, in its own words."""

    message: str
    field: str | None = None
    given: Any = None
    allowed: str | None = None


class Slo(Shape):
    response_ms: float
    percentile: float = 95.0
    window_s: float = 5.0

    @property
    def late_allowed(self) -> float:
        return 1.0 - self.percentile / 100.0


class DriverInfo(Shape):
    kind: str
    reason: str | None = None


class SliceState(Shape):
    cpu: float
    cpu_left: float
    memory_bytes: float
    memory_left_bytes: float


class ServiceState(Shape):
    name: str
    alive: bool = True
    restarts: int = 0
    limit_cpu: float | None = None
    usage_cpu: float | None = None
    throttled: float | None = None
    rate_hz: float | None = None
    response_mean_ms: float | None = None
    response_p95_ms: float | None = None
    slo_ok: bool | None = None
    late_in_window: float | None = None
    failed: float | None = None
    memory_bytes: float | None = None
    memory_limit_bytes: float | None = None
    pin: float | None = None
    load_factor: float | None = None


class Verdict(Shape):
    changed: bool = False
    notes: dict[str, str] = {}


class Outcome(Shape):
    done: dict[str, dict[str, float]] = {}
    refused: dict[str, str] = {}


class Decision(Shape):
    seq: int
    time: float = Field(validation_alias="t")
    mode: str = "act"
    policy: str = ""
    by: str = "policy"
    observation: dict[str, dict[str, float]] = {}
    allowed: dict[str, dict[str, float]] = {}
    reasons: dict[str, str] = {}
    verdict: Verdict = Verdict()
    outcome: Outcome = Outcome()


class LoopStats(Shape):
    period_s: float | None = None
    jitter_p99_ms: float | None = None
    cpu_share: float | None = None
    overruns: int | None = None


class LiveLoop(Shape):
    """What every kind of loop has."""

    name: str
    phase: str = "running"
    mode: str
    driver: DriverInfo
    loop_stats: LoopStats = LoopStats()
    warnings: list[str] = []


class LoopState(LiveLoop):
    policy: str
    slo: Slo
    slice: SliceState
    services: list[ServiceState] = []
    last_decision: Decision | None = None


class PolicyInfo(Shape):
    name: str
    title: str = ""
    kind: str = ""
    summary: str | None = None


class Event(Shape):
    id: str
    time: float = Field(validation_alias="t")
    kind: str
    service: str | None = None
    detail: str = ""


class ServiceColumns(Shape):
    limit_cpu: Column = []
    usage_cpu: Column = []
    response_mean_ms: Column = []
    response_p95_ms: Column = []


class SliceColumns(Shape):
    cpu_left: Column = []


class Columns(Shape):
    """A stretch of time: every list has one entry per entry of `t` (seconds since the epoch)."""

    t: list[float] = []
    services: dict[str, ServiceColumns] = {}
    slice: SliceColumns = SliceColumns()
