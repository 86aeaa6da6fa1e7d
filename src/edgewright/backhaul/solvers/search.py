"""Iterated local search on the exact objective, from the greedy's answer.

A flow is moved to another path where that pays; only flows that share a link with what moved are looked at again.
Then a kick: a random flow takes another path, and some that it meets there give way; what is worse is taken back.
"""

from __future__ import annotations

import time

import numpy as np

from edgewright.backhaul.compiled import flows_of, greedy, improve
from edgewright.backhaul.model import Problem, Solution
from edgewright.backhaul.solvers.solution import solved

EVALUATIONS = 3000
BATCH = 500  # evaluations between two looks at the clock


def search(
    problem: Problem,
    *,
    seed: int = 0,
    start: Solution | None = None,
    time_limit_s: float | None = None,
    evaluations: int = EVALUATIONS,
) -> Solution:
    """`start`: begin from this solution's choice. Ends after `evaluations`, at the limit, or where all is carried."""
    began, deadline = time.process_time(), time.monotonic() + (np.inf if time_limit_s is None else time_limit_s)
    flows, weight = flows_of(problem), problem.objective.weights[0]
    if start is None:
        paths, used = greedy(flows, weight)
    else:
        paths, used = flows.first + start.choice[problem.active], 0
    state = np.random.default_rng(seed).integers(2**31 - 1, size=1)
    batch = evaluations if time_limit_s is None else BATCH
    while used < evaluations and time.monotonic() < deadline:
        some = improve(paths, flows, weight, min(batch, evaluations - used), state)
        used += abs(some)
        if some <= 0:
            break
    return solved(problem, paths, flows, evaluations=used, began=began)
