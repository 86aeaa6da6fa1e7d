"""The best that can be done with the whole drive known, by dynamic programming over (step, node): exact, O(T N).

What every policy is measured against. A migration costs the same from everywhere, so that the best node to come from
is the same for all that come.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from edgewright.core.compiled import compiled
from edgewright.core.contracts import FloatArray, IntArray
from edgewright.migration.model import Problem, Solution

_kernel = compiled(__file__)


def optimum(problem: Problem) -> Solution:
    """Ties go to staying, then to the lowest node."""
    nodes, value = best_nodes(*problem.rewards, problem.first)
    return solution_of(problem, nodes, bound=value)


@_kernel
def best_nodes(stays: FloatArray, comes: FloatArray, start: int) -> tuple[IntArray, float]:
    """-> the nodes after each step, and what they are worth in all"""
    steps, count = stays.shape
    ahead = np.zeros(count)  # value from the end of a step on, by node
    target = np.empty((steps, count), dtype=np.int64)  # where to go in a step, by the node before
    for step in range(steps - 1, -1, -1):
        best = 0
        for node in range(1, count):
            if comes[step, node] + ahead[node] > comes[step, best] + ahead[best]:
                best = node
        highest = comes[step, best] + ahead[best]
        for node in range(count):
            stay = stays[step, node] + ahead[node]
            target[step, node] = best if highest > stay else node
            ahead[node] = max(highest, stay)
    nodes = np.empty(steps, dtype=np.int64)
    node = start
    for step in range(steps):
        node = target[step, node]
        nodes[step] = node
    return nodes, ahead[start]


def solution_of(problem: Problem, nodes: IntArray, bound: float | None = None) -> Solution:
    """What these nodes are worth; `bound` says that they are the best."""
    moved = nodes != np.concatenate([[problem.first], nodes[:-1]])
    at = np.arange(nodes.size), nodes
    stays, comes = problem.rewards
    value = float(np.where(moved, comes[at], stays[at]).sum())
    status: Literal["optimal", "feasible"] = "feasible" if bound is None else "optimal"
    return Solution(status, nodes, value, bound, int(moved.sum()), problem.breaches[at])
