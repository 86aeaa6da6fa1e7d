"""The contract of a slice that runs: its services as processes of a host, or simulated in real time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from edgewright.core.contracts import Outcome
from edgewright.drivers.host import Capacity, Limits
from edgewright.scaling.model import Action
from edgewright.scaling.observation import Observation


@dataclass(frozen=True)
class Life:
    """Whether a service's process lives."""

    alive: bool
    pid: int | None
    restarts: int


@dataclass(frozen=True)
class DriverChoice:
    """Which driver runs the slices, and why."""

    kind: Literal["linux", "simulated"]
    reason: str
    capacity: Capacity


class RunningSlice(Protocol):
    """Services of one scenario under limits. `observe` and `apply` are called by one thread at a time."""

    def start(self, limits: Mapping[str, Limits]) -> list[str]:
        """Adopt what an earlier orchestrator left running, start the rest under these limits -> what was done.

        Raises HostError.
        """
        ...

    def observe(self) -> Observation: ...

    def apply(self, action: Action) -> Outcome:
        """`done` and `refused` are keyed `service.cpu` and `service.memory_bytes`."""
        ...

    def lives(self) -> dict[str, Life]:
        """Of every process, in the scenario's order, other processes of the slice after them."""
        ...

    @property
    def left_dead(self) -> Mapping[str, str]:
        """Services that the loop does not start again when they die -> why."""
        ...

    def restart(self, service: str) -> None:
        """Start a process again, ending it first where it runs. Raises HostError."""
        ...

    def set_load(self, factors: Mapping[str, float]) -> None:
        """Multiply the offered load. Raises HostError, and the load stays as it was."""
        ...

    @property
    def loaded(self) -> Collection[str]:
        """Services whose load can be multiplied."""
        ...

    @property
    def ports(self) -> Mapping[str, int]:
        """Loopback ports of the processes, to be kept for the next start."""
        ...

    @property
    def warnings(self) -> list[str]:
        """What could not be seen at the last `observe`, and why."""
        ...

    def close(self) -> None:
        """End everything and leave nothing behind."""
        ...
