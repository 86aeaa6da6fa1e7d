"""Iterated local search on the exact objective, from the greedy's answer; from that of a linear program for many flows.

Where few combinations may be better, all of them are tried, and the answer is proven. Else a flow is moved to another
path where that pays; only flows that share a link with what moved are looked at again.
Then a kick: a random flow takes another path, and some that it meets there give way; what is worse is taken back.
"""

from __future__ import annotations

import time

import numpy as np

from edgewright.backhaul.bounds import largest_paths
from edgewright.backhaul.kernels.construction import enumerate_some, is_bounded
from edgewright.backhaul.kernels.flows import Aim, Flows, aim_of, evaluate, flows_of
from edgewright.backhaul.kernels.moves import improve, leave_broken, walk_from
from edgewright.backhaul.model import Problem, Solution, Status
from edgewright.backhaul.solvers.solution import combinations_of, paths_of, solved
from edgewright.backhaul.solvers.subset_sum import BATCH, placed

EVALUATIONS = 3000
# To prove an answer, a tenth of a search: flows placed and combinations evaluated, for each evaluation it may take.
PROOF, TRIES = 7, 1 / 30
MANY = 100  # flows with demand, for which moves alone come too slowly to what a linear program sees at once


def search(
    problem: Problem,
    *,
    seed: int = 0,
    start: Solution | None = None,
    time_limit_s: float | None = None,
    evaluations: int = EVALUATIONS,
) -> Solution:
    """`start`: begin from this solution's choice; never worse than it, or than the greedy.

    Ends after `evaluations` (those of the greedy among them, up to MANY flows), where all is carried, or at the limit,
    which holds for greedy and linear program, too (status "time_limit"; flows not placed yet take their first path).
    """
    began, deadline = time.process_time(), time.monotonic() + (np.inf if time_limit_s is None else time_limit_s)
    flows, aim = flows_of(problem), aim_of(problem)
    if start is None:
        least, used, _ = placed(flows, aim, deadline)
    else:
        least, used = paths_of(problem, flows, start), 0
    paths, offered, proven = least, flows.demand.sum(), False
    few = min(evaluations, EVALUATIONS)  # the clock does not stop a proof
    if start is None and paths.size >= MANY:
        used, left_s = 0, deadline - time.monotonic()
        if left_s > 0 and (split := largest_paths(problem, left_s)) is not None:
            paths = split
    elif (tries := _worth_trying(flows, aim, few - used)) > 0 and time.monotonic() < deadline:
        value = evaluate(least, flows, offered, aim)
        _, tried, proven = enumerate_some(flows.first.copy(), least, value, flows, aim, PROOF * few, tries)
        used += tried
    walk, first = walk_from(paths, flows), int(np.random.default_rng(seed).integers(2**31 - 1))
    left = evaluations - used
    batch = left if time_limit_s is None else BATCH // max(paths.size, 1) + 10
    status: Status = "optimal" if proven else "feasible"
    more = left > 0 and not proven
    while more:
        if time.monotonic() >= deadline:
            status = "time_limit"
            break
        more = improve(walk, flows, aim, left, int(walk.counts[0]) + batch, first)
    paths, used = walk.best, used + int(walk.counts[0])
    if evaluate(least, flows, offered, aim) > evaluate(paths, flows, offered, aim):
        paths = least
    if problem.broken:
        used += leave_broken(paths, flows, aim)
    return solved(problem, paths, flows, evaluations=used, began=began, status=status)


def _worth_trying(flows: Flows, aim: Aim, left: int) -> int:
    """How many of the combinations, before a search with so many evaluations left."""
    if combinations_of(flows) <= left:
        return left
    return round(TRIES * left) if is_bounded(aim) else 0
