"""Decisions and events, written behind the loops' backs: a loop never waits for the database.

Records wait in bounded memory; while the database is in trouble they stay there, and the oldest go first.
Old rows are deleted in small batches, so that the disk stays constant.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import delete, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from edgewright.service.store.store import Store, StoreError
from edgewright.service.store.tables import BackhaulRow, DecisionRow, EventRow, LoopRow, MigrationRow

FLUSH_S = 0.5
KEPT_RECORDS = 20_000  # in memory while the database is away: over an hour of a loop with an interval of 1 s
BATCH = 500
PRUNE_S = 30.0

Record = tuple[type[DecisionRow | EventRow], dict[str, Any]]
InForce = tuple[type[LoopRow | BackhaulRow | MigrationRow], dict[str, Any]]  # columns of a loop's row
log = structlog.get_logger("edgewright.store")


@dataclass
class Recorder:
    """The one writer of telemetry in this process."""

    store: Store
    retention_s: float
    trouble: str | None = None  # why the last write failed; None while all is well
    lost: int = 0  # records dropped because memory was full
    _waiting: deque[Record] = field(default_factory=deque)
    _in_force: dict[str, InForce] = field(default_factory=dict)  # by loop, the newest
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _flushing: threading.Lock = field(default_factory=threading.Lock)
    _wake: threading.Event = field(default_factory=threading.Event)
    _ending: bool = False
    _thread: threading.Thread | None = None
    _next_prune: float = 0.0

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what waits (one last try), then end."""
        self._ending = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(10.0)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def decision(self, row: dict[str, Any], in_force: InForce | None = None) -> None:
        """Queue a decision, and what is now in force, where that changed."""
        with self._lock:
            self._put(DecisionRow, row)
        if in_force is not None:
            self.in_force(row["loop"], in_force)

    def in_force(self, loop: str, values: InForce) -> None:
        with self._lock:
            self._in_force[loop] = values

    def event(self, kind: str, detail: str, *, loop: str = "", service: str = "") -> None:
        """Queue an event, and log it."""
        log.info(kind, detail=detail, loop=loop, service=service)
        row = {
            "id": str(uuid.uuid4()),
            "loop": loop,
            "t": time.time(),
            "kind": kind,
            "service": service,
            "detail": detail,
        }
        with self._lock:
            self._put(EventRow, row)

    def _put(self, table: type[DecisionRow | EventRow], row: dict[str, Any]) -> None:
        if len(self._waiting) >= KEPT_RECORDS:
            self._waiting.popleft()
            self.lost += 1
        self._waiting.append((table, row))

    def flush(self) -> None:
        """Write everything that waits, in batches. Raises StoreError; what was not written stays queued."""
        with self._flushing:  # two at once would each take the same records away
            self._flush()

    def _flush(self) -> None:
        while True:
            with self._lock:
                batch = [self._waiting[i] for i in range(min(BATCH, len(self._waiting)))]
                in_force, lost = dict(self._in_force), self.lost
            if not batch and not in_force:
                return
            try:
                self._write(batch, in_force)
            except IntegrityError:  # some are there already: a commit whose answer was lost, a second worker
                for record in batch:
                    with contextlib.suppress(IntegrityError):
                        self._write([record], in_force)
            with self._lock:
                for _ in range(len(batch) - min(self.lost - lost, len(batch))):  # the oldest may have gone meanwhile
                    self._waiting.popleft()
                for loop, values in in_force.items():
                    if self._in_force.get(loop) is values:
                        del self._in_force[loop]

    def _write(self, batch: list[Record], in_force: dict[str, InForce]) -> None:
        with self.store.write() as session:
            for table in (DecisionRow, EventRow):
                rows = [row for kind, row in batch if kind is table]
                if rows:
                    session.execute(insert(table), rows)
            for loop, (owner, values) in in_force.items():
                session.execute(update(owner).where(owner.name == loop).values(**values))

    def prune(self) -> int:
        """Delete one batch of what is too old of each table -> rows deleted. Raises StoreError."""
        before, deleted = time.time() - self.retention_s, 0
        with self.store.write() as session:
            old = select(DecisionRow.loop, DecisionRow.seq).where(DecisionRow.t < before).limit(BATCH)
            keys = [tuple(row) for row in session.execute(old)]
            if keys:
                session.execute(delete(DecisionRow).where(tuple_(DecisionRow.loop, DecisionRow.seq).in_(keys)))
            ids = session.scalars(select(EventRow.id).where(EventRow.t < before).limit(BATCH)).all()
            if ids:
                session.execute(delete(EventRow).where(EventRow.id.in_(ids)))
            deleted = len(keys) + len(ids)
        return deleted

    def _run(self) -> None:
        while not self._ending:
            self._wake.wait(FLUSH_S)
            try:
                self.flush()
                if time.monotonic() >= self._next_prune:
                    more = self.prune() >= BATCH
                    self._next_prune = time.monotonic() + (FLUSH_S if more else PRUNE_S)
                if self.trouble is not None:
                    self.trouble, was = None, self.trouble
                    self.event("database_back", f"writing again; {self.lost} records lost so far; it was: {was}")
            except StoreError as error:
                if self.trouble is None:
                    log.error("database_trouble", detail=str(error))
                    self.trouble = str(error)
                    self.event("database_trouble", str(error))
                self.trouble = str(error)
