"""From the paths that compiled code chose to a Solution."""

from __future__ import annotations

import time

import numpy as np

from edgewright.backhaul.kernels.flows import Flows, fill
from edgewright.backhaul.model import NO_PATH, Problem, Solution, Status, measures
from edgewright.core.contracts import IntArray
from edgewright.core.errors import InputError


def paths_of(problem: Problem, flows: Flows, start: Solution) -> IntArray:
    """int[A]: of a solution to begin with; the first path of a flow that has none there. Raises InputError."""
    choice = np.asarray(start.choice)
    counts = np.diff(problem.network.arrays.flow_start)
    if choice.shape != counts.shape or (choice < NO_PATH).any() or (choice >= counts).any():
        raise InputError("start", choice.tolist(), f"a path of each of {counts.size} flows, or {NO_PATH}")
    paths: IntArray = flows.first + np.maximum(choice[problem.active], 0)
    return paths


def combinations_of(flows: Flows) -> float:
    """Of paths of the flows with demand: how many there are."""
    return float(np.prod(flows.options.astype(np.float64)))


def solved(
    problem: Problem,
    paths: IntArray,
    flows: Flows,
    *,
    evaluations: int,
    began: float,
    status: Status = "feasible",
    reason: str = "",
) -> Solution:
    """paths int[A]: of the flows with demand; `began`: process_time, s. What is optimal is its own bound."""
    fill(paths, flows)
    choice: IntArray = np.full(problem.demand_mbps.size, NO_PATH, dtype=np.int64)
    rates = np.zeros(choice.size)
    choice[problem.active], rates[problem.active] = paths - flows.first, flows.rates
    efficiency, jain = measures(problem.demand_mbps, rates)
    objective = problem.objective
    value = objective.value(problem.demand_mbps, rates) if objective.exponent else objective.of(efficiency, jain)
    if value >= 1.0 - 1e-9:  # nothing is better than all that is asked for
        status = "optimal"
    bound = value if status == "optimal" else None
    spent = time.process_time() - began
    return Solution(status, choice, rates, efficiency, jain, value, bound, evaluations, spent, reason)
