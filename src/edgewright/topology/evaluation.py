"""Solvers beside each other on the same problems, and what they have to show for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter, process_time

import numpy as np

from edgewright.core.contracts import FloatArray
from edgewright.core.errors import InputError
from edgewright.core.infrastructure import Infrastructure
from edgewright.core.registry import find
from edgewright.topology.build import Cells
from edgewright.topology.regions import Region, Window
from edgewright.topology.siting import Problem, Solution, Terms, check, numerology, problem, rtt_s
from edgewright.topology.solvers import SOLVERS
from edgewright.topology.statistics import Envelope, Summary, poisson_envelope, summary

LEAST_CELLS, LEAST_SIDE_M, MOST_RADIUS_M = 3, 1.0, 4_000.0


@dataclass(frozen=True)
class Entry:
    """One solver on one problem."""

    numerology: str
    solver: str
    problem: Problem
    solution: Solution
    seconds: float
    cpu_seconds: float

    def row(self) -> dict[str, object]:
        """Sites by ring, cells without all they need, value, bound, gap, times."""
        ring = self.problem.ring[self.solution.sites]
        return {
            "numerology": self.numerology,
            "solver": self.solver,
            "status": self.solution.status,
            "m1": int((ring == 1).sum()),
            "m2": int((ring == 2).sum()),
            "uncovered": self.solution.uncovered,
            "value": round(self.solution.value, 6),
            "bound": round(self.solution.bound, 6),
            "gap": round(self.solution.gap, 6),
            "seconds": round(self.seconds, 3),
            "cpu_seconds": round(self.cpu_seconds, 3),
            "reason": self.solution.reason,
        }


def timed(given: Problem, radio: str, solver: str, time_limit_s: float | None = None) -> Entry:
    """Raises InputError for a solver that is not known, AssertionError for an answer that breaks a rule."""
    method = find(SOLVERS, solver, "solver")
    method(_small())  # compiles what it needs, once on a machine: not a part of its time
    wall, cpu = perf_counter(), process_time()
    solution = method(given, time_limit_s=time_limit_s)
    seconds, cpu_seconds = perf_counter() - wall, process_time() - cpu
    broken = check(given, solution)
    assert not broken, f"{solver}: {broken[:3]}"
    return Entry(radio, solver, given, solution, seconds, cpu_seconds)


def _small() -> Problem:
    """On which no bound is that of capacity, so that all of a solver runs."""
    xy = np.array([[0.0, 0.0], [1e4, 0.0]])
    one = np.ones(2)
    return Problem(xy, xy, np.array([1, 2]), one, np.array([6, 144]), one, np.zeros(2, bool))


def compare(
    infrastructure: Infrastructure,
    numerologies: Sequence[str],
    solvers: Sequence[str],
    terms: Terms,
    time_limit_s: float | None = None,
) -> Iterator[Entry]:
    """Each solver on each numerology, one after another; terms but for the numerology. Raises InputError."""
    for name in solvers:
        find(SOLVERS, name, "solver")
    for radio in numerologies:
        numerology(radio)
    for radio in numerologies:
        given, _, _ = problem(infrastructure, terms.at(numerology(radio)))
        for name in solvers:
            yield timed(given, radio, name, time_limit_s)


def spread(infrastructure: Infrastructure, region: Region | None, seed: int) -> tuple[Summary, Envelope]:
    """How its cells lie in a region, or in the box around them, and how they would by chance.

    Raises InputError where there are too few cells, or no area, for it.
    """
    cells = Cells.of_infrastructure(infrastructure)
    if region is None:
        (west, south), (east, north) = cells.xy.min(axis=0), cells.xy.max(axis=0)
        if min(east - west, north - south) < LEAST_SIDE_M:
            raise InputError("cells", "on a line or at a point", "cells with an area around them")
        window, xy = Window.box(west, south, east, north), cells.xy
    else:
        window = region.window
        xy = region.plane.to_metres(*cells.plane.to_degrees(cells.xy))
        xy = xy[window.contains(xy)]
    if len(xy) < LEAST_CELLS:
        raise InputError("cells", len(xy), f"{LEAST_CELLS} or more in the region")
    west, south, east, north = window.bounds
    widest = min(east - west, north - south, MOST_RADIUS_M) / 4
    for shorter in range(8):  # a strip or several pieces do not overlap with themselves so far apart
        radii = np.linspace(0, widest / 2**shorter, 41)[1:]
        try:
            return summary(xy, window, radii), poisson_envelope(len(xy), window, radii, seed)
        except InputError as error:
            refused = error
    raise refused


def worst_rtt_s(given: Problem, solution: Solution, terms: Terms) -> FloatArray:
    """float64[S], of each site the longest round-trip time of a cell that it serves; 0 where it serves none."""
    cell, which = np.nonzero(solution.assigned >= 0)
    site = solution.assigned[cell, which]
    distance = np.abs(given.cells[cell] - given.candidates[site]).sum(axis=1)
    longest = np.zeros(len(given.candidates))
    np.maximum.at(longest, site, rtt_s(distance, given.ring[site], terms.radio))
    return longest[solution.sites]
