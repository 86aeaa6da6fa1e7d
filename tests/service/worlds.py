"""Where the steps of workflows have effects, and a store as a process sees it that dies."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from edgewright.drivers.host import HostError
from edgewright.service.store import Store
from edgewright.service.store.tables import OutboxRow, ResourceRow, WorkflowRow
from edgewright.service.workflows import durable
from edgewright.service.workflows.durable import Workflows
from edgewright.service.workflows.steps import Context, Done, Json, Step, Workflow

NAMES = ("reserve", "deploy", "connect")


class Crash(BaseException):
    """What ends a process: nobody handles it."""


class Mortal(Store):
    """The store as a process sees it that dies at its `dies_at`-th boundary; nothing of it acts afterwards."""

    def __init__(self, store: Store, dies_at: int) -> None:
        self.store, self.dies_at, self.passed = store, dies_at, 0

    @property
    def dead(self) -> bool:
        return self.passed >= self.dies_at

    def boundary(self) -> None:
        self.passed += 1
        self.check()

    def check(self) -> None:
        if self.dead:
            raise Crash

    @contextmanager
    def read(self) -> Iterator[Session]:
        self.check()
        with self.store.read() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        self.boundary()
        with self.store.write() as session:
            yield session
            self.boundary()
        self.boundary()


def happened(session: Session, what: str, id: str, step: str) -> None:
    """An event in the outbox: one for each time that it was committed."""
    row = OutboxRow(id=str(uuid.uuid4()), api="t", type=what, subject=id, t=time.time(), body={"step": step})
    session.add(row)


class World:
    """Where steps have effects: things outside, made and unmade idempotently, and a resource by the commit."""

    def __init__(self) -> None:
        self.made: set[tuple[str, str]] = set()
        self.calls: list[str] = []
        self.boundary: Callable[[], None] = lambda: None

    def step(self, name: str, fails: str = "", transient: int = 0, undo_fails: int = 0, **more: Any) -> Step:
        """`transient` and `undo_fails` of its calls raise first; with `fails` it does, half done."""
        left = {"do": transient, "undo": undo_fails}

        def troubled(what: str) -> bool:
            left[what] -= 1
            return left[what] >= 0

        def do(context: Context) -> Done:
            self.calls.append(f"do {name}")
            self.boundary()
            self.made.add((context.id, name))
            self.boundary()
            if troubled("do"):
                raise HostError(name, "busy")
            if fails:
                raise ValueError(fails)
            return Done({"made": name}, commit=lambda session: commit(context, session))

        def commit(context: Context, session: Session) -> None:
            now = time.time()  # not idempotent: a second of the same would be an IntegrityError
            row = ResourceRow(kind="made", id=f"{context.id}-{name}"[-64:], body={}, created=now, updated=now)
            session.add(row)
            happened(session, "did", context.id, name)

        def undo(context: Context) -> Done:
            self.calls.append(f"undo {name}")
            self.boundary()
            if troubled("undo"):
                raise HostError(name, "still there")
            self.made.discard((context.id, name))
            self.boundary()
            return Done(commit=lambda session: forget(context, session))

        def forget(context: Context, session: Session) -> None:
            row = f"{context.id}-{name}"[-64:]
            session.execute(delete(ResourceRow).where(ResourceRow.kind == "made", ResourceRow.id == row))
            happened(session, "undid", context.id, name)

        return Step(name, do, undo, transient=(HostError,), **more)

    def effects(self, store: Store, id: str) -> tuple[list[str], list[str], list[str], list[str]]:
        """Outside, in the store, and the events of what was done and undone."""
        with store.read() as session:
            kept = session.scalars(select(ResourceRow.id).where(ResourceRow.id.startswith(id))).all()
            wanted = select(OutboxRow.type, OutboxRow.body).where(OutboxRow.subject == id)
            events = session.execute(wanted.order_by(OutboxRow.seq)).all()
        outside = sorted(step for workflow, step in self.made if workflow == id)
        did, undid = ([body["step"] for type_, body in events if type_ == what] for what in ("did", "undid"))
        return outside, sorted(row.removeprefix(f"{id}-") for row in kept), sorted(did), undid


def kinds(*steps: Step, ended: Any = None) -> dict[str, Workflow]:
    return {"order": Workflow("order", lambda _: steps, ended)}


@contextmanager
def started(store: Store, of: dict[str, Workflow], **more: Any) -> Iterator[Workflows]:
    made = Workflows(store, of, **more)
    made.start()
    try:
        yield made
    finally:
        made.close()


def begin(workflows: Workflows, store: Store, input: Json | None = None, id: str | None = None) -> str:
    id = id or str(uuid.uuid4())
    with store.write() as session:
        workflows.begin(session, "order", id, input or {})
    workflows.wake()
    return id


def state(store: Store, id: str) -> tuple[str, str]:
    with store.read() as session:
        row = session.get_one(WorkflowRow, id)
    return row.state, row.error


def wait(store: Store, id: str, of: Mortal | None = None) -> tuple[str, str]:
    """Until it has ended, or the process that runs it."""
    deadline = time.monotonic() + 20
    while state(store, id)[0] in durable.OPEN and not (of and of.dead):
        assert time.monotonic() < deadline, f"{id} did not end"
        time.sleep(0.01)
    return state(store, id)


def states(workflows: Workflows, id: str) -> dict[str, str]:
    return {step.name: step.state for step in workflows.steps_of(id)}
