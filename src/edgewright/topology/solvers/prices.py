"""A bound on the cost of sites by prices for cells, and the sites that pay at these prices.

Lagrangian relaxation of "each cell is served": at prices u >= 0 a site j gains what the cells within its reach pay that
pay most, up to its capacity; no choice costs less than sum(n_i u_i) - sum_j max(0, gain_j(u) - c_j) (Beasley,
"Lagrangean heuristics for location problems", 1993); where capacity is short of what is needed by s, the dearest cell
is paid s times less. Prices move along the subgradient: first M1 candidates are left out and prices held so low that
none of them ever gains; then, where they have not too many cells within reach, they are looked at, too.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

import numpy as np

from edgewright.core.compiled import compiled
from edgewright.core.contracts import BoolArray, FloatArray, IntArray
from edgewright.topology import coverage
from edgewright.topology.siting import Problem

MOST_PAIRS = 5_000_000
LEVELS = 12
"""Of prices that are told apart at the start."""
CLOSE = 0.03
"""A bound so near needs no look at M1 candidates."""
FLAT = 1e-9
"""A subgradient as small as this is rounding."""
PATIENCE = 20
"""Steps without a better bound until they are halved."""


def bounds(problem: Problem, value: Callable[[], float], short: int) -> Iterator[tuple[float, BoolArray]]:
    """Step by step a bound and the sites that gain, bool[J].

    `value()` is the cost of the best choice now, which sets the steps; `short` is how many times a cell goes without
    what it needs.
    """
    reach, price = coverage.reaches(problem), problem.cost / problem.capacity
    best, u = -np.inf, _scarcity(problem, price)
    few = (problem.ring == 2) | problem.existing
    for watched in (few, np.ones_like(few)):
        rest = ~watched
        ceiling = np.full(len(problem.cells), np.inf)
        if rest.any():
            _lower(problem.cells, problem.candidates[rest], reach[rest], price[rest], ceiling)
        elif best > (1 - CLOSE) * value() or int(coverage.candidates_within(problem).sum()) > MOST_PAIRS:
            return
        if watched.any():
            best, u = yield from _steps(problem, np.flatnonzero(watched), np.minimum(u, ceiling), ceiling, value, short)


def _scarcity(problem: Problem, price: FloatArray) -> FloatArray:
    """float64[N]: what a place at the cheapest sites costs that are not scarce around a cell. The bound at these prices
    is the least cost of a flow, where part of a site costs as much of it.
    """
    levels = np.unique(price)
    levels = levels[:: -(-len(levels) // LEVELS)]  # those between are taken for as cheap as the next below
    u = np.full(len(problem.cells), levels[0])
    assigned = np.full((len(problem.cells), problem.redundancy), -1, np.int64)
    for dearer in levels[1:]:
        assigned, scarce = coverage.fill_and_scarce(problem, price < dearer, assigned)
        u[scarce] = dearer
    return u


def _steps(
    problem: Problem, watched: IntArray, u: FloatArray, ceiling: FloatArray, value: Callable[[], float], short: int
) -> Generator[tuple[float, BoolArray], None, tuple[float, FloatArray]]:
    """Returns the best bound and its prices."""
    start, cell = coverage.pairs(problem, watched)
    capacity, cost = problem.capacity[watched], problem.cost[watched]
    needed = problem.needed.astype(float)
    best, best_u, step, since = -np.inf, u, 1.5, 0
    while step > 1e-3:
        served = np.zeros(len(u))
        gain = _gains(u, start, cell, capacity, cost, served)
        dearest = u == u.max()
        bound = float(needed @ u - short * u.max() - np.maximum(gain, 0).sum())
        if bound > best + 1e-4 * max(value() - best, 0):
            since = 0
        else:
            since += 1
        if bound > best:
            best, best_u = bound, u
        if since >= PATIENCE:
            step, since, u = step / 2, 0, best_u
        gains = problem.existing.copy()
        gains[watched] |= gain > 0
        yield bound, gains
        slope = needed - served - short * dearest / dearest.sum()
        slope[((u <= 0) & (slope < 0)) | ((u >= ceiling) & (slope > 0))] = 0.0
        square = float(slope @ slope)
        if square < FLAT:
            break
        most = np.minimum(ceiling, problem.cost.sum())  # more is never worth it, and would lose digits
        u = np.clip(u + step * max(value() - bound, 0.01 * value()) / square * slope, 0.0, most)
    return best, best_u


@compiled(__file__)
def _lower(cells, candidates, reach, value, lowest):  # type: ignore[no-untyped-def]  # compiled
    for i in range(len(cells)):
        for j in range(len(candidates)):
            if value[j] < lowest[i]:
                away = abs(cells[i, 0] - candidates[j, 0]) + abs(cells[i, 1] - candidates[j, 1])
                if away <= reach[j]:
                    lowest[i] = value[j]


@compiled(__file__)
def _gains(u, start, cell, capacity, cost, served):  # type: ignore[no-untyped-def]  # compiled
    gain = np.empty(len(capacity))
    for j in range(len(capacity)):
        own = cell[start[j] : start[j + 1]]
        paid = np.empty(len(own))
        for at in range(len(own)):
            paid[at] = u[own[at]]
        room, limit = capacity[j], 0.0
        if len(own) > room:
            limit = np.partition(paid, len(own) - room)[len(own) - room]
        total, above = 0.0, 0
        for at in range(len(own)):
            if paid[at] > limit:
                total += paid[at]
                above += 1
        at_limit = min(room, len(own)) - above
        gain[j] = total + at_limit * limit - cost[j]
        if gain[j] > 0 or cost[j] == 0:
            ties = 0
            for at in range(len(own)):
                ties += paid[at] == limit
            for at in range(len(own)):
                if paid[at] > limit:
                    served[own[at]] += 1
                elif paid[at] == limit:  # those at the limit share what is left: a subgradient, too
                    served[own[at]] += at_limit / ties
    return gain
