"""A slice on any service host: its processes adopted or started, watched, limited, and started again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, cast

from edgewright.core.contracts import Outcome
from edgewright.drivers.host import HostError, Limits, ServiceHost, ServiceSpec, Usage
from edgewright.drivers.response import ResponseSource
from edgewright.scaling.driver import SliceDriver
from edgewright.scaling.model import Action, Scenario
from edgewright.scaling.observation import Observation
from edgewright.service.loops.pace import go_along
from edgewright.service.loops.slices import Life


@dataclass
class _Patient:
    """A host as the driver sees it: a service that is being started is described, not waited for."""

    host: ServiceHost
    starting: set[str] = field(default_factory=set)
    last: dict[str, Usage] = field(default_factory=dict)

    def usage(self, name: str) -> Usage:
        if name in self.starting and name in self.last:
            return replace(self.last[name], t_s=time.monotonic(), alive=False, pid=None)
        self.last[name] = self.host.usage(name)
        return self.last[name]

    def set_limits(self, name: str, limits: Limits) -> Outcome:
        if name in self.starting:
            return Outcome({}, {"cpu": "it is being started: the old limit holds"})
        return self.host.set_limits(name, limits)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.host, name)


class HostSlice:
    """`specs`: the scenario's services, then other processes of the slice (a load generator), which have no limit.

    `offer` multiplies the load of services; `ports` are kept for the next start.
    """

    def __init__(
        self,
        scenario: Scenario,
        host: ServiceHost,
        specs: Sequence[ServiceSpec],
        sources: Sequence[ResponseSource],
        offer: Callable[[Mapping[str, float]], None],
        ports: Mapping[str, int] | None = None,
    ) -> None:
        self.scenario, self.host, self.ports = scenario, host, dict(ports or {})
        self._specs = {spec.name: spec for spec in specs}
        self._patient = _Patient(host)
        self._driver = SliceDriver(scenario, cast(ServiceHost, self._patient), sources)
        self._offer, self._factors = offer, dict.fromkeys(scenario.names, 1.0)
        self._closing = threading.Lock()
        self._closed = False

    @property
    def warnings(self) -> list[str]:
        return [f"{source}: {reason}" for source, reason in self._driver.warnings.items()]

    def start(self, limits: Mapping[str, Limits]) -> list[str]:
        """Services keep the limits in force where they were adopted."""
        told = [f"{a.kind} {a.service} ({a.detail})" for a in self.host.reconcile(self._specs.values())]
        missing = [spec for spec in self._specs.values() if spec.name not in self.host.services]
        unlimited = Limits(self.host.capacity.cpu)
        others = [spec for spec in missing if spec.name not in limits]  # the load comes after what it loads
        for specs in ([spec for spec in missing if spec.name in limits], others):
            with ThreadPoolExecutor(max(len(specs), 1), initializer=go_along) as pool:  # each waits until it is healthy
                begun = [pool.submit(self.host.start, spec, limits.get(spec.name, unlimited)) for spec in specs]
            told += [f"started {spec.name} (pid {pid.result()})" for spec, pid in zip(specs, begun, strict=True)]
        return told

    def observe(self) -> Observation:
        return self._driver.observe()

    def apply(self, action: Action) -> Outcome:
        return self._driver.apply(action)

    def lives(self) -> dict[str, Life]:
        lives = {}
        for name in self._specs:
            usage = self._patient.usage(name)
            lives[name] = Life(usage.alive, usage.pid, usage.restarts)
        return lives

    def restart(self, service: str) -> None:
        self._patient.starting.add(service)
        try:
            self.host.restart(service)
        finally:
            self._patient.starting.discard(service)
        if service not in self.scenario.names:
            self.set_load(self._factors)

    def set_load(self, factors: Mapping[str, float]) -> None:
        self._factors |= factors
        self._offer(self._factors)

    def close(self) -> None:
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._driver.close()
            self.host.close()


def no_load(_: Mapping[str, float]) -> None:
    raise HostError("load", "this slice has no load generator of ours")
