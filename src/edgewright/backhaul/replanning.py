"""From the allocation in force to a better one by few moves: after a broken link, another demand, another capacity."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from edgewright.backhaul.kernels.flows import aim_of, flows_of
from edgewright.backhaul.kernels.moves import replan_step
from edgewright.backhaul.model import NO_PATH, Problem, Solution
from edgewright.backhaul.solvers.solution import solved
from edgewright.core.contracts import IntArray
from edgewright.core.errors import InputError

MOST_MOVES = 10  # of a flow, within one step of the budget: rounding must not keep two paths changing places


def replan(problem: Problem, running: IntArray, *, moves: int | None = None) -> list[Solution]:
    """The trade-off of quality and change: item k is the best found with at most k flows off their running path.

    running int[F]: the path of each flow that is in force, NO_PATH where it has none; such a flow takes any path, which
    is not counted. `moves`: at most so many flows change (default: all). Each step makes the one move that gains most;
    the list ends where none gains; a flow leaves a broken path even where that
    gains nothing. Evaluations and CPU count from the beginning, the last item's include
    the step that gained nothing.
    """
    running = np.asarray(running, dtype=np.int64)
    counts = np.diff(problem.network.arrays.flow_start)
    if running.shape != counts.shape or (running < NO_PATH).any() or (running >= counts).any():
        raise InputError("running", running.tolist(), f"a path of each of {counts.size} flows, or {NO_PATH}")
    if moves is not None and moves < 0:
        raise InputError("moves", moves, ">= 0")
    began = time.process_time()
    flows, aim = flows_of(problem), aim_of(problem)
    in_force = running[problem.active]
    before = np.where(in_force == NO_PATH, NO_PATH, flows.first + in_force)
    now = np.where(in_force == NO_PATH, flows.first, before)
    budget = now.size if moves is None else min(moves, now.size)
    found: list[Solution] = []
    evaluations = 0
    for allowed in range(budget + 1):
        moves_made, moved = 0, True
        while moved and moves_made <= MOST_MOVES * now.size:
            changed = int(((before != NO_PATH) & (now != before)).sum())
            moved, tried = replan_step(now, before, flows, aim, changed < allowed)
            moves_made += moved
            evaluations += tried
        if allowed > 0 and not moves_made:
            spent = time.process_time() - began
            found[-1] = replace(found[-1], evaluations=evaluations, cpu_s=spent)
            break
        found.append(solved(problem, now, flows, evaluations=evaluations, began=began))
    return found
