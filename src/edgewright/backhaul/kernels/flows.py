"""A problem as compiled code sees it, and the value of an allocation.

Rates are network-wide max-min fair with demands, exactly, by water filling (Bertsekas and Gallager, Data Networks,
6.5.2): all flows rise together; one stops where it has what it asks or where a link on its path is full.

Shapes: A flows with demand, L links, M links of all paths together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from edgewright.backhaul.model import LEAST_SHARE, Problem
from edgewright.core.compiled import compiled
from edgewright.core.contracts import FloatArray, IntArray

BETTER = 1e-12  # of the objective, before it counts as better

_kernel = compiled(__file__)
_plain = compiled(__file__, allocates=False)


class Flows(NamedTuple):
    """A problem as compiled code sees it, and its workspace; belongs to one thread."""

    demand: FloatArray  # [A] Mb/s, > 0
    order: IntArray  # [A] by rising demand
    first: IntArray  # [A] each flow's first path
    options: IntArray  # [A] how many paths it has
    path_start: IntArray  # links of path p are path_links[path_start[p]] .. path_links[path_start[p + 1]]
    path_links: IntArray  # [M]
    capacity: FloatArray  # [L] Mb/s
    rates: FloatArray  # [A] Mb/s, what `fill` answers
    left: FloatArray  # [L]
    crossing: IntArray  # [L] zeros between two calls of `fill`
    touched: IntArray  # [L]
    last: IntArray  # [L] index in `flow` of the last flow met that crosses a link,
    before: IntArray  # [M] of the one met before it, or -1
    flow: IntArray  # [M]


class Aim(NamedTuple):
    """An objective as compiled code sees it."""

    efficiency: float  # its weight; Jain's index has the rest
    alpha: float
    least_share: float


def aim_of(problem: Problem) -> Aim:
    return Aim(problem.objective.weights[0], problem.objective.exponent, LEAST_SHARE)


def flows_of(problem: Problem) -> Flows:
    arrays, active, capacity = problem.network.arrays, problem.active, problem.capacity_mbps
    demand, first = problem.demand_mbps[active], arrays.flow_start[active]
    return Flows(
        demand,
        np.argsort(demand, kind="stable"),
        first,
        arrays.flow_start[active + 1] - first,
        arrays.path_start,
        arrays.path_links,
        capacity,
        np.zeros(active.size),
        np.zeros(capacity.size),
        np.zeros(capacity.size, dtype=np.int64),
        *(np.zeros(capacity.size, dtype=np.int64) for _ in range(2)),
        *(np.zeros(arrays.path_links.size, dtype=np.int64) for _ in range(2)),
    )


@_plain
def fill(paths: IntArray, flows: Flows) -> None:
    """Set `flows.rates` to what flows get on these paths, int[A]."""
    demand, rates = flows.demand, flows.rates
    start, links = flows.path_start, flows.path_links
    left, crossing, touched = flows.left, flows.crossing, flows.touched
    last, before, flow = flows.last, flows.before, flows.flow
    count = paths.size
    used = met = 0
    for i in range(count):
        rates[i] = -1.0  # until it has its rate
        for k in range(start[paths[i]], start[paths[i] + 1]):
            link = links[k]
            if crossing[link] == 0:
                left[link], last[link] = flows.capacity[link], -1
                touched[used] = link
                used += 1
            crossing[link] += 1
            left[link] -= demand[i]
            before[met], flow[met], last[link] = last[link], i, met
            met += 1
    crossed, used = used, 0
    for k in range(crossed):
        link = touched[k]
        if left[link] < 0.0:  # others carry all that is asked of them: they stop nobody
            touched[used] = link
            used += 1
        left[link] = flows.capacity[link]
    rise(paths, flows, used, last, before, flow)


@_plain
def rise(paths: IntArray, flows: Flows, used: int, first: IntArray, after: IntArray, flow: IntArray) -> None:
    """Set those of `flows.rates` that are negative; the first `used` of `flows.touched` are links that may be full.

    Their `left` and `crossing` are as if nobody had anything; the latter falls by one for each who crosses them.
    `flow[k]` crosses a link, for `k` from `first` of the link on, then `after` the one before, until -1.
    """
    demand, order, rates = flows.demand, flows.order, flows.rates
    start, links = flows.path_start, flows.path_links
    left, crossing, touched = flows.left, flows.crossing, flows.touched
    count, next_one = paths.size, 0
    while next_one < count:
        level, full = np.inf, -1
        k = 0
        while k < used:
            link = touched[k]
            if crossing[link] == 0:  # all who cross it have their rate
                used -= 1
                touched[k] = touched[used]
                continue
            share = left[link] / crossing[link]
            if share < level:
                level, full = share, link
            k += 1
        level = max(level, 0.0)  # what rounding leaves of a full link may lie below
        satisfied = False
        while next_one < count:
            i = order[next_one]
            if rates[i] < 0.0:
                if demand[i] > level:
                    break
                rates[i] = demand[i]
                satisfied = True
                for k in range(start[paths[i]], start[paths[i] + 1]):
                    left[links[k]] -= demand[i]
                    crossing[links[k]] -= 1
            next_one += 1
        if satisfied or full < 0:
            continue
        k = first[full]
        while k >= 0:
            i = flow[k]
            if rates[i] < 0.0:
                rates[i] = level
                for j in range(start[paths[i]], start[paths[i] + 1]):
                    left[links[j]] -= level
                    crossing[links[j]] -= 1
            k = after[k]


@_plain
def evaluate(paths: IntArray, flows: Flows, offered: float, aim: Aim) -> float:
    """`Objective.value` on these paths, 0..1; 1 where nobody asks."""
    fill(paths, flows)
    return worth(flows, offered, aim)  # type: ignore[no-any-return]


@_plain
def worth(flows: Flows, offered: float, aim: Aim) -> float:
    """`Objective.value` of `flows.rates`."""
    rates = flows.rates
    if rates.size == 0:
        return 1.0
    if aim.alpha > 0.0:
        mean, exponent = 0.0, 1.0 - aim.alpha
        geometric = exponent == 0.0
        for i in range(rates.size):
            share = max(rates[i] / flows.demand[i], aim.least_share)
            mean += flows.demand[i] * (np.log(share) if geometric else share**exponent)
        mean /= offered
        return np.exp(mean) if geometric else mean ** (1.0 / exponent)  # type: ignore[no-any-return]
    total = squares = 0.0
    for rate in rates:
        total += rate
        squares += rate * rate
    jain = total * total / (rates.size * squares) if squares > 0.0 else 0.0
    return aim.efficiency * total / offered + (1.0 - aim.efficiency) * jain


@_plain
def crosses(path: int, link: int, flows: Flows) -> bool:
    for k in range(flows.path_start[path], flows.path_start[path + 1]):  # noqa: SIM110 - numba has no generators here
        if flows.path_links[k] == link:
            return True
    return False


@_plain
def room(paths: IntArray, flows: Flows, active: IntArray, left: Any, fair: Any) -> None:
    """After `fill`: set rows `active` of left and fair, float32[F, K], to what a learned policy sees of each path.

    What is left on it with its flow away, and an equal part of its narrowest link with its flow there, Mb/s.
    """
    start, links = flows.path_start, flows.path_links
    unused, crossing = flows.left, flows.crossing
    for link in range(unused.size):
        unused[link] = flows.capacity[link]
    for i in range(paths.size):
        for k in range(start[paths[i]], start[paths[i] + 1]):
            unused[links[k]] -= flows.rates[i]
            crossing[links[k]] += 1
    for i in range(paths.size):
        for option in range(flows.options[i]):
            path = flows.first[i] + option
            least = part = np.inf
            for k in range(start[path], start[path + 1]):
                mine = crosses(paths[i], links[k], flows)
                free = max(unused[links[k]], 0.0) + (flows.rates[i] if mine else 0.0)
                least = min(least, free)
                part = min(part, flows.capacity[links[k]] / (crossing[links[k]] + (0 if mine else 1)))
            left[active[i], option], fair[active[i], option] = least, part
    crossing[:] = 0
