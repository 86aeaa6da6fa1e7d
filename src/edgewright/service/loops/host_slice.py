"""A slice on any service host: its processes adopted or started, watched, limited, and started again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from edgewright.core.contracts import Outcome
from edgewright.drivers.host import HostError, Limits, ServiceHost, ServiceSpec
from edgewright.drivers.response import ResponseSource
from edgewright.scaling.driver import SliceDriver
from edgewright.scaling.model import Action, Scenario
from edgewright.scaling.observation import Observation
from edgewright.service.loops.pace import go_along
from edgewright.service.loops.slices import Life


class HostSlice:
    """`specs`: the scenario's services, then other processes of the slice (a load generator), which have no limit.

    `offer` multiplies the load of the services in `loaded` (all, unless told); `ports` are kept for the next start.
    `again` makes the specs anew before every start, where ports may have been taken meanwhile; `ports` follow it.
    """

    def __init__(
        self,
        scenario: Scenario,
        host: ServiceHost,
        specs: Sequence[ServiceSpec],
        sources: Sequence[ResponseSource],
        offer: Callable[[Mapping[str, float]], None],
        ports: Mapping[str, int] | None = None,
        loaded: Collection[str] | None = None,
        again: Callable[[], Sequence[ServiceSpec]] | None = None,
    ) -> None:
        self.scenario, self.host, self.ports = scenario, host, {} if ports is None else ports
        self._specs = {spec.name: spec for spec in specs}
        self._again = again
        never = [each.name for each in scenario.services if each.run is not None and each.run.restart == "never"]
        self.left_dead = dict.fromkeys(never, "restart: never")
        self._driver = SliceDriver(scenario, host, sources)
        self.loaded = scenario.names if loaded is None else tuple(loaded)
        self._offer, self._factors = offer, dict.fromkeys(scenario.names, 1.0)
        self._closing = threading.Lock()
        self._closed = False
        self._unseen: dict[str, str] = {}  # service -> why nothing can be read of it

    @property
    def warnings(self) -> list[str]:
        return [f"{about}: {reason}" for about, reason in (self._driver.warnings | self._unseen).items()]

    def start(self, limits: Mapping[str, Limits]) -> list[str]:
        """Services keep the limits in force where they were adopted."""
        if self._again is not None:
            self._specs = {spec.name: spec for spec in self._again()}
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
            try:
                usage = self.host.usage(name)
                lives[name] = Life(usage.alive, usage.pid, usage.restarts)
            except HostError as error:  # its group is gone: to be started again, and the others are seen
                lives[name] = Life(False, None, 0)
                self._unseen[name] = error.reason
            else:
                self._unseen.pop(name, None)
        return lives

    def restart(self, service: str) -> None:
        self.host.restart(service)
        if service not in self.scenario.names:
            self.set_load(self._factors)

    def set_load(self, factors: Mapping[str, float]) -> None:
        wanted = self._factors | dict(factors)
        if self.loaded:
            self._offer(wanted)
        self._factors = wanted

    def close(self) -> None:
        with self._closing:
            if self._closed:
                return
            self._closed = True
            try:
                self._driver.close()
            finally:
                self.host.close()
