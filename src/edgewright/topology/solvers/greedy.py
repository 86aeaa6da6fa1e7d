"""The reference: again and again a site where most cells lack one, for the nearest of them.

Each round is at ring M1 if the best M2 switch has no more cells within reach than an M1 site serves, else at M2; of
several with the most, their medoid. Source: generator of "NFV Orchestration in Edge and Fog Scenarios", section 1, on
the switches instead of a grid. Cells that are left although a choice could serve them are served by moving others.
"""

from __future__ import annotations

import numpy as np

from edgewright.core.compiled import compiled
from edgewright.core.contracts import BoolArray, IntArray
from edgewright.topology import coverage
from edgewright.topology.siting import TIGHT, Problem, Solution


def greedy(
    problem: Problem, *, seed: int = 0, time_limit_s: float | None = None, on_progress: object = None
) -> Solution:
    """Its bound is only that of capacity. There is no chance in it, and nothing to wait for."""
    open_, assigned = place(problem)
    return problem.solution(open_, assigned, capacity_bound(problem, int((assigned >= 0).sum())), "greedy")


def place(problem: Problem, start: BoolArray | None = None) -> tuple[BoolArray, IntArray]:
    """Sites, bool[J], and which serve each cell, int64[N, redundancy]; those of `start` first, filled as far as can be.

    A site of `start` that is left without a cell is none.
    """
    given = np.full((len(problem.cells), problem.redundancy), -1, np.int64)
    if start is not None:
        given = coverage.fill(problem, start | problem.existing, given)
    open_, assigned = _place(
        problem.cells,
        problem.candidates,
        coverage.reaches(problem),
        problem.capacity,
        problem.ring == 1,
        problem.existing,
        problem.needed,
        given,
    )
    if ((assigned >= 0).sum(axis=1) < problem.needed).any():
        assigned = coverage.fill(problem, np.ones(len(open_), bool), assigned)
    return problem.existing | np.isin(np.arange(len(open_)), assigned), assigned


def capacity_bound(problem: Problem, served: int) -> float:
    """No sites of these capacities serve so many for less, wherever they stand."""
    left = served
    price = problem.cost / problem.capacity
    cost = 0.0
    for j in np.argsort(price, kind="stable"):
        if left <= 0:
            break
        cost += price[j] * min(left, problem.capacity[j])
        left -= int(problem.capacity[j])
    return whole(problem, cost)


def whole(problem: Problem, bound: float) -> float:
    """Costs that are all whole numbers add up to one."""
    return float(np.ceil(bound * (1 - TIGHT) - 1e-6)) if (problem.cost % 1 == 0).all() else bound


@compiled(__file__)
def _place(  # type: ignore[no-untyped-def]  # compiled
    cells, candidates, reach, capacity, at_m1, existing, needed, given
):
    many = len(candidates)
    lacking = needed.copy()
    assigned = given.copy()
    open_ = np.zeros(many, np.bool_)
    for i in range(len(cells)):
        for k in range(given.shape[1]):
            if given[i, k] >= 0:
                open_[given[i, k]] = True
                lacking[i] -= 1
    count = np.zeros(many, np.int64)
    for j in range(many):
        for i in range(len(cells)):
            near = abs(cells[i, 0] - candidates[j, 0]) + abs(cells[i, 1] - candidates[j, 1]) <= reach[j]
            count[j] += near and lacking[i] > 0
    by_x, by_y = np.argsort(candidates[:, 0]), np.argsort(candidates[:, 1])
    found, distance = np.empty(len(cells), np.int64), np.empty(len(cells))
    away = np.empty(many)
    few = 0
    for j in range(many):
        if at_m1[j]:
            few = max(few, capacity[j])
    waiting = np.flatnonzero(existing & ~open_)
    step = 0
    while True:
        if step < len(waiting):
            best = waiting[step]
            step += 1
        else:
            most_m1, most_m2 = 0, 0
            for j in range(many):
                if not open_[j]:
                    if at_m1[j]:
                        most_m1 = max(most_m1, count[j])
                    else:
                        most_m2 = max(most_m2, count[j])
            if most_m1 == 0 and most_m2 == 0:
                break
            m1 = most_m1 > 0 and (most_m2 <= few)
            most = most_m1 if m1 else most_m2
            # Distances of each of the plateau to all of it, by sums along both sides.
            for j in range(many):
                away[j] = 0.0
            for side in range(2):
                order = by_x if side == 0 else by_y
                total, before, seen, size = 0.0, 0.0, 0, 0
                for j in order:
                    if not open_[j] and at_m1[j] == m1 and count[j] == most:
                        total += candidates[j, side]
                        size += 1
                for j in order:
                    if not open_[j] and at_m1[j] == m1 and count[j] == most:
                        here = candidates[j, side]
                        away[j] += here * seen - before + (total - before - here) - here * (size - seen - 1)
                        before += here
                        seen += 1
            best = -1
            for j in range(many):
                if not open_[j] and at_m1[j] == m1 and count[j] == most and (best < 0 or away[j] < away[best]):
                    best = j
        open_[best] = True
        size = 0
        for i in range(len(cells)):
            far = abs(cells[i, 0] - candidates[best, 0]) + abs(cells[i, 1] - candidates[best, 1])
            if lacking[i] > 0 and far <= reach[best]:
                found[size], distance[size] = i, far
                size += 1
        room = capacity[best]
        limit = np.inf
        if size > room:
            limit = np.partition(distance[:size], room - 1)[room - 1]
        for nearer in (True, False):  # those at the limit last
            for at in range(size):
                if room > 0 and (distance[at] < limit if nearer else distance[at] == limit):
                    i = found[at]
                    room -= 1
                    assigned[i, needed[i] - lacking[i]] = best
                    lacking[i] -= 1
                    if lacking[i] == 0:
                        for j in range(many):
                            near = abs(cells[i, 0] - candidates[j, 0]) + abs(cells[i, 1] - candidates[j, 1]) <= reach[j]
                            count[j] -= near
    return open_, assigned
