"""Every combination of paths of the flows that have demand: the proven optimum where there are few enough."""

from __future__ import annotations

import time

import numpy as np

from edgewright.backhaul.kernels.construction import enumerate_some
from edgewright.backhaul.kernels.flows import aim_of, flows_of
from edgewright.backhaul.model import Problem, Solution
from edgewright.backhaul.solvers.solution import solved
from edgewright.core.errors import InputError

COMBINATIONS = 1_000_000
BATCH = 20_000  # combinations between two looks at the clock


def enumeration(
    problem: Problem, *, seed: int = 0, time_limit_s: float | None = None, combinations: int = COMBINATIONS
) -> Solution:
    """Raises InputError where there are more than `combinations` of them."""
    began, deadline = time.process_time(), time.monotonic() + (np.inf if time_limit_s is None else time_limit_s)
    flows = flows_of(problem)
    there = float(np.prod(flows.options.astype(np.float64)))
    if there > combinations:
        raise InputError("solver", f"enumeration of {there:.3g} combinations", f"at most {combinations:,}")
    now, best, value, tried, done = flows.first.copy(), flows.first.copy(), -1.0, 0, False
    while not done and (tried == 0 or time.monotonic() < deadline):
        value, some, done = enumerate_some(now, best, value, flows, aim_of(problem), BATCH)
        tried += some
    if done:
        return solved(problem, best, flows, evaluations=tried, began=began, status="optimal")
    reason = f"{tried:,} of {there:,.0f} combinations tried"
    return solved(problem, best, flows, evaluations=tried, began=began, status="time_limit", reason=reason)
