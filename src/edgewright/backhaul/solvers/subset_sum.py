"""Greedy: flows by falling demand, each on the path that is best for the flows placed so far (D4.2, 4.2.2)."""

from __future__ import annotations

import time

import numpy as np

from edgewright.backhaul.kernels.construction import greedy_some
from edgewright.backhaul.kernels.flows import Aim, Flows, aim_of, flows_of
from edgewright.backhaul.kernels.moves import leave_broken
from edgewright.backhaul.model import Problem, Solution, Status
from edgewright.backhaul.solvers.solution import solved
from edgewright.core.contracts import IntArray

BATCH = 50_000  # evaluations x flows between two looks at the clock


def subset_sum(problem: Problem, *, seed: int = 0, time_limit_s: float | None = None) -> Solution:
    """At the limit flows that are not placed yet take their first path (status "time_limit")."""
    began, deadline = time.process_time(), time.monotonic() + (np.inf if time_limit_s is None else time_limit_s)
    flows = flows_of(problem)
    paths, evaluations, whole = placed(flows, aim_of(problem), deadline)
    status: Status = "feasible" if whole else "time_limit"
    if problem.broken and whole:
        evaluations += leave_broken(paths, flows, aim_of(problem))
    return solved(problem, paths, flows, evaluations=evaluations, began=began, status=status)


def placed(flows: Flows, aim: Aim, deadline: float) -> tuple[IntArray, int, bool]:
    """`deadline`: of time.monotonic() -> paths int[A], evaluations, whether all flows were placed by then."""
    paths, count, evaluations = flows.first.copy(), 0, 0
    while count < paths.size and time.monotonic() < deadline:
        count, used = greedy_some(paths, count, flows, aim, BATCH // paths.size + 10)
        evaluations += used
    return paths, evaluations, count == paths.size
