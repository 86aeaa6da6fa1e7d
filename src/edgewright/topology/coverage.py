"""Machine code over pairs of cells and candidates: 43,000 cells and 7,500 candidates have too many to be kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgewright.core.compiled import compiled
from edgewright.core.contracts import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from edgewright.topology.siting import Problem

SLACK_M = 1e-6


def reaches(problem: Problem) -> FloatArray:
    """float64[J], what a distance is compared with; negative where no cell can be served."""
    return np.where(problem.reach_m >= 0, problem.reach_m + SLACK_M / 2, -1.0)


def candidates_within(problem: Problem) -> IntArray:
    """int64[N], candidates within reach of each cell."""
    found: IntArray = _candidates_within(problem.cells, problem.candidates, reaches(problem))
    return found


def fill(problem: Problem, open_: BoolArray, assigned: IntArray) -> IntArray:
    """Give cells that lack sites one of those that are open, moving others where that makes room: as many as can be.

    `assigned`, int64[N, redundancy], is left as it was. Augmenting paths of a maximum flow.
    """
    return fill_and_scarce(problem, open_, assigned)[0]


def fill_and_scarce(problem: Problem, open_: BoolArray, assigned: IntArray) -> tuple[IntArray, BoolArray]:
    """As `fill`; and which cells, bool[N], compete for sites of which there are too few: one side of a minimum cut."""
    found: IntArray = assigned.copy()
    dead = _fill(problem.cells, problem.candidates, reaches(problem), problem.capacity, problem.needed, open_, found)
    lacking = (found >= 0).sum(axis=1) < problem.needed
    scarce: BoolArray = lacking | (dead[found] & (found >= 0)).any(axis=1)
    return found, scarce


def pairs(problem: Problem, chosen: IntArray) -> tuple[IntArray, IntArray]:
    """Cells within reach of each of these candidates, as CSR: int64[len(chosen) + 1], int32[pairs]."""
    start: IntArray
    start, cell = _pairs(problem.cells, problem.candidates[chosen], reaches(problem)[chosen])
    return start, cell


@compiled(__file__)
def _candidates_within(cells, candidates, reach):  # type: ignore[no-untyped-def]  # compiled
    count = np.zeros(len(cells), np.int64)
    for i in range(len(cells)):
        for j in range(len(candidates)):
            count[i] += abs(cells[i, 0] - candidates[j, 0]) + abs(cells[i, 1] - candidates[j, 1]) <= reach[j]
    return count


@compiled(__file__)
def _pairs(cells, candidates, reach):  # type: ignore[no-untyped-def]  # compiled
    start = np.zeros(len(candidates) + 1, np.int64)
    for j in range(len(candidates)):
        start[j + 1] = start[j]
        for i in range(len(cells)):
            start[j + 1] += abs(cells[i, 0] - candidates[j, 0]) + abs(cells[i, 1] - candidates[j, 1]) <= reach[j]
    found = np.empty(start[-1], np.int32)
    at = 0
    for j in range(len(candidates)):
        for i in range(len(cells)):
            if abs(cells[i, 0] - candidates[j, 0]) + abs(cells[i, 1] - candidates[j, 1]) <= reach[j]:
                found[at] = i
                at += 1
    return start, found


@compiled(__file__)
def _fill(cells, candidates, reach, capacity, needed, open_, assigned):  # type: ignore[no-untyped-def]  # compiled
    many, wide = len(candidates), assigned.shape[1]
    load = np.zeros(many, np.int64)
    # Who is at each site, as lists through the places cell * wide + k of `assigned`.
    first = np.full(many, -1, np.int64)
    after, before = np.full(len(cells) * wide, -1, np.int64), np.full(len(cells) * wide, -1, np.int64)
    for place in range(len(cells) * wide):
        j = assigned[place // wide, place % wide]
        if j >= 0:
            load[j] += 1
            after[place] = first[j]
            if first[j] >= 0:
                before[first[j]] = place
            first[j] = place
    usable = np.flatnonzero(open_ & (reach >= 0))
    dead = np.zeros(many, np.bool_)  # from there no path leads to room
    seen = np.full(many, -1, np.int64)
    via_cell, via_site = np.empty(many, np.int64), np.empty(many, np.int64)
    queue = np.empty(many, np.int64)
    search = 0
    for lacking in range(len(cells)):
        has = 0
        for k in range(wide):
            has += assigned[lacking, k] >= 0
        while has < needed[lacking]:
            # Breadth first over sites: one is reached by a cell that could move there, from the site it is at.
            search += 1
            head, tail, end = -1, 0, -1
            cell, site, place = lacking, -1, -1
            while True:
                for at in range(len(usable)):
                    j = usable[at]
                    if dead[j] or seen[j] == search:
                        continue
                    if abs(cells[cell, 0] - candidates[j, 0]) + abs(cells[cell, 1] - candidates[j, 1]) > reach[j]:
                        continue
                    taken = False
                    for k in range(wide):
                        taken = taken or assigned[cell, k] == j
                    if taken:
                        continue
                    seen[j], via_cell[j], via_site[j] = search, cell, site
                    if load[j] < capacity[j]:
                        end = j
                        break
                    queue[tail] = j
                    tail += 1
                if end >= 0:
                    break
                if place >= 0:
                    place = after[place]
                while place < 0 and head + 1 < tail:  # on to the next site
                    head += 1
                    place = first[queue[head]]
                if place < 0:
                    break
                cell, site = place // wide, queue[head]
            if end < 0:
                for at in range(tail):
                    dead[queue[at]] = True
                break
            j = end
            while j >= 0:  # back along the path, each cell moves one site on
                cell, site = via_cell[j], via_site[j]
                place = -1
                for k in range(wide):
                    if place < 0 and assigned[cell, k] == site:
                        place = cell * wide + k
                if site >= 0:
                    load[site] -= 1
                    if before[place] >= 0:
                        after[before[place]] = after[place]
                    else:
                        first[site] = after[place]
                    if after[place] >= 0:
                        before[after[place]] = before[place]
                load[j] += 1
                before[place], after[place] = -1, first[j]
                if first[j] >= 0:
                    before[first[j]] = place
                first[j] = place
                assigned[cell, place % wide] = j
                j = site
            has += 1
    return dead
