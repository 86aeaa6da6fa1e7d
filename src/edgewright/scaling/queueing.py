"""How large a limit must be for a load: a queueing model inverted, over `xp` (jax.numpy in the twin, numpy live).

M/G/1, first come first served, with service times stretched by the limit (S / q) and the wait that a CFS period
adds. Tail of the wait: P(W > t) ~ rho * exp(-rho * t / E[W]), E[W] from Pollaczek and Khinchine (Kleinrock, Queueing
Systems I, 5.6).
"""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache
from typing import Any

import numpy as np

from edgewright.core import scalars
from edgewright.core.contracts import Array, FloatArray
from edgewright.scaling.model import CFS_PERIOD_S
from edgewright.scaling.observation import Observation, OneService, each

GRID = 64  # candidate limits


def late_share(
    xp: Any, rate_hz: Array, work_s: Array, limit_cpu: Array, cv: Array, overhead_s: Array, bound_s: Array
) -> Array:
    """Predicted share of requests slower than the bound; the arrays broadcast."""
    usable = xp.minimum(limit_cpu, 1.0)
    service_s = work_s / usable + CFS_PERIOD_S * (1 - usable) / 2
    load = xp.minimum(rate_hz * work_s / usable, 0.999)
    wait_s = xp.maximum(rate_hz * service_s**2 * (1 + cv**2) / (2 * (1 - load)), 1e-9)
    slack_s = bound_s - overhead_s - service_s
    share = xp.where(slack_s <= 0, 1.0, load * xp.exp(-xp.maximum(slack_s, 0.0) * load / wait_s))
    return xp.where(rate_hz * work_s >= usable, 1.0, share)


def limit_for(xp: Any, rate_hz: Array, seen: Observation | OneService, late: float) -> Array:
    """The smallest limit float[A], of GRID in each service's range, whose predicted late share is at most `late`.

    numpy and scalars look it up in a table of each service (`_carried`): a tenth of the time.
    """
    low, span = seen.min_cpu, seen.max_cpu - seen.min_cpu
    if isinstance(seen, OneService):
        service = (low, seen.max_cpu, seen.cpu_per_request_s, seen.cpu_cv, seen.overhead_s, seen.slo_response_s)
        too_small = min(bisect_left(_carried(late, *service), rate_hz), GRID - 1)
        return low + span * too_small / (GRID - 1)
    if xp is np:
        return np.array([limit_for(scalars, rate, one, late) for rate, one in zip(rate_hz, each(seen), strict=True)])
    grid = low[:, None] + span[:, None] * (xp.arange(GRID) / (GRID - 1))  # [A, GRID]
    rate, work, cv, overhead = (
        values[:, None] for values in (rate_hz, seen.cpu_per_request_s, seen.cpu_cv, seen.overhead_s)
    )
    predicted = late_share(xp, rate, work, grid, cv, overhead, seen.slo_response_s)
    enough = (predicted <= late).sum(axis=1)  # the prediction falls with the limit
    return low + span * xp.clip(GRID - enough, 0, GRID - 1) / (GRID - 1)


@lru_cache(maxsize=1024)
def _carried(
    late: float, min_cpu: float, max_cpu: float, work_s: float, cv: float, overhead_s: float, bound_s: float
) -> tuple[float, ...]:
    """The highest rate, per second, that each of GRID limits carries with at most `late`; -1 where none.

    By bisection: the predicted late share grows with the rate.
    """
    grid = min_cpu + (max_cpu - min_cpu) * (np.arange(GRID) / (GRID - 1))

    def carries(rate: Array) -> Array:
        return late_share(np, rate, np.float64(work_s), grid, cv, overhead_s, np.float64(bound_s)) <= late

    low, high = np.zeros(GRID), grid / work_s
    possible = carries(low)
    for _ in range(60):
        middle = (low + high) / 2
        enough = carries(middle)
        low, high = np.where(enough, middle, low), np.where(enough, high, middle)
    return tuple(np.maximum.accumulate(np.where(possible, low, -1.0)).tolist())


def tables(late: float, bound_s: float, services: FloatArray) -> FloatArray:
    """The highest rate that each of GRID limits of each service carries, float64[A, GRID].

    services float64[5, A]: CPU of a request (s), its coefficient of variation, overhead (s), lowest and highest limit.
    """
    return _tables(late, bound_s, services.tobytes())


@lru_cache(maxsize=1024)
def _tables(late: float, bound_s: float, services: bytes) -> FloatArray:
    rows = np.frombuffer(services).reshape(5, -1).T.tolist()
    found = np.array([_carried(late, low, high, work, cv, overhead, bound_s) for work, cv, overhead, low, high in rows])
    found.flags.writeable = False
    return found


def queued_cpu_s(xp: Any, rate_hz: Array, seen: Observation | OneService) -> Array:
    """CPU that waits beyond what is normally under way at this rate, float[A], s."""
    under_way = rate_hz * xp.clip(seen.response_mean_s, 0.0, seen.slo_response_s)
    return xp.maximum(seen.backlog - under_way, 0.0) * seen.cpu_per_request_s
