"""Durable workflows, ended at every point and at random moments: they end as if they never had been."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import func, select

from edgewright.service.store import Store
from edgewright.service.store.tables import OutboxRow, ResourceRow, WorkflowRow
from edgewright.service.workflows import durable
from edgewright.service.workflows.durable import Workflows
from edgewright.service.workflows.steps import Context, Done, Json, Step, Workflow

from .conftest import until
from .worlds import NAMES, Mortal, World, begin, happened, kinds, started, states, wait

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # simulated crashes


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "FIRST_DELAY_S", 0.002)
    monkeypatch.setattr(durable, "LONGEST_DELAY_S", 0.05)


def test_close_lets_the_present_step_end_and_another_start_goes_on(store: Store) -> None:
    begun = threading.Event()

    def slow(_: Context) -> None:
        begun.set()
        time.sleep(0.2)

    of = kinds(Step("slow", slow), Step("next", lambda _: None))
    with started(store, of) as workflows:
        id = begin(workflows, store)
        assert begun.wait(10)
        workflows.close()
        assert states(workflows, id) == {"slow": "done", "next": "waiting"}
        workflows.start()
        assert wait(store, id) == ("done", "")
        assert workflows.steps_of(id)[0].attempts == 1


def test_who_lost_the_lease_in_a_step_records_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "FIRST_DELAY_S", 5.0)  # it is told to close before it begins the step once more
    monkeypatch.setattr(durable, "LONGEST_DELAY_S", 5.0)
    goes, begun = ({who: threading.Event() for who in ("old", "new")} for _ in range(2))
    outputs: list[Json] = []

    def of(who: str) -> dict[str, Workflow]:
        def do(_: Context) -> Done:
            begun[who].set()
            goes[who].wait(10)
            return Done({"by": who}, commit=lambda session: happened(session, who, id, ""))

        return kinds(Step("a", do), Step("b", lambda context: outputs.append(context.output_of("a"))))

    id = str(uuid.uuid4())
    with started(store, of("old")) as old:
        begin(old, store, id=id)
        assert begun["old"].wait(10)
        with started(store, of("new")) as new:
            assert begun["new"].wait(10)
            goes["old"].set()
            until(lambda: old.trouble)
            assert "another process runs it" in old.trouble[0]
            old.close()
            goes["new"].set()
            assert wait(store, id) == ("done", "")
            assert new.steps_of(id)[0].state == "done"
    with store.read() as session:
        assert session.scalars(select(OutboxRow.type)).all() == ["new"]
    assert outputs == [{"by": "new"}]


@pytest.mark.parametrize("fails", ["", "no port"])
def test_crash_at_every_point(store: Store, fails: str) -> None:
    world = World()
    names = NAMES[:2]
    last = [world.step("connect", fails=fails)] if fails else []
    of = kinds(*map(world.step, names), *last)
    for point in itertools.count(1):
        mortal = Mortal(store, dies_at=point)
        world.boundary = mortal.boundary
        with started(mortal, of) as workflows:
            id = begin(workflows, store)
            wait(store, id, mortal)
        died, world.boundary = mortal.dead, lambda: None
        with started(store, of) as workflows:
            assert wait(store, id)[0] == ("failed" if fails else "done"), point
            did = sorted(names)
            expected = ([], [], did, ["connect", "deploy", "reserve"]) if fails else (did, did, did, [])
            assert world.effects(store, id) == expected, point
            assert all(step.attempts <= 2 for step in workflows.steps_of(id))
        if not died:
            break
    assert point > 20  # transactions and effects that it was ended in


one_step = st.fixed_dictionaries(
    {"transient": st.integers(0, 2), "retries": st.integers(0, 2), "undo_fails": st.integers(0, 2)}
)


@examples(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(one_step, max_size=5), st.none() | st.integers(0, 4), st.lists(st.integers(1, 30), max_size=3))
@example([{"transient": 1, "retries": 1, "undo_fails": 1}] * 3, 2, [13, 7, 21])
def test_all_or_nothing(store: Store, given: list[dict[str, int]], fails_at: int | None, crashes: list[int]) -> None:
    world = World()
    names = [f"step {n}" for n in range(len(given))]
    steps = [
        world.step(name, fails="x" if n == fails_at else "", **of)
        for n, (name, of) in enumerate(zip(names, given, strict=True))
    ]
    id = begin(Workflows(store, kinds(*steps)), store)
    for dies_at in crashes:
        mortal = Mortal(store, dies_at)
        world.boundary = mortal.boundary
        with started(mortal, kinds(*steps)):
            wait(store, id, mortal)
    world.boundary = lambda: None
    with started(store, kinds(*steps)) as workflows:
        ends = wait(store, id)[0]
        seen = states(workflows, id)
    outside, kept, did, undid = world.effects(store, id)
    if ends == "done":
        assert outside == kept == did == names
        assert undid == []
        assert fails_at is None or fails_at >= len(given)
    else:
        assert outside == kept == []
        assert len(set(did)) == len(did)
        assert undid == sorted(set(undid), reverse=True)
        assert set(did) <= set(undid)
        assert sorted(set(seen.values()) - {"undone", "waiting"}) == ["failed"]


KILLED = """
import os, sys, time, uuid
from pathlib import Path
import alembic.command  # what Store imports when opened
import structlog
from edgewright.service.store import Store
from edgewright.service.store.tables import OutboxRow, ResourceRow
from edgewright.service.workflows.durable import Workflows
from edgewright.service.workflows.steps import Done, Step, Workflow
from sqlalchemy import delete

folder = Path(sys.argv[2])
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # only pids go to the other

def step(name, fails):
    def happened(session, what, id):
        event = {"api": "t", "type": what, "subject": id, "t": time.time(), "body": {"step": name}}
        session.add(OutboxRow(id=str(uuid.uuid4()), **event))

    def do(context):
        (folder / f"{context.id}.{name}.half").touch()
        time.sleep(0.01)
        (folder / f"{context.id}.{name}.whole").touch()
        if fails:
            raise ValueError("no")
        def commit(session):
            key = f"{context.id}.{name}"
            session.add(ResourceRow(kind="made", id=key, body={}, created=time.time(), updated=time.time()))
            happened(session, "did", context.id)
        return Done({}, commit)

    def undo(context):
        for half in ("half", "whole"):
            (folder / f"{context.id}.{name}.{half}").unlink(missing_ok=True)
        def commit(session):
            session.execute(delete(ResourceRow).where(ResourceRow.id == f"{context.id}.{name}"))
            happened(session, "undid", context.id)
        return Done(commit=commit)

    return Step(name, do, undo)

def steps(given):
    return [step(str(n), n == given["fails_at"]) for n in range(4)]

def run():
    store = Store(sys.argv[1])
    workflows = Workflows(store, {"order": Workflow("order", steps)})
    with store.write() as session:
        for n in range(16):
            input = {"subject": f"s{n // 2}", "fails_at": 3 if n % 4 == 3 else -1}
            workflows.begin(session, "order", f"w{n:02}", input)
    workflows.start()
    print(os.getpid(), flush=True)
    time.sleep(60)

for _ in sys.stdin:  # imported once, begun many times
    if (pid := os.fork()) == 0:
        run()
    os.waitpid(pid, 0)
"""


def test_killed_at_random_moments(store: Store, url: str, tmp_path: Path) -> None:
    """Sixteen workflows of four steps; each fourth fails at its last; two of each subject."""
    folder, chance, kills = tmp_path / "made", random.Random(4), 0
    folder.mkdir()

    def open_ones() -> int:
        with store.read() as session:
            wanted = select(func.count()).select_from(WorkflowRow).where(WorkflowRow.state.in_(durable.OPEN))
            return session.scalar(wanted) or 0

    command = [sys.executable, "-c", KILLED, url, folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as forks:
        assert forks.stdin is not None
        assert forks.stdout is not None
        for last in [False] * 10 + [True]:
            print("go", file=forks.stdin, flush=True)
            pid = int(forks.stdout.readline())
            try:
                if last:
                    until(lambda: open_ones() == 0)
                else:
                    time.sleep(chance.uniform(0.0, 0.12))
            finally:
                os.kill(pid, signal.SIGKILL)
            kills += open_ones() > 0
        forks.stdin.close()
    assert kills >= 5
    workflows = Workflows(store, {})
    with store.read() as session:
        rows = session.scalars(select(WorkflowRow).order_by(WorkflowRow.created)).all()
        resources = set(session.scalars(select(ResourceRow.id)))
        events = [
            (e.subject, e.type, e.body["step"]) for e in session.scalars(select(OutboxRow).order_by(OutboxRow.seq))
        ]
    files = {path.name for path in folder.iterdir()}
    assert [row.id for row in rows] == [f"w{n:02}" for n in range(16)]
    for row in rows:
        fails = row.input["fails_at"] == 3
        assert (row.state, row.error) == (("failed", "3: ValueError: no") if fails else ("done", ""))
        made = [] if fails else [f"{row.id}.{n}" for n in range(4)]
        assert {id for id in resources if id.startswith(row.id)} == set(made)
        assert {name for name in files if name.startswith(row.id)} == {
            f"{n}.{h}" for n in made for h in ("half", "whole")
        }
        expected = [("did", str(n)) for n in range(3 if fails else 4)]
        expected += [("undid", str(n)) for n in (3, 2, 1, 0) if fails]
        assert [event[1:] for event in events if event[0] == row.id] == expected
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        before, after = workflows.steps_of(first.id), workflows.steps_of(second.id)
        assert max(step.ended or 0.0 for step in before) <= min(step.began or 0.0 for step in after)
