"""What a workflow is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

Json = dict[str, Any]


@dataclass(frozen=True)
class Context:
    """What a step knows."""

    id: str  # of the workflow
    input: Json
    attempt: int  # 1 first; a crash counts
    outputs: Mapping[str, Json]
    note: Callable[[str], None]  # say how far it is, for the page

    def output_of(self, step: str) -> Json:
        """Empty where it is not done. Raises KeyError where the workflow has no such step."""
        return self.outputs[step]


@dataclass(frozen=True)
class Done:
    """What came of a step; `commit` runs in the transaction that records it."""

    output: Json | None = None
    commit: Callable[[Session], None] | None = None


@dataclass(frozen=True)
class Step:
    """`undo` is called of every step that began, the one that failed too (a kill may have left half of it): it is fine
    where there is nothing to undo.
    """

    name: str
    do: Callable[[Context], Done | Json | None]
    undo: Callable[[Context], Done | None] | None = None
    retries: int = 0
    transient: tuple[type[Exception], ...] = ()  # errors that are worth a retry
    final: bool = False  # once begun no cancellation breaks it off: nothing brings back what it ends


@dataclass(frozen=True)
class Workflow:
    """`ended(session, id, input, state, error)` runs in the transaction that makes it `done` or `failed`."""

    kind: str
    steps: Callable[[Json], Sequence[Step]]  # of an input: the same each time
    ended: Callable[[Session, str, Json, str, str], None] | None = None


@dataclass(frozen=True)
class Seen:
    """A step as the page shows it."""

    name: str
    state: str  # waiting | running | done | failed | undone
    attempts: int = 0
    began: float | None = None
    ended: float | None = None
    error: str = ""
    note: str = ""
