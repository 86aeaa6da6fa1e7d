"""One loop on a simulated machine in stepped time, without threads or HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgewright.core.documents import validate
from edgewright.drivers.host import Capacity, HostError, ServiceSpec
from edgewright.drivers.simulated import SimulatedHost, SimulatedMachine, SimulatedSource
from edgewright.scaling.control import Controller
from edgewright.scaling.events import ServiceSimulation
from edgewright.scaling.model import Scenario
from edgewright.scaling.policies import make_policy
from edgewright.service.loops.host_slice import HostSlice
from edgewright.service.loops.loop import Loop, Orders, first_limits
from edgewright.service.loops.slices import DriverChoice
from edgewright.service.store import Store
from edgewright.service.store.recorder import Recorder

from .conftest import scenario, settings

SCENARIO = validate(Scenario, scenario(control={"policy": "fixed", "interval_s": 1.0}), source="test")


class Stepped:
    """A loop whose machine moves one interval for each step."""

    def __init__(self, folder: Path, policy: Any = None) -> None:
        self.offered: dict[str, float] = {}
        self.offer_fails = False
        self.machine = SimulatedMachine(ServiceSimulation(SCENARIO, 1), SCENARIO.names, Capacity(4.0, 2**33))
        specs = [ServiceSpec(name, ("x",)) for name in SCENARIO.names]
        source = SimulatedSource(self.machine, SCENARIO.slo.response_s)
        slice_ = HostSlice(SCENARIO, SimulatedHost(self.machine), specs, [source], self.offer)
        self.store = Store(settings(folder).url)
        self.loop = Loop(
            scenario=SCENARIO,
            slice=slice_,
            controller=Controller(SCENARIO, policy or make_policy("fixed", SCENARIO)),
            orders=Orders("act", "fixed", {}, SCENARIO.slice.cpu, SCENARIO.slice.memory_mb, {}),
            recorder=Recorder(self.store, 3600.0),
            driver=DriverChoice("simulated", "a test", self.machine.capacity),
            limits=first_limits(SCENARIO),
        )
        slice_.start(self.loop.limits)
        self.loop.phase = "running"

    def offer(self, factors: Mapping[str, float]) -> None:
        if self.offer_fails:
            raise HostError("load", "no answer")
        self.offered = dict(factors)

    def step(self, count: int = 1) -> dict[str, Any]:
        for _ in range(count):
            self.machine.step(1.0)
            self.loop.step()
        assert self.loop.last_step
        body: dict[str, Any] = self.loop.last_step["body"]
        return body

    def events(self) -> list[tuple[str, str]]:
        return [(row["kind"], row["detail"]) for _, row in self.loop.recorder._waiting if "kind" in row]
