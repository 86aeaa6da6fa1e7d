"""Loops of one kind beside the scaling loops: restored, made and ended by the runtime that has the lease."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from sqlalchemy import delete, select

from edgewright.core.documents import validate
from edgewright.core.errors import InputError
from edgewright.service.settings import Settings
from edgewright.service.store import Store
from edgewright.service.store.recorder import Recorder
from edgewright.service.store.tables import BackhaulRow, MigrationRow


class _Scenario(Protocol):
    @property
    def name(self) -> str: ...

    def model_dump(self, *, mode: str) -> dict[str, Any]: ...


class _Loop(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def warnings(self) -> list[str]: ...

    def start(self) -> None: ...

    def ask_to_stop(self) -> None: ...

    def close(self) -> None: ...


S = TypeVar("S", bound=_Scenario)
R = TypeVar("R", bound=BackhaulRow | MigrationRow)
L = TypeVar("L", bound=_Loop)


@dataclass
class Kind(ABC, Generic[S, R, L]):
    """Scenarios, rows of the store, loops."""

    settings: Settings
    store: Store
    recorder: Recorder
    changing: threading.RLock  # the runtime's: held while loops come and go
    taken: Callable[[str], bool]  # whether a loop of any kind has a name
    loops: dict[str, L] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)  # loops of the store that cannot be run, and why
    given: S | None = None  # the settings' scenario as it was last read
    word: ClassVar[str]
    ends: ClassVar[str]  # what else ends with a loop
    scenario_type: ClassVar[Any]
    row_type: ClassVar[Any]

    @property
    @abstractmethod
    def file(self) -> Path | None:
        """Of the settings."""

    @abstractmethod
    def _read(self, path: Path) -> S:
        """Raises InputError."""

    @abstractmethod
    def _row(self, scenario: S) -> R:
        """Of a new loop. Raises InputError."""

    @abstractmethod
    def _edited(self, row: R, old: S, new: S) -> dict[str, Any]:
        """What of a row changes, beside its scenario, where the file was edited: users' orders about what is left
        stay."""

    @abstractmethod
    def _loop(self, scenario: S, row: R) -> L:
        """Not yet started. Raises InputError, also where its driver cannot be."""

    def read_given(self) -> None:
        """Raises InputError."""
        if self.file is not None:
            self.given = self._read(self.file)

    @property
    def trouble(self) -> list[str]:
        found = [f"{self.word} {name} cannot be run: {reason}" for name, reason in list(self.broken.items())]
        return found + [f"{self.word} {x.name}: {warning}" for x in list(self.loops.values()) for warning in x.warnings]

    def knows(self, name: str) -> bool:
        """Whether the store has that loop. Raises StoreError."""
        with self.store.read() as session:
            return session.get(self.row_type, name) is not None

    def create(self, scenario: S) -> L:
        """All or nothing. Raises InputError (a name in use, a driver that cannot be), StoreError."""
        with self.changing:
            if self.taken(scenario.name):
                raise InputError("name", scenario.name, "a name that no loop has yet")
            row = self._row(scenario)
            row.name, row.scenario, row.created = scenario.name, scenario.model_dump(mode="json"), time.time()
            loop = self._loop(scenario, row)  # what it refuses is not kept
            with self.store.write() as session:
                session.add(row)
            return self._begin(loop)

    def delete(self, name: str) -> None:
        """End a loop and all that it made, and forget it; its decisions stay until they are old."""
        with self.changing:
            with self.store.write() as session:
                session.execute(delete(self.row_type).where(self.row_type.name == name))
            self.broken.pop(name, None)
            if loop := self.loops.pop(name, None):
                loop.close()
            self.recorder.event("loop_deleted", f"{self.word} loop {name} and {self.ends} ended")

    def restore(self) -> None:
        """Run the stored loops again, and the settings' where the store has none of its name. Raises StoreError."""
        with self.store.read() as session:
            rows = session.scalars(select(self.row_type).order_by(self.row_type.created)).all()
        self.broken = {}
        try:
            self.read_given()
        except InputError as error:  # it was read before: the loops must run
            self.recorder.event("scenario_failed", f"{error}: taken as it was before")
        for row in rows:
            try:
                self._restore(row)
            except Exception as error:  # what an older version kept may be of any form: the other loops must run
                self._fail(row.name, error)
        if self.given is not None and self.given.name not in {row.name for row in rows}:
            try:
                self.create(self.given)
            except InputError as error:
                self._fail(self.given.name, error)

    def _restore(self, row: R) -> None:
        scenario: S = validate(self.scenario_type, row.scenario, source=f"{self.word} loop {row.name}")
        if self.given is not None and self.given.name == row.name and self.given != scenario:
            values = {"scenario": self.given.model_dump(mode="json"), **self._edited(row, scenario, self.given)}
            with self.store.write() as session:
                kept = session.get_one(self.row_type, row.name)
                for name, value in values.items():
                    setattr(kept, name, value)
                    setattr(row, name, value)
            self.recorder.event("scenario", f"{self.file} was edited: taken over", loop=row.name)
            scenario = self.given
        self._begin(self._loop(scenario, row))

    def _begin(self, loop: L) -> L:
        loop.start()
        self.loops[loop.name] = loop
        return loop

    def _fail(self, name: str, error: Exception) -> None:
        self.broken[name] = str(error) or type(error).__name__
        self.recorder.event("loop_failed", self.broken[name], loop=name)
