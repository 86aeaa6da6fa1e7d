"""What a policy sees and how its answer becomes limits: written once, over `xp` (jax.numpy in the twin, numpy live).

Shapes: A services, H frames of history, F features.
Source of the reference features: NANCY D4.2, Table 5 (and the priorities that its public code adds).
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal, NamedTuple

import numpy as np

from edgewright.core.contracts import Array
from edgewright.scaling.model import Scenario

HISTORY = 6  # frames, one a second, as in the reference
FRAME_SIZE = {"reference": 7, "slo": 15}
Features = Literal["reference", "slo"]


@dataclass(frozen=True)
class Observation:
    """One control interval as seen from outside the services; each field is float[A] unless said otherwise.

    Live fields come from the driver, simulated ones from a twin; the meaning is the same.
    """

    limit_cpu: Array  # limit in force during the interval, cores
    usage_cpu: Array  # CPU used / interval, cores
    throttled: Array  # share of CFS periods in which the service ran out of quota, 0..1
    arrived_hz: Array  # requests that arrived, per second
    backlog: Array  # requests still unanswered at the interval's end
    response_mean_s: Array  # mean response time; 0 where no request ended
    response_p95_s: Array
    late: Array  # share of requests over the SLO's bound or failed, 0..1
    failed: Array  # share of requests refused, timed out or answered with an error, 0..1
    priority: Array
    cpu_per_request_s: Array  # CPU of one request, s: as the scenario says; on a host learned from there on
    cpu_cv: Array  # its coefficient of variation
    overhead_s: Array  # response time that is not CPU
    min_cpu: Array
    max_cpu: Array
    slice_cpu: Array  # [] cores
    slo_response_s: Array  # []
    slo_late_allowed: Array  # [] share of late requests that the SLO allows
    memory_bytes: Array | None = None
    memory_limit_bytes: Array | None = None
    oom_kills: Array | None = None  # since the last interval


class OneService(NamedTuple):
    """One service of an Observation, under the same names, each a float; for formulas over `core.scalars`."""

    limit_cpu: Array
    usage_cpu: Array
    throttled: Array
    arrived_hz: Array
    backlog: Array
    response_mean_s: Array
    late: Array
    failed: Array
    priority: Array
    cpu_per_request_s: Array
    cpu_cv: Array
    overhead_s: Array
    min_cpu: Array
    max_cpu: Array
    slo_response_s: Array


_FIELDS = attrgetter(*OneService._fields)


def each(seen: Observation) -> list[OneService]:
    """The services of an observation, one by one; its fields are numpy arrays."""
    *of_services, bound_s = _FIELDS(seen)
    columns = [values.tolist() for values in of_services]
    rows = zip(*columns, [float(bound_s)] * len(columns[0]), strict=True)
    return list(map(OneService._make, rows))


def declared(scenario: Scenario) -> dict[str, Any]:
    """The fields of an Observation that the scenario says and no interval changes, float64."""
    services = scenario.services
    columns = {
        "priority": [s.priority for s in services],
        "cpu_per_request_s": [s.behaviour.typical_cpu_s for s in services],
        "cpu_cv": [s.behaviour.cpu_cv for s in services],
        "overhead_s": [s.behaviour.overhead_ms / 1e3 for s in services],
        "min_cpu": [s.cpu.min for s in services],
        "max_cpu": [s.cpu.max for s in services],
        "slice_cpu": scenario.slice.cpu,
        "slo_response_s": scenario.slo.response_s,
        "slo_late_allowed": scenario.slo.late_allowed,
    }
    return {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}


def idle(scenario: Scenario) -> Observation:
    """An interval without a request, at the initial limits."""
    nothing = np.zeros(len(scenario.services))
    counted = ("usage_cpu", "throttled", "arrived_hz", "backlog", "response_mean_s", "response_p95_s", "late", "failed")
    limit = np.array([service.cpu.initial for service in scenario.services])
    return Observation(limit_cpu=limit, **dict.fromkeys(counted, nothing), **declared(scenario))


def frame(xp: Any, seen: Observation, features: Features, price: float | Array = 0.0) -> Array:
    """One frame of features, float[A, F]; every feature is of order one.

    `price` is what a core costs in the SLO reward; a policy trained over a range of prices obeys it.
    """
    left = seen.slice_cpu - seen.limit_cpu.sum()
    utilization, priority = mean_of_others(seen.usage_cpu / seen.limit_cpu), mean_of_others(seen.priority)
    columns = features_of(xp, seen, left, utilization, priority, features, price)
    return xp.stack([xp.asarray(column, dtype=xp.float32) for column in columns], axis=-1)


def features_of(
    xp: Any,
    seen: Observation | OneService,
    left_cpu: Array,
    utilization_of_others: Array,
    priority_of_others: Array,
    features: Features,
    price: Array,
) -> list[Array]:
    """The F features, float[A] each, or floats of one service where `xp` is `core.scalars`."""
    highest = seen.max_cpu
    columns = [
        seen.limit_cpu / highest,
        seen.usage_cpu / highest,
        left_cpu / highest,
        seen.usage_cpu / seen.limit_cpu,
        utilization_of_others,
        seen.priority,
        priority_of_others,
    ]
    if features == "slo":
        demand = seen.arrived_hz * seen.cpu_per_request_s
        bound = seen.slo_response_s
        columns += [
            demand / seen.limit_cpu,
            demand / highest,
            xp.minimum(seen.backlog * seen.cpu_per_request_s / seen.limit_cpu, 4.0),
            seen.throttled,
            xp.clip(xp.log2(xp.maximum(seen.response_mean_s, 1e-3) / bound) / 4.0, -1.5, 1.5),
            seen.late,
            seen.failed,
            0 * seen.limit_cpu + xp.log2(xp.maximum(price, 1e-3)) / 2,
        ]
    return columns


def push(xp: Any, history: Array, newest: Array) -> Array:
    """Drop the oldest frame of history float[A, H, F] and append the newest float[A, F]."""
    return xp.concatenate([history[:, 1:], newest[:, None]], axis=1)


def first_history(xp: Any, newest: Array, frames: int = HISTORY) -> Array:
    """History at the start: the first frame repeated, float[A, H, F]."""
    return xp.repeat(newest[:, None], frames, axis=1)


def flatten(history: Array) -> Array:
    """float[A, H, F] -> float[A, H * F], oldest first."""
    return history.reshape(history.shape[0], -1)


def mean_of_others(values: Array) -> Array:
    """For each of A values, float[A], the mean of the others, 0 where there is none."""
    return (sum(values) - values) / max(len(values) - 1, 1)
