"""Fits the twin's behaviour of a service to the live one, and checks the fit on other points.

A point is a CPU quota (cores) and a request rate (Hz). The twin is given the very arrivals that the live service got,
so that what differs is the model, not the draw of the load.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize, nnls

from edgewright.core.contracts import FloatArray
from edgewright.core.errors import InputError
from edgewright.core.workload import arrivals
from edgewright.scaling.events import serve, service_times
from edgewright.scaling.live import SETTLE_S, LiveServices
from edgewright.scaling.model import CFS_PERIOD_S, Behaviour, Scenario

FIT_POINTS = ((0.3, 30.0), (1.0, 30.0), (0.5, 60.0), (1.0, 60.0), (0.6, 90.0), (1.0, 90.0))
CHECK_POINTS = tuple(
    (quota, rate)
    for rate, quotas in {
        20.0: (0.2, 0.4, 0.7),
        30.0: (0.25, 0.4, 0.6, 0.8),
        45.0: (0.4, 0.5, 0.8),
        60.0: (0.45, 0.6, 0.8),
        75.0: (0.6, 0.8, 1.0),
        90.0: (0.7, 0.8),
    }.items()
    for quota in quotas
)
DRAWS = 8  # of service times per point, averaged


@dataclass(frozen=True)
class Measured:
    """One live run at a point."""

    quota_cpu: float
    rate_hz: float
    due_s: FloatArray  # arrival times
    response_s: FloatArray
    cpu_per_request_s: float

    @property
    def mean_s(self) -> float:
        return float(self.response_s.mean())


@dataclass(frozen=True)
class Check:
    """Twin and live side by side at one point; times in s."""

    quota_cpu: float
    rate_hz: float
    live_s: tuple[float, ...]  # mean of each repetition
    twin_s: float

    @property
    def live_mean_s(self) -> float:
        return float(np.mean(self.live_s))

    @property
    def error(self) -> float:
        """Relative."""
        return self.twin_s / self.live_mean_s - 1

    @property
    def interval_s(self) -> tuple[float, float]:
        """95 % confidence interval of the live mean, by Student's t over the repetitions."""
        from scipy.stats import t

        n = len(self.live_s)
        if n < 2:
            return (self.live_mean_s, self.live_mean_s)
        half = float(t.ppf(0.975, n - 1)) * float(np.std(self.live_s, ddof=1)) / math.sqrt(n)
        return (self.live_mean_s - half, self.live_mean_s + half)

    @property
    def judged(self) -> bool:
        return self.live_mean_s < 0.1

    @property
    def holds(self) -> bool:
        low, high = self.interval_s
        return abs(self.error) <= 0.25 or low <= self.twin_s <= high


def measure_point(live: LiveServices, name: str, quota_cpu: float, rate_hz: float, seconds: int, seed: int) -> Measured:
    """Run one service at one point for `seconds`."""
    import time

    rng = np.random.default_rng([seed, round(quota_cpu * 1000), round(rate_hz * 10)])
    times = arrivals(np.full(seconds, rate_hz), rng)
    live.limit({name: quota_cpu})
    time.sleep(SETTLE_S)
    before = live.host.usage(name).cpu_s
    with live.offered(seconds, {name: times}) as finish:
        requests = finish()[name]
    used = live.host.usage(name).cpu_s - before
    return Measured(quota_cpu, rate_hz, requests.due_s, requests.response_s, used / max(requests.due_s.size, 1))


def simulate(behaviour: Behaviour, quota_cpu: float, due_s: FloatArray, timeout_s: float, seed: int = 0) -> float:
    """The twin's mean response, s, for these arrivals; averaged over DRAWS draws of the service times."""
    rng = np.random.default_rng(seed)
    gaps = np.diff(due_s, prepend=-math.inf)
    total = 0.0
    periods = math.ceil((due_s[-1] + timeout_s * 20) / CFS_PERIOD_S)
    for _ in range(DRAWS):
        size = service_times(behaviour, gaps, rng)
        finish, state, *_ = serve(
            due_s, size, 0, 0, min(quota_cpu, 1.0) * CFS_PERIOD_S, periods, CFS_PERIOD_S, behaviour.queue_limit
        )
        response = np.where(state == 1, finish - due_s + behaviour.overhead_ms / 1e3, timeout_s)
        total += float(np.minimum(response, timeout_s).mean())
    return total / DRAWS


def fit(measured: Sequence[Measured], start: Behaviour, timeout_s: float) -> Behaviour:
    """The behaviour whose means come nearest to the live ones, in relative terms.

    CPU per request (warm and cold) comes from what the kernel counted at the points' rates; its variation, the
    overhead and a common factor on the CPU are searched. Raises InputError unless there are three to six points.
    """
    if not 3 <= len(measured) <= 6:
        raise InputError("points", len(measured), "3 to 6 points to fit on")
    rates = np.array([m.rate_hz for m in measured])
    counted_ms = 1e3 * np.array([m.cpu_per_request_s for m in measured])
    pause = 1 / (1 + rates * start.cold_after_ms / 1e3)
    (warm_ms, cold_ms), _ = nnls(np.column_stack([np.ones_like(pause), pause]), counted_ms)
    warm_ms = max(warm_ms, 0.1 * counted_ms.min())

    def behaviour(x: FloatArray) -> Behaviour:
        factor, cv, overhead = np.exp(x)
        found = {
            "cpu_ms": warm_ms * factor,
            "cold_ms": cold_ms * factor,
            "cpu_cv": min(cv, 2.0),
            "overhead_ms": overhead,
        }
        return start.model_copy(update={name: float(value) for name, value in found.items()})

    def loss(x: FloatArray) -> float:
        found = behaviour(x)
        errors = []
        for point in measured:
            twin = simulate(found, point.quota_cpu, point.due_s, timeout_s)
            # Past 100 ms a run says little: the mean of an overloaded queue is nearly free.
            weight = 1.0 if point.mean_s < 0.1 else 0.2
            errors.append(weight * math.log(twin / point.mean_s) ** 2)
        # What the kernel counted is evidence, too, and keeps the fit from trading CPU for overhead.
        return float(np.mean(errors)) + 0.5 * float(x[0]) ** 2

    first = np.array([0.0, math.log(max(start.cpu_cv, 0.05)), math.log(max(start.overhead_ms, 0.2))])
    simplex = np.vstack([first, first + np.diag([0.05, 0.7, 0.5])])
    best = minimize(loss, first, method="Nelder-Mead", options={"initial_simplex": simplex, "maxfev": 250})
    return behaviour(np.asarray(best.x))


def check(
    live: LiveServices,
    name: str,
    behaviour: Behaviour,
    points: Iterable[tuple[float, float]],
    *,
    seconds: int,
    repetitions: int,
    seed: int,
    on_point: Callable[[Check], None] | None = None,
) -> list[Check]:
    """Measure other points and put the twin beside them; `seed` is not one of the fit's."""
    timeout_s = live.scenario.slo.timeout_s
    checks = []
    for quota, rate in points:
        runs = [measure_point(live, name, quota, rate, seconds, seed + n) for n in range(repetitions)]
        twin = float(np.mean([simulate(behaviour, quota, run.due_s, timeout_s) for run in runs]))
        checks.append(Check(quota, rate, tuple(run.mean_s for run in runs), twin))
        if on_point is not None:
            on_point(checks[-1])
    return checks


def save(scenario: Scenario, behaviour: Behaviour, path: Path) -> None:
    """Write the scenario with every service behaving as fitted."""
    import yaml

    data = scenario.model_dump(mode="json", exclude_defaults=True) | {"format": scenario.format}
    for service in data["services"]:
        service["behaviour"] = behaviour.model_dump(mode="json")
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
