"""Allocations made from nothing: one flow after the other, or every combination. Shapes as in `flows`."""

from __future__ import annotations

import numpy as np

from edgewright.backhaul.kernels import flows as flows_module
from edgewright.backhaul.kernels import standing as standing_module
from edgewright.backhaul.kernels.flows import BETTER, Aim, Flows, evaluate
from edgewright.backhaul.kernels.standing import evaluate_changed, nobody
from edgewright.core.compiled import compiled
from edgewright.core.contracts import IntArray

_kernel = compiled(__file__, flows_module, standing_module)


@_kernel
def greedy_some(paths: IntArray, placed: int, flows: Flows, aim: Aim, most: int) -> tuple[int, int]:
    """Place flows by falling demand, after the first `placed` of them, in `paths` int[A], until `most` evaluations are
    used -> flows placed by now, evaluations
    """
    falling = flows.order[::-1]
    taken, demand = paths[falling], flows.demand[falling]
    evaluations, offered = 0, demand[:placed].sum()
    while placed < falling.size and evaluations < most:
        flow, k = falling[placed], placed
        offered += demand[k]
        part = Flows(
            demand[: k + 1],
            np.arange(k, -1, -1),
            flows.first,
            flows.options,
            flows.path_start,
            flows.path_links,
            flows.capacity,
            flows.rates[: k + 1],
            flows.left,
            flows.crossing,
            flows.touched,
            flows.last,
            flows.before,
            flows.flow,
        )
        best, chosen = -1.0, flows.first[flow]
        for path in range(flows.first[flow], flows.first[flow] + flows.options[flow]):
            taken[k] = path
            value = evaluate(taken[: k + 1], part, offered, aim)
            evaluations += 1
            if value > best + BETTER:
                best, chosen = value, path
        taken[k] = paths[flow] = chosen
        placed += 1
    return placed, evaluations


@_kernel
def is_bounded(aim: Aim) -> bool:
    """Whether `enumerate_some` has a bound for it."""
    return aim.alpha == 0.0 and aim.efficiency > 0.0


@_kernel
def enumerate_some(
    now: IntArray, best: IntArray, best_value: float, flows: Flows, aim: Aim, most: int, evaluations: int
) -> tuple[float, int, bool]:
    """From the combination `now` on, in place -> best value, combinations evaluated, whether these were the last.

    Stops after `most` flows placed, and before more than so many evaluations.
    Skips what cannot beat `best_value`: paths of the flows with most demand, such that even if all others carried all
    they ask, and only the last link of each path had a limit, too little were carried; all where not `is_bounded`.
    """
    demand, falling, count = flows.demand, flows.order[::-1], now.size
    offered, bounded = demand.sum(), is_bounded(aim)
    load, carried, rest = np.zeros(flows.capacity.size), np.zeros(count + 1), np.zeros(count + 1)
    for k in range(count - 1, -1, -1):
        rest[k] = rest[k + 1] + demand[falling[k]]
    standing, tried, placed, looked = nobody(flows), 0, 0, 0
    while True:
        while placed < count:  # `now` of the flows from here on, while it may be the best
            flow = falling[placed]
            link = flows.path_links[flows.path_start[now[flow] + 1] - 1]
            capacity = flows.capacity[link]
            more = min(load[link] + demand[flow], capacity) - min(load[link], capacity)
            load[link] += demand[flow]
            placed += 1
            looked += 1
            carried[placed] = carried[placed - 1] + more
            if bounded:
                bound = aim.efficiency * (carried[placed] + rest[placed]) / offered + (1.0 - aim.efficiency)
                if bound <= best_value + BETTER:
                    for k in range(placed, count):  # a call before may have left them further on
                        now[falling[k]] = flows.first[falling[k]]
                    break
        else:
            value = evaluate_changed(now, standing, flows, offered, aim)
            tried += 1
            if value > best_value:
                best_value = value
                best[:] = now
                if best_value >= 1.0 - BETTER:
                    return best_value, tried, True
        while placed > 0:  # the next path of the last flow placed that has one
            placed -= 1
            flow = falling[placed]
            load[flows.path_links[flows.path_start[now[flow] + 1] - 1]] -= demand[flow]
            now[flow] += 1
            if now[flow] < flows.first[flow] + flows.options[flow]:
                break
            now[flow] = flows.first[flow]
        else:
            return best_value, tried, True
        if looked >= most or tried >= evaluations:
            return best_value, tried, False
