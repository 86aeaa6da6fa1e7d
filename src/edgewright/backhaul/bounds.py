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
    program = Program(problem, time_limit_s)
    if kind == "lp":
        solved = program.solve_split()
        best = solved.fun if solved.status == 0 else None
    else:
        best = program.solve_whole().mip_dual_bound
    return 1.0 if best is None else min(-float(best) / problem.active.size, 1.0)


def largest_paths(problem: Problem, time_limit_s: float | None = None) -> IntArray | None:
    """The path that carries most of each flow with demand where flows may split, int[A]; None if that is unsolved."""
    if not problem.active.size:
        return None
    program = Program(problem, time_limit_s)
    solved = program.solve_split()
    if solved.status != 0:
        return None
    by_amount = np.lexsort((-solved.x, program.flow))  # flow by flow, the largest first
    first = np.searchsorted(program.flow, np.arange(problem.active.size))
    largest: IntArray = program.paths[by_amount[first]]
    return largest


class Program:
    """The candidate paths P of the flows with demand A as a linear program: the share of its flow's demand that each
    carries, x float[P].

    Links, too, are in shares of their capacity: the solver's tolerances are absolute, and so hold at any rate.
    """

    def __init__(self, problem: Problem, time_limit_s: float | None = None) -> None:
        active, arrays = problem.active, problem.network.arrays
        start = arrays.flow_start
        self.demand = problem.demand_mbps[active]
        self.weight = self.demand / self.demand.mean()  # of a flow's share in what is carried; these sum to A
        self.paths = np.concatenate([np.arange(start[f], start[f + 1]) for f in active])
        self.flow = np.repeat(np.arange(active.size), np.diff(start)[active])  # which of the active flows a path serves
        columns = np.arange(self.paths.size)
        crossed = np.concatenate([arrays.links_of(p) for p in self.paths])
        crossing = np.repeat(columns, np.diff(arrays.path_start)[self.paths])
        capacity, asked = problem.capacity_mbps[crossed], self.demand[self.flow[crossing]]
        self.most = arrays.whole(problem.capacity_mbps > 0)[self.paths].astype(np.float64)
        of_link = np.divide(asked, capacity, out=np.zeros(crossed.size), where=capacity > 0)
        by_link = coo_array((of_link, (crossed, crossing)), (arrays.capacity_mbps.size, columns.size))
        self.by_flow = coo_array((np.ones(columns.size), (self.flow, columns)), (active.size, columns.size))
        self.limited = vstack([by_link, self.by_flow])  # each row at most 1
        self.options = {} if time_limit_s is None else {"time_limit": time_limit_s}

    def solve_split(self) -> Any:
        limits = LinearConstraint(self.limited, ub=1)
        bounds = Bounds(0, self.most)
        return milp(-self.weight[self.flow], constraints=limits, bounds=bounds, options=self.options)

    def solve_whole(self) -> Any:
        """With a second half of variables: whether a path is taken."""
        count = self.paths.size
        own = coo_array((np.ones(count), (np.arange(count), np.arange(count))))
        limits = [
            LinearConstraint(hstack([self.limited, coo_array(self.limited.shape)]), ub=1),
            LinearConstraint(hstack([own, -own]), ub=0),  # nothing on a path that is not taken
            LinearConstraint(hstack([coo_array(self.by_flow.shape), self.by_flow]), lb=1, ub=1),
        ]
        return milp(
            np.concatenate([-self.weight[self.flow], np.zeros(count)]),
            integrality=np.repeat([0, 1], count),
            constraints=limits,
            bounds=Bounds(0, np.append(self.most, np.ones(count))),
            options=self.options,
        )
