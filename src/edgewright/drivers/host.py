"""The contract of a host that runs services under limits; shared by the Linux host and the simulated one."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol, Self

from edgewright.core.errors import InputError

if TYPE_CHECKING:  # the far end of a session over ssh has neither numpy nor pydantic
    from edgewright.core.contracts import Outcome

NAME_PATTERN = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"


class HostError(Exception):
    """The host could not do what was asked: names the service and the exact reason."""

    def __init__(self, service: str, reason: str) -> None:
        self.service, self.reason = service, reason
        super().__init__(f"{service}: {reason}")


@dataclass(frozen=True)
class Limits:
    """What a service may use. `cpu` in cores (1.0 = one core all the time); `memory_bytes` None = no limit."""

    cpu: float
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.cpu) and self.cpu > 0):
            raise InputError("cpu", self.cpu, "a finite number of cores > 0")
        if self.memory_bytes is not None and self.memory_bytes <= 0:
            raise InputError("memory_bytes", self.memory_bytes, "an amount > 0, or none for no limit")


@dataclass(frozen=True)
class ServiceSpec:
    """How to run one service: an argument vector, never a shell string."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Added to a minimal environment (PATH, HOME, LANG, ...): the orchestrator's own is not passed on."""
    working_directory: Path | None = None
    health_url: str | None = None
    """Answers 2xx once the service is ready; None: ready as soon as it runs."""
    start_timeout_s: float = 30.0
    start_unthrottled: bool = False
    """No CPU limit until healthy (the memory limit holds from the first instruction)."""
    namespace: str | None = None
    """Name of the network namespace in which it runs and its `health_url` is asked; None: the orchestrator's own."""

    def __post_init__(self) -> None:
        if not re.fullmatch(NAME_PATTERN, self.name):
            raise InputError("name", self.name, f"lowercase letters, digits and inner hyphens: {NAME_PATTERN}")
        if not self.command or any("\0" in word for word in self.command):
            raise InputError("command", self.command, "a program and its arguments")
        if self.namespace is not None and not re.fullmatch(r"\w[\w.-]*", self.namespace):
            raise InputError("namespace", self.namespace, "the name of a network namespace")
        if not (math.isfinite(self.start_timeout_s) and self.start_timeout_s > 0):
            raise InputError("start_timeout_s", self.start_timeout_s, "a finite number of seconds > 0")


@dataclass(frozen=True)
class Usage:
    """What a service used. Counters are cumulative since its first start and survive restarts."""

    t_s: float  # the host's monotonic clock
    cpu_s: float
    throttled_s: float  # wall time its runnable threads were held back by the CPU limit
    periods: int  # enforcement periods in which it wanted to run
    throttled_periods: int
    memory_bytes: int  # working set: usage minus inactive file cache
    oom_kills: int
    alive: bool
    pid: int | None
    restarts: int
    limits: Limits  # really in force, read back; where the CPU is not limited, the host's cores


@dataclass(frozen=True)
class Action:
    """What `reconcile` did about one service of ours."""

    kind: Literal["adopted", "ended", "removed"]
    service: str
    detail: str


@dataclass(frozen=True)
class Capacity:
    """What a host can promise."""

    cpu: float
    memory_bytes: int


class ServiceHost(Protocol):
    """Runs services under limits. Thread-safe. An unknown service name is an InputError listing the known ones."""

    @property
    def capacity(self) -> Capacity: ...

    @property
    def services(self) -> tuple[str, ...]: ...

    def start(self, spec: ServiceSpec, limits: Limits) -> int:
        """Start and wait until healthy -> pid. Raises HostError (nothing is left behind)."""
        ...

    def restart(self, name: str) -> int:
        """Start again (ending it first where it runs) under the limits last set -> pid."""
        ...

    def stop(self, name: str) -> None:
        """Ask it to end, then end it; forget it."""
        ...

    def forget(self, name: str) -> None:
        """Remove the log of one that does not run any more, or never did."""
        ...

    def adopt(self, spec: ServiceSpec, limits: Limits | None = None) -> bool:
        """Take over a process of ours that an earlier orchestrator left running; False where there is none.

        The limits in force stay, unless others are given.
        """
        ...

    def reconcile(self, specs: Iterable[ServiceSpec]) -> list[Action]:
        """After a crash: adopt what runs and is wanted, end what is ours and unwanted, remove the rest of ours."""
        ...

    def usage(self, name: str) -> Usage:
        """Now; never waits for a start or a stop. Raises HostError where its counters cannot be read."""
        ...

    def set_limits(self, name: str, limits: Limits) -> Outcome:
        """Per field `cpu`, `memory_bytes`: done, or refused with the exact reason, the old value staying in force.

        Refused while it is being started or stopped.
        """
        ...

    def close(self) -> None:
        """End every service and leave nothing behind. May be called twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


def check_specs(specs: Iterable[ServiceSpec]) -> dict[str, ServiceSpec]:
    """By name; a name used twice is an InputError."""
    from edgewright.core.documents import unique

    listed = list(specs)
    unique((spec.name for spec in listed), "name")
    return {spec.name: spec for spec in listed}


def unknown_service(name: str, known: Iterable[str]) -> InputError:
    return InputError("service", name, f"one of {sorted(known)}")
