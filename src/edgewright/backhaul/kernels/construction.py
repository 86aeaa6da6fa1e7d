"""Allocations made from nothing: one flow after the other, or every combination. Shapes as in `flows`."""

from __future__ import annotations

import numpy as np

from edgewright.backhaul.kernels import flows as flows_module
from edgewright.backhaul.kernels.flows import BETTER, Aim, Flows, evaluate
from edgewright.core.compiled import compiled
from edgewright.core.contracts import IntArray

_kernel = compiled(__file__, flows_module)


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
            flows.waiting,
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
def enumerate_some(
    now: IntArray, best: IntArray, best_value: float, flows: Flows, aim: Aim, most: int
) -> tuple[float, int, bool]:
    """From the combination `now` on, in place -> best value, combinations tried, whether these were the last."""
    offered = flows.demand.sum()
    tried = 0
    while tried < most:
        value = evaluate(now, flows, offered, aim)
        tried += 1
        if value > best_value:
            best_value = value
            best[:] = now
        digit = 0
        while digit < now.size:
            now[digit] += 1
            if now[digit] < flows.first[digit] + flows.options[digit]:
                break
            now[digit] = flows.first[digit]
            digit += 1
        if digit == now.size or best_value >= 1.0 - BETTER:
            return best_value, tried, True
    return best_value, tried, False
