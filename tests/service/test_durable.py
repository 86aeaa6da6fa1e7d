"""Durable workflows on SQLite and PostgreSQL: as ordered, failing, cancelled, closed."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from edgewright.core.errors import InputError
from edgewright.drivers.host import HostError
from edgewright.service.refusals import Conflict
from edgewright.service.store import Store, StoreError
from edgewright.service.store.tables import OutboxRow, ResourceRow, WorkflowRow
from edgewright.service.workflows import durable
from edgewright.service.workflows.durable import Workflows
from edgewright.service.workflows.steps import Context, Done, Json, Step

from .conftest import until
from .worlds import NAMES, Mortal, World, begin, happened, kinds, started, state, states, wait

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # simulated crashes


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "FIRST_DELAY_S", 0.002)
    monkeypatch.setattr(durable, "LONGEST_DELAY_S", 0.05)


# As ordered


def test_each_step_once_and_shown(store: Store) -> None:
    world, told, at_end = World(), [], []
    of = kinds(*(world.step(name) for name in NAMES), ended=lambda _, *told: at_end.append(told))
    with started(store, of, on_step=lambda *step: told.append(step[1:])) as workflows:
        id = begin(workflows, store, {"service": "a"})
        assert wait(store, id) == ("done", "")
        assert world.calls == [f"do {name}" for name in NAMES]
        assert world.effects(store, id) == (sorted(NAMES), sorted(NAMES), sorted(NAMES), [])
        seen = workflows.steps_of(id)
        assert [(s.name, s.state, s.attempts, s.error) for s in seen] == [(name, "done", 1, "") for name in NAMES]
        times = list(itertools.chain.from_iterable((s.began, s.ended) for s in seen))
        assert times == sorted(times, key=float)
        assert workflows.trouble == []
        assert workflows.steps_of("none") == []
    assert told == [(name, state) for name in NAMES for state in ("running", "done")]
    assert at_end == [(id, {"service": "a"}, "done", "")]


def test_a_step_knows_what_came_of_those_before(store: Store) -> None:
    found: dict[str, Any] = {}

    def last(context: Context) -> None:
        found.update(a=context.output_of("a"), b=context.output_of("b"), attempt=context.attempt, **context.input)
        with pytest.raises(KeyError):
            context.output_of("none")

    of = kinds(Step("a", lambda _: {"port": 1}), Step("b", lambda _: None), Step("last", last))
    with started(store, of) as workflows:
        assert wait(store, begin(workflows, store, {"size": 3})) == ("done", "")
    assert found == {"a": {"port": 1}, "b": {}, "attempt": 1, "size": 3}


def test_running_step_its_note_and_those_to_come_are_shown(store: Store) -> None:
    goes, noted = threading.Event(), threading.Event()

    def pull(context: Context) -> Json:
        context.note("2 of 5 layers")
        noted.set()
        goes.wait(10)
        return {}

    with started(store, kinds(Step("a", lambda _: None), Step("pull", pull), Step("c", lambda _: None))) as workflows:
        id = begin(workflows, store)
        assert noted.wait(10)
        seen = {step.name: step for step in workflows.steps_of(id)}
        goes.set()
        assert wait(store, id) == ("done", "")
    assert [step.state for step in seen.values()] == ["done", "running", "waiting"]
    assert (seen["pull"].note, seen["pull"].ended, seen["c"].attempts) == ("2 of 5 layers", None, 0)


def test_begun_with_the_callers_transaction_or_not_at_all(store: Store) -> None:
    workflows = Workflows(store, kinds(Step("a", lambda _: None)))

    def fails() -> None:
        with store.write() as session:
            workflows.begin(session, "order", "x", {})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    with store.write() as session:
        assert session.get(WorkflowRow, "x") is None
        workflows.begin(session, "order", "x", {"n": 1})
        workflows.begin(session, "order", "x", {"n": 1})
        with pytest.raises(Conflict, match="another"):
            workflows.begin(session, "order", "x", {"n": 2})
        with pytest.raises(InputError, match="kind"):
            workflows.begin(session, "disorder", "y", {})
    twice = Workflows(store, kinds(Step("a", lambda _: None), Step("a", lambda _: None)))
    with store.write() as session, pytest.raises(ValueError, match="each once"):
        twice.begin(session, "order", "z", {})


def test_begun_by_many_at_once_it_is_one(store: Store) -> None:
    workflows, ready = Workflows(store, kinds(Step("a", lambda _: None))), threading.Barrier(4)
    errors: list[Exception] = []

    def race() -> None:
        try:
            ready.wait(10)
            begin(workflows, store, {"n": 1}, id="x")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_begun_by_another_process(store: Store) -> None:
    of = kinds(Step("a", lambda _: None))
    with started(store, of):
        assert wait(store, begin(Workflows(store, of), store)) == ("done", "")


# Failures


def test_failure_undoes_in_reverse_order(store: Store) -> None:
    world, at_end = World(), []
    steps = [world.step("reserve"), world.step("deploy"), world.step("connect", fails="no port"), world.step("never")]
    with started(store, kinds(*steps, ended=lambda _, *told: at_end.append(told[2:]))) as workflows:
        id = begin(workflows, store)
        assert wait(store, id) == ("failed", "connect: ValueError: no port")
        undone = ["connect", "deploy", "reserve"]
        assert world.calls[3:] == [f"undo {name}" for name in undone]
        assert world.effects(store, id) == ([], [], ["deploy", "reserve"], undone)
        told = {"reserve": "undone", "deploy": "undone", "connect": "failed", "never": "waiting"}
        assert states(workflows, id) == told
        assert workflows.steps_of(id)[2].error == "ValueError: no port"
    assert at_end == [("failed", "connect: ValueError: no port")]


def test_a_commit_that_fails_is_the_steps_failure(store: Store) -> None:
    world = World()

    def refuse(session: Session) -> None:
        session.add(ResourceRow(kind="made", id="half", body={}, created=0.0, updated=0.0))
        session.flush()
        raise Conflict("not in this state")

    steps = [world.step("reserve"), Step("commit", lambda _: Done(commit=refuse))]
    with started(store, kinds(*steps)) as workflows:
        id = begin(workflows, store)
        assert wait(store, id) == ("failed", "commit: not in this state")
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(ResourceRow)) == 0
    assert world.effects(store, id)[0] == []


@pytest.mark.parametrize(("retries", "attempts", "ends"), [(2, 3, "done"), (1, 2, "failed")])
def test_transient_errors_are_tried_again(store: Store, retries: int, attempts: int, ends: str) -> None:
    world = World()
    with started(store, kinds(world.step("deploy", transient=2, retries=retries))) as workflows:
        id = begin(workflows, store)
        assert wait(store, id)[0] == ends
        (seen,) = workflows.steps_of(id)
        assert (seen.state, seen.attempts) == (ends, attempts)
        assert workflows.trouble == []
    assert world.effects(store, id)[0] == (["deploy"] if ends == "done" else [])


def test_other_errors_are_not(store: Store) -> None:
    world = World()
    with started(store, kinds(world.step("deploy", fails="wrong \0 \ud800", retries=5))) as workflows:
        id = begin(workflows, store)
        assert wait(store, id) == ("failed", "deploy: ValueError: wrong ? ?")
        assert workflows.steps_of(id)[0].attempts == 1


def test_an_undo_that_fails_is_trouble_until_it_works(store: Store) -> None:
    works, world = threading.Event(), World()

    def undo(_: Context) -> None:
        if not works.is_set():
            raise HostError("a", "still there")

    steps = [world.step("reserve"), Step("deploy", lambda _: None, undo), Step("last", lambda _: {}["none"])]
    with started(store, kinds(*steps)) as workflows:
        id, other = begin(workflows, store), begin(workflows, store)  # none holds the other up
        error = "a: still there"
        until(lambda: set(workflows.trouble) == {f"workflow {each}: {error}" for each in (id, other)})
        assert states(workflows, id) == {"reserve": "done", "deploy": "done", "last": "failed"}
        until(lambda: workflows.steps_of(id)[1].error == f"undo: {error}")
        works.set()
        assert wait(store, id) == wait(store, other) == ("failed", "last: KeyError: 'none'")
        assert [step.error for step in workflows.steps_of(id)] == ["", "", "KeyError: 'none'"]
        until(lambda: workflows.trouble == [])
    assert world.effects(store, id)[:2] == ([], [])


def test_a_database_that_is_away_is_trouble_until_it_is_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    away, read = threading.Event(), store.read

    def refuse() -> Any:
        if away.is_set() and threading.current_thread().name == "workflows":
            raise StoreError("away")
        return read()

    monkeypatch.setattr(store, "read", refuse)
    away.set()
    with started(store, kinds(Step("a", lambda _: None))) as workflows:
        id = begin(workflows, store)
        until(lambda: workflows.trouble == ["away"])
        away.clear()
        assert wait(store, id) == ("done", "")
        until(lambda: workflows.trouble == [])


def test_an_end_that_is_refused_is_tried_again(store: Store) -> None:
    refusals = [RuntimeError("no"), RuntimeError("no")]

    def ended(session: Session, id: str, *_: Any) -> None:
        happened(session, "ended", id, "")
        if refusals:
            raise refusals.pop()

    with started(store, kinds(Step("a", lambda _: None), ended=ended)) as workflows:
        assert wait(store, begin(workflows, store)) == ("done", "")
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(OutboxRow)) == 1


@pytest.mark.parametrize(("errors", "ends"), [(3, "done"), (100, "failed")])
def test_the_databases_trouble_is_not_the_steps_at_once(store: Store, errors: int, ends: str) -> None:
    left = iter(range(errors))

    def commit(_: Session) -> None:
        if next(left, None) is not None:
            raise StoreError("deadlock")

    with started(store, kinds(Step("a", lambda _: Done(commit=commit)))) as workflows:
        assert wait(store, begin(workflows, store))[0] == ends


def test_steps_that_are_others_than_before_are_trouble(store: Store) -> None:
    world = World()
    mortal = Mortal(store, dies_at=4)
    with started(mortal, kinds(world.step("reserve"))) as workflows:
        id = begin(workflows, store)
        wait(store, id, mortal)
    with started(store, kinds(world.step("changed"))) as workflows:
        until(lambda: workflows.trouble)
        assert "others than those it began with" in workflows.trouble[0]
    with started(store, kinds(world.step("reserve"))):
        assert wait(store, id) == ("done", "")


# Cancelled


def test_a_step_that_fails_while_the_process_ends_is_called_again(store: Store) -> None:
    entered, leave, attempts = threading.Event(), threading.Event(), list[int]()

    def do(context: Context) -> None:
        attempts.append(context.attempt)
        if context.attempt == 1:
            entered.set()
            leave.wait(10)
            raise HostError("x", "the host is closed")

    of = kinds(Step("a", do))
    with started(store, of) as workflows:
        id = begin(workflows, store)
        assert entered.wait(10)
        workflows.ask_to_stop()
        leave.set()
    assert state(store, id) == ("running", "")
    with started(store, of):
        assert wait(store, id) == ("done", "")
    assert attempts == [1, 2]


def test_cancelled_it_ends_after_its_step_and_is_undone(store: Store) -> None:
    world, goes = World(), threading.Event()
    slow = Step("slow", lambda _: {"went": goes.wait(10)}, lambda _: world.calls.append("undo slow"))
    with started(store, kinds(world.step("reserve"), slow, world.step("never"))) as workflows:
        id = begin(workflows, store)
        until(lambda: states(workflows, id)["slow"] == "running")
        rolled_back = pytest.raises(RuntimeError)
        with rolled_back, store.write() as session:
            workflows.cancel(session, id)
            raise RuntimeError
        assert state(store, id) == ("running", "")
        with store.write() as session:
            workflows.cancel(session, id)
            workflows.cancel(session, id)
        goes.set()
        assert wait(store, id) == ("failed", "cancelled")
        assert world.calls == ["do reserve", "undo slow", "undo reserve"]
        assert world.effects(store, id)[:2] == ([], [])
        assert states(workflows, id) == {"reserve": "undone", "slow": "undone", "never": "waiting"}
        with store.write() as session:
            with pytest.raises(Conflict, match="failed already"):
                workflows.cancel(session, id)
            with pytest.raises(InputError, match="a workflow"):
                workflows.cancel(session, "none")


def test_cancelled_before_it_ran_it_does_nothing(store: Store) -> None:
    world = World()
    workflows = Workflows(store, kinds(world.step("reserve")))
    id = begin(workflows, store)
    with store.write() as session:
        workflows.cancel(session, id)
    workflows.start()
    try:
        assert wait(store, id) == ("failed", "cancelled")
    finally:
        workflows.close()
    assert world.calls == []


def test_cancelled_at_its_very_end_it_is_undone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look that finds all steps done and the transaction that ends it."""
    world, write, ends = World(), store.write, []
    workflows = Workflows(store, kinds(world.step("reserve"), ended=lambda _, *told: ends.append(told[2:])))
    id = begin(workflows, store)
    writes = itertools.count(1)

    def late() -> Any:
        if threading.current_thread().name == f"workflow {id}" and next(writes) == 4:  # begun, done, looked, ended
            with write() as session:
                workflows.cancel(session, id)
        return write()

    monkeypatch.setattr(store, "write", late)
    workflows.start()
    try:
        assert wait(store, id) == ("failed", "cancelled")
    finally:
        workflows.close()
    assert ends == [("done", ""), ("failed", "cancelled")]  # the first was rolled back
    assert world.effects(store, id)[:2] == ([], [])


# One after the other


def test_one_at_a_time_of_a_subject_in_order_others_beside(store: Store) -> None:
    spans: list[tuple[str, int, float, float]] = []
    both = threading.Barrier(2)

    def work(context: Context) -> None:
        began = time.monotonic()
        if context.input["n"] < 2:
            both.wait(10)  # the first of each subject, beside each other
        spans.append((context.input["subject"], context.input["n"], began, time.monotonic()))

    with started(store, kinds(Step("a", work), Step("b", work)), workers=4) as workflows:
        with store.write() as session:
            ids = [f"{9 - n}-{subject}" for n in range(4) for subject in "ab"]
            for at, id in enumerate(ids):
                workflows.begin(session, "order", id, {"subject": id[-1], "n": at})
        workflows.wake()
        assert {wait(store, id)[0] for id in ids} == {"done"}
    for subject in "ab":
        of = [(n, began, ended) for name, n, began, ended in spans if name == subject]
        assert [n for n, *_ in of] == sorted(n for n, *_ in of)
        assert all(ended <= began for (_, _, ended), (_, began, _) in itertools.pairwise(of))
