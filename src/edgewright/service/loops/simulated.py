"""A slice on the reference twin, in real time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from edgewright.drivers.host import Capacity, ServiceSpec
from edgewright.drivers.simulated import SimulatedHost, SimulatedMachine, SimulatedSource
from edgewright.scaling.events import ServiceSimulation
from edgewright.scaling.model import Scenario
from edgewright.service.loops.host_slice import HostSlice


def simulated_slice(scenario: Scenario, capacity: Capacity, *, folder: Path | None = None, seed: int = 0) -> HostSlice:
    """The scenario's services and load as the twin has them."""
    twin = ServiceSimulation(scenario, seed, folder=folder)
    machine = SimulatedMachine(twin, scenario.names, capacity, clock=time.monotonic)

    def offer(factors: Mapping[str, float]) -> None:
        with machine.lock:
            twin.load_factor[:] = [factors[name] for name in scenario.names]

    specs = [ServiceSpec(name, ("simulated",)) for name in scenario.names]
    source = SimulatedSource(machine, scenario.slo.response_s)
    return HostSlice(scenario, SimulatedHost(machine), specs, [source], offer)
