"""The scaling driver: a host and its response-time sources as one Observation; limits as calls of the host."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from edgewright.core.contracts import FloatArray, Outcome
from edgewright.core.errors import InputError
from edgewright.drivers.host import HostError, Limits, Usage
from edgewright.drivers.response import ResponseSource, ResponseWindow, SourceError
from edgewright.scaling.model import MB, Action, Scenario
from edgewright.scaling.observation import Observation, declared
from edgewright.scaling.request_cost import RequestCost

SOURCE_TIMEOUT_S = 0.8  # a source that answers later than this is skipped for the interval
_SILENT = ResponseWindow(0.0, 0, 0, 0, 0, 0.0, 0.0, 0.0)


class LimitedServices(Protocol):
    """What of a ServiceHost is needed here."""

    def usage(self, name: str) -> Usage: ...

    def set_limits(self, name: str, limits: Limits) -> Outcome: ...


class SliceDriver:
    """Observes and limits the services of a scenario on one host.

    `sources` run in a thread of their own, so that probes keep their pace. A service that no source reports has
    zeros for response times; `warnings` says which source (or service) failed and why.
    """

    def __init__(self, scenario: Scenario, host: LimitedServices, sources: Sequence[ResponseSource]) -> None:
        self.scenario, self.host, self.sources = scenario, host, tuple(sources)
        self.warnings: dict[str, str] = {}
        self.usages: dict[str, Usage] = {}
        self.windows: dict[str, ResponseWindow] = {}
        self._in_force: dict[str, Limits] = {}
        self._cost = RequestCost(declared(scenario)["cpu_per_request_s"])
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="response-sources", daemon=True)
        self._thread.start()

    def observe(self) -> Observation:
        """One interval: since the last call. A service that the host cannot read stays as it was last seen, dead.

        Raises HostError for one that was never seen.
        """
        self.windows = self._read_sources()
        before, self.usages = self.usages, {name: self._usage(name) for name in self.scenario.names}
        self._in_force = {name: usage.limits for name, usage in self.usages.items()}
        seen = observation(self.scenario, self.windows, before, self.usages)
        return replace(seen, cpu_per_request_s=self._learned_cost(before))

    def _learned_cost(self, before: Mapping[str, Usage]) -> FloatArray:
        used_s, answered, seconds = np.zeros(len(self.usages)), np.zeros(len(self.usages)), 0.0
        for i, (name, now) in enumerate(self.usages.items()):
            old, window = before.get(name), self.windows.get(name)
            if old and window and old.alive and now.alive and old.pid == now.pid:  # starting costs CPU, too
                used_s[i], answered[i] = now.cpu_s - old.cpu_s, window.requests
                seconds = max(seconds, now.t_s - old.t_s)
        return self._cost.update(used_s, answered, seconds)

    def apply(self, action: Action) -> Outcome:
        """Set the limits that change. Keys of the outcome: `<service>.cpu`, `<service>.memory_bytes`."""
        done: dict[str, Any] = {}
        refused: dict[str, str] = {}
        before: dict[str, Limits] = {}
        fields = ("cpu",) if action.memory_bytes is None else ("cpu", "memory_bytes")
        for name in self.scenario.names:
            try:
                before[name] = self._in_force.get(name) or self.host.usage(name).limits
            except (HostError, InputError) as error:  # it does not run (yet), or its group is gone
                refused |= {f"{name}.{field}": str(error) for field in fields}
        # Shrink first: the sum of the limits stays within the slice at every moment.
        index_of = {name: index for index, name in enumerate(self.scenario.names)}
        for name in sorted(before, key=lambda name: action.cpu[index_of[name]] - before[name].cpu):
            index, old = index_of[name], before[name]
            memory = old.memory_bytes
            if action.memory_bytes is not None:
                memory = int(action.memory_bytes[index])
            wanted = Limits(float(action.cpu[index]), memory)
            if abs(wanted.cpu - old.cpu) < 5e-4 and wanted.memory_bytes == old.memory_bytes:
                continue
            try:
                outcome = self.host.set_limits(name, wanted)
            except HostError as error:
                refused |= {f"{name}.{field}": error.reason for field in fields}
                continue
            self._in_force[name] = replace(old, **outcome.done)
            done |= {f"{name}.{field}": value for field, value in outcome.done.items()}
            refused |= {f"{name}.{field}": reason for field, reason in outcome.refused.items()}
        return Outcome(done, refused)

    def close(self) -> None:
        """Close the sources; the host stays as it is."""
        try:
            for source in self.sources:
                asyncio.run_coroutine_threadsafe(source.close(), self._loop).result(timeout=5)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=5)
            self._loop.close()

    def _usage(self, name: str) -> Usage:
        try:
            return self.host.usage(name)
        except HostError as error:
            if name not in self.usages:
                raise
            self.warnings[name] = error.reason
            return replace(self.usages[name], alive=False, pid=None)

    def _read_sources(self) -> dict[str, ResponseWindow]:
        pending = [(s, asyncio.run_coroutine_threadsafe(s.windows(), self._loop)) for s in self.sources]
        found: dict[str, ResponseWindow] = {}
        self.warnings = {}
        for source, future in pending:
            try:
                found |= future.result(timeout=SOURCE_TIMEOUT_S)
            except (SourceError, TimeoutError) as error:
                future.cancel()
                self.warnings[type(source).__name__] = str(error) or f"no answer within {SOURCE_TIMEOUT_S:g} s"
        return found


def observation(
    scenario: Scenario,
    windows: Mapping[str, ResponseWindow],
    before: Mapping[str, Usage],
    after: Mapping[str, Usage],
) -> Observation:
    """Windows and cumulative usages -> Observation, float64[A] per field."""
    services = scenario.services
    window = [windows.get(name, _SILENT) for name in scenario.names]
    now = [after[name] for name in scenario.names]
    old = [before.get(name, usage) for name, usage in zip(scenario.names, now, strict=True)]

    def column(values: Any) -> FloatArray:
        return np.array(list(values), dtype=np.float64)

    def per_second(new: float, last: float, seconds: float) -> float:
        return max(new - last, 0.0) / seconds if seconds > 0 else 0.0

    return Observation(
        limit_cpu=column(u.limits.cpu for u in now),
        usage_cpu=column(per_second(u.cpu_s, o.cpu_s, u.t_s - o.t_s) for u, o in zip(now, old, strict=True)),
        throttled=column(
            per_second(u.throttled_periods, o.throttled_periods, u.periods - o.periods)
            for u, o in zip(now, old, strict=True)
        ),
        arrived_hz=column(w.rate_hz for w in window),
        backlog=column(w.backlog for w in window),
        response_mean_s=column(w.mean_s for w in window),
        response_p95_s=column(w.p95_s for w in window),
        late=column(w.late_fraction for w in window),
        failed=column(w.failed / max(w.requests, 1) for w in window),
        **declared(scenario),
        memory_bytes=column(u.memory_bytes for u in now),
        memory_limit_bytes=column(
            u.limits.memory_bytes if u.limits.memory_bytes is not None else s.memory.max_mb * MB
            for u, s in zip(now, services, strict=True)
        ),
        oom_kills=column(max(u.oom_kills - o.oom_kills, 0) for u, o in zip(now, old, strict=True)),
    )
