"""What every host must do, on the real kernel and on a twin alike."""

from __future__ import annotations

import gc
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
from driver_programs import IDLE, SPIN

from edgewright.core.errors import InputError
from edgewright.drivers.host import Capacity, HostError, Limits, ServiceHost, ServiceSpec
from edgewright.drivers.linux.services import LinuxHost
from edgewright.drivers.simulated import SimulatedHost, SimulatedMachine

MB = 1_000_000
NAMES = ("one", "two", "three")


@dataclass
class Done:
    cpu_s: float
    periods: int
    throttled_periods: int
    memory_bytes: float
    arrived: int = 0
    failed: int = 0
    waiting: int = 0
    crashed: bool = False
    oom_kills: int = 0
    responses_s: np.ndarray = field(default_factory=lambda: np.empty(0))


class Greedy:
    """A twin of services that take all the CPU they get, and 15 MB."""

    def advance(self, dt_s, limit_cpu, memory_limit_bytes=None):
        periods = round(dt_s / 0.01)
        return [Done(min(cpu, 1.0) * dt_s, periods, periods if cpu < 1 else 0, 15 * MB) for cpu in limit_cpu]


class Bench(Protocol):
    """A host under test, and what a test does to the machine behind its back."""

    host: ServiceHost

    def settle(self, seconds: float) -> None: ...
    def kill(self, name: str) -> None: ...
    def crash(self) -> ServiceHost:
        """Drop the host without closing it; another one takes its place."""
        ...


class LinuxBench:
    def __init__(self, folder: Path) -> None:
        self.folder, self.instance = folder, f"test-{os.getpid()}"
        self.host = LinuxHost(folder, self.instance, grace_s=2.0)

    def settle(self, seconds: float) -> None:
        time.sleep(seconds)

    def kill(self, name: str) -> None:
        pid = self.host.usage(name).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        while self.host.usage(name).alive:
            time.sleep(0.01)

    def crash(self) -> ServiceHost:
        del self.host
        gc.collect()
        self.host = LinuxHost(self.folder, self.instance, grace_s=2.0)
        return self.host


class SimulatedBench:
    def __init__(self) -> None:
        self.machine = SimulatedMachine(Greedy(), NAMES, Capacity(2.0, 8 * 2**30))
        self.host = SimulatedHost(self.machine)

    def settle(self, seconds: float) -> None:
        self.machine.step(seconds)

    def kill(self, name: str) -> None:
        self.machine.fail(name)

    def crash(self) -> ServiceHost:
        self.host = SimulatedHost(self.machine)
        return self.host


@pytest.fixture(params=[pytest.param("linux", marks=pytest.mark.real), "simulated"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, require: Callable[..., None]) -> Iterator[Bench]:
    if request.param == "linux":
        require("cgroup-cpu", "cgroup-memory")
        made: Bench = LinuxBench(tmp_path)
    else:
        made = SimulatedBench()
    try:
        yield made
    finally:
        made.host.reconcile([])
        made.host.close()


def spec(name: str = "one", command: tuple[str, ...] = SPIN) -> ServiceSpec:
    return ServiceSpec(name, command)


def used_cpu(bench: Bench, name: str, seconds: float) -> float:
    before = bench.host.usage(name)
    bench.settle(seconds)
    after = bench.host.usage(name)
    return (after.cpu_s - before.cpu_s) / (after.t_s - before.t_s)


def test_a_started_service_runs_under_its_limits(bench: Bench) -> None:
    pid = bench.host.start(spec(), Limits(0.3, 64 * 2**20))
    bench.settle(0.3)
    usage = bench.host.usage("one")
    assert usage.alive
    assert usage.pid == pid
    assert usage.limits == Limits(0.3, 64 * 2**20)
    assert usage.restarts == usage.oom_kills == 0
    assert 10 * MB < usage.memory_bytes < 64 * 2**20
    assert bench.host.services == ("one",)


def test_cpu_follows_its_limit_at_once(bench: Bench) -> None:
    bench.host.start(spec(), Limits(0.1))
    bench.settle(0.3)
    low = used_cpu(bench, "one", 0.6)
    assert bench.host.set_limits("one", Limits(0.4)).done == {"cpu": 0.4, "memory_bytes": None}
    high = used_cpu(bench, "one", 0.6)
    assert 2.0 < high / low < 6.0  # 4 on an idle host
    assert high < 0.4 * 1.1
    usage = bench.host.usage("one")
    assert usage.limits.cpu == pytest.approx(0.4)
    assert 0 < usage.throttled_periods <= usage.periods
    assert usage.throttled_s > 0


def test_a_refused_field_keeps_its_old_value_and_the_other_is_done(bench: Bench) -> None:
    bench.host.start(spec(), Limits(0.5, 64 * 2**20))
    bench.settle(0.5)
    outcome = bench.host.set_limits("one", Limits(0.25, 2**20))
    assert outcome.done == {"cpu": 0.25}
    assert "[Errno 16] EBUSY" in outcome.refused["memory_bytes"]
    assert not outcome.ok
    assert bench.host.usage("one").limits == Limits(0.25, 64 * 2**20)
    assert bench.host.usage("one").alive


def test_less_than_the_kernel_can_enforce_is_refused(bench: Bench) -> None:
    bench.host.start(spec(command=IDLE), Limits(0.5))
    outcome = bench.host.set_limits("one", Limits(0.0005))
    assert "0.0005 cores" in outcome.refused["cpu"]
    assert bench.host.usage("one").limits == Limits(0.5)
    assert bench.host.set_limits("one", Limits(0.05)).ok  # below 1 ms in 10 ms: the period grows
    assert bench.host.usage("one").limits.cpu == pytest.approx(0.05)


@pytest.mark.parametrize(("cpu", "memory_bytes"), [(0.0, None), (-1.0, None), (math.nan, None), (1, 0)])
def test_limits_that_are_no_limits_are_bad_input(cpu: float, memory_bytes: int | None) -> None:
    with pytest.raises(InputError):
        Limits(cpu, memory_bytes)


def test_a_killed_service_is_noticed_and_restarts_with_its_limits_and_counters(bench: Bench) -> None:
    first = bench.host.start(spec(), Limits(0.3, 64 * 2**20))
    bench.host.set_limits("one", Limits(0.2, 64 * 2**20))
    bench.settle(0.3)
    bench.kill("one")
    dead = bench.host.usage("one")
    assert (dead.alive, dead.pid) == (False, None)
    second = bench.host.restart("one")
    usage = bench.host.usage("one")
    assert second != first
    assert (usage.alive, usage.pid, usage.restarts) == (True, second, 1)
    assert usage.limits == Limits(0.2, 64 * 2**20)
    assert usage.cpu_s >= dead.cpu_s > 0


def test_a_dropped_host_leaves_its_services_to_the_next_one(bench: Bench) -> None:
    pid = bench.host.start(spec(), Limits(0.3, 64 * 2**20))
    bench.host.set_limits("one", Limits(0.2, 64 * 2**20))
    host = bench.crash()
    assert host.services == ()
    assert not host.adopt(spec("two"))
    assert not host.adopt(spec("one", IDLE))  # another command is another service
    assert host.adopt(spec())
    usage = host.usage("one")
    assert (usage.alive, usage.pid) == (True, pid)
    assert usage.limits == Limits(0.2, 64 * 2**20)
    assert host.adopt(spec())  # again is fine
    assert host.restart("one") != pid


def test_reconcile_adopts_what_is_wanted_and_ends_the_rest(bench: Bench) -> None:
    for name in NAMES:
        bench.host.start(spec(name, IDLE), Limits(0.2))
    bench.kill("three")
    host = bench.crash()
    actions = host.reconcile([spec("one", IDLE)])
    assert [(action.kind, action.service) for action in actions] == [
        ("adopted", "one"),
        ("removed", "three"),
        ("ended", "two"),
    ]
    assert host.services == ("one",)
    assert host.reconcile([spec("one", IDLE)]) == []
    host.start(spec("two", IDLE), Limits(0.2))
    assert [action.kind for action in host.reconcile([spec("one", IDLE)])] == ["ended"]
    assert host.services == ("one",)


def test_unknown_and_doubled_names_are_bad_input(bench: Bench) -> None:
    bench.host.start(spec(command=IDLE), Limits(0.2))
    for call in (bench.host.usage, bench.host.stop, bench.host.restart):
        with pytest.raises(InputError, match="one of \\['one'\\]"):
            call("missing")
    with pytest.raises(InputError):
        bench.host.start(spec(command=IDLE), Limits(0.2))
    with pytest.raises(InputError):
        bench.host.reconcile([spec(), spec()])


def test_a_closed_host_starts_nothing_and_closes_again(bench: Bench) -> None:
    bench.host.start(spec(command=IDLE), Limits(0.2))
    bench.host.close()
    bench.host.close()
    assert bench.host.services == ()
    with pytest.raises(HostError, match="closed"):
        bench.host.start(spec("two", IDLE), Limits(0.2))
    bench.crash()  # for the fixture


def test_capacity_is_positive(bench: Bench) -> None:
    capacity = bench.host.capacity
    assert capacity.cpu >= 1
    assert capacity.memory_bytes > 2**28
