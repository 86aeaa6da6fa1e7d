"""One decision of a loop: a planner asks for paths, the guard allows what is sound and gains, moves have reasons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgewright.backhaul.model import NO_PATH, Problem
from edgewright.backhaul.rates import expected_rates
from edgewright.backhaul.simulation import Planner
from edgewright.core.contracts import BoolArray, IntArray

LEAST_GAIN = 1e-9  # of the objective
SHOWN_MBPS = 0.05


@dataclass(frozen=True)
class Move:
    flow: int
    before: int  # NO_PATH where it had none
    after: int
    reason: str


@dataclass(frozen=True)
class Decision:
    """`wanted`, `allowed` int[F]: path of each flow; a flow that keeps its path has that one in both.

    Values are the objective's in the twin: with the paths in force, and with those wanted.
    """

    wanted: IntArray
    allowed: IntArray
    moves: tuple[Move, ...]  # of what is allowed
    kept: str  # why nothing of what was wanted is allowed; "" where it is
    value_before: float
    value_wanted: float
    cpu_s: float  # of the planner


def decide(problem: Problem, running: IntArray, planner: Planner, most_moves: int | None = None) -> Decision:
    """running int[F]: paths in force, NO_PATH where there is none.

    A flow whose path is broken counts as one without: its move is not of `most_moves`.
    """
    dead = dead_flows(problem, running)
    asked, cpu_s = planner(problem, np.where(dead, NO_PATH, running))
    asked = np.asarray(asked, dtype=np.int64)
    counts = np.diff(problem.network.arrays.flow_start)
    before = value_of(problem, running)
    if asked.shape != counts.shape or (asked < NO_PATH).any() or (asked >= counts).any():
        kept = f"the planner's answer is no path of each of {counts.size} flows"
        return Decision(running, running, (), kept, before, before, cpu_s)
    wanted = np.where(asked == NO_PATH, running, asked)
    allowed = np.where(dead_flows(problem, wanted), running, wanted)  # no flow goes from anywhere to a broken path
    after = value_of(problem, wanted)
    moved = allowed != running
    counted = int((moved & ~dead & (running != NO_PATH)).sum())
    kept = ""
    if not moved.any():
        kept = "no better paths" if dead.any() or (wanted != running).any() else "the paths in force are the best known"
        allowed = running
    elif after <= before + LEAST_GAIN:
        kept = f"no gain: {after:.4f} instead of {before:.4f}"
    elif most_moves is not None and counted > most_moves:
        kept = f"{counted} flows would move, {most_moves} may"
    if kept:
        return Decision(wanted, running, (), kept, before, after, cpu_s)
    return Decision(wanted, allowed, _moves(problem, running, allowed, dead), kept, before, after, cpu_s)


def dead_flows(problem: Problem, choice: IntArray) -> BoolArray:
    """bool[F]: flows on a path with a broken link."""
    arrays = problem.network.arrays
    whole = arrays.whole(problem.capacity_mbps > 0)
    dead: BoolArray = (choice != NO_PATH) & ~whole[arrays.flow_start[:-1] + np.maximum(choice, 0)]
    return dead


def value_of(problem: Problem, choice: IntArray) -> float:
    return problem.objective.value(problem.demand_mbps, expected_rates(problem, choice))


def _moves(problem: Problem, running: IntArray, allowed: IntArray, dead: BoolArray) -> tuple[Move, ...]:
    before, after = expected_rates(problem, running), expected_rates(problem, allowed)
    gains = after - before
    found = []
    for flow in np.flatnonzero(allowed != running).tolist():
        change = f"{before[flow]:.1f} → {after[flow]:.1f} of {problem.demand_mbps[flow]:.1f} Mb/s"
        if running[flow] == NO_PATH:
            reason = f"had no path: {change}"
        elif dead[flow]:
            reason = f"its old path is broken: {change}"
        elif gains[flow] > SHOWN_MBPS:
            reason = f"gets more: {change}"
        else:
            most = int(np.argmax(gains))
            source = problem.network.flows[most].source
            reason = f"makes room for the flow from node {source} (+{gains[most]:.1f} Mb/s): {change}"
        found.append(Move(flow, int(running[flow]), int(allowed[flow]), reason))
    return tuple(found)
