"""For big regions: sites that pay at the prices of a Lagrangian bound, filled by a maximum flow, without any that are
not needed. The bound is proven.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import numpy as np

from edgewright.core.contracts import BoolArray, IntArray
from edgewright.topology import coverage
from edgewright.topology.siting import TIGHT, Problem, Solution
from edgewright.topology.solvers.greedy import capacity_bound, place, whole
from edgewright.topology.solvers.prices import bounds

TIME_LIMIT_S = 40.0
TIME_IS_UP = "time is up"
TRIES = 12
"""Choices that are built from prices, at most."""
FAILURES = 60
"""Sites that cannot be closed one after another, until no more are tried."""
ALIKE = 1.2
"""A choice that costs so many times the best is not worth a look at each of its sites."""


def fast(
    problem: Problem,
    *,
    seed: int = 0,
    time_limit_s: float | None = None,
    on_progress: Callable[[float, float], bool] | None = None,
) -> Solution:
    """`on_progress(value, bound)` may end it by False. There is no chance in it: the same answer each time, unless time
    is up. `time_limit_s`: 40 without; a first answer takes as long as it takes.
    """
    end = monotonic() + (TIME_LIMIT_S if time_limit_s is None else time_limit_s)
    open_, assigned = place(problem)
    bound = capacity_bound(problem, int((assigned >= 0).sum()))
    late = False

    def value() -> float:
        return float(problem.cost[open_].sum())

    def proven() -> bool:
        nonlocal late
        late = late or monotonic() > end
        return late or bound >= value() * (1 - TIGHT)

    def better(tried: BoolArray, given: IntArray) -> None:
        nonlocal open_, assigned
        if problem.cost[tried].sum() < ALIKE * value():
            tried, given = without_spare(problem, tried, given, end)
        if problem.cost[tried].sum() < value() * (1 - TIGHT):
            open_, assigned = tried, given

    price = problem.cost / problem.capacity
    for level in np.unique(price)[:-1][:3]:  # as many cells as can be at the cheapest sites first
        if not proven():
            better(*place(problem, price <= level))
    if not proven():
        better(open_, assigned)
    if not proven():
        short = int(problem.needed.sum() - (assigned >= 0).sum())
        tries, next_try, seen = 0, 20, set()
        for number, (found, gains) in enumerate(bounds(problem, value, short)):
            bound = max(bound, whole(problem, found))
            if proven() or (on_progress is not None and not on_progress(value(), bound)):
                break
            if number >= next_try and tries < TRIES and gains.tobytes() not in seen:
                seen.add(gains.tobytes())
                tries, next_try = tries + 1, int(next_try * 1.5)
                better(*place(problem, gains))
    reason = TIME_IS_UP if late and bound < value() * (1 - TIGHT) else ""
    return problem.solution(open_, assigned, bound, "fast", reason)


def without_spare(problem: Problem, open_: BoolArray, assigned: IntArray, end: float) -> tuple[BoolArray, IntArray]:
    """Close one after another, least used for its cost first, each site whose cells the others can take."""
    full = int((assigned >= 0).sum())
    load = np.bincount(assigned[assigned >= 0], minlength=len(open_))
    used = np.divide(load, problem.cost, out=np.full(len(open_), np.inf), where=problem.cost > 0)
    order, failures = np.argsort(used, kind="stable"), 0
    for j in order[(open_ & ~problem.existing & (problem.cost > 0))[order]]:
        if failures >= FAILURES or monotonic() > end:
            break
        if int(problem.capacity[open_].sum()) - full < problem.capacity[j]:
            continue
        fewer = open_.copy()
        fewer[j] = False
        given = coverage.fill(problem, fewer, np.where(assigned == j, -1, assigned))
        failures += 1
        if int((given >= 0).sum()) == full:
            open_, assigned, failures = fewer, given, 0
    return open_, assigned
