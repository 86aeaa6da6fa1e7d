"""The scaling problem: services that share a slice's CPU and memory, their SLO, their load.

A scenario is one YAML file (`format: edgewright.scaling/1`) that runs in the twin and on this host alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from edgewright.core.contracts import FloatArray, Violation
from edgewright.core.documents import Document, Name, Part, read, unique
from edgewright.core.errors import InputError
from edgewright.core.workload import Load

MB = 1_000_000
CFS_PERIOD_S = 0.01  # over which the kernel enforces a CPU limit; everything of ours sets and models this one
TYPICAL_RATE_HZ = 50.0
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


class Slo(Part):
    """Met in a window if at most `1 - percentile/100` of its requests are late or failed."""

    percentile: Annotated[float, Field(gt=0, lt=100)] = 95.0
    response_ms: Positive = 50.0
    window_s: Annotated[int, Field(ge=1, le=3600)] = 5
    timeout_s: Positive = 2.0
    """A request unanswered for this long has failed; it counts as this long in means."""

    @property
    def response_s(self) -> float:
        return self.response_ms / 1e3

    @property
    def late_allowed(self) -> float:
        return 1.0 - self.percentile / 100.0


class SliceCapacity(Part):
    cpu: Annotated[float, Field(gt=0, le=4096)] = 1.5
    """Cores that the services' limits may sum to."""
    memory_mb: Annotated[float, Field(gt=0, le=1e9)] = 2048.0


class CpuRange(Part):
    """The range of one service's CPU limit, cores."""

    min: Annotated[float, Field(ge=0.01)] = 0.05
    max: Annotated[float, Field(ge=0.01, le=4096)] = 1.0
    initial: Annotated[float, Field(ge=0.01)] = 0.5

    @model_validator(mode="after")
    def _ordered(self) -> CpuRange:
        if not self.min <= self.initial <= self.max:
            raise InputError("initial", self.initial, f"between min ({self.min}) and max ({self.max})")
        return self


class MemoryRange(Part):
    min_mb: Positive = 64.0
    max_mb: Positive = 512.0
    initial_mb: Positive = 256.0

    @model_validator(mode="after")
    def _ordered(self) -> MemoryRange:
        if not self.min_mb <= self.initial_mb <= self.max_mb:
            raise InputError(
                "initial_mb", self.initial_mb, f"between min_mb ({self.min_mb}) and max_mb ({self.max_mb})"
            )
        return self


class Behaviour(Part):
    """How a service behaves in the twin; `edgewright scaling calibrate` fits it to a live service."""

    cpu_ms: Positive = 5.0
    """Mean CPU time of one request in a busy service, ms."""
    cold_ms: NonNegative = 0.0
    """CPU that a request costs more after a long pause (cold caches, a slower clock), ms."""
    cold_after_ms: Positive = 20.0
    """Time constant of cooling down: after a pause g a request costs cold_ms * (1 - exp(-g / cold_after_ms)) more."""
    cpu_cv: Annotated[float, Field(ge=0, le=5)] = 0.2
    """Coefficient of variation of the CPU time (log-normal)."""
    overhead_ms: NonNegative = 1.5
    """Response time that is not the service's CPU: network, client, scheduling, ms."""
    queue_limit: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Requests that may wait; beyond it they are refused at once."""
    crash_per_hour: NonNegative = 0.0
    restart_s: NonNegative = 2.0
    memory_base_mb: NonNegative = 120.0
    memory_per_request_kb: NonNegative = 0.0
    """Working set held per request for `memory_hold_s`."""
    memory_hold_s: Positive = 20.0

    def mean_cpu_s(self, rate_hz: Any) -> Any:
        """Mean CPU time of one request of a Poisson stream of that rate, s."""
        return (self.cpu_ms + self.cold_ms / (1 + rate_hz * self.cold_after_ms / 1e3)) / 1e3

    @property
    def typical_cpu_s(self) -> float:
        """What policies are told that a request costs: at TYPICAL_RATE_HZ, s."""
        return float(self.mean_cpu_s(TYPICAL_RATE_HZ))


class Endpoint(Part):
    """Where response times come from when the service runs for real."""

    probe_url: str | None = None
    """Requested `probe_hz` times a second by the loop; for a service without an ingress that measures it."""
    probe_hz: Annotated[float, Field(gt=0, le=50)] = 10.0


class Run(Part):
    """How to start the service on a host. `{port}` in the command is replaced by a free loopback port."""

    command: Annotated[tuple[str, ...], Field(min_length=1)]
    environment: dict[str, str] = {}
    health_path: str = "/healthz"
    start_timeout_s: Positive = 60.0
    restart: Literal["always", "never"] = "always"
    endpoint: Endpoint = Endpoint()


class Service(Part):
    name: Name
    priority: Annotated[int, Field(ge=0, le=10)] = 0
    cpu: CpuRange = CpuRange()
    memory: MemoryRange = MemoryRange()
    behaviour: Behaviour = Behaviour()
    load: Load
    run: Run | None = None


class Control(Part):
    """How the loop works."""

    interval_s: Annotated[float, Field(ge=0.1, le=3600)] = 1.0
    start_after_s: NonNegative = 0.0
    """Limits stay at their initial values until then (the document's test: 25)."""
    policy: str = "curves"
    memory_policy: Literal["fixed", "percentile"] = "percentile"
    hold_when_late: bool = True
    """The guard refuses to lower the limit of a service that misses its SLO."""

    @model_validator(mode="after")
    def _whole_periods(self) -> Control:
        periods = self.interval_s / CFS_PERIOD_S
        if abs(periods - round(periods)) > 1e-6:
            raise InputError("interval_s", self.interval_s, f"a multiple of the kernel's period, {CFS_PERIOD_S:g} s")
        return self


class Scenario(Document):
    format: Literal["edgewright.scaling/1"]
    name: Name
    duration_s: Annotated[int, Field(ge=1, le=10_000_000)] = 180
    slice: SliceCapacity = SliceCapacity()
    slo: Slo = Slo()
    control: Control = Control()
    services: Annotated[tuple[Service, ...], Field(min_length=1, max_length=256)]

    @model_validator(mode="after")
    def _consistent(self) -> Scenario:
        unique((service.name for service in self.services), "services.name")
        for resource, wanted, have in (
            ("slice.cpu", sum(s.cpu.initial for s in self.services), self.slice.cpu),
            ("slice.memory_mb", sum(s.memory.initial_mb for s in self.services), self.slice.memory_mb),
        ):
            if wanted > have + 1e-9:
                raise InputError(resource, have, f"at least the sum of the services' initial limits ({wanted:g})")
        if self.control.start_after_s >= self.duration_s:
            allowed = f"less than duration_s ({self.duration_s})"
            raise InputError("control.start_after_s", self.control.start_after_s, allowed)
        return self

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(service.name for service in self.services)


def read_scenario(path: str | Path) -> Scenario:
    """Read a scenario file. Raises InputError naming file, field, value and what is allowed."""
    return read(Scenario, path)


@dataclass(frozen=True)
class Action:
    """Wanted limits of the A services. A None leaves that resource as it is."""

    cpu: FloatArray  # [A] cores
    memory_bytes: FloatArray | None = None  # [A]


def check(scenario: Scenario, cpu: FloatArray, memory_bytes: FloatArray | None = None) -> list[Violation]:
    """Independent judge of limits (cores, bytes; one per service): every broken range or capacity; empty if sound."""
    found: list[Violation] = []

    def judge(values: Any, field: str, ranges: list[tuple[float, float]], capacity: float) -> None:
        for name, value, (low, high) in zip(scenario.names, values, ranges, strict=True):
            if not math.isfinite(value) or not low - 1e-9 <= value <= high + 1e-9:
                found.append(Violation(f"{name}.{field}", float(value), f"{low:g} .. {high:g}"))
        if not sum(values) <= capacity * (1 + 1e-9):
            found.append(Violation(f"slice.{field}", float(sum(values)), f"sum <= {capacity:g}"))

    judge(cpu, "cpu", [(s.cpu.min, s.cpu.max) for s in scenario.services], scenario.slice.cpu)
    if memory_bytes is not None:
        ranges = [(s.memory.min_mb * MB, s.memory.max_mb * MB) for s in scenario.services]
        judge(memory_bytes, "memory_bytes", ranges, scenario.slice.memory_mb * MB)
    return found
