"""Where to have many services at once, on nodes that take only so many and whose load grows with each.

What a service is worth on a node is a part of its own (its round-trip time, less what moving costs) and a part by the
node's load, which all services there share. A node's load worth in total, k services times what each gets, rises ever
less with k as a rule. Then the k-th place of a node is worth what the k-th service adds, and the best assignment of
services to places is the best of all: a rectangular assignment problem (Crouse 2016, in scipy), which here is the same
as a min-cost flow with convex costs. Where a total is not concave, its concave envelope gives a bound.

Shapes: S services, N nodes, K places of a node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgewright.core.contracts import FloatArray, IntArray
from edgewright.core.errors import InputError
from edgewright.migration.rewards import Terms, load

FULL = 1 - 1e-9  # a share that sums make of 1


@dataclass(frozen=True)
class JointProblem:
    own: FloatArray  # [S, N] worth of each service on each node, without load
    shared: (
        FloatArray  # [N, K] worth, to each service there, of a node's load with 1 .. K services; -inf: no such place
    )

    def __post_init__(self) -> None:
        if self.own.ndim != 2 or self.shared.ndim != 2 or self.own.shape[1] != len(self.shared):
            raise InputError("own, shared", f"{self.own.shape} and {self.shared.shape}", "[S, N] and [N, K]")
        if not np.isfinite(self.own).all():
            raise InputError("own", "NaN or infinity", "finite numbers")
        there = np.isfinite(self.shared)
        if (
            np.isnan(self.shared).any()
            or (self.shared == np.inf).any()
            or (np.diff(there.astype(int), axis=1) > 0).any()
        ):
            raise InputError("shared", "NaN, infinity, or a place after none", "finite numbers, then -inf")
        if there.sum() < len(self.own):
            raise InputError("shared", f"{there.sum()} places", f"at least {len(self.own)}, one for each service")

    @property
    def totals(self) -> FloatArray:
        """Worth of a node's load to all services there, for 0 .. K of them: [N, K + 1]"""
        several = self.shared * np.arange(1, self.shared.shape[1] + 1)
        return np.concatenate([np.zeros((len(self.shared), 1)), several], 1)

    def value(self, nodes: IntArray) -> float:
        """Of an assignment, int[S]. -inf where a node has too many."""
        counts = np.bincount(nodes, minlength=len(self.shared))
        if (counts > self.shared.shape[1]).any():
            return -np.inf
        own = self.own[np.arange(len(nodes)), nodes].sum()
        return float(own + self.totals[np.arange(len(counts)), counts].sum())


@dataclass(frozen=True)
class JointSolution:
    """`bound`: what no assignment exceeds; equal to `value` where `optimal`."""

    status: Literal["optimal", "feasible"]
    nodes: IntArray  # [S]
    value: float
    bound: float


def assign(problem: JointProblem) -> JointSolution:
    from scipy.optimize import linear_sum_assignment

    added = _concave(problem.totals)  # [N, K] worth of the k-th place
    there = np.isfinite(added)
    place_node, _ = np.nonzero(there)
    worth = problem.own[:, place_node] + added[there]
    services, places = linear_sum_assignment(worth, maximize=True)
    nodes: IntArray = place_node[places]
    value, bound = problem.value(nodes), float(worth[services, places].sum())
    close = abs(bound - value) <= 1e-9 * max(1.0, abs(bound))
    return JointSolution("optimal" if close else "feasible", nodes, value, max(bound, value))


def _concave(totals: FloatArray) -> FloatArray:
    """What each place adds in the concave envelope of the totals, [N, K + 1] -> [N, K], falling along K."""
    there = np.isfinite(totals)
    added = np.where(there[:, 1:], np.diff(np.where(there, totals, 0.0), axis=1), -np.inf)
    for row, total in zip(added, totals, strict=True):
        ends = np.isfinite(total).sum() - 1
        if (np.diff(row[:ends]) <= 1e-12).all():
            continue
        corner = 0
        while corner < ends:  # to the point of the steepest line from here
            slopes = (total[corner + 1 : ends + 1] - total[corner]) / np.arange(1, ends - corner + 1)
            reach = corner + 1 + int(slopes.argmax())
            row[corner:reach] = slopes[reach - corner - 1]
            corner = reach
    return added


def load_worth(cpu: FloatArray, memory: FloatArray, each: tuple[float, float], places: int, terms: Terms) -> FloatArray:
    """`shared` of nodes whose own shares in use are [N], when every service takes `each` of CPU and memory.

    Without the comparisons among nodes (eq. 5), which are of one service's list: L_min / L - L / L_max, less the
    penalty where the maximum is exceeded. A node is full where a share would reach 1.
    """
    count = np.arange(1, places + 1)
    shares = [used[:, None] + part * count for used, part in zip((cpu, memory), each, strict=True)]
    fits = (shares[0] < FULL) & (shares[1] < FULL)
    loads = load(*(np.where(fits, share, 0.0) for share in shares))
    missed = np.where(loads > terms.load_max, terms.cost / 2 + terms.breach_penalty, 0.0)
    return np.where(fits, terms.load_min / loads - loads / terms.load_max - missed, -np.inf)
