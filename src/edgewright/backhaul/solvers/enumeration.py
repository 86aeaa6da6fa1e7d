"""Every combination of paths of the flows that have demand, or a bound below what is found: the proven optimum."""

from __future__ import annotations

import time

import numpy as np

from edgewright.backhaul.kernels.construction import enumerate_some
from edgewright.backhaul.kernels.flows import BETTER, aim_of, evaluate, flows_of
from edgewright.backhaul.model import Problem, Solution
from edgewright.backhaul.solvers.solution import combinations_of, solved
from edgewright.backhaul.solvers.subset_sum import placed
from edgewright.core.errors import InputError

COMBINATIONS = 1_000_000
BATCH = 20_000  # flows placed between two looks at the clock


def enumeration(
    problem: Problem, *, seed: int = 0, time_limit_s: float | None = None, combinations: int = COMBINATIONS
) -> Solution:
    """Raises InputError where there are more than `combinations` of them."""
    began, deadline = time.process_time(), time.monotonic() + (np.inf if time_limit_s is None else time_limit_s)
    flows = flows_of(problem)
    there = combinations_of(flows)
    if there > combinations:
        raise InputError("solver", f"enumeration of {there:.3g} combinations", f"at most {combinations:,}")
    aim, now = aim_of(problem), flows.first.copy()
    best, tried, _ = placed(flows, aim, deadline)
    value = evaluate(best, flows, flows.demand.sum(), aim)
    done = value >= 1.0 - BETTER
    while not done and time.monotonic() < deadline:
        value, some, done = enumerate_some(now, best, value, flows, aim, BATCH, BATCH)
        tried += some
    if done:
        return solved(problem, best, flows, evaluations=tried, began=began, status="optimal")
    reason = f"{tried:,} combinations tried, not all of {there:,.0f}"
    return solved(problem, best, flows, evaluations=tried, began=began, status="time_limit", reason=reason)
