"""A backhaul loop: a thread that watches links, demand and rates, has paths planned when these change, and acts."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlalchemy import func, select

from edgewright.backhaul.control import dead_flows, decide
from edgewright.backhaul.driver import BackhaulDriver, Observation
from edgewright.backhaul.model import NO_PATH, Matrix, Network, Problem, measures
from edgewright.backhaul.rates import expected_rates
from edgewright.backhaul.scenario import LoopScenario
from edgewright.backhaul.simulation import PLANNERS
from edgewright.backhaul.solvers.search import search
from edgewright.core.contracts import FloatArray, IntArray, Outcome
from edgewright.service.loops.loop import START_AGAIN_S, Mode, Phase
from edgewright.service.loops.pace import Pace, go_along
from edgewright.service.loops.planes import LivePlane, PlaneChoice, make_plane
from edgewright.service.loops.situation import Situation, decision_body, link_name
from edgewright.service.loops.trouble import REFUSED, Troubles
from edgewright.service.store.recorder import Recorder
from edgewright.service.store.tables import BackhaulRow, DecisionRow

KEPT_S = 900.0
MEAN_S = 1.0  # rates and loads are means over so long
AGAIN_S = 1.0  # until what was refused, or what failed, is tried again
SHORT_SHARE = 0.5  # a flow with less than this share of what the twin gives it, for SHORT_S, has lost its path
SHORT_S = 2.0
GIVEN_UP_S = 3.0  # a network that cannot be looked at for so long
COLUMNS = ("t", "efficiency", "jain", "carried_mbps", "offered_mbps", "broken_links")


@dataclass
class BackhaulOrders:
    """What users want of a loop: kept in the store, changed only after the store has it."""

    mode: Mode
    planner: str
    matrix: int | None  # id of the one that stays; None: they take turns
    factor: float  # of every demand


@dataclass
class BackhaulLoop:
    """Runs one scenario. Users' orders come through `backhaul_orders.py`; this file is the loop itself."""

    scenario: LoopScenario
    choice: PlaneChoice
    orders: BackhaulOrders
    recorder: Recorder
    paths: list[int] = field(default_factory=list)  # to start with; empty: those that suit the mean of the matrices
    make: Callable[[PlaneChoice, Network], LivePlane] = make_plane
    phase: Phase = "starting"
    plane: LivePlane | None = None
    driver: BackhaulDriver | None = None
    pace: Pace = field(init=False)
    broken: frozenset[int] = frozenset()
    rates_mbps: FloatArray = field(init=False)  # [F], means over MEAN_S
    load_mbps: FloatArray = field(init=False)  # [L]
    expected_mbps: FloatArray = field(init=False)  # [F], the twin's, on the paths in force
    since: list[float] = field(init=False)  # when each flow's path came in force
    last_step: dict[str, Any] | None = None  # the last decision's row
    seq: int = 0
    refused: int = 0  # paths refused by the driver so far
    ordering: threading.RLock = field(default_factory=threading.RLock)  # one order at a time
    lock: threading.RLock = field(default_factory=threading.RLock)  # held during a step, and while an order is applied
    _turn: int = 0  # index of the matrix
    _next_turn_s: float = math.inf
    _recent: deque[Observation] = field(init=False)
    _history: deque[tuple[float, ...]] = field(init=False)
    _planned: Situation | None = None
    _again_s: float = math.inf
    _lost: set[int] = field(default_factory=set)  # flows whose path in force a broken link took away
    _failing_since_s: float | None = None
    _short_since: dict[int, float] = field(default_factory=dict)
    trouble: Troubles = field(init=False)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __post_init__(self) -> None:
        network, interval_s = self.scenario.network, self.scenario.interval_s
        self.pace, self.trouble = Pace(interval_s), Troubles(self.event)
        self.rates_mbps, self.expected_mbps = np.zeros(len(network.flows)), np.zeros(len(network.flows))
        self.load_mbps = np.zeros(len(network.links))
        self.since = [0.0] * len(network.flows)
        self._recent = deque(maxlen=max(1, round(MEAN_S / interval_s)))
        self._history = deque(maxlen=max(10, int(KEPT_S / interval_s)))
        self.choose_matrix()

    @property
    def name(self) -> str:
        return self.scenario.name

    @property
    def warnings(self) -> list[str]:
        return self.trouble.lines

    @property
    def matrix(self) -> Matrix:
        """Whose demand is offered."""
        return self.scenario.network.matrices[self._turn]

    @property
    def demand_mbps(self) -> FloatArray:
        """float[F]"""
        return np.array(self.matrix.demand_mbps) * self.orders.factor

    @property
    def running(self) -> IntArray:
        """int[F]"""
        return self.driver.running if self.driver else np.full(len(self.since), NO_PATH)

    def figures(self) -> tuple[float, float, float, float]:
        """-> efficiency, Jain's index, Mb/s carried, Mb/s offered."""
        demand = self.demand_mbps
        rates = np.minimum(self.rates_mbps, demand)  # what waited in queues comes late, and does not count twice
        return *measures(demand, rates), float(rates.sum()), float(demand.sum())

    def series(self, seconds: float) -> dict[str, list[float]]:
        """Columns over the last seconds."""
        rows = list(self._history)
        rows = [row for row in rows if row[0] > rows[-1][0] - seconds]
        return {name: [row[i] for row in rows] for i, name in enumerate(COLUMNS)}

    def event(self, kind: str, detail: str) -> None:
        self.recorder.event(kind, detail, loop=self.name)

    # Life of the thread

    def start(self) -> None:
        with self.recorder.store.read() as session:
            last = select(func.max(DecisionRow.seq)).where(DecisionRow.loop == self.name)
            self.seq = session.scalar(last) or 0
        self._thread = threading.Thread(target=self._run, name=f"backhaul-{self.name}", daemon=True)
        self._thread.start()

    def ask_to_stop(self) -> None:
        self._stop.set()

    def close(self) -> None:
        """End the thread, the traffic and the network."""
        self.ask_to_stop()
        try:
            with self.lock:  # not in the middle of a step, or of a start
                if self.plane is not None:
                    self.plane.close()
        finally:
            if self._thread is not None:
                self._thread.join(30.0)
            self.phase = "stopped"

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._start_plane():
                self._steps()
            self._stop.wait(START_AGAIN_S)

    def _steps(self) -> None:
        """Until told to stop, or until the network is given up."""
        for _ in self.pace.steps(self._stop, self.event):
            self.step()
            if self.plane is None:
                return

    def _start_plane(self) -> bool:
        go_along()  # the senders must not go before other programs
        with self.lock, self.trouble.watching("start"):
            if self._stop.is_set():
                return True
            first = self._first_paths()
            plane = self.make(self.choice, self.scenario.network)
            try:
                driver = BackhaulDriver(self.scenario.network, plane)
                self._settle(driver.apply(first))
                plane.offer(self.demand_mbps.tolist())
            except BaseException:
                plane.close()
                raise
            self.plane, self.driver, self.phase = plane, driver, "running"
            self.since = [time.time()] * len(self.since)
            self._planned = None
            self._lost.clear()
            self._forget_rates()
            self.trouble.pop("step", None)
            self.choose_matrix()
            self.event("started", f"{self.choice.kind}: {self.choice.reason}")
            return True
        self.phase = "failed"
        return False

    def _first_paths(self) -> IntArray:
        """Those of before, or as routes are planned ahead; and every planner is called once: what it loads or compiles
        is not a plan's CPU."""
        network = self.scenario.network
        demand = np.mean([matrix.demand_mbps for matrix in network.matrices], axis=0)
        problem = Problem(network, demand, self.scenario.aim)
        counts, before = np.diff(network.arrays.flow_start), np.array(self.paths, dtype=np.int64)
        if before.shape == counts.shape and (before >= 0).all() and (before < counts).all():
            paths = before
        else:
            paths = np.maximum(search(problem).choice, 0)  # a flow that never asks: its first path
        for name in PLANNERS:
            self.scenario.planner_of(name)(problem, paths)
        return paths

    # One step

    def step(self) -> None:
        """Observe, and where something changed: plan, guard, act, record. Trouble is recorded and the loop goes on."""
        with self.lock, self.trouble.watching("step"):
            if self._stop.is_set() or self.driver is None:
                return
            self._look(self.driver)
            self._put_back(self.driver)
            self._take_turns()
            if self.orders.mode != "paused" and (why := self._why()):
                self._plan(self.driver, why)
        self._failing_since_s = (self._failing_since_s or time.monotonic()) if "step" in self.trouble else None
        if self._failing_since_s is not None and time.monotonic() - self._failing_since_s > GIVEN_UP_S:
            self._give_up()

    def _give_up(self) -> None:
        """The network cannot be looked at any more: another one is made, with the paths of this one."""
        with self.lock, self.trouble.watching("end"):
            plane, self.plane, self.phase = self.plane, None, "failed"
            self.paths, self.driver, self._failing_since_s = self.running.tolist(), None, None
            self.rates_mbps, self.load_mbps = 0 * self.rates_mbps, 0 * self.load_mbps
            if plane is not None:
                plane.close()

    def choose_matrix(self) -> None:
        """The one ordered, and begin its turn. Hold `lock`."""
        ids = [matrix.id for matrix in self.scenario.network.matrices]
        if self.orders.matrix is not None:
            self._turn = ids.index(self.orders.matrix)
        stays = self.orders.matrix is not None or self.scenario.hold_s is None or len(ids) == 1
        self._next_turn_s = math.inf if stays else time.monotonic() + (self.scenario.hold_s or 0.0)

    def _take_turns(self) -> None:
        if time.monotonic() >= self._next_turn_s:
            self._turn = (self._turn + 1) % len(self.scenario.network.matrices)
            self.choose_matrix()
            self.offer()

    def offer(self, *, again: bool = False) -> None:
        """Have the demand of now sent. Hold `lock`."""
        if not again:
            self._forget_rates()
        if self.plane is not None:
            with self.trouble.watching("traffic"):
                self.plane.offer(self.demand_mbps.tolist())

    def _look(self, driver: BackhaulDriver) -> None:
        seen, now = driver.observe(), time.time()
        if seen.seconds > 0.5 * self.pace.period_s:  # less, just after a change, says nothing
            self._recent.append(seen)
            seconds = [one.seconds for one in self._recent]
            self.rates_mbps = np.average([one.rates_mbps for one in self._recent], axis=0, weights=seconds)
            self.load_mbps = np.average([one.load_mbps for one in self._recent], axis=0, weights=seconds)
        for link in sorted(seen.broken - self.broken):
            self.event("link_failed", f"link {link_name(self.scenario.network, link)}")
        for link in sorted(self.broken - seen.broken):
            self.event("link_repaired", f"link {link_name(self.scenario.network, link)}")
        self.broken = seen.broken
        self.expected_mbps = expected_rates(self._problem(), driver.running)
        if self._recent:
            figures = (round(value, 4) for value in self.figures())
            self._history.append((round(now, 3), *figures, len(seen.broken)))

    def _forget_rates(self) -> None:
        """Those of before a change say nothing of what is now."""
        self._short_since.clear()
        self._recent.clear()
        if self.driver is not None:
            self.driver.observe()

    def _problem(self) -> Problem:
        return Problem(self.scenario.network, self.demand_mbps, self.scenario.aim, self.broken)

    def _put_back(self, driver: BackhaulDriver) -> None:
        """In every mode: paths in force that the network has lost, by a link that is back or was away unseen."""
        now = time.monotonic()
        dead = dead_flows(self._problem(), driver.running)
        self._lost |= set(np.flatnonzero(dead).tolist())
        short = (self.rates_mbps < SHORT_SHARE * self.expected_mbps) & ~dead
        self._short_since = {flow: self._short_since.get(flow, now) for flow in np.flatnonzero(short).tolist()}
        starving = {flow for flow, since in self._short_since.items() if now - since > SHORT_S}
        if starving:
            self._short_since |= dict.fromkeys(starving, now)
            sources = ", ".join(str(self.scenario.network.flows[flow].source) for flow in sorted(starving))
            detail = f"flows from nodes {sources} get less than half of what their paths should carry; put again"
            self.trouble.warn("rates", detail, "put_again")
            self.offer(again=True)
        elif not self._short_since and self.trouble.pop("rates", ""):
            self.event("rates_back", "flows get what their paths should carry")
        again = [flow for flow in sorted(self._lost | starving) if not dead[flow] and driver.running[flow] != NO_PATH]
        if again:
            action: IntArray = np.full(len(self.since), NO_PATH)
            action[again] = driver.running[again]
            self._settle(driver.apply(action))

    def _settle(self, outcome: Outcome) -> None:
        """Keep what an outcome says of each flow."""
        for key in outcome.done:
            self._lost.discard(int(key.rpartition(".")[2]))
            self.trouble.pop(REFUSED + key, None)
        self.refused += len(outcome.refused)
        for key, why in outcome.refused.items():
            self.trouble.warn(REFUSED + key, why, "refused")

    def _why(self) -> str:
        """What calls for a plan; "" where nothing does."""
        old = self._planned
        new = Situation(self.broken, self.matrix.id, self.orders.factor, self.orders.planner, self.orders.mode)
        self._planned = new
        if old is None:
            return "the loop started"
        found = list(new.changes(old, self.scenario.network))
        if not found and time.monotonic() >= self._again_s:
            found.append("tried again")
        return ", ".join(found)

    def _plan(self, driver: BackhaulDriver, why: str) -> None:
        problem, planner, decision = self._problem(), self.orders.planner, None
        self._again_s = math.inf
        before = driver.running.copy()
        with self.trouble.watching("planner"):
            most = self.scenario.most_moves(planner, problem)
            decision = decide(problem, before, self.scenario.planner_of(planner), most)
        if decision is None:
            self._again_s = time.monotonic() + AGAIN_S
            return
        outcome = Outcome({}, {})
        if decision.moves and self.orders.mode == "act":
            with self.trouble.watching("apply"):
                outcome = driver.apply(np.where(decision.allowed != before, decision.allowed, NO_PATH))
        self.trouble.forget_refusals(outcome.refused)
        self._settle(outcome)
        if outcome.refused or "apply" in self.trouble:
            self._again_s = time.monotonic() + AGAIN_S
        now = time.time()
        for flow in np.flatnonzero(driver.running != before).tolist():
            self.since[flow] = now
        self._forget_rates()
        self.expected_mbps = expected_rates(problem, driver.running)
        moved = int((driver.running != before).sum())
        self.seq += 1
        self.last_step = {
            "loop": self.name,
            "seq": self.seq,
            "t": now,
            "by": "policy",
            "mode": self.orders.mode,
            "policy": planner,
            "changed": bool(moved or outcome.refused),
            "body": decision_body(
                problem, decision, outcome, why=why, rates_mbps=self.rates_mbps, running=driver.running
            ),
        }
        self.recorder.decision(self.last_step, (BackhaulRow, {"choice": driver.running.tolist()}))
        if moved:
            self.event("replanned", f"{why}: {moved} of {before.size} flows moved")
