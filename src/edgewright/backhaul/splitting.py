"""Flows that may split over their paths: the best allocation, by two linear programs one after the other.

The programs are over the candidate paths: what each path carries is the answer itself.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array, csr_array, hstack, vstack

from edgewright.backhaul.bounds import Program
from edgewright.backhaul.model import Problem, Status, measures
from edgewright.core.contracts import FloatArray
from edgewright.core.errors import InputError

First = Literal["efficiency", "share"]
KEPT = 1 - 1e-7  # of what the first program reached, left to the second: solvers are exact to some 1e-7


@dataclass(frozen=True)
class Split:
    """`mbps` float[P]: what each path of the network carries; rates float[F]; the figures in 0..1.

    `smallest_share`: of its demand that every flow gets at least, among flows with a path left. `bound`: what no
    allocation's efficiency exceeds; None where shares came first.
    """

    status: Status
    mbps: FloatArray
    rates_mbps: FloatArray
    efficiency: float
    jain: float
    smallest_share: float
    bound: float | None
    cpu_s: float


def split(problem: Problem, first: First = "efficiency", time_limit_s: float | None = None) -> Split:
    """`efficiency`: as much as can be carried, and of these allocations one whose smallest share is largest; `share`:
    the other way round. A time limit holds for each of the two programs.

    Raises InputError where a program is not solved in time: there is no half an answer.
    """
    began = time.process_time()
    mbps, rates = np.zeros(problem.network.arrays.path_start.size - 1), np.zeros(problem.demand_mbps.size)
    smallest, most = 1.0, 0.0
    if problem.active.size:
        program = _Shares(problem, {} if time_limit_s is None else {"time_limit": time_limit_s})
        if first == "efficiency":
            carried = most = program.solve(totals=1.0)[0]
            _, smallest, found = program.solve(share=1.0, carried_mbps=carried * KEPT)
        else:
            smallest = program.solve(share=1.0)[1]
            _, smallest, found = program.solve(totals=1.0, smallest=smallest * KEPT)
        mbps[program.paths] = found
        rates[problem.active] = np.bincount(program.flow, found, problem.active.size)
    efficiency, jain = measures(problem.demand_mbps, rates)
    offered = float(problem.demand_mbps.sum())
    bound = None if first == "share" else min(most / offered, 1.0) if offered > 0 else 1.0
    return Split("optimal", mbps, rates, efficiency, jain, smallest, bound, time.process_time() - began)


class _Shares(Program):
    """Program with one variable more, the smallest share, after those of the paths."""

    def __init__(self, problem: Problem, options: dict[str, float]) -> None:
        super().__init__(problem)
        self._options, count = options, self.paths.size
        dead = csr_array(self.by_link.T) @ (self.capacity <= 0)
        served = np.bincount(self.flow, dead == 0, problem.active.size) > 0
        self._links_and_demands = hstack(
            [vstack([self.by_link, self.by_flow]), coo_array((self.capacity.size + self.demand.size, 1))]
        )
        self._at_least = hstack([self.by_flow, coo_array(-(self.demand * served)[:, None])])
        self._totals = np.append(np.ones(count), 0.0)

    def solve(
        self, totals: float = 0.0, share: float = 0.0, carried_mbps: float = 0.0, smallest: float = 0.0
    ) -> tuple[float, float, FloatArray]:
        """Maximise totals x carried + share x the smallest share -> carried, smallest share, each path's; Mb/s."""
        low = np.append(np.zeros(self.paths.size), smallest)
        answer: Any = milp(
            -np.append(np.full(self.paths.size, totals), share),
            constraints=[
                LinearConstraint(self._links_and_demands, ub=np.concatenate([self.capacity, self.demand])),
                LinearConstraint(self._at_least, lb=0),
                LinearConstraint(self._totals, lb=carried_mbps),
            ],
            bounds=Bounds(low, np.append(np.full(self.paths.size, np.inf), 1.0)),
            options=self._options,
        )
        if answer.status != 0:
            raise InputError("time_limit_s", self._options.get("time_limit"), f"enough to solve: {answer.message}")
        found = np.maximum(answer.x[:-1], 0.0)
        return float(found.sum()), float(answer.x[-1]), found
