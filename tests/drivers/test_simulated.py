"""The simulated machine: its clock, its twin, its response times."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from edgewright.drivers.host import Capacity, HostError, Limits, ServiceSpec
from edgewright.drivers.simulated import SimulatedHost, SimulatedMachine, SimulatedSource
from edgewright.scaling.events import ServiceSimulation
from edgewright.scaling.model import Scenario

CAPACITY = Capacity(2.0, 4 * 2**30)
SCENARIO = Scenario.model_validate_json(
    """{"format": "edgewright.scaling/1", "name": "two", "services": [
    {"name": "busy", "load": {"profile": {"kind": "constant", "rate_hz": 60}}},
    {"name": "calm", "load": {"profile": {"kind": "constant", "rate_hz": 10}}}]}"""
)


def machine(**options: object) -> SimulatedMachine:
    return SimulatedMachine(ServiceSimulation(SCENARIO, seed=1), SCENARIO.names, CAPACITY, **options)  # type: ignore[arg-type]


def test_the_event_twin_runs_behind_the_host_contract() -> None:
    simulated = machine()
    source = SimulatedSource(simulated, late_s=0.05)
    with SimulatedHost(simulated) as host:
        for name in SCENARIO.names:
            host.start(ServiceSpec(name, ("simulated",)), Limits(0.8, 512 * 2**20))
        simulated.step(10.0)
        good = asyncio.run(source.windows())
        assert good["busy"].seconds == pytest.approx(10.0)
        assert 450 < good["busy"].arrived < 750
        assert good["busy"].requests == good["busy"].arrived - good["busy"].backlog
        usage = host.usage("busy")
        assert usage.cpu_s == pytest.approx(good["busy"].requests * 0.005, rel=0.2)
        host.set_limits("busy", Limits(0.2, 512 * 2**20))  # two thirds of what it needs
        simulated.step(10.0)
        bad = asyncio.run(source.windows())
        assert bad["busy"].mean_s > 5 * good["busy"].mean_s
        assert bad["busy"].failed > 0
        assert bad["busy"].late_fraction > 0.9
        assert bad["calm"].late_fraction < 0.05
        assert host.usage("busy").throttled_s > 5.0


def test_a_dead_service_answers_nothing() -> None:
    simulated = machine()
    source = SimulatedSource(simulated, late_s=0.05)
    with SimulatedHost(simulated) as host:
        host.start(ServiceSpec("calm", ("simulated",)), Limits(0.8))
        simulated.step(2.0)
        simulated.fail("calm")
        asyncio.run(source.windows())
        before = host.usage("calm")
        simulated.step(2.0)
        window = asyncio.run(source.windows())["calm"]
        assert window.requests == 0
        assert window.backlog > 5
        assert host.usage("calm").cpu_s == before.cpu_s


def test_a_machine_with_a_clock_follows_it() -> None:
    now_s = 100.0
    simulated = machine(clock=lambda: now_s, speed=2.0)
    with SimulatedHost(simulated) as host:
        host.start(ServiceSpec("busy", ("simulated",)), Limits(0.8))
        now_s += 1.255
        assert host.usage("busy").t_s == pytest.approx(2.51)
        first = host.usage("busy").cpu_s
        assert first == host.usage("busy").cpu_s > 0
        now_s += 0.5
        assert host.usage("busy").cpu_s > first


def test_the_same_seed_gives_the_same_run() -> None:
    def run() -> list[float]:
        simulated = machine()
        source = SimulatedSource(simulated, late_s=0.05)
        with SimulatedHost(simulated) as host:
            host.start(ServiceSpec("busy", ("simulated",)), Limits(0.4))
            simulated.step(3.0)
            return [asyncio.run(source.windows())["busy"].mean_s, host.usage("busy").cpu_s]

    assert np.array_equal(run(), run())


def test_the_twin_has_only_its_services() -> None:
    with SimulatedHost(machine()) as host, pytest.raises(HostError, match=r"only \['busy', 'calm'\]"):
        host.start(ServiceSpec("other", ("simulated",)), Limits(0.4))
