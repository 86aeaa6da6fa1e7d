"""The contract of what moves a running service from one edge node to another; the mechanism is the driver's.

The guarantee: after `migrate`, and after `reconcile` where the orchestrator was killed at any moment of one, exactly
one instance of the service serves. Never two; none only where the service's own process had died.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

Phase = Literal["preflight", "pre_copy", "copy", "restore", "resume", "hand_over", "clean_up", "roll_back"]
PHASES: dict[Phase, str] = {  # in order; a driver leaves out what its mechanism has not
    "preflight": "what would fail is looked for; the service runs",
    "pre_copy": "the target is prepared, and memory copied where that is possible, while the service runs",
    "copy": "requests wait, the service is frozen, the rest of its state is copied",
    "restore": "the target builds the service from the copy, still frozen",
    "resume": "the service runs at the target; requests still wait",
    "hand_over": "requests go to the target; the source ends",
    "clean_up": "what the migration needed is removed",
    "roll_back": "instead of the phases left: the source serves on",
}
Status = Literal["done", "rolled_back", "failed"]


@dataclass(frozen=True)
class Migration:
    """What happened. `rolled_back`: the source serves on; `failed`: the service's own process had died, or no
    instance could be made to serve, and `reason` says why.
    """

    service: str
    source: str
    target: str
    status: Status
    reason: str  # empty where done, but for what could not be removed yet
    started_s: float  # since the epoch
    total_s: float
    frozen_s: float  # from when requests begin to wait until the service runs again, at either node
    image_bytes: int  # of the copy
    phases_s: Mapping[Phase, float]  # of the phases that were entered


class MoveError(Exception):
    """A step failed, with the reason; the source can go on."""


def ignore(_: Phase) -> None:
    pass


class Migrator(Protocol):
    """Thread-safe. An unknown service or target is an InputError."""

    def preflight(self, service: str, target: str) -> list[str]:
        """What is known to fail, and why; the service is not touched."""
        ...

    def migrate(self, service: str, target: str, on_phase: Callable[[Phase], None] = ignore) -> Migration:
        """Never raises because a migration fails. `on_phase` is called as a phase begins."""
        ...

    def where(self, service: str) -> str | None:
        """The node that serves it; None where its process has ended."""
        ...

    def reconcile(self) -> list[str]:
        """End every migration that another orchestrator left halfway -> what was done, a line each."""
        ...
