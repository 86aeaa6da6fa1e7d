"""A path drawn uniformly for every flow (the document's third alternative)."""

from __future__ import annotations

import time

import numpy as np

from edgewright.backhaul.kernels.flows import flows_of
from edgewright.backhaul.model import Problem, Solution
from edgewright.backhaul.solvers.solution import solved


def random(problem: Problem, *, seed: int = 0, time_limit_s: float | None = None) -> Solution:
    began = time.process_time()
    flows = flows_of(problem)
    paths = flows.first + np.random.default_rng(seed).integers(flows.options)
    return solved(problem, paths, flows, evaluations=1, began=began)
