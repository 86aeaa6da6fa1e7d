"""Capacitated covering as a mixed-integer program (HiGHS): optimal, or what was found and proven in the time.

Cells that the same candidates reach are one class, candidates alike that reach the same classes one group: z_g sites of
group g serve y_cg cells of class c; y_cg <= n_c z_g, sum_c y_cg <= capacity_g z_g. For given z the rest is a flow, so
that y need not be whole numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import numpy as np

from edgewright.core.contracts import BoolArray, IntArray
from edgewright.topology import coverage
from edgewright.topology.siting import TIGHT, Problem, Solution
from edgewright.topology.solvers.fast import TIME_IS_UP, fast
from edgewright.topology.solvers.greedy import whole

TIME_LIMIT_S = 60.0
UNITS = 1e4
"""What the known answer costs in the program."""
MOST_PAIRS = 50_000_000
MOST_FLOWS = 400_000
"""Of the program; with more, what `fast` proves is the answer."""


def exact(
    problem: Problem,
    *,
    seed: int = 0,
    time_limit_s: float | None = None,
    on_progress: Callable[[float, float], bool] | None = None,
) -> Solution:
    """It starts from what `fast` finds in half of the time; `time_limit_s`: 60 without."""
    limit = TIME_LIMIT_S if time_limit_s is None else time_limit_s
    end = monotonic() + limit
    start = fast(problem, time_limit_s=limit / 2, on_progress=on_progress)
    open_ = np.isin(np.arange(len(problem.candidates)), start.sites)
    assigned, bound, reason = start.assigned, start.bound, ""
    if start.gap > TIGHT:
        aggregated = _aggregated(problem)
        if aggregated is None:
            reason = "too large for the program: the bound is that of prices"
        else:
            served = int((assigned >= 0).sum())
            found, proven, late = _solve(problem, *aggregated, served, start.value, end - monotonic())
            bound = max(bound, whole(problem, proven))
            if found is not None and problem.cost[found].sum() < start.value * (1 - TIGHT):
                filled = coverage.fill(problem, found, np.full_like(assigned, -1))
                if (filled >= 0).sum() >= (assigned >= 0).sum():
                    open_, assigned = found, filled
            if late:
                reason = TIME_IS_UP
    return problem.solution(open_, assigned, bound, "exact", reason)


def _aggregated(problem: Problem) -> tuple[IntArray, IntArray, BoolArray, IntArray, IntArray] | None:
    """Class of each cell, group of each candidate, which group reaches which class, bool[C, G], cells a class and
    candidates a group; None where they are too many.
    """
    reach = coverage.reaches(problem)
    if len(problem.cells) * len(problem.candidates) > MOST_PAIRS:
        return None
    away = np.empty((len(problem.cells), len(problem.candidates)), bool)
    for j, (place, far) in enumerate(zip(problem.candidates, reach, strict=True)):
        away[:, j] = np.abs(problem.cells - place).sum(axis=1) <= far
    _, first, class_of = np.unique(np.packbits(away, axis=1), axis=0, return_index=True, return_inverse=True)
    by_class = away[first]
    alike = np.column_stack([problem.cost, problem.capacity, problem.existing, by_class.T])
    _, firsts, group_of = np.unique(alike, axis=0, return_index=True, return_inverse=True)
    reached = by_class[:, firsts]
    if reached.sum() > MOST_FLOWS:
        return None
    return class_of, group_of, reached, np.bincount(class_of), np.bincount(group_of)


def _solve(
    problem: Problem,
    class_of: IntArray,
    group_of: IntArray,
    reached: BoolArray,
    cells: IntArray,
    members: IntArray,
    served: int,
    most: float,
    time_limit_s: float,
) -> tuple[BoolArray | None, float, bool]:
    """The sites, bool[J], if any were found, the bound, and whether time was up."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    classes, groups = reached.shape
    first_of = np.unique(group_of, return_index=True)[1]
    unit = most / UNITS  # HiGHS takes a gap of 1e-6 for none, whatever the costs are
    cost, capacity, there = problem.cost[first_of] / unit, problem.capacity[first_of], problem.existing[first_of]
    needed = problem.needed[np.unique(class_of, return_index=True)[1]]
    of_class, of_group = np.nonzero(reached)
    flows, one = len(of_class), np.ones(len(of_class))
    y = groups + np.arange(flows)
    width = groups + flows

    def rows(row: IntArray, column: IntArray, value: np.ndarray, many: int) -> csr_array:
        return csr_array((value, (row, column)), (many, width))

    each = np.arange(flows)
    constraints = [
        LinearConstraint(rows(of_class, y, one, classes), -np.inf, cells * needed),
        LinearConstraint(rows(np.zeros(flows, int), y, one, 1), served, np.inf),
        LinearConstraint(
            rows(of_group, y, one, groups) - rows(np.arange(groups), np.arange(groups), capacity.astype(float), groups),
            -np.inf,
            0,
        ),
        LinearConstraint(
            rows(each, y, one, flows) - rows(each, of_group, cells[of_class].astype(float), flows), -np.inf, 0
        ),
        LinearConstraint(rows(np.zeros(groups, int), np.arange(groups), cost, 1), -np.inf, UNITS * (1 + TIGHT)),
    ]
    upper = np.concatenate([members, cells[of_class] * members[of_group]])
    found = milp(
        np.concatenate([cost, np.zeros(flows)]),
        constraints=constraints,
        bounds=Bounds(np.concatenate([np.where(there, members, 0), np.zeros(flows)]), upper),
        integrality=np.concatenate([np.ones(groups), np.zeros(flows)]),
        options={"time_limit": max(time_limit_s, 1.0), "mip_rel_gap": 0.0},
    )
    assert found.status in (0, 1), found.message  # what `fast` found is a solution of it
    late = found.status == 1
    bound = -np.inf if found.mip_dual_bound is None else float(found.mip_dual_bound) * unit
    if found.x is None:
        return None, bound, late
    open_ = np.zeros(len(problem.candidates), bool)
    for group, many in enumerate(np.rint(found.x[:groups]).astype(int)):
        open_[np.flatnonzero(group_of == group)[:many]] = True
    return open_, bound, late
