"""A service's replicas as one slice of a scaling loop, which sees and limits what each replica has.

All replicas have the same limits and, behind their balancer, the same share of the load: the loop sees one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from edgewright.core.contracts import Outcome
from edgewright.core.errors import CapacityError, InputError
from edgewright.drivers.host import HostError, Limits, Usage, unknown_service
from edgewright.drivers.response import PrometheusSource
from edgewright.scaling.driver import SliceDriver
from edgewright.scaling.model import MB, Action, Scenario
from edgewright.scaling.observation import Observation
from edgewright.service.loops.slices import Life
from edgewright.service.refusals import Conflict, NotFound
from edgewright.service.slices.instance import Instance
from edgewright.service.store import StoreError

Order = Callable[[float, float], None]  # CPU (cores) and memory (MB) of each replica, through the standard APIs
REFUSALS = (CapacityError, Conflict, HostError, InputError, NotFound, StoreError)


class InstanceSlice:
    """Where `order` raises one of REFUSALS the limits are refused."""

    def __init__(self, scenario: Scenario, running: Instance, order: Order) -> None:
        self.scenario, self.running = scenario, running
        self.ports: Mapping[str, int] = {}
        self.loaded: tuple[str, ...] = ()
        self.left_dead = {running.name: "its replicas are mended one by one"}
        slo = scenario.slo
        source = PrometheusSource(running.balancing.metrics_url, slo.response_s, failed_as_s=slo.timeout_s)
        self._host = _Replicas(running, order)
        self._driver = SliceDriver(scenario, self._host, [source])

    @property
    def warnings(self) -> list[str]:
        return [f"{about}: {reason}" for about, reason in self._driver.warnings.items()]

    def start(self, limits: Mapping[str, Limits]) -> list[str]:
        """It runs already, under the limits that its orders gave it."""
        return [f"watches {', '.join(self.running.replicas)}"]

    def observe(self) -> Observation:
        """Of one replica."""
        seen, share = self._driver.observe(), 1 / max(len(self.running.replicas), 1)
        return replace(
            seen, arrived_hz=seen.arrived_hz * share, backlog=seen.backlog * share, usage_cpu=seen.usage_cpu * share
        )

    def apply(self, action: Action) -> Outcome:
        return self._driver.apply(action)

    def lives(self) -> dict[str, Life]:
        """Alive while any replica is."""
        usages = self._host.usages()
        alive = [usage for usage in usages.values() if usage.alive]
        restarts = sum(usage.restarts for usage in usages.values())
        return {self.running.name: Life(bool(alive), alive[0].pid if alive else None, restarts)}

    def restart(self, service: str) -> None:
        """At a user's wish."""
        self.running.restart()

    def set_load(self, factors: Mapping[str, float]) -> None:
        """Its load is its users'."""

    def close(self) -> None:
        """The service runs on."""
        self._driver.close()


class _Replicas:
    """As one service of a host: what it used is the sum, also of replicas that are gone; limits are of each."""

    def __init__(self, running: Instance, order: Order) -> None:
        self._running, self._order = running, order
        self._last: dict[str, Usage] = {}
        self._sum = {"cpu_s": 0.0, "throttled_s": 0.0, "periods": 0.0, "throttled_periods": 0.0, "oom_kills": 0.0}

    def usages(self) -> dict[str, Usage]:
        found = {}
        for name in self._running.replicas:
            try:
                found[name] = self._running.host.usage(name)
            except (HostError, InputError):  # it is being started or stopped
                continue
        return found

    def usage(self, name: str) -> Usage:
        if name != self._running.name:
            raise unknown_service(name, [self._running.name])
        now = self.usages()
        if not now:
            raise HostError(name, "none of its replicas can be read")
        for replica, usage in now.items():
            before = self._last.get(replica)
            for field in self._sum:
                old = getattr(before, field) if before is not None else getattr(usage, field)
                self._sum[field] += max(0.0, getattr(usage, field) - old)
        self._last = now
        newest, most = max(now.values(), key=lambda u: u.t_s), max(usage.memory_bytes for usage in now.values())
        return replace(
            newest,
            cpu_s=self._sum["cpu_s"],
            throttled_s=self._sum["throttled_s"],
            periods=int(self._sum["periods"]),
            throttled_periods=int(self._sum["throttled_periods"]),
            oom_kills=int(self._sum["oom_kills"]),
            memory_bytes=most,
            alive=any(usage.alive for usage in now.values()),
            limits=self._running.limits,
        )

    def set_limits(self, name: str, limits: Limits) -> Outcome:
        memory = limits.memory_bytes if limits.memory_bytes is not None else self._running.limits.memory_bytes
        assert memory is not None
        try:
            self._order(limits.cpu, memory / MB)
        except REFUSALS as error:
            return Outcome({}, dict.fromkeys(("cpu", "memory_bytes"), str(error)))
        return Outcome({"cpu": limits.cpu, "memory_bytes": memory}, {})
