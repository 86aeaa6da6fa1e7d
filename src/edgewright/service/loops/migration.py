"""A migration loop: a thread that watches a user's way, has a policy say where the service is to be, and moves it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import func, select

from edgewright.core.contracts import FloatArray, Policy
from edgewright.drivers.migration import Phase as Step
from edgewright.drivers.watcher import Watched
from edgewright.migration.drives import days_of, draw_drives
from edgewright.migration.evaluation import fitting
from edgewright.migration.model import Drive
from edgewright.migration.observation import Observation
from edgewright.migration.policies import make_policy
from edgewright.migration.rewards import breach, worth
from edgewright.migration.scenario import LoopScenario
from edgewright.migration.sites import Moved, Site
from edgewright.service.loops.loop import START_AGAIN_S, Mode, Phase
from edgewright.service.loops.pace import Pace, go_along
from edgewright.service.loops.sites import SiteChoice, make_site
from edgewright.service.loops.trouble import REFUSED, Troubles
from edgewright.service.store.recorder import Recorder
from edgewright.service.store.tables import DecisionRow, MigrationRow

KEPT_S, KEPT_ROWS, KEPT_MOVES = 900.0, 20_000, 50
DAYS = 8
AGAIN_S = 2.0  # until a move that was rolled back is tried again
MOVING = "a migration is under way"


@dataclass
class MigrationOrders:
    """What users want of a loop: kept in the store, changed only after the store has it."""

    mode: Mode
    policy: str
    pace: float


@dataclass(frozen=True)
class Moment:
    """A row of the history."""

    t: float
    node: int
    rtt_ms: FloatArray
    load: FloatArray
    reward: float


@dataclass(frozen=True)
class UnderWay:
    target: int
    by: str  # policy | user
    since: float
    phase: Step | None = None


@dataclass
class MigrationLoop:
    """Runs one scenario: drive after drive. Users' orders come through `migration_orders.py`."""

    scenario: LoopScenario
    choice: SiteChoice
    orders: MigrationOrders
    recorder: Recorder
    node_name: str = ""  # that serves; to start with: "" for the nearest
    make: Callable[[SiteChoice, LoopScenario, int, float], Site] = make_site
    phase: Phase = "starting"
    site: Site | None = None
    pace: Pace = field(init=False)
    policies: list[str] = field(init=False)  # that fit the scenario
    drive: Drive = field(init=False)
    drive_number: int = 0
    step_number: int = 0  # of the drive: what is observed next
    seen: Observation | None = None
    reward: float = 0.0  # of the drive, so far
    breaches: int = 0
    under_way: UnderWay | None = None
    moves: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT_MOVES))  # newest first
    last_step: dict[str, Any] | None = None  # the last recorded decision's row
    seq: int = 0
    refused: int = 0  # migrations that did not come to their end so far
    ordering: threading.RLock = field(default_factory=threading.RLock)  # one order at a time
    lock: threading.RLock = field(default_factory=threading.RLock)  # held during a step, and while an order is applied
    _drives: Iterator[Drive] = field(init=False)
    _policy: Policy[Observation, int] = field(init=False)
    _memory: Any = None
    _was: int | None = None  # the node that served a step before
    _told: tuple[Any, ...] = ()  # of the decision before
    _not_before_s: float = 0.0
    _history: deque[Moment] = field(default_factory=lambda: deque(maxlen=KEPT_ROWS))
    _worker: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "migrate"))
    _job: Future[None] | None = None
    trouble: Troubles = field(init=False)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __post_init__(self) -> None:
        self.pace, self.trouble = Pace(self.period_s), Troubles(self.event)
        place = self.scenario.scenario
        days = days_of(place, Path("/"), count=DAYS, seed=self.scenario.seed)
        self._drives = draw_drives(place, days, 2**62, seed=self.scenario.seed)
        self._policy = make_policy(self.orders.policy, place)
        self.policies = fitting(place)[0]
        self.next_drive()

    @property
    def name(self) -> str:
        return self.scenario.name

    @property
    def warnings(self) -> list[str]:
        return self.trouble.lines

    @property
    def period_s(self) -> float:
        return self.scenario.scenario.step_s / self.orders.pace

    @property
    def names(self) -> tuple[str, ...]:
        return self.scenario.scenario.names

    @property
    def node(self) -> int:
        """That serves."""
        return self.names.index(self.node_name) if self.node_name in self.names else self.drive.nearest

    @property
    def watched(self) -> Watched | None:
        return self.site.watched() if self.site else None

    def series(self, seconds: float) -> list[Moment]:
        """Of the last seconds."""
        rows = list(self._history)
        return [row for row in rows if row.t > rows[-1].t - seconds]

    def event(self, kind: str, detail: str) -> None:
        self.recorder.event(kind, detail, loop=self.name)

    def use_policy(self, policy: Policy[Observation, int]) -> None:
        """Hold `lock`."""
        self._policy, self._memory = policy, None

    def next_drive(self) -> None:
        """Begin it. Hold `lock`."""
        self.drive = next(self._drives)
        self.drive_number += 1
        self.step_number, self.reward, self.breaches, self._memory = 0, 0.0, 0, None
        if self.site is not None:
            self.site.set_rtt(self.drive.rtt_ms[0])

    # Life of the thread

    def start(self) -> None:
        with self.recorder.store.read() as session:
            last = select(func.max(DecisionRow.seq)).where(DecisionRow.loop == self.name)
            self.seq = session.scalar(last) or 0
        self._thread = threading.Thread(target=self._run, name=f"migration-{self.name}", daemon=True)
        self._thread.start()

    def ask_to_stop(self) -> None:
        self._stop.set()

    def close(self) -> None:
        """End the thread, a migration under way, the service and its network."""
        self.ask_to_stop()
        try:
            with self.lock:  # not in the middle of a step, or of a start
                self._worker.shutdown()
                if self.site is not None:
                    self.site.close()
        finally:
            if self._thread is not None:
                self._thread.join(30.0)
            self.phase = "stopped"

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._start_site():
                for _ in self.pace.steps(self._stop, self.event):
                    self.step()
                    if self.site is None:
                        break
            self._stop.wait(START_AGAIN_S)

    def _start_site(self) -> bool:
        go_along()  # the service must not go before other programs
        with self.lock, self.trouble.watching("start"):
            if self._stop.is_set():
                return True
            node = self.node
            # What a policy loads or compiles is not a step's time.
            with self.trouble.watching("policy"):
                self._policy.decide(Observation(np.int64(node), self.drive.rtt_ms[0], self.drive.load[0]), None, None)
            self.site = self.make(self.choice, self.scenario, node, self.period_s)
            self.site.set_rtt(self.drive.rtt_ms[self.step_number])
            if self.site.found and (where := self.site.where()) is not None:
                node = where
                self.event("taken_over", self.site.found)
            self._serves(node)
            self.phase, self._told = "running", ()
            self.trouble.pop("step", None)
            self.trouble.pop("service", None)
            self.event("started", f"{self.choice.kind}: {self.choice.reason}")
            return True
        self.phase = "failed"
        return False

    # One step

    def step(self) -> None:
        """Observe, decide, guard, act, record. Trouble is recorded and the loop goes on."""
        with self.lock, self.trouble.watching("step"):
            if self._stop.is_set() or self.site is None:
                return
            moving, where = self.under_way, self.site.where()
            if moving is None and self.under_way is None:  # else the migration says where it is
                if where is None:
                    self._give_up("the service's process has ended")
                    return
                self._serves(where)
            self._look(self.site)
            if self.orders.mode != "paused":
                self._decide()
            self.step_number += 1
            if self.step_number == len(self.drive.rtt_ms):
                told = f"reward {self.reward:.1f}, {self.breaches} steps in breach"
                self.event("drive_ended", f"drive {self.drive_number}: {told}")
                self.next_drive()
            else:
                self.site.set_rtt(self.drive.rtt_ms[self.step_number])

    def _give_up(self, reason: str) -> None:
        """Another service is started where this one was."""
        self.trouble.warn("service", reason, "service_died")
        site, self.site, self.phase = self.site, None, "failed"
        if site is not None:
            site.close()

    def _look(self, site: Site) -> None:
        """What is seen now is what the step before was worth."""
        place = self.scenario.scenario
        terms = place.objective.terms(place.step_s)
        load = self.drive.load[self.step_number]
        self.seen = Observation(np.int64(self.node), site.rtt_ms(), load)
        node = int(self.seen.node)
        if self.step_number > 0:
            stays, comes = worth(np, self.seen.rtt_ms, load, terms)
            self.reward += float((stays if node == self._was else comes)[node])
            self.breaches += bool(breach(self.seen.rtt_ms, load, terms)[node])
        self._was = node
        now = time.time()
        self._history.append(Moment(round(now, 3), node, self.seen.rtt_ms, load, self.reward))
        while self._history[0].t < now - KEPT_S:
            self._history.popleft()

    def _decide(self) -> None:
        assert self.seen is not None
        wanted, note = self.node, "allowed"
        reasons: tuple[str, ...] = ("",)
        with self.trouble.watching("policy"):
            asked, self._memory, reasons = self._policy.decide(self.seen, None, self._memory)
            wanted = int(asked)
            if not 0 <= wanted < len(self.names):
                raise ValueError(f"node {wanted} of {len(self.names)}")
        if "policy" in self.trouble or (self.under_way and wanted in (self.node, self.under_way.target)):
            return
        if wanted != self.node:
            note = self._kept()
        allowed = wanted if note == "allowed" else self.node
        moves = allowed != self.node and self.orders.mode == "act"
        told = (wanted, allowed, note, self.orders.mode, self.orders.policy)
        if moves or told != self._told:
            self._record(wanted, allowed, reasons[0], note, moves)
        self._told = () if moves else told
        if moves:
            self.begin(allowed, "policy")

    def _kept(self) -> str:
        """Why the service may not move now; "allowed" where it may."""
        if self.under_way is not None:
            return MOVING
        if time.monotonic() < self._not_before_s:
            return f"the last migration did not come to its end; tried again after {AGAIN_S:g} s"
        return "allowed"

    def _record(self, wanted: int, allowed: int, reason: str, note: str, moves: bool) -> None:
        assert self.seen is not None
        self.seq += 1
        self.last_step = {
            "loop": self.name,
            "seq": self.seq,
            "t": time.time(),
            "by": "policy",
            "mode": self.orders.mode,
            "policy": self.orders.policy,
            "changed": moves,
            "body": {
                "node": self.names[self.node],
                "wanted": self.names[wanted],
                "allowed": self.names[allowed],
                "reason": reason,
                "note": note,
                "rtt_ms": [round(value, 3) for value in self.seen.rtt_ms.tolist()],
                "load": [round(value, 3) for value in self.seen.load.tolist()],
                "drive": self.drive_number,
                "time_s": self.step_number * self.scenario.scenario.step_s,
            },
        }
        self.recorder.decision(self.last_step)

    # Migrations, beside the steps

    def begin(self, target: int, by: str) -> None:
        """Move the service. Hold `lock`; none may be under way."""
        assert self.under_way is None
        self.under_way = UnderWay(target, by, time.time())
        self._job = self._worker.submit(self._migrate, self.under_way)

    def _migrate(self, order: UnderWay) -> None:
        go_along()

        def at(step: Step) -> None:
            self.under_way = UnderWay(order.target, order.by, order.since, step)

        site = self.site
        try:
            with self.trouble.watching("migrate"):
                if site is not None:
                    self._ended(site.migrate(order.target, at), order.by)
        finally:
            self.under_way = None

    def _ended(self, moved: Moved, by: str) -> None:
        done = moved.migration
        row = {
            "t": done.started_s,
            "source": done.source,
            "target": done.target,
            "by": by,
            "status": done.status,
            "reason": done.reason,
            "total_ms": round(1e3 * done.total_s, 1),
            "frozen_ms": round(1e3 * done.frozen_s, 1),
            "client_gap_ms": None if moved.gap_s is None else round(1e3 * moved.gap_s, 1),
            "image_mb": round(done.image_bytes / 1e6, 2),
            "phases_ms": {phase: round(1e3 * seconds, 1) for phase, seconds in done.phases_s.items()},
        }
        self.moves.appendleft(row)
        way = f"{done.source} -> {done.target}"
        key = f"{REFUSED}{done.target}"
        if done.status == "done":
            self._serves(self.names.index(done.target))
            self.trouble.forget_refusals(())
            self.event("migrated", f"{way}: frozen {row['frozen_ms']:.0f} ms")
            return
        self.refused += 1
        self._not_before_s = time.monotonic() + AGAIN_S
        said, kind = ("failed", "failed") if done.status == "failed" else ("rolled back", "undone")
        self.trouble.warn(key, f"{way}: {said}, {done.reason}", f"migration_{kind}")

    def _serves(self, node: int) -> None:
        if self.names[node] != self.node_name:
            self.node_name = self.names[node]
            self.recorder.in_force(self.name, (MigrationRow, {"node": self.node_name}))
