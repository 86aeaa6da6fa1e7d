"""What no allocation can exceed: linear programs over the candidate paths, solved by HiGHS.

`lp` lets flows split over their paths; `milp` keeps one path per flow but shares links as carries most (no max-min
fairness). lp >= milp >= the best max-min efficiency.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array, hstack, vstack

from edgewright.backhaul.model import Problem


def value_bound(problem: Problem, kind: Literal["lp", "milp"] = "lp", time_limit_s: float | None = None) -> float:
    """A bound on the problem's objective, 0..1; Jain's index is at most 1. Valid at a time limit, too, if looser."""
    w, v = problem.objective.weights
    return w * efficiency_bound(problem, kind, time_limit_s) + v


def efficiency_bound(problem: Problem, kind: Literal["lp", "milp"] = "lp", time_limit_s: float | None = None) -> float:
    """Most that can be carried over what is offered, 0..1."""
    active, arrays = problem.active, problem.network.arrays
    if not active.size:
        return 1.0
    start = arrays.flow_start
    paths = np.concatenate([np.arange(start[f], start[f + 1]) for f in active])
    row = np.repeat(np.arange(active.size), np.diff(start)[active])  # which active flow a path serves
    columns = np.arange(paths.size)
    lengths = np.diff(arrays.path_start)[paths]
    crossed = np.concatenate([arrays.path_links[arrays.path_start[p] : arrays.path_start[p + 1]] for p in paths])
    capacity = problem.capacity_mbps
    by_link = coo_array((np.ones(crossed.size), (crossed, np.repeat(columns, lengths))), (capacity.size, paths.size))
    by_flow = coo_array((np.ones(paths.size), (row, columns)), (active.size, paths.size))
    demand = problem.demand_mbps[active]
    options = {} if time_limit_s is None else {"time_limit": time_limit_s}
    if kind == "lp":
        limits = LinearConstraint(vstack([by_link, by_flow]), ub=np.concatenate([capacity, demand]))
        solved = milp(-np.ones(paths.size), constraints=limits, bounds=Bounds(0, np.inf), options=options)
        bound = -solved.fun if solved.status == 0 else demand.sum()
    else:
        own = coo_array((np.ones(paths.size), (columns, columns)))
        used = coo_array((-demand[row], (columns, columns)))  # nothing on a path that is not taken
        empty = coo_array((capacity.size, paths.size))
        limits = [
            LinearConstraint(hstack([by_link, empty]), ub=capacity),
            LinearConstraint(hstack([own, used]), ub=0),
            LinearConstraint(hstack([coo_array((active.size, paths.size)), by_flow]), lb=1, ub=1),
        ]
        rates_then_taken = np.concatenate([-np.ones(paths.size), np.zeros(paths.size)])
        solved = milp(
            rates_then_taken,
            integrality=np.repeat([0, 1], paths.size),
            constraints=limits,
            bounds=Bounds(0, np.repeat([np.inf, 1.0], paths.size)),
            options=options,
        )
        bound = demand.sum() if solved.mip_dual_bound is None else -solved.mip_dual_bound
    return float(min(bound / demand.sum(), 1.0))
