"""For big regions: sites that pay at the prices of a Lagrangian bound, filled by a maximum flow, without any that are
not needed. The bound is proven.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import numpy as np

from edgewright.core.contracts import BoolArray, IntArray
from edgewright.topology import coverage
from edgewright.topology.siting import Problem, Solution
from edgewright.topology.solvers.greedy import capacity_bound, place, whole
from edgewright.topology.solvers.prices import bounds

TIME_LIMIT_S = 40.0
TRIES = 12
"""Choices that are built from prices, at most."""
ALIKE = 1.2
"""A choice that costs so many times the best is not worth a look at each of its sites."""


def fast(
    problem: Problem,
    *,
    seed: int = 0,
    time_limit_s: float | None = None,
    on_progress: Callable[[float, float], bool] | None = None,
) -> Solution:
    """`on_progress(value, bound)` may end it by False. There is no chance in it; `time_limit_s`: 40 without."""
    limit = TIME_LIMIT_S if time_limit_s is None else time_limit_s
    end = monotonic() + limit
    open_, assigned = place(problem)
    bound = capacity_bound(problem, int((assigned >= 0).sum()))

    def value() -> float:
        return float(problem.cost[open_].sum())

    def better(tried: BoolArray, given: IntArray) -> None:
        nonlocal open_, assigned
        if problem.cost[tried].sum() < ALIKE * value():
            tried, given = without_spare(problem, tried, given, min(end, monotonic() + limit / 40))
        if problem.cost[tried].sum() < value() - 1e-9:
            open_, assigned = tried, given

    if bound < value() - 1e-9:
        better(*place(problem, problem.ring == 2))
        better(open_, assigned)
        short = int(problem.needed.sum() - (assigned >= 0).sum())
        tries, next_try, seen = 0, 20, set()
        for number, (found, gains) in enumerate(bounds(problem, value, short)):
            bound = max(bound, whole(problem, found))
            if bound >= value() - 1e-9 or monotonic() > end:
                break
            if on_progress is not None and not on_progress(value(), bound):
                break
            if number >= next_try and tries < TRIES and gains.tobytes() not in seen:
                seen.add(gains.tobytes())
                tries, next_try = tries + 1, int(next_try * 1.5)
                better(*place(problem, gains))
    return problem.solution(open_, assigned, bound, "fast")


def without_spare(problem: Problem, open_: BoolArray, assigned: IntArray, end: float) -> tuple[BoolArray, IntArray]:
    """Close one after another, least used for its cost first, each site whose cells the others can take."""
    full = int((assigned >= 0).sum())
    load = np.bincount(assigned[assigned >= 0], minlength=len(open_))
    order = np.argsort(load / np.maximum(problem.cost, 1e-9), kind="stable")
    for j in order[(open_ & ~problem.existing)[order]]:
        if monotonic() > end:
            break
        room = int(problem.capacity[open_].sum()) - full
        if room < problem.capacity[j]:
            continue
        fewer = open_.copy()
        fewer[j] = False
        given = coverage.fill(problem, fewer, np.where(assigned == j, -1, assigned))
        if int((given >= 0).sum()) == full:
            open_, assigned = fewer, given
    return open_, assigned
