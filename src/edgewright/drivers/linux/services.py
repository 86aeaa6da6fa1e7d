"""Services on this Linux host: processes in control groups of their own, which outlive a crash of ours."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import structlog

from edgewright.core.contracts import Outcome
from edgewright.core.errors import InputError
from edgewright.core.locks import NamedLocks
from edgewright.drivers.host import (
    NAME_PATTERN,
    Action,
    Capacity,
    HostError,
    Limits,
    ServiceSpec,
    Usage,
    check_specs,
    unknown_service,
)
from edgewright.drivers.linux.cgroups import (
    DEFAULT_PERIOD_US,
    Group,
    Place,
    Refused,
    enclosing_limits,
    find_place,
    groups_of,
    remove_place,
)
from edgewright.drivers.linux.health import ask
from edgewright.drivers.linux.namespaces import FOLDER
from edgewright.drivers.linux.processes import Process, launch

log = structlog.get_logger("edgewright.services")
STATE_FORMAT = "edgewright.services/1"


@dataclass
class _Running:
    spec: ServiceSpec
    process: Process
    limits: Limits  # last set with success, what a restart gets
    restarts: int = 0


class LinuxHost:
    """Runs services as processes of this host.

    `state` is a folder of ours: what runs (so that a later orchestrator can adopt it), one log file per service.
    One orchestrator at a time holds it. `instance` names our parent group, `edgewright-<instance>`, or `group` does.
    Raises cgroups.Unavailable where the host lets us make no groups.
    """

    def __init__(
        self,
        state: Path,
        instance: str = "default",
        *,
        group: str | None = None,
        period_us: int = DEFAULT_PERIOD_US,
        grace_s: float = 5.0,
    ) -> None:
        if not re.fullmatch(NAME_PATTERN, instance):
            raise InputError("instance", instance, f"a name like {NAME_PATTERN}")
        self._state, self._instance, self._file = state, instance, state / f"{instance}.json"
        self._period_us, self._grace_s = period_us, grace_s
        self._lock = threading.RLock()  # guards the table; each service's own lock guards what it does
        self._locks = NamedLocks()
        self._services: dict[str, _Running] = {}
        self._closed = False
        state.mkdir(parents=True, exist_ok=True)
        self._held = (state / f"{instance}.lock").open("w")
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._held.close()
            raise InputError("state", str(state), "a folder that no other orchestrator holds") from None
        try:
            self._place = find_place(group or f"edgewright-{instance}")
            self._records: dict[str, dict[str, Any]] = self._read_state()
        except BaseException:
            self._let_go()
            raise

    # What there is

    @property
    def capacity(self) -> Capacity:
        return capacity_of(self._place)

    @property
    def services(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._services)

    def log_file(self, name: str) -> Path:
        """Standard output and error of the service, over all its starts."""
        return self._state / f"{self._instance}.{name}.log"

    # Start and end

    def start(self, spec: ServiceSpec, limits: Limits) -> int:
        with self._of(spec.name, must_exist=False):
            if spec.name in self._services:
                raise InputError("name", spec.name, "a service that does not run yet")
            group = Group(self._place, spec.name)
            try:
                self._clear(group)
                service = _Running(spec, self._launch(spec, limits), limits)
            except BaseException:
                self._clear(group)
                raise
            self._put(spec.name, service)
            return service.process.pid

    def restart(self, name: str) -> int:
        with self._of(name):
            service = self._services[name]
            self._end(service)
            process = self._launch(service.spec, service.limits)
            self._put(name, replace(service, process=process, restarts=service.restarts + 1))
            return process.pid

    def stop(self, name: str) -> None:
        with self._of(name):
            self._end(self._services[name])
            self._clear(Group(self._place, name))
            self._put(name, None)

    def forget(self, name: str) -> None:
        current = self.log_file(name)
        for file in (current, current.with_name(f"{current.name}.1")):
            try:
                file.unlink(missing_ok=True)
            except OSError as error:
                log.warning("log_stays", detail=str(error))

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
        for name in self._locks.names:  # a start under way sees that we close, and gives up
            with self._locks.hold(name):
                pass
        for name in self.services:  # all are asked at once, so that the graces do not add up
            self._services[name].process.signal(signal.SIGTERM)
        errors = []
        try:
            for name in self.services:
                try:
                    self.stop(name)
                except (HostError, OSError) as error:  # the others must end all the same
                    errors.append(str(error))
            if not groups_of(self._place):
                remove_place(self._place)
                self._file.unlink(missing_ok=True)
        finally:
            self._let_go()
        if errors:
            raise HostError("close", "; ".join(errors))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # After a crash

    def adopt(self, spec: ServiceSpec, limits: Limits | None = None) -> bool:
        with self._of(spec.name, must_exist=False):
            record = self._records.get(spec.name)
            if record is None or spec.name in self._services:
                return spec.name in self._services
            process = Process(record["pid"], record["start_ticks"])
            if not process.alive or tuple(record["command"]) != spec.command:
                return False
            group = Group(self._place, spec.name)
            network = _network_of(spec) or Path("/proc/self/ns/net")
            if process.pid not in group.pids() or not process.is_in_network(network):
                return False
            cpu = group.cpu_limit()
            if cpu is None:  # the orchestrator was killed while the service started unthrottled
                cpu = record["cpu"]
                group.set_cpu_limit(cpu, self._period_us)
            in_force = Limits(cpu, group.memory_limit())
            self._put(spec.name, _Running(spec, process, in_force, record["restarts"]))
            if limits is not None:
                self.set_limits(spec.name, limits)
            return True

    def reconcile(self, specs: Iterable[ServiceSpec]) -> list[Action]:
        wanted = check_specs(specs)
        actions = []
        for spec in wanted.values():
            if spec.name not in self._services and self.adopt(spec):
                actions.append(Action("adopted", spec.name, f"pid {self._services[spec.name].process.pid}"))
        for name in sorted((groups_of(self._place) | set(self._records)) - set(self.services)):
            with self._of(name, must_exist=False):
                group = Group(self._place, name)
                processes = [process for pid in sorted(group.pids()) if (process := Process.of(pid))]
                for process in processes:
                    process.signal(signal.SIGTERM)
                deadline = time.monotonic() + self._grace_s
                for process in processes:
                    process.wait(max(0.0, deadline - time.monotonic()))
                self._clear(group)
                for process in processes:
                    process.wait(1.0)
                detail = f"pids {[process.pid for process in processes]}" if processes else "nothing ran in it"
                actions.append(Action("ended" if processes else "removed", name, detail))
                self._put(name, None)
        for name in sorted(set(self.services) - set(wanted)):
            self.stop(name)
            actions.append(Action("ended", name, "no longer wanted"))
        return actions

    # Watch and limit

    def usage(self, name: str) -> Usage:
        """Never waits; a service that is being started again does not live yet."""
        with self._lock:
            if name not in self._services:
                raise unknown_service(name, self._services)
            service, group = self._services[name], Group(self._place, name)
        t_s = time.monotonic()
        try:
            counters = group.counters()
            cpu, memory_bytes = group.cpu_limit(), group.memory_limit()
        except OSError as error:
            raise HostError(name, f"its control group: {error}") from error
        alive = service.process.alive
        if cpu is None:  # a start without throttling ends with the old limit; else someone else took the limit away
            cpu = self.capacity.cpu if alive else service.limits.cpu
        return Usage(
            t_s=t_s,
            **asdict(counters),
            alive=alive,
            pid=service.process.pid if alive else None,
            restarts=service.restarts,
            limits=Limits(cpu, memory_bytes),
        )

    def set_limits(self, name: str, limits: Limits) -> Outcome:
        """Never waits for a start: refused until it is over."""
        try:
            with self._of(name, timeout_s=0.05):
                service = self._services[name]
                outcome = self._limit(Group(self._place, name), limits)
                # Not written to the state file: after a crash the kernel knows.
                service.limits = replace(service.limits, **outcome.done)
                return outcome
        except TimeoutError:
            return Outcome({}, dict.fromkeys(("cpu", "memory_bytes"), "it is being started or stopped"))

    # Inside

    def _let_go(self) -> None:
        """To close it is not enough: a child of ours that has not yet become its program has it open, too."""
        fcntl.flock(self._held, fcntl.LOCK_UN)
        self._held.close()

    def _limit(self, group: Group, limits: Limits) -> Outcome:
        done: dict[str, Any] = {}
        refused = {}
        try:
            group.set_cpu_limit(limits.cpu, self._period_us)
            done["cpu"] = limits.cpu
        except Refused as refusal:
            refused["cpu"] = str(refusal)
        try:
            group.set_memory_limit(limits.memory_bytes)
            done["memory_bytes"] = limits.memory_bytes
        except Refused as refusal:
            refused["memory_bytes"] = str(refusal)
        return Outcome(done, refused)

    def _launch(self, spec: ServiceSpec, limits: Limits) -> Process:
        group, process = Group(self._place, spec.name), None
        try:
            group.create()
            outcome = self._limit(group, limits)
            if outcome.refused:
                raise HostError(spec.name, "; ".join(outcome.refused.values()))
            if spec.start_unthrottled:
                group.set_cpu_limit(None, self._period_us)
            process = launch(
                spec.command,
                environment=spec.environment,
                working_directory=spec.working_directory,
                log=self.log_file(spec.name),
                join=[path / "cgroup.procs" for path in group.directories],
                network=_network_of(spec),
            )
            self._await_health(spec, process)
            if spec.start_unthrottled:
                group.set_cpu_limit(limits.cpu, self._period_us)
            return process
        except BaseException as error:
            group.kill()
            if process is not None:
                process.wait(1.0)
            # A ValueError: an environment that no process can have.
            if isinstance(error, OSError | RuntimeError | Refused | ValueError):
                raise HostError(spec.name, str(error)) from error
            raise

    def _await_health(self, spec: ServiceSpec, process: Process) -> None:
        deadline, reason = time.monotonic() + spec.start_timeout_s, ""
        while spec.health_url is not None:
            if self._closed:
                raise HostError(spec.name, "the host is closed")
            if not process.alive:
                raise HostError(spec.name, f"ended while starting, see {self.log_file(spec.name)}")
            try:
                ask(spec.health_url, spec.namespace)
                return
            except (OSError, http.client.HTTPException) as error:  # the latter: what answers speaks no HTTP
                reason = str(error) or type(error).__name__
            if time.monotonic() > deadline:
                raise HostError(spec.name, f"not healthy after {spec.start_timeout_s:g} s: {reason}")
            time.sleep(0.05)

    def _end(self, service: _Running) -> None:
        service.process.signal(signal.SIGTERM)
        service.process.wait(self._grace_s)
        group = Group(self._place, service.spec.name)
        if not group.kill():
            raise HostError(service.spec.name, f"pids {sorted(group.pids())} do not end")
        service.process.wait(1.0)  # reaps it

    def _clear(self, group: Group) -> None:
        if not group.kill():
            raise HostError(group.name, f"pids {sorted(group.pids())} do not end")
        try:
            group.remove()
        except OSError as error:
            raise HostError(group.name, f"its control group stays: {error}") from error

    @contextlib.contextmanager
    def _of(self, name: str, *, must_exist: bool = True, timeout_s: float = -1) -> Iterator[None]:
        """Hold a service's lock. Raises TimeoutError where another call holds it for longer than `timeout_s`."""

        def check() -> None:
            with self._lock:
                if self._closed and not (must_exist and name in self._services):
                    raise HostError(name, "the host is closed")
                if must_exist and name not in self._services:
                    raise unknown_service(name, self._services)

        check()
        with self._locks.hold(name, timeout_s):
            check()
            yield

    def _put(self, name: str, service: _Running | None) -> None:
        """Change the table and its file; a crash in between leaves the old or the new file, never half of one.

        Where the file cannot be written (a full disk) services start and end all the same: what it says is checked
        before it is believed, and a service that it does not know is started anew instead of adopted.
        """
        with self._lock:
            if service is None:
                self._services.pop(name, None)
                self._records.pop(name, None)
            else:
                self._services[name] = service
                self._records[name] = {
                    **asdict(service.process),
                    "command": list(service.spec.command),
                    "cpu": service.limits.cpu,
                    "restarts": service.restarts,
                }
            fresh = self._file.with_suffix(".new")
            try:
                with fresh.open("w") as file:
                    json.dump({"format": STATE_FORMAT, "services": self._records}, file, indent=1)
                    file.flush()
                    os.fsync(file.fileno())
                fresh.replace(self._file)
            except OSError as error:
                log.warning("state_not_kept", file=str(self._file), detail=str(error))

    def _read_state(self) -> dict[str, dict[str, Any]]:
        try:
            data = json.loads(self._file.read_text())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise InputError("state", str(error), "valid JSON", source=str(self._file)) from None
        if data.get("format") != STATE_FORMAT:
            raise InputError("format", data.get("format"), repr(STATE_FORMAT), source=str(self._file))
        return dict(data["services"])


def _network_of(spec: ServiceSpec) -> Path | None:
    return None if spec.namespace is None else FOLDER / spec.namespace


def capacity_of(place: Place) -> Capacity:
    """What groups there can get of this host."""
    cpu, memory_bytes = enclosing_limits(place)
    cores = float(len(os.sched_getaffinity(0)))
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Capacity(min(cores, cpu or cores), min(total, memory_bytes or total))
