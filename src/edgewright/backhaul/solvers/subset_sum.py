"""Greedy: flows by falling demand, each on the path that is best for the flows placed so far (D4.2, 4.2.2)."""

from __future__ import annotations

import time

from edgewright.backhaul.compiled import flows_of, greedy
from edgewright.backhaul.model import Problem, Solution
from edgewright.backhaul.solvers.solution import solved


def subset_sum(problem: Problem, *, seed: int = 0, time_limit_s: float | None = None) -> Solution:
    began = time.process_time()
    flows = flows_of(problem)
    paths, evaluations = greedy(flows, problem.objective.weights[0])
    return solved(problem, paths, flows, evaluations=evaluations, began=began)
