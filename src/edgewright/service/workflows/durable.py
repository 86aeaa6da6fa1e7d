"""Workflows whose steps are recorded in the store: a crash at any moment ends in the state that none would have.

A step may be called again after a crash, so that `do` and `undo` are idempotent; what must happen once (a change of a
resource, an event) goes into `Done.commit`, the very transaction that records the step. A step's attempt is its fence:
of two processes that run it at once only the one that began it last can record it.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from edgewright.core.errors import InputError
from edgewright.service.refusals import Conflict
from edgewright.service.store import Store, StoreError
from edgewright.service.store.tables import StepRow, WorkflowRow
from edgewright.service.workflows.steps import Context, Done, Json, Seen, Step, Workflow

POLL_S = 0.5  # workflows that another process began
CLOSE_S = 10.0
FIRST_DELAY_S, LONGEST_DELAY_S = 0.1, 30.0  # before a step is tried again
STORE_RETRIES = 5  # of a step that the database refuses while it takes the rest: it may be the step
OPEN = ("running", "undoing")
CANCELLED = "cancelled"  # the error of a workflow that was

log = structlog.get_logger("edgewright.workflows")


class _Changed(Exception):
    """By a cancellation, or by another process that runs it."""


@dataclass(frozen=True)
class _Turn:
    """A step to do, or to undo."""

    row: WorkflowRow
    step: Step
    n: int
    was: str  # its state
    context: Context

    @property
    def forward(self) -> bool:
        return self.row.state == "running"


@dataclass(frozen=True)
class _Parked:
    times: int
    due: float  # monotonic
    error: str


class Workflows:
    """Those of one store, run by the process that has the lease: it alone calls `start`; any may begin and cancel.

    Workflows of the same `input["subject"]` run one after the other, in the order of their creation.
    """

    def __init__(
        self,
        store: Store,
        kinds: Mapping[str, Workflow],
        workers: int = 2,
        on_step: Callable[[str, str, str], None] | None = None,
    ) -> None:
        """`on_step(workflow, step, state)` is called after a step's state was recorded."""
        self.store, self.kinds, self.workers, self.on_step = store, kinds, workers, on_step
        self._busy: dict[str, tuple[str | None, threading.Thread]] = {}  # workflow -> subject, who runs it
        self._parked: dict[str, _Parked] = {}
        self._failures: Counter[str] = Counter()  # of the present step of a workflow
        self._trouble: str | None = None  # with the database
        self._lock = threading.Lock()
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Go on with all that is open in the store."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._dispatch, name="workflows", daemon=True)
        self._thread.start()

    def ask_to_stop(self) -> None:
        """No step begins any more; one that fails from now on is called again by the next start."""
        self._stop.set()
        self._wake.set()

    def close(self) -> None:
        """Let the present steps end; one that takes longer than `CLOSE_S` is called again by the next start."""
        self.ask_to_stop()
        with self._lock:
            threads = [thread for _, thread in self._busy.values()]
        until = time.monotonic() + CLOSE_S
        for thread in [self._thread, *threads]:
            if thread is not None:
                thread.join(max(0.0, until - time.monotonic()))

    def wake(self) -> None:
        """After the transaction of `begin` or `cancel`: it need not wait for the next look."""
        self._wake.set()

    @property
    def trouble(self) -> list[str]:
        """What is being tried again, and why."""
        with self._lock:
            lines = [f"workflow {id}: {parked.error}" for id, parked in self._parked.items()]
        return ([self._trouble] if self._trouble else []) + lines

    def begin(self, session: Session, kind: str, id: str, input: Json) -> None:
        """In the caller's transaction; the same again changes nothing.

        Raises InputError for an unknown kind (and what its `steps` raise), Conflict where the id is of another.
        """
        _steps(self._kind(kind), input)
        newest = session.scalar(select(func.max(WorkflowRow.created)).where(WorkflowRow.state.in_(OPEN)))
        now = max(time.time(), math.nextafter(newest or 0.0, math.inf))  # in order, whatever the clock does
        row = WorkflowRow(id=id, kind=kind, input=input, state="running", error="", created=now, updated=now)
        if (old := session.get(WorkflowRow, id)) is None:
            try:
                with session.begin_nested():
                    session.add(row)
                return
            except IntegrityError:  # at the same time
                old = session.get_one(WorkflowRow, id)
        if (old.kind, old.input) != (kind, input):
            raise Conflict(f"workflow {id} is another: {old.kind}")

    def cancel(self, session: Session, id: str) -> None:
        """End it after its present step and undo what was done, in the caller's transaction.

        Raises InputError where there is none, Conflict where it has ended or is at a final step.
        """
        row = session.get(WorkflowRow, id, with_for_update=True)
        if row is None:
            raise InputError("id", id, "of a workflow")
        if row.state not in OPEN:
            raise Conflict(f"workflow {id} is {row.state} already")
        if row.state == "running":
            begun = _rows(session, id)
            if begun and begun[-1].state == "running" and _steps(self._kind(row.kind), row.input)[begun[-1].n].final:
                raise Conflict(f"step {begun[-1].name!r} has begun, and cannot be taken back")
            row.state, row.error, row.updated = "undoing", CANCELLED, time.time()

    def forget(self, session: Session, id: str) -> None:
        """One that has ended, with its steps."""
        session.execute(delete(WorkflowRow).where(WorkflowRow.id == id, WorkflowRow.state.not_in(OPEN)))

    def steps_of(self, id: str) -> list[Seen]:
        """All of them, those to come too; empty where there is no such workflow."""
        with self.store.read() as session:
            row = session.get(WorkflowRow, id)
            rows = _rows(session, id)
        if row is None:
            return []
        seen = []
        for each in rows:
            note = each.output.get("note", "") if each.state == "running" else ""
            seen.append(Seen(each.name, each.state, each.attempts, each.began, each.ended, each.error, note))
        to_come = _steps(self.kinds[row.kind], row.input)[len(rows) :] if row.kind in self.kinds else []
        return seen + [Seen(step.name, "waiting") for step in to_come]

    def _kind(self, kind: str) -> Workflow:
        if kind not in self.kinds:
            raise InputError("kind", kind, f"one of {sorted(self.kinds)}")
        return self.kinds[kind]

    # The thread that hands workflows out

    def _dispatch(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            wait_s = POLL_S
            if len(self._busy) < self.workers:
                try:
                    wait_s = self._hand_out()
                    self._trouble = None
                except Exception as error:  # nothing may end this thread
                    if self._trouble is None:
                        log.warning("workflows_unread", detail=_text(error))
                    self._trouble = _text(error)
            self._wake.wait(wait_s)

    def _hand_out(self) -> float:
        """A thread for each that may run now -> seconds until the next look."""
        subject = WorkflowRow.input["subject"].as_string()
        begun = exists().where(StepRow.workflow == WorkflowRow.id)  # first: one of the past may have come late
        wanted = select(WorkflowRow.id, subject, begun).where(WorkflowRow.state.in_(OPEN))
        with self.store.read() as session:
            rows = session.execute(wanted.order_by(begun.desc(), WorkflowRow.created, WorkflowRow.id)).all()
        now, due = time.monotonic(), [time.monotonic() + POLL_S]
        with self._lock:
            taken = {subject for subject, _ in self._busy.values()} - {None}
            for id, of, _ in rows:
                if of in taken or id in self._busy:
                    continue
                if of is not None:
                    taken.add(of)
                if id in self._parked and self._parked[id].due > now:
                    due.append(self._parked[id].due)
                elif len(self._busy) < self.workers and not self._stop.is_set():
                    thread = threading.Thread(target=self._run, args=(id,), name=f"workflow {id}", daemon=True)
                    self._busy[id] = of, thread
                    thread.start()
        return min(due) - now

    # The thread of a workflow

    def _run(self, id: str) -> None:
        try:
            while not self._stop.is_set() and self._advance(id):
                pass
        except BaseException as error:
            self._park(id, error)
            if not isinstance(error, Exception):
                raise
        finally:
            with self._lock:
                del self._busy[id]
            self._wake.set()

    def _park(self, id: str, error: BaseException) -> None:
        """Until it is tried again, ever more rarely."""
        with self._lock:
            times = self._parked[id].times + 1 if id in self._parked else 0
            delay_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(times, 20))
            self._parked[id] = _Parked(times, time.monotonic() + delay_s, _text(error))
        log.warning("workflow_parked", workflow=id, delay_s=delay_s, detail=_text(error))

    def _forget(self, id: str) -> None:
        """The failures that a success made history."""
        with self._lock:
            self._parked.pop(id, None)
            self._failures.pop(id, None)

    def _advance(self, id: str) -> bool:
        """One step on, or back. False where it is not to go on now. Raises what it is parked for."""
        turn = self._turn(id)
        if isinstance(turn, WorkflowRow):
            self._end(turn)
            return True
        if turn is None:
            self._forget(id)
            return False
        if turn.forward:
            self._tell(turn, "running")
        try:
            act = turn.step.do if turn.forward else turn.step.undo
            result = act(turn.context) if act is not None else None
            state = self._record(turn, result if isinstance(result, Done) else Done(result))
        except _Changed:
            raise
        except Exception as error:
            if self._stop.is_set():  # what it needs may be closing
                raise
            self._fail(turn, error)
            state = ""
        self._forget(id)
        if state:
            self._tell(turn, state)
        return True

    def _turn(self, id: str) -> _Turn | WorkflowRow | None:
        """The next step, recorded as begun; the workflow where none is left; None where it has ended."""
        with self.store.write() as session:
            row = session.get(WorkflowRow, id, with_for_update=True)
            if row is None or row.state not in OPEN:
                return None
            steps, rows = _steps(self._kind(row.kind), row.input), _rows(session, id)
            if [each.name for each in rows] != [step.name for step in steps[: len(rows)]]:
                raise ValueError(f"the steps of {row.kind!r} are others than those it began with")
            n = _next(row.state, steps, rows)
            if n is None:
                return row
            row.updated = time.time()
            if n == len(rows):
                new = {"state": "running", "attempts": 0, "output": {}, "error": "", "began": row.updated}
                rows.append(StepRow(workflow=id, n=n, name=steps[n].name, **new))
                session.add(rows[n])
            if row.state == "running":
                rows[n].attempts += 1
            outputs: dict[str, Json] = {step.name: {} for step in steps}
            outputs |= {each.name: each.output for each in rows if each.state == "done"}
            at = (StepRow.workflow == id, StepRow.n == n, StepRow.attempts == rows[n].attempts)

            def note(detail: str) -> None:
                with self.store.write() as session:
                    told = update(StepRow).where(*at, StepRow.state == "running").values(output={"note": detail})
                    session.execute(told)

            context = Context(id, row.input, rows[n].attempts, outputs, note)
            return _Turn(row, steps[n], n, rows[n].state, context)

    def _record(self, turn: _Turn, done: Done) -> str:
        """The step's new state, in one transaction with what it hands over. Raises _Changed."""
        values: Json = {"ended": time.time()}
        if turn.forward:
            values |= {"state": "done", "output": done.output or {}, "error": ""}
        elif turn.was == "done" or turn.row.error == CANCELLED:
            values |= {"state": "undone", "error": ""}
        else:
            values |= {"state": "failed"}
        with self.store.write() as session:
            if done.commit is not None:  # first: who changes a resource locks it before the workflow, too
                done.commit(session)
            _set_step(session, turn, values)
        return str(values["state"])

    def _fail(self, turn: _Turn, error: Exception) -> None:
        """Record it and turn back; raises it where it is to be tried again."""
        id, text, now = turn.row.id, _text(error), time.time()
        retries = turn.step.retries if isinstance(error, turn.step.transient) else 0
        if isinstance(error, StoreError):
            retries = max(retries, STORE_RETRIES)
        again = not turn.forward or self._failures[id] < retries
        with self.store.write() as session:
            if turn.forward:
                _set_step(session, turn, {"error": text})
            elif turn.was == "done":  # of the one that failed its own error says more
                _set_step(session, turn, {"error": f"undo: {text}"})
            if not again:  # one that was cancelled meanwhile turns back already
                at = (WorkflowRow.id == id, WorkflowRow.state == "running")
                values = {"state": "undoing", "error": f"{turn.step.name}: {text}", "updated": now}
                session.execute(update(WorkflowRow).where(*at).values(**values))
        self._failures[id] += 1
        if again:
            raise error
        log.info("workflow_undoing", workflow=id, step=turn.step.name, detail=text)

    def _end(self, row: WorkflowRow) -> None:
        state, ended = "done" if row.state == "running" else "failed", self._kind(row.kind).ended
        with self.store.write() as session:
            if ended is not None:
                ended(session, row.id, row.input, state, row.error)
            at = (WorkflowRow.id == row.id, WorkflowRow.state == row.state)
            change = update(WorkflowRow).where(*at).values(state=state, updated=time.time())
            _check(session.scalars(change.returning(WorkflowRow.id)).first())
        log.info(f"workflow_{state}", workflow=row.id, kind=row.kind, detail=row.error)

    def _tell(self, turn: _Turn, state: str) -> None:
        if self.on_step is not None:
            self.on_step(turn.row.id, turn.step.name, state)


def _steps(workflow: Workflow, input: Json) -> Sequence[Step]:
    steps = workflow.steps(input)
    names = [step.name for step in steps]
    if len(set(names)) < len(names) or any(len(name) > 80 for name in names):
        raise ValueError(f"steps of {workflow.kind!r}: names of 80 characters at most, each once: {names}")
    return steps


def _rows(session: Session, id: str) -> list[StepRow]:
    return list(session.scalars(select(StepRow).where(StepRow.workflow == id).order_by(StepRow.n)))


def _next(state: str, steps: Sequence[Step], rows: Sequence[StepRow]) -> int | None:
    """The step to do, or to undo; None where none is left."""
    if state == "running":
        return next((n for n in range(len(steps)) if n == len(rows) or rows[n].state != "done"), None)
    back = reversed(range(len(rows)))
    return next((n for n in back if rows[n].state == "running" or (rows[n].state == "done" and steps[n].undo)), None)


def _set_step(session: Session, turn: _Turn, values: Json) -> None:
    """Raises _Changed where it was begun again, or ended, by another."""
    at = (StepRow.workflow == turn.row.id, StepRow.n == turn.n, StepRow.attempts == turn.context.attempt)
    change = update(StepRow).where(*at, StepRow.state == turn.was).values(**values)
    _check(session.scalars(change.returning(StepRow.workflow)).first())


def _check(changed: str | None) -> None:
    if changed is None:
        raise _Changed("it was cancelled, or another process runs it")


def _text(error: BaseException) -> str:
    """As any database takes it; our own errors speak for themselves."""
    ours = type(error).__module__.startswith("edgewright.") and str(error)
    return (ours or f"{type(error).__name__}: {error}")[:2000].encode(errors="replace").decode().replace("\0", "?")
