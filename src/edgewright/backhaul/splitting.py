"""Flows that may split over their paths: the best allocation, by two linear programs one after the other.

The programs are over the candidate paths: what each path carries is the answer itself.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array, hstack

from edgewright.backhaul.bounds import Program
from edgewright.backhaul.model import Problem, Status, measures
from edgewright.core.contracts import FloatArray
from edgewright.core.errors import InputError

First = Literal["efficiency", "share"]
KEPT = 1 - 1e-7  # of what the first program reached, left to the second: solvers are exact to some 1e-7


@dataclass(frozen=True)
class Split:
    """`mbps` float[P]: what each path of the network carries; rates float[F]; the figures in 0..1.

    `smallest_share`: of its demand what the flow served worst gets, among flows with demand and a path left; 0 where no
    flow has one, 1 where nobody asks. `bound`: what no allocation's efficiency exceeds; None where shares came first.
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

    Raises InputError where a program is not solved, in time or at all: there is no half an answer.
    """
    began = time.process_time()
    mbps, rates = np.zeros(problem.network.arrays.path_start.size - 1), np.zeros(problem.demand_mbps.size)
    smallest = bound = 1.0
    if problem.active.size:
        program = _Shares(problem, time_limit_s)
        if first == "efficiency":
            bound = program.solve(totals=1.0)[0]
            _, smallest, found = program.solve(share=1.0, carried=bound * KEPT)
        else:
            _, smallest, _ = program.solve(share=1.0)
            _, smallest, found = program.solve(totals=1.0, smallest=smallest * KEPT)
        mbps[program.paths] = found * program.demand[program.flow]
        rates[problem.active] = np.bincount(program.flow, mbps[program.paths])
    efficiency, jain = measures(problem.demand_mbps, rates)
    proven = min(bound, 1.0) if first == "efficiency" else None
    return Split("optimal", mbps, rates, efficiency, jain, smallest, proven, time.process_time() - began)


class _Shares(Program):
    """Program with one variable more, the smallest share, after those of the paths."""

    def __init__(self, problem: Problem, time_limit_s: float | None) -> None:
        super().__init__(problem, time_limit_s)
        self._served = np.bincount(self.flow, self.most) > 0
        self._limits = LinearConstraint(hstack([self.limited, coo_array((self.limited.shape[0], 1))]), ub=1)
        smallest = coo_array(np.where(self._served, -1.0, 0.0)[:, None])
        self._at_least = LinearConstraint(hstack([self.by_flow, smallest]), lb=0)
        self._totals = np.append(self.weight[self.flow], 0.0)

    def solve(
        self, totals: float = 0.0, share: float = 0.0, carried: float = 0.0, smallest: float = 0.0
    ) -> tuple[float, float, FloatArray]:
        """Maximise totals x carried + share x the smallest share, neither below what is given -> both as they came out,
        0..1, and x.
        """
        count = self.paths.size
        answer: Any = milp(
            -totals * self._totals - share * np.append(np.zeros(count), 1.0),
            constraints=[self._limits, self._at_least, LinearConstraint(self._totals, lb=carried * self.demand.size)],
            bounds=Bounds(np.append(np.zeros(count), smallest), np.append(self.most, 1.0)),
            options=self.options,
        )
        if answer.status == 1:
            raise InputError("time_limit_s", self.options.get("time_limit"), f"enough to solve: {answer.message}")
        if answer.status != 0:
            raise InputError("demand_mbps", self.demand.tolist(), f"what HiGHS solves on these links: {answer.message}")
        found = np.where(answer.x[:-1] > 0, answer.x[:-1], 0.0)
        found /= np.maximum(np.bincount(self.flow, found), 1.0)[self.flow]  # rounding aside, no flow gets more than all
        got = np.bincount(self.flow, found)
        least = float(got[self._served].min(initial=1.0)) if self._served.any() else 0.0
        return float(got @ self.weight) / got.size, least, found
