"""Where edge sites (MEC PoPs) must stand so that every cell meets a round-trip time: the problem and its judge.

RTT = 2 d 5 us/km + 2 M 50 us + UL + DL, so that a site at ring M may be m_M = (RTT - 100 us M - UL - DL) / (10 us/km)
from its cells, along streets (Manhattan distance). Source: "NFV Orchestration in Edge and Fog Scenarios", eq. 1;
Martin-Perez, Cominardi, Bernardos, de la Oliva, Azcorra, IEEE Trans. Broadcasting 65(2), 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from edgewright.core.contracts import BoolArray, FloatArray, IntArray, Violation
from edgewright.core.errors import InputError
from edgewright.core.infrastructure import Infrastructure
from edgewright.topology import coverage
from edgewright.topology.build import Cells, placed
from edgewright.topology.coverage import SLACK_M

FIBRE_S_PER_KM = 5e-6
RING_S = 50e-6
RINGS = (1, 2)
"""Of the switches that may get a site: M1 and M2."""
SERVED = {1: 6, 2: 144}
"""Cells that a site at each ring can serve: those that stand under its switch."""
COST = {1: 1.0, 2: 1.0}
TIGHT = 1e-9
"""Costs that differ by less of themselves are the same."""
MOST_POINTS = 20_000
"""Of a grid."""


@dataclass(frozen=True)
class Numerology:
    """Radio latencies, s."""

    up_s: float
    down_s: float


NUMEROLOGIES: Mapping[str, Numerology] = {
    "fdd-30khz-2s": Numerology(0.39e-3, 0.39e-3),
    "fdd-120khz-7s": Numerology(0.33e-3, 0.33e-3),
    "tdd-120khz-7s": Numerology(0.39e-3, 0.39e-3),
}
"""By duplexing, subcarrier spacing and symbols of a (mini-)slot."""


def numerology(name: str) -> Numerology:
    """Raises InputError for one that is not known."""
    if name not in NUMEROLOGIES:
        raise InputError("numerology", name, f"one of {', '.join(NUMEROLOGIES)}")
    return NUMEROLOGIES[name]


def rtt_s(distance_m: FloatArray, ring: IntArray, radio: Numerology) -> FloatArray:
    """Round-trip time of a cell to a site, s (eq. 1)."""
    found: FloatArray = 2e-3 * distance_m * FIBRE_S_PER_KM + 2 * ring * RING_S + radio.up_s + radio.down_s
    return found


def reach_m(ring: int, radio: Numerology, budget_s: float) -> float:
    """m_M: how far a cell may be from a site at this ring; negative where the ring alone takes too long."""
    return 1e3 * (budget_s - 2 * ring * RING_S - radio.up_s - radio.down_s) / (2 * FIBRE_S_PER_KM)


@dataclass(frozen=True, eq=False)
class Problem:
    """N cells, J candidates. Every cell is to be served by `redundancy` different sites within their reach."""

    cells: FloatArray  # float64[N, 2], metres
    candidates: FloatArray  # float64[J, 2], metres: positions of switches
    ring: IntArray  # int64[J], 1 or 2
    reach_m: FloatArray  # float64[J], Manhattan distance
    capacity: IntArray  # int64[J], cells a site there can serve
    cost: FloatArray  # float64[J], of a site there; 0 where there is one already
    existing: BoolArray  # bool[J]
    redundancy: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.redundancy <= 8:
            raise InputError("redundancy", self.redundancy, "a whole number 1 .. 8")
        if not len(self.cells) or not len(self.candidates):
            raise InputError("cells, candidates", (len(self.cells), len(self.candidates)), "one or more of each")
        if not (np.isfinite(self.cost).all() and (self.cost >= 0).all()):
            raise InputError("cost", float(self.cost.min()), "numbers >= 0")
        if not (self.capacity >= 1).all():
            raise InputError("capacity", int(self.capacity.min()), "whole numbers >= 1")

    @cached_property
    def needed(self) -> IntArray:
        """int64[N], sites each cell can have at most of those it needs: fewer where too few are within reach."""
        found: IntArray = np.minimum(self.redundancy, coverage.candidates_within(self))
        return found

    def solution(self, open_: BoolArray, assigned: IntArray, bound: float, solver: str, reason: str = "") -> Solution:
        """Of the sites that are open."""
        sites = np.flatnonzero(open_)
        value = float(self.cost[sites].sum())
        return Solution(sites, assigned, value, min(bound, value) + 0.0, solver, reason)  # and no -0


@dataclass(frozen=True)
class Solution:
    """Which candidates become sites, and which of them serve each cell."""

    sites: IntArray  # int64[S], numbers of candidates, in order
    assigned: IntArray  # int64[N, redundancy], numbers of candidates, -1 where there is none
    value: float
    """Cost of the sites; those there already cost nothing."""
    bound: float
    """No choice that serves as much can cost less."""
    solver: str
    reason: str = ""

    @property
    def gap(self) -> float:
        """By how much of the value the bound is below it, at most."""
        return (self.value - self.bound) / self.value if self.value > 0 else 0.0

    @property
    def missing(self) -> int:
        """Times a cell lacks a site that it needs."""
        return int((self.assigned < 0).sum())

    @property
    def uncovered(self) -> int:
        """Cells that lack one or more."""
        return sum(self.lacking)

    @property
    def lacking(self) -> list[bool]:
        """[N], cells without all the sites that they need."""
        return [min(row) < 0 for row in self.assigned.tolist()]

    @property
    def status(self) -> str:
        """`optimal`, `feasible`, or `infeasible` where cells stay without a site."""
        return "infeasible" if self.missing else "optimal" if self.gap <= TIGHT else "feasible"

    def served(self, candidates: int) -> IntArray:
        """int64[J], cells that each candidate serves."""
        return np.bincount(self.assigned[self.assigned >= 0], minlength=candidates)


@dataclass(frozen=True)
class Terms:
    """What sites are for and what they cost; by ring, 1 and 2."""

    radio: Numerology
    budget_s: float = 1e-3
    redundancy: int = 1
    served: Mapping[int, int] = field(default_factory=lambda: SERVED)
    cost: Mapping[int, float] = field(default_factory=lambda: COST)
    existing: frozenset[str] = frozenset()
    """Ids of switches that have a site already."""

    def at(self, radio: Numerology) -> Terms:
        """The same with another numerology."""
        return replace(self, radio=radio)


def problem(
    infrastructure: Infrastructure, terms: Terms, grid_m: float | None = None
) -> tuple[Problem, Cells, tuple[str, ...]]:
    """Its cells, and its M1 and M2 switches as candidates; with the cells and the ids of the candidates. With `grid_m`
    candidates of both rings at each point of a grid instead, as the reference has it.

    Raises InputError where it has none of either, for one without a place, and an existing site that is none of them.
    """
    cells = Cells.of_infrastructure(infrastructure)
    if grid_m is None:
        chosen = infrastructure.of("m1", "m2")
        if not len(chosen):
            raise InputError("nodes", "no m1 or m2", "switches for the sites: edgewright topology rings makes them")
        xy = cells.plane.to_metres(*placed(infrastructure, chosen))
        ring = np.where(np.isin(chosen, infrastructure.of("m1")), 1, 2)
        ids = tuple(infrastructure.ids[i] for i in chosen)
    else:
        points = _grid(cells.xy, grid_m)
        xy, ring = np.concatenate([points, points]), np.repeat(RINGS, len(points))
        ids = tuple(f"grid-m{m}-{i}" for m in RINGS for i in range(len(points)))
    for name in terms.existing:
        if name not in ids:
            raise InputError("existing", name, "the id of an m1 or m2 switch")
    there = np.array([name in terms.existing for name in ids])
    if not 0 < terms.budget_s < 10:
        raise InputError("rtt", terms.budget_s, "more than 0 s, less than 10")

    def by_ring(values: Mapping[int, float]) -> FloatArray:
        found: FloatArray = np.array([values[1], values[2]], float)[ring - 1]
        return found

    reach = {m: reach_m(m, terms.radio, terms.budget_s) for m in RINGS}
    return (
        Problem(
            cells.xy,
            xy,
            ring,
            by_ring(reach),
            np.minimum(by_ring(terms.served), len(cells)).astype(np.int64),
            np.where(there, 0.0, by_ring(terms.cost)),
            there,
            terms.redundancy,
        ),
        cells,
        ids,
    )


def _grid(xy: FloatArray, step_m: float) -> FloatArray:
    """float64[G, 2], over all places. Raises InputError."""
    sides = np.ptp(xy, axis=0)
    if not (0 < step_m < np.inf and np.prod(sides / step_m + 1) <= MOST_POINTS):
        raise InputError("grid_m", step_m, f"a step > 0 that gives no more than {MOST_POINTS:,} points")
    along = [low + np.arange(0, side + step_m, step_m) for low, side in zip(xy.min(axis=0), sides, strict=True)]
    points: FloatArray = np.stack(np.meshgrid(*along), axis=-1).reshape(-1, 2)
    return points


def check(problem: Problem, solution: Solution) -> list[Violation]:
    """Reach, capacity, that a cell's sites differ and are sites, value, bound and every existing site, judged anew."""
    found: list[Violation] = []
    many, assigned = len(problem.candidates), solution.assigned
    if assigned.shape != (len(problem.cells), problem.redundancy) or not ((assigned >= -1) & (assigned < many)).all():
        return [Violation("assigned", float(assigned.size), "a candidate or -1 for each cell and site it needs")]
    if len(np.unique(solution.sites)) < len(solution.sites):
        found.append(Violation("sites", len(solution.sites), "each once"))
    is_site = np.isin(np.arange(many), solution.sites)
    for j in np.flatnonzero(problem.existing & ~is_site):
        found.append(Violation(f"sites[{j}]", float(j), "among the sites: it exists"))
    cell, which = np.nonzero(assigned >= 0)
    site = assigned[cell, which]
    for j in np.unique(site[~is_site[site]]):
        found.append(Violation(f"assigned to {j}", float(j), "a site"))
    distance = np.abs(problem.cells[cell] - problem.candidates[site]).sum(axis=1)
    for i in np.flatnonzero(distance > problem.reach_m[site] + SLACK_M):
        allowed = f"<= {problem.reach_m[site[i]]:g} m to candidate {site[i]}"
        found.append(Violation(f"cells[{cell[i]}].distance_m", distance[i], allowed))
    load = np.bincount(site, minlength=many)
    for j in np.flatnonzero(load > problem.capacity):
        found.append(Violation(f"sites[{j}].served", load[j], f"<= {problem.capacity[j]}"))
    pairs = np.column_stack([cell, site])
    if len(np.unique(pairs, axis=0)) < len(pairs):
        found.append(Violation("assigned", len(pairs), "different sites for each cell"))
    cost = float(problem.cost[solution.sites].sum())
    if abs(cost - solution.value) > 1e-6 * max(cost, 1):
        found.append(Violation("value", solution.value, f"{cost:g}, the cost of the sites"))
    if solution.bound > solution.value + 1e-6 * max(cost, 1):
        found.append(Violation("bound", solution.bound, f"<= {solution.value:g}"))
    return found
