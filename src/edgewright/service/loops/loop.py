"""One loop: a thread that observes, decides, guards, acts and records at every interval, and takes users' orders."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import structlog
from sqlalchemy import func, select

from edgewright.core.contracts import FloatArray, Outcome
from edgewright.drivers.host import Limits
from edgewright.scaling.control import Controller, Step, bound_memory
from edgewright.scaling.model import MB, Action, Scenario
from edgewright.scaling.observation import Observation
from edgewright.service.loops.fit import fit_cpu
from edgewright.service.loops.history import KEPT_S, History, Moment, digits, plain
from edgewright.service.loops.pace import Pace
from edgewright.service.loops.slices import DriverChoice, Life, RunningSlice
from edgewright.service.loops.supervisor import Supervisor
from edgewright.service.loops.trouble import REFUSED, Troubles
from edgewright.service.store.recorder import Recorder
from edgewright.service.store.tables import DecisionRow, LoopRow

Mode = Literal["act", "shadow", "paused"]
Phase = Literal["starting", "running", "failed", "stopped"]
START_AGAIN_S = 5.0
log = structlog.get_logger("edgewright.loops")


@dataclass
class Orders:
    """What users want of a loop: kept in the store, changed only after the store has it."""

    mode: Mode
    policy: str
    pins: dict[str, float]  # service -> cores
    slice_cpu: float  # cores of its chunk
    slice_memory_mb: float
    load: dict[str, float]  # service -> factor


@dataclass
class Loop:
    """Runs one scenario. Users' orders come through `orders.py`; this file is the loop itself."""

    scenario: Scenario
    slice: RunningSlice
    controller: Controller
    orders: Orders
    recorder: Recorder
    driver: DriverChoice
    limits: dict[str, Limits]  # in force, or to start with
    folder: Path = Path()
    phase: Phase = "starting"
    history: History = field(init=False)
    pace: Pace = field(init=False)
    supervisor: Supervisor = field(init=False)
    last_step: dict[str, Any] | None = None  # the last decision's row
    observation: Observation | None = None
    seq: int = 0
    refused: int = 0  # changes refused by the driver so far
    pending: dict[str, float] = field(default_factory=dict)
    """Limits ordered and not in force yet, by `service.cpu` and `service.memory_bytes`: tried at every step."""
    on_started: Callable[[], None] = lambda: None
    ordering: threading.RLock = field(
        default_factory=threading.RLock
    )  # one order at a time; a step does not wait for it
    lock: threading.RLock = field(default_factory=threading.RLock)  # held during a step, and while an order is applied
    _lives: dict[str, Life] = field(default_factory=dict)
    trouble: Troubles = field(init=False)
    _memory_alive: FloatArray | None = None  # bytes that each service used when it last lived
    _dead: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _began: float = 0.0
    _adopted: bool = False  # just started: what is in force may be from before

    def __post_init__(self) -> None:
        slo, interval_s = self.scenario.slo, self.scenario.control.interval_s
        self.history = History(self.scenario.names, interval_s, max(slo.window_s, interval_s), slo.late_allowed)
        self.pace = Pace(interval_s)
        self.trouble = Troubles(self.event)
        self.supervisor = Supervisor(self.slice, self.slice.left_dead, self.event)

    @property
    def name(self) -> str:
        return self.scenario.name

    @property
    def warnings(self) -> list[str]:
        return self.trouble.lines + self._dead + self.slice.warnings

    @property
    def lives(self) -> dict[str, Life]:
        return self._lives

    def event(self, kind: str, detail: str, service: str = "") -> None:
        self.recorder.event(kind, detail, loop=self.name, service=service)

    # Life of the thread

    def start(self) -> None:
        self._restore_history()
        self._thread = threading.Thread(target=self._run, name=f"loop-{self.name}", daemon=True)
        self._thread.start()

    def ask_to_stop(self) -> None:
        self._stop.set()

    def close(self) -> None:
        """End the thread and the services; a start under way is given up."""
        self.ask_to_stop()
        try:
            with self.lock:  # not in the middle of a step
                self.slice.close()
        finally:
            if self._thread is not None:
                self._thread.join(90.0)
            self.supervisor.join(30.0)
            self.phase = "stopped"

    def _run(self) -> None:
        while not self._stop.is_set() and not self._start_slice():
            self._stop.wait(START_AGAIN_S)
        self._began = time.monotonic()
        for _ in self.pace.steps(self._stop, self.event):
            self.step()
            if "load" in self.trouble:
                self._offer()

    def _start_slice(self) -> bool:
        try:
            for line in self.slice.start(self.limits):
                self.event("started", line)
            self.on_started()
        except Exception as error:  # whatever it is, this thread must live to try again
            if not self._stop.is_set():
                self.phase = "failed"
                self.trouble.warn("start", f"{error}; tried again in {START_AGAIN_S:g} s", "start_failed")
            return False
        self._offer()
        self.trouble.pop("start", None)
        self._adopted = True
        self.phase = "running"
        return True

    def _offer(self) -> None:
        with self.trouble.watching("load"):
            self.slice.set_load(self.orders.load)

    # One step

    def step(self) -> None:
        """Observe, decide, guard, act, record. Trouble in any of them is recorded and the loop goes on."""
        with self.lock, self.trouble.watching("step"):
            if self._stop.is_set():
                return  # the slice may be closed
            looked_s = time.monotonic()
            self._lives = self.slice.lives()
            self._dead = self.supervisor.check(self._lives, looked_s)
            seen = replace(self.slice.observe(), slice_cpu=np.float64(self.orders.slice_cpu))
            self.observation = seen
            now = time.time()
            self.history.add(Moment(now, self.orders.slice_cpu, plain(seen)))
            if self._adopted:
                self._adopted = False
                self._fit_adopted(seen)
            step, action, outcome = None, None, Outcome({}, {})
            if self.orders.mode != "paused":
                with self.trouble.watching("policy"):
                    step = self.controller.step(self._as_if_alive(seen))
            if step is not None and self.orders.mode == "act" and self._started():
                action = step.allowed
            action = self._with_orders(action, seen)
            with self.trouble.watching("apply"):
                if action is not None:
                    outcome = self.slice.apply(action)
                self._settle(outcome)
            self.record("policy", seen, outcome, step, t=now)

    def _fit_adopted(self, seen: Observation) -> None:
        """Services that ran on keep the limits in force, unless these do not fit the pins and the slice of today."""
        scenario = self.controller.scenario
        cpu = fit_cpu(scenario, seen.limit_cpu, self.orders.pins)
        had = seen.memory_limit_bytes
        memory = None if had is None else bound_memory(scenario, had)
        for i, name in enumerate(scenario.names):
            if abs(cpu[i] - seen.limit_cpu[i]) > 5e-4:
                self.pending.setdefault(f"{name}.cpu", float(cpu[i]))
            if had is not None and memory is not None and abs(memory[i] - had[i]) > 1e-3 * memory[i]:
                self.pending.setdefault(f"{name}.memory_bytes", float(memory[i]))

    def _with_orders(self, action: Action | None, seen: Observation) -> Action | None:
        """What the policy wants, if anything, and what was ordered and is not in force yet.

        The policy's limits hold the pins: they go before orders about the same resource.
        """
        if action is not None:
            left = () if action.memory_bytes is not None else ("memory_bytes",)
            self.pending = {key: value for key, value in self.pending.items() if key.rpartition(".")[2] in left}
        if not self.pending:
            return action

        def ordered(resource: str, now: FloatArray) -> FloatArray:
            return np.array([self.pending.get(f"{name}.{resource}", now[i]) for i, name in enumerate(names)])

        names, memory = self.scenario.names, None
        if any(key.endswith(".memory_bytes") for key in self.pending) and seen.memory_limit_bytes is not None:
            memory = ordered("memory_bytes", seen.memory_limit_bytes)
        return Action(ordered("cpu", seen.limit_cpu) if action is None else action.cpu, memory)

    def _settle(self, outcome: Outcome) -> None:
        """Forget orders that are in force, and warnings of refusals that no longer are."""
        self.pending = {key: value for key, value in self.pending.items() if key in outcome.refused}
        self.trouble.forget_refusals(outcome.refused)

    def _as_if_alive(self, seen: Observation) -> Observation:
        """A dead service uses no memory, which must not take from it the limit that it needs to come back."""
        if seen.memory_bytes is None:
            return seen
        alive = np.array([name in self._lives and self._lives[name].alive for name in self.scenario.names])
        if self._memory_alive is None:
            self._memory_alive = np.asarray(seen.memory_bytes)
        self._memory_alive = np.where(alive, seen.memory_bytes, self._memory_alive)
        return replace(seen, memory_bytes=self._memory_alive)

    def _started(self) -> bool:
        return time.monotonic() - self._began >= self.scenario.control.start_after_s

    def enforce(self, cpu: FloatArray, memory_bytes: FloatArray | None, note: str) -> Outcome:
        """Put limits in force at a user's order, and record it. Hold `lock`.

        Before the services run, these are the limits to start with. What the driver refuses is tried at every step.
        """
        seen = self.observation
        ordered = {f"{name}.cpu": float(cpu[i]) for i, name in enumerate(self.scenario.names)}
        if memory_bytes is not None:
            ordered |= {f"{name}.memory_bytes": float(memory_bytes[i]) for i, name in enumerate(self.scenario.names)}
        self.pending |= ordered
        if self.phase == "running":
            outcome = self.slice.apply(Action(cpu, memory_bytes))
            self.pending = {k: v for k, v in self.pending.items() if k not in ordered or k in outcome.refused}
        else:
            outcome = Outcome(dict(ordered), {})
        if seen is not None:
            in_force = np.array([self.limits[name].cpu for name in self.scenario.names])
            seen = replace(seen, limit_cpu=in_force)
        self.record("user", seen, outcome, None, note=note, allowed=Action(cpu, memory_bytes))
        return outcome

    def record(
        self,
        by: Literal["policy", "user"],
        seen: Observation | None,
        outcome: Outcome,
        step: Step | None,
        *,
        t: float | None = None,
        note: str = "",
        allowed: Action | None = None,
    ) -> None:
        """Queue a decision and keep the limits that are now in force."""
        before, names = self.limits, self.scenario.names
        self.limits = dict(before)
        if seen is not None:
            memory = seen.memory_limit_bytes
            self.limits = {
                name: Limits(float(seen.limit_cpu[i]), before[name].memory_bytes if memory is None else int(memory[i]))
                for i, name in enumerate(self.scenario.names)
            }
        for name, old in self.limits.items():
            cpu, memory_bytes = outcome.done.get(f"{name}.cpu"), outcome.done.get(f"{name}.memory_bytes")
            self.limits[name] = Limits(
                old.cpu if cpu is None else float(cpu), old.memory_bytes if memory_bytes is None else int(memory_bytes)
            )
        new = self.limits != before
        self.refused += len(outcome.refused)
        for key, why in outcome.refused.items():
            service, _, resource = key.rpartition(".")
            self.trouble.warn(REFUSED + key, f"{resource}: {why}", "refused", service)
        for key in outcome.done:
            self.trouble.pop(REFUSED + key, None)
        self.seq += 1
        self.last_step = {
            "loop": self.name,
            "seq": self.seq,
            "t": time.time() if t is None else t,
            "by": by,
            "mode": self.orders.mode,
            "policy": self.orders.policy,
            "changed": _differ(before, self.limits) or bool(outcome.refused),
            "body": {
                "slice_cpu": self.orders.slice_cpu,
                "observation": by_service(names, plain(seen)) if seen is not None else {},
                "wanted": _by_service(names, step.wanted if step else None),
                "allowed": _by_service(names, step.allowed if step else allowed),
                "reasons": dict(zip(names, step.reasons, strict=False)) if step else dict.fromkeys(names, note),
                "verdict": {
                    "changed": step.verdict.changed if step else False,
                    "notes": dict(zip(names, step.verdict.notes, strict=False)) if step else {},
                },
                "outcome": {"done": _nested(outcome.done), "refused": _joined(outcome.refused)},
                "limits": plain_limits(self.limits),
            },
        }
        self.recorder.decision(self.last_step, (LoopRow, {"limits": plain_limits(self.limits)}) if new else None)

    def _restore_history(self) -> None:
        """Fill the ring with what the store remembers, and go on counting after its last decision."""
        with self.recorder.store.read() as session:
            mine = DecisionRow.loop == self.name
            self.seq = session.scalar(select(func.max(DecisionRow.seq)).where(mine)) or 0
            recent = select(DecisionRow).where(mine, DecisionRow.by == "policy").order_by(DecisionRow.seq.desc())
            rows = session.scalars(recent.limit(int(KEPT_S / self.pace.period_s))).all()
        for row in reversed(rows):
            seen = row.body["observation"]
            if list(seen) == list(self.scenario.names) and row.t > time.time() - KEPT_S:
                columns = {name: [seen[service][name] for service in seen] for name in seen[self.scenario.names[0]]}
                self.history.add(Moment(row.t, row.body["slice_cpu"], columns))


def end_all(loops: dict[str, Any]) -> None:
    """End loops of any kind, and forget them here; the store keeps them."""
    for loop in loops.values():
        loop.ask_to_stop()
    for name, loop in list(loops.items()):
        try:
            loop.close()
        except Exception as error:  # what the next one runs must end too
            log.error("close_failed", loop=name, detail=str(error))
        del loops[name]


def by_service(names: tuple[str, ...], columns: Mapping[str, list[float]]) -> dict[str, dict[str, float]]:
    """Columns of one number per service -> one mapping per service."""
    return {name: {field: values[i] for field, values in columns.items()} for i, name in enumerate(names)}


def _by_service(names: tuple[str, ...], action: Action | None) -> dict[str, dict[str, float]]:
    if action is None:
        return {}
    memory = {} if action.memory_bytes is None else {"memory_bytes": digits(action.memory_bytes)}
    return by_service(names, {"cpu": digits(action.cpu), **memory})


def _nested(done: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """`{"service.cpu": cores}` -> `{"service": {"cpu": cores}}`"""
    nested: dict[str, dict[str, float | None]] = {}
    for key, value in done.items():
        service, _, resource = key.rpartition(".")
        nested.setdefault(service, {})[resource] = None if value is None else float(f"{value:.6g}")
    return nested


def _joined(refused: Mapping[str, str]) -> dict[str, str]:
    """`{"service.cpu": why}` -> `{"service": "cpu: why"}`"""
    joined: dict[str, list[str]] = {}
    for key, why in refused.items():
        service, _, resource = key.rpartition(".")
        joined.setdefault(service, []).append(f"{resource}: {why}")
    return {service: "; ".join(reasons) for service, reasons in joined.items()}


def _differ(old: Mapping[str, Limits], new: Mapping[str, Limits]) -> bool:
    """By what a reader would call a change: a thousandth of a core, a fiftieth of the memory."""
    return any(
        abs(new[name].cpu - limit.cpu) >= 1e-3
        or abs((new[name].memory_bytes or 0) - (limit.memory_bytes or 0)) > 0.02 * (limit.memory_bytes or 0)
        for name, limit in old.items()
    )


def plain_limits(limits: dict[str, Limits]) -> dict[str, Any]:
    return {name: {"cpu": round(limit.cpu, 6), "memory_bytes": limit.memory_bytes} for name, limit in limits.items()}


def first_limits(scenario: Scenario) -> dict[str, Limits]:
    """The scenario's initial limits."""
    return {
        s.name: Limits(s.cpu.initial, int(min(s.memory.initial_mb * MB, sys.maxsize)))  # an infinity is no int
        for s in scenario.services
    }
