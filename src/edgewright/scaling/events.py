"""The reference twin: every request of every service, exactly, under a CFS quota (numba, float64).

Model of one service: requests arrive open loop (Poisson), wait first-in first-out, and use one core while the
service has quota left in the current CFS period; an unused quota expires (no burst). Time is relative to the
start of the present interval. Response times are those of the requests that *end* in the interval, as a live
probe sees them. Documentation of CFS bandwidth control: Linux, Documentation/scheduler/sched-bwc.rst.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from edgewright.core.contracts import FloatArray
from edgewright.core.workload import arrivals, rates
from edgewright.scaling.model import CFS_PERIOD_S, MB, Action, Behaviour, Scenario
from edgewright.scaling.observation import Observation, declared

_EPS = 1e-12


@njit(cache=True)
def serve(
    arrival_s: NDArray[np.float64],
    left_s: NDArray[np.float64],
    head: int,
    new: int,
    quota_s: float,
    periods: int,
    period_s: float,
    queue_limit: int,
) -> tuple[NDArray[np.float64], NDArray[np.int64], int, float, int, int]:
    """Serve one service for `periods` CFS periods.

    `arrival_s`, `left_s`: float[n], arrival time (may be < 0: earlier intervals) and CPU still needed, in order.
    Requests [0, new) already wait; [new, n) arrive now; `head` is the first unanswered one. `left_s` is updated.
    Returns: finish float[n] (NaN: not yet), state int[n] (0 waits, 1 answered, 2 refused), new head, CPU used (s),
    throttled periods, waiting at the end.
    """
    n = arrival_s.size
    finish = np.full(n, np.nan)
    state = np.zeros(n, dtype=np.int64)
    waiting = new - head
    incoming = new
    used_total = 0.0
    throttled = 0
    for k in range(periods):
        start = k * period_s
        end = start + period_s
        now = start
        used = 0.0
        while True:
            while incoming < n and arrival_s[incoming] <= now + _EPS:
                if waiting >= queue_limit:
                    state[incoming] = 2
                    finish[incoming] = arrival_s[incoming]
                else:
                    waiting += 1
                incoming += 1
            while head < incoming and state[head] != 0:
                head += 1
            next_arrival = arrival_s[incoming] if incoming < n else math.inf
            if head >= incoming:  # idle
                if next_arrival >= end:
                    break
                now = max(now, next_arrival)
                continue
            if quota_s - used <= _EPS:  # out of quota until the period ends
                throttled += 1
                if next_arrival >= end:
                    break
                while incoming < n and arrival_s[incoming] < end:
                    if waiting >= queue_limit:
                        state[incoming] = 2
                        finish[incoming] = arrival_s[incoming]
                    else:
                        waiting += 1
                    incoming += 1
                break
            run = min(left_s[head], quota_s - used, end - now, max(next_arrival - now, 0.0))
            left_s[head] -= run
            used += run
            now += run
            if left_s[head] <= _EPS:
                state[head] = 1
                finish[head] = now
                waiting -= 1
                head += 1
            elif end - now <= _EPS:
                break
        used_total += used
    while head < n and state[head] != 0:
        head += 1
    return finish, state, head, used_total, throttled, waiting


@dataclass(frozen=True)
class Served:
    """What one service did in an interval."""

    periods: int
    arrived: int
    memory_bytes: float
    responses_s: FloatArray  # of all that ended, each at most the timeout; a failed one counts the timeout
    failed: int  # refused, lost in a crash, or over the timeout
    refused: int = 0
    waiting: int = 0
    cpu_s: float = 0.0
    throttled_periods: int = 0
    crashed: bool = False
    oom_kills: int = 0


@dataclass
class _Queue:
    arrival_s: FloatArray = field(default_factory=lambda: np.empty(0))  # of unanswered requests, s, all <= 0
    left_s: FloatArray = field(default_factory=lambda: np.empty(0))  # CPU they still need, s
    down_s: float = 0.0
    last_arrival_s: float = -math.inf
    upcoming: tuple[FloatArray, FloatArray] | None = None  # drawn ahead by `upcoming`


class ServiceSimulation:
    """The services of a scenario under given limits, request by request; same seed, same requests whatever the limits.

    `rate_hz` float[A, T] overrides the scenario's load; `limit_cpu` is what `advance` is given.
    """

    def __init__(self, scenario: Scenario, seed: int, *, rate_hz: FloatArray | None = None, folder: Any = None) -> None:
        self.scenario = scenario
        streams = np.random.SeedSequence(seed).spawn(3 * len(scenario.services))
        self._work = [np.random.default_rng(s) for s in streams[0::3]]
        self._fault = [np.random.default_rng(s) for s in streams[1::3]]
        self._load = [np.random.default_rng(s) for s in streams[2::3]]
        if rate_hz is None:
            rate_hz = np.stack(
                [
                    rates(service.load, scenario.duration_s, rng, folder=folder)
                    for service, rng in zip(scenario.services, self._load, strict=True)
                ]
            )
        self.rate_hz = rate_hz
        self.load_factor = np.ones(len(scenario.services))
        self.time_s = 0.0
        self._queues = [_Queue() for _ in scenario.services]
        self._held: list[list[tuple[float, float]]] = [[] for _ in scenario.services]

    def advance(self, dt_s: float, limit_cpu: FloatArray, memory_limit_bytes: FloatArray | None = None) -> list[Served]:
        """Run for `dt_s` (a whole number of CFS periods) under limits float[A] in cores."""
        memory = np.full(len(self._queues), np.inf) if memory_limit_bytes is None else memory_limit_bytes
        served = [self._advance_one(i, dt_s, float(limit_cpu[i]), float(memory[i])) for i in range(len(self._queues))]
        self.time_s += dt_s
        return served

    def upcoming(self, index: int, dt_s: float) -> tuple[FloatArray, FloatArray]:
        """Requests of the next interval and those that wait: arrival times and CPU needed, both float[n], s."""
        queue = self._queues[index]
        if queue.upcoming is None:
            behaviour = self.scenario.services[index].behaviour
            arrived = self._arrivals(index, dt_s)
            gaps = np.diff(arrived, prepend=queue.last_arrival_s)
            sizes = service_times(behaviour, gaps, self._work[index])
            queue.last_arrival_s = float(arrived[-1] if arrived.size else queue.last_arrival_s) - dt_s
            queue.upcoming = arrived, sizes
        arrived, sizes = queue.upcoming
        return np.concatenate([queue.arrival_s, arrived]), np.concatenate([queue.left_s, sizes])

    def _advance_one(self, index: int, dt_s: float, limit_cpu: float, memory_limit_bytes: float) -> Served:
        behaviour, queue = self.scenario.services[index].behaviour, self._queues[index]
        timeout_s = self.scenario.slo.timeout_s
        periods = round(dt_s / CFS_PERIOD_S)
        waiting = queue.arrival_s.size
        arrival, left = self.upcoming(index, dt_s)
        queue.upcoming = None
        arrived = arrival.size - waiting
        base, down = behaviour.memory_base_mb * MB, queue.down_s > 1e-9
        crashes = bool(self._fault[index].random() < -math.expm1(-behaviour.crash_per_hour * dt_s / 3600.0))
        crashed = crashes and not down
        memory, killed = (base, 0) if down else self._memory(index, dt_s, arrived, memory_limit_bytes)
        if crashed or killed:
            queue.down_s = max(behaviour.restart_s, dt_s)
            self._held[index].clear()
        if queue.down_s > 1e-9:
            queue.arrival_s, queue.left_s, queue.down_s = np.empty(0), np.empty(0), queue.down_s - dt_s
            lost = np.full(arrival.size, timeout_s)
            return Served(periods, arrived, base, lost, lost.size, crashed=crashed, oom_kills=killed)
        finish, state, _, used, throttled, still = serve(
            arrival,
            left,
            0,
            waiting,
            min(limit_cpu, 1.0) * CFS_PERIOD_S,
            periods,
            CFS_PERIOD_S,
            behaviour.queue_limit,
        )
        keep = state == 0
        response = finish[state == 1] - arrival[state == 1] + behaviour.overhead_ms / 1e3
        refused = int((state == 2).sum())
        queue.arrival_s, queue.left_s = arrival[keep] - dt_s, left[keep]
        return Served(
            periods,
            arrived,
            memory,
            np.concatenate([np.minimum(response, timeout_s), np.full(refused, timeout_s)]),
            failed=refused + int((response >= timeout_s).sum()),
            refused=refused,
            waiting=still,
            cpu_s=used,
            throttled_periods=throttled,
        )

    def unanswered_s(self) -> list[FloatArray]:
        """Per service, how long each request that is still unanswered has waited, s."""
        return [-queue.arrival_s for queue in self._queues]

    def _arrivals(self, index: int, dt_s: float) -> FloatArray:
        start, end = self.time_s, self.time_s + dt_s
        rate = self.rate_hz[index] * self.load_factor[index]
        if start == int(start) and dt_s == 1.0:
            return arrivals(rate[[int(start) % rate.size]], self._work[index])
        seconds = np.arange(int(start), math.ceil(end - 1e-9))
        drawn = arrivals(np.take(rate, seconds, mode="wrap"), self._work[index]) + seconds[0]
        return np.asarray(drawn[(drawn >= start) & (drawn < end)] - start)

    def _memory(self, index: int, dt_s: float, arrived: int, limit_bytes: float) -> tuple[float, int]:
        """Working set: a base plus what the requests of the last `memory_hold_s` hold; over the limit: killed."""
        behaviour, held = self.scenario.services[index].behaviour, self._held[index]
        now = self.time_s + dt_s
        held.append((now, arrived * behaviour.memory_per_request_kb * 1e3))
        while held and held[0][0] < now - behaviour.memory_hold_s:
            held.pop(0)
        wanted = behaviour.memory_base_mb * MB + sum(amount for _, amount in held)
        return min(wanted, limit_bytes), int(wanted > limit_bytes)


def service_times(behaviour: Behaviour, gap_s: FloatArray, rng: np.random.Generator) -> FloatArray:
    """CPU time of requests that arrive `gap_s` after the one before, float[n], s; log-normal about their mean."""
    mean_s = (behaviour.cpu_ms - behaviour.cold_ms * np.expm1(-gap_s / (behaviour.cold_after_ms / 1e3))) / 1e3
    sigma = math.sqrt(math.log1p(behaviour.cpu_cv**2))
    return np.asarray(mean_s * np.exp(sigma * rng.standard_normal(gap_s.size) - sigma * sigma / 2))


class SimulatedSlice:
    """Driver over the reference twin: `observe` what the last interval showed, `apply` limits to the next one."""

    def __init__(self, scenario: Scenario, seed: int, *, rate_hz: FloatArray | None = None, folder: Any = None) -> None:
        self.scenario = scenario
        self.twin = ServiceSimulation(scenario, seed, rate_hz=rate_hz, folder=folder)
        self.limit_cpu = np.array([s.cpu.initial for s in scenario.services])
        self.memory_limit_bytes = np.array([s.memory.initial_mb for s in scenario.services]) * MB
        self.served: list[Served] = []

    def apply(self, action: Action) -> None:
        self.limit_cpu = np.array(action.cpu, dtype=np.float64)
        if action.memory_bytes is not None:
            self.memory_limit_bytes = np.array(action.memory_bytes, dtype=np.float64)

    def run(self, dt_s: float = 1.0) -> Observation:
        """Advance one interval and observe it."""
        self.served = self.twin.advance(dt_s, self.limit_cpu, self.memory_limit_bytes)
        return observation(self.scenario, self.served, self.limit_cpu, dt_s, self.memory_limit_bytes)


def observation(
    scenario: Scenario,
    served: list[Served],
    limit_cpu: FloatArray,
    dt_s: float,
    memory_limit_bytes: FloatArray | None = None,
) -> Observation:
    """What one interval looked like from outside."""
    slo = scenario.slo

    def column(values: Any) -> FloatArray:
        return np.array(list(values), dtype=np.float64)

    return Observation(
        limit_cpu=np.array(limit_cpu),
        usage_cpu=column(s.cpu_s / dt_s for s in served),
        throttled=column(s.throttled_periods / s.periods for s in served),
        arrived_hz=column(s.arrived / dt_s for s in served),
        backlog=column(s.waiting for s in served),
        response_mean_s=column(s.responses_s.mean() if s.responses_s.size else 0.0 for s in served),
        response_p95_s=column(np.quantile(s.responses_s, 0.95) if s.responses_s.size else 0.0 for s in served),
        late=column((s.responses_s > slo.response_s).mean() if s.responses_s.size else 0.0 for s in served),
        failed=column(s.failed / max(s.responses_s.size, 1) for s in served),
        **declared(scenario),
        memory_bytes=column(s.memory_bytes for s in served),
        memory_limit_bytes=memory_limit_bytes,
        oom_kills=column(s.oom_kills for s in served),
    )
