"""What no allocation can exceed: linear programs over the candidate paths, solved by HiGHS.

`lp` lets flows split over their paths; `milp` keeps one path per flow but shares links as carries most (no max-min
fairness). lp >= milp >= the best max-min efficiency.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array, hstack, vstack

from edgewright.backhaul.model import Problem
from edgewright.core.contracts import IntArray


def value_bound(problem: Problem, kind: Literal["lp", "milp"] = "lp", time_limit_s: float | None = None) -> float:
    """A bound on the problem's objective, 0..1; Jain's index is at most 1. Valid at a time limit, too, if looser."""
    return problem.objective.of(efficiency_bound(problem, kind, time_limit_s), 1.0)


def efficiency_bound(problem: Problem, kind: Literal["lp", "milp"] = "lp", time_limit_s: float | None = None) -> float:
    """Most that can be carried over what is offered, 0..1."""
    if not problem.active.size:
        return 1.0
    program, options = Program(problem), {} if time_limit_s is None else {"time_limit": time_limit_s}
    offered = float(program.demand.sum())
    if kind == "lp":
        solved = program.solve_split(options)
        bound = -solved.fun if solved.status == 0 else offered
    else:
        solved = program.solve_whole(options)
        bound = offered if solved.mip_dual_bound is None else -solved.mip_dual_bound
    return min(float(bound) / offered, 1.0)


def largest_paths(problem: Problem) -> IntArray | None:
    """The path that carries most of each flow with demand where flows may split, int[A]; None if that is unsolved."""
    if not problem.active.size:
        return None
    program = Program(problem)
    solved = program.solve_split({})
    if solved.status != 0:
        return None
    by_amount = np.lexsort((-solved.x, program.flow))  # flow by flow, the largest first
    first = np.searchsorted(program.flow, np.arange(problem.active.size))
    largest: IntArray = program.paths[by_amount[first]]
    return largest


class Program:
    """The candidate paths P of the flows with demand A as a linear program: what each carries, x float[P]."""

    def __init__(self, problem: Problem) -> None:
        active, arrays = problem.active, problem.network.arrays
        start = arrays.flow_start
        self.capacity, self.demand = problem.capacity_mbps, problem.demand_mbps[active]
        self.paths = np.concatenate([np.arange(start[f], start[f + 1]) for f in active])
        self.flow = np.repeat(np.arange(active.size), np.diff(start)[active])  # which of the active flows a path serves
        columns = np.arange(self.paths.size)
        crossed = np.concatenate([arrays.links_of(p) for p in self.paths])
        crossing = np.repeat(columns, np.diff(arrays.path_start)[self.paths])
        self.by_link = coo_array((np.ones(crossed.size), (crossed, crossing)), (self.capacity.size, columns.size))
        self.by_flow = coo_array((np.ones(columns.size), (self.flow, columns)), (active.size, columns.size))

    def solve_split(self, options: dict[str, float]) -> Any:
        limits = LinearConstraint(vstack([self.by_link, self.by_flow]), ub=np.concatenate([self.capacity, self.demand]))
        return milp(-np.ones(self.paths.size), constraints=limits, bounds=Bounds(0, np.inf), options=options)

    def solve_whole(self, options: dict[str, float]) -> Any:
        """With a second half of variables: whether a path is taken."""
        count = self.paths.size
        columns = np.arange(count)
        own = coo_array((np.ones(count), (columns, columns)))
        most = coo_array((-self.demand[self.flow], (columns, columns)))  # nothing on a path that is not taken
        limits = [
            LinearConstraint(hstack([self.by_link, coo_array(self.by_link.shape)]), ub=self.capacity),
            LinearConstraint(hstack([own, most]), ub=0),
            LinearConstraint(hstack([coo_array(self.by_flow.shape), self.by_flow]), lb=1, ub=1),
        ]
        return milp(
            np.concatenate([-np.ones(count), np.zeros(count)]),
            integrality=np.repeat([0, 1], count),
            constraints=limits,
            bounds=Bounds(0, np.repeat([np.inf, 1.0], count)),
            options=options,
        )
