"""Rates of flows on given paths: network-wide max-min fair."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgewright.backhaul.kernels.flows import fill, flows_of
from edgewright.backhaul.model import NO_PATH, Problem
from edgewright.core.contracts import FloatArray, IntArray


def max_min_rates(problem: Problem, choice: IntArray) -> FloatArray:
    """Rates float[F], Mb/s, with every flow that has demand on its chosen path, int[F]."""
    flows, active = flows_of(problem), problem.active
    choice = np.asarray(choice, dtype=np.int64)
    if (choice[active] == NO_PATH).any():
        raise ValueError(f"flows {active[choice[active] == NO_PATH].tolist()} have demand and no path")
    fill(flows.first + choice[active], flows)
    rates = np.zeros(choice.size)
    rates[active] = flows.rates
    return rates


def expected_rates(problem: Problem, choice: IntArray) -> FloatArray:
    """The same, where a flow without a path gets nothing."""
    demand = np.where(choice == NO_PATH, 0.0, problem.demand_mbps)
    return max_min_rates(replace(problem, demand_mbps=demand), choice)
