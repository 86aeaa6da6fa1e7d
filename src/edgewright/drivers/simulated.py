"""A host whose services are a twin's: the same contract as the Linux host, in real time or stepped."""

from __future__ import annotations

import errno
import itertools
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

import numpy as np

from edgewright.core.contracts import FloatArray, Outcome
from edgewright.core.errors import InputError
from edgewright.drivers.host import (
    Action,
    Capacity,
    HostError,
    Limits,
    ServiceSpec,
    Usage,
    check_specs,
    unknown_service,
)
from edgewright.drivers.linux.cgroups import DEFAULT_PERIOD_US, Refused, cpu_quota
from edgewright.drivers.response import ResponseWindow, window_of

PERIOD_S = DEFAULT_PERIOD_US * 1e-6
LONGEST_STEP_S = 1.0


class Served(Protocol):
    """What one service did in a step of the twin."""

    @property
    def cpu_s(self) -> float: ...
    @property
    def periods(self) -> int: ...
    @property
    def throttled_periods(self) -> int: ...
    @property
    def arrived(self) -> int: ...
    @property
    def failed(self) -> int:
        """Of those that ended: refused, lost, or over the time-out."""
        ...

    @property
    def responses_s(self) -> FloatArray:
        """float64[ended]; a failed one counts as the time-out."""
        ...

    @property
    def waiting(self) -> int: ...
    @property
    def crashed(self) -> bool:
        """It died and comes back by itself."""
        ...

    @property
    def memory_bytes(self) -> float: ...
    @property
    def oom_kills(self) -> int: ...


class ServiceTwin(Protocol):
    """A twin of A services; `edgewright.scaling.events.ServiceSimulation` is one."""

    def advance(
        self, dt_s: float, limit_cpu: FloatArray, memory_limit_bytes: FloatArray | None = None
    ) -> Sequence[Served]:
        """Run for dt_s, a whole number of PERIOD_S, under limits float64[A] in cores (0: it does not run) and bytes."""
        ...


@dataclass
class _Process:
    spec: ServiceSpec
    pid: int
    limits: Limits
    restarts: int = 0
    cpu_s: float = 0.0
    throttled_s: float = 0.0
    periods: int = 0
    throttled_periods: int = 0
    memory_bytes: float = 0.0
    oom_kills: int = 0
    alive: bool = True


@dataclass
class _Seen:
    """What the ingress counted since it was last read."""

    since_s: float
    arrived: int = 0
    backlog: int = 0
    failed: int = 0
    responses_s: list[FloatArray] = field(default_factory=list)


class SimulatedMachine:
    """The twin, its time and what runs on it: outlives the hosts (orchestrators) that use it, as a machine does.

    `names` are the twin's services in its order. Without a clock it moves by `step`; with one (time.monotonic) it
    follows it, `speed` times as fast, whenever it is looked at.
    """

    def __init__(
        self,
        twin: ServiceTwin,
        names: Sequence[str],
        capacity: Capacity,
        *,
        clock: Callable[[], float] | None = None,
        speed: float = 1.0,
    ) -> None:
        self.names, self.capacity = tuple(names), capacity
        self.lock = threading.RLock()
        self.processes: dict[str, _Process] = {}
        self.seen = {name: _Seen(0.0) for name in self.names}
        self.t_s = 0.0
        self._twin, self._clock, self._speed = twin, clock, speed
        self._began_s = clock() if clock else 0.0
        self._pids = itertools.count(1)

    def now(self) -> float:
        """The machine's time, s, after catching up with the clock."""
        with self.lock:
            if self._clock is not None:
                behind_s = (self._clock() - self._began_s) * self._speed - self.t_s
                self.step(math.floor(max(0.0, behind_s) / PERIOD_S + 1e-6) * PERIOD_S)
            return self.t_s

    def step(self, dt_s: float) -> None:
        """Move on by dt_s, rounded to whole periods."""
        with self.lock:
            periods = round(dt_s / PERIOD_S)
            while periods > 0:
                now = min(periods, round(LONGEST_STEP_S / PERIOD_S))
                self._step(now)
                periods -= now

    def spawn(self, spec: ServiceSpec, limits: Limits) -> _Process:
        if spec.name not in self.names:
            raise HostError(spec.name, f"the twin has no such service, only {sorted(self.names)}")
        process = _Process(spec, next(self._pids), limits)
        self.processes[spec.name] = process
        return process

    def fail(self, name: str) -> None:
        """The process dies (as by kill -9) and stays dead until it is restarted."""
        with self.lock:
            self.processes[name].alive = False
            self.processes[name].memory_bytes = 0.0

    def _step(self, periods: int) -> None:
        running = [self.processes.get(name) for name in self.names]
        cpu = np.array([p.limits.cpu if p and p.alive else 0.0 for p in running])
        memory = np.array([(p.limits.memory_bytes or np.inf) if p else np.inf for p in running])
        served = self._twin.advance(periods * PERIOD_S, cpu, memory)
        self.t_s += periods * PERIOD_S
        for name, process, done in zip(self.names, running, served, strict=True):
            seen = self.seen[name]
            seen.arrived += done.arrived
            seen.failed += done.failed
            seen.backlog = done.waiting
            seen.responses_s.append(done.responses_s)
            if process is None or not process.alive:
                continue
            process.cpu_s += done.cpu_s
            process.periods += done.periods
            process.throttled_periods += done.throttled_periods
            # One thread that is out of quota waits for the rest of the period.
            process.throttled_s += done.throttled_periods * PERIOD_S * max(0.0, 1.0 - process.limits.cpu)
            process.memory_bytes = done.memory_bytes
            process.oom_kills += done.oom_kills
            process.restarts += int(done.crashed or done.oom_kills > 0)


class SimulatedHost:
    """One orchestrator's hold of a simulated machine."""

    def __init__(self, machine: SimulatedMachine) -> None:
        self.machine = machine
        self._ours: set[str] = set()
        self._closed = False

    @property
    def capacity(self) -> Capacity:
        return self.machine.capacity

    @property
    def services(self) -> tuple[str, ...]:
        return tuple(name for name in self.machine.names if name in self._ours)

    def start(self, spec: ServiceSpec, limits: Limits) -> int:
        with self.machine.lock:
            if self._closed:
                raise HostError(spec.name, "the host is closed")
            if spec.name in self._ours:
                raise InputError("name", spec.name, "a service that does not run yet")
            refused = self._refusals(None, limits)
            if refused:
                raise HostError(spec.name, "; ".join(refused.values()))
            self.machine.now()
            process = self.machine.spawn(spec, limits)
            self._ours.add(spec.name)
            return process.pid

    def restart(self, name: str) -> int:
        with self.machine.lock:
            old = self._process(name)
            self.machine.now()
            new = self.machine.spawn(old.spec, old.limits)
            counters = replace(old, pid=new.pid, alive=True, memory_bytes=0.0, restarts=old.restarts + 1)
            self.machine.processes[name] = counters
            return new.pid

    def stop(self, name: str) -> None:
        with self.machine.lock:
            self._process(name)
            self.machine.now()
            del self.machine.processes[name]
            self._ours.discard(name)

    def forget(self, name: str) -> None:
        """There are no logs."""

    def adopt(self, spec: ServiceSpec, limits: Limits | None = None) -> bool:
        with self.machine.lock:
            if self._closed:
                raise HostError(spec.name, "the host is closed")
            process = self.machine.processes.get(spec.name)
            if spec.name in self._ours:
                return True
            if process is None or not process.alive or process.spec.command != spec.command:
                return False
            process.spec = spec
            self._ours.add(spec.name)
            if limits is not None:
                self.set_limits(spec.name, limits)
            return True

    def reconcile(self, specs: Iterable[ServiceSpec]) -> list[Action]:
        wanted = check_specs(specs)
        with self.machine.lock:
            actions = [
                Action("adopted", spec.name, f"pid {self.machine.processes[spec.name].pid}")
                for spec in wanted.values()
                if spec.name not in self._ours and self.adopt(spec)
            ]
            for name, process in sorted(self.machine.processes.items()):
                if name not in wanted or name not in self._ours:
                    del self.machine.processes[name]
                    self._ours.discard(name)
                    if process.alive:
                        actions.append(Action("ended", name, f"pids [{process.pid}]"))
                    else:
                        actions.append(Action("removed", name, "nothing ran in it"))
            return actions

    def usage(self, name: str) -> Usage:
        with self.machine.lock:
            process = self._process(name)
            t_s = self.machine.now()
            return Usage(
                t_s=t_s,
                cpu_s=process.cpu_s,
                throttled_s=process.throttled_s,
                periods=process.periods,
                throttled_periods=process.throttled_periods,
                memory_bytes=int(process.memory_bytes),
                oom_kills=process.oom_kills,
                alive=process.alive,
                pid=process.pid if process.alive else None,
                restarts=process.restarts,
                limits=process.limits,
            )

    def set_limits(self, name: str, limits: Limits) -> Outcome:
        with self.machine.lock:
            process = self._process(name)
            self.machine.now()  # what ran until now ran under the old limits
            refused = self._refusals(process, limits)
            wanted = {"cpu": limits.cpu, "memory_bytes": limits.memory_bytes}
            done = {key: value for key, value in wanted.items() if key not in refused}
            process.limits = Limits(
                limits.cpu if "cpu" in done else process.limits.cpu,
                limits.memory_bytes if "memory_bytes" in done else process.limits.memory_bytes,
            )
            return Outcome(done, refused)

    def close(self) -> None:
        with self.machine.lock:
            for name in self.services:
                self.stop(name)
            self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _process(self, name: str) -> _Process:
        if name not in self._ours:
            raise unknown_service(name, self._ours)
        return self.machine.processes[name]

    def _refusals(self, process: _Process | None, limits: Limits) -> dict[str, str]:
        refused = {}
        try:
            cpu_quota(limits.cpu)
        except Refused as refusal:
            refused["cpu"] = str(refusal)
        if process is not None and limits.memory_bytes is not None and limits.memory_bytes < process.memory_bytes:
            refused["memory_bytes"] = f"memory limit: [Errno {errno.EBUSY}] EBUSY, {process.memory_bytes:.0f} in use"
        return refused


class SimulatedSource:
    """The response times of a simulated machine, as an ingress would report them."""

    def __init__(self, machine: SimulatedMachine, late_s: float) -> None:
        self._machine, self._late_s = machine, late_s

    async def windows(self) -> Mapping[str, ResponseWindow]:
        with self._machine.lock:
            now_s = self._machine.now()
            result = {}
            for name, seen in self._machine.seen.items():
                ended_s = np.concatenate([*seen.responses_s, np.empty(0)])
                # The twin lists failed requests among the responses, at the time-out, where they are the longest.
                answered_s = np.sort(ended_s)[: ended_s.size - seen.failed]
                result[name] = window_of(
                    answered_s,
                    seconds=now_s - seen.since_s,
                    arrived=seen.arrived,
                    backlog=seen.backlog,
                    failed=seen.failed,
                    late_s=self._late_s,
                    failed_as_s=float(ended_s.max()) if seen.failed else 0.0,
                )
                self._machine.seen[name] = _Seen(now_s, backlog=seen.backlog)
            return result

    async def close(self) -> None:
        """Nothing is held."""
