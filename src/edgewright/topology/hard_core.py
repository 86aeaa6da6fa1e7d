"""Which points of a hard-core process survive, found over a grid of cells as wide as the hard-core distance.

Points are brought into the order of their cells; each then looks at three stretches of its neighbours, until one
deletes it: linear in their number where the distance holds a bounded number of them.
"""

from __future__ import annotations

import numpy as np

from edgewright.core.compiled import compiled
from edgewright.core.contracts import BoolArray, FloatArray

WIDER = 1 + 1e-7
"""More than a place is rounded by, in sides of a cell, where there are up to 1e8 points."""


def survivors(xy: FloatArray, distance_m: float, marks: FloatArray | None, ties: FloatArray | None) -> BoolArray:
    """bool[N]: of points float64[N, 2], those that no other one closer than `distance_m` deletes.

    A point is deleted by any neighbour of a smaller mark, and of a smaller tie where the marks are equal; without
    `ties` equal marks both survive, without `marks` every neighbour deletes. All are judged against the original set
    (Matern 1960), not one after another.
    """
    none = np.empty(0)
    found: BoolArray = _survivors(
        np.ascontiguousarray(xy), float(distance_m), none if marks is None else marks, none if ties is None else ties
    )
    return found


@compiled(__file__)
def _survivors(xy, distance_m, marks, ties):  # type: ignore[no-untyped-def]  # compiled
    many = len(xy)
    kept = np.ones(many, np.bool_)
    if many < 2 or distance_m <= 0:
        return kept
    low_x, low_y, high_x, high_y = xy[0, 0], xy[0, 1], xy[0, 0], xy[0, 1]
    for i in range(many):
        low_x, high_x = min(low_x, xy[i, 0]), max(high_x, xy[i, 0])
        low_y, high_y = min(low_y, xy[i, 1]), max(high_y, xy[i, 1])
    # No more cells than a few for each point, however short the distance; and a little wider than it, as rounding
    # puts places on the border of a cell into the next one.
    wide, high = high_x - low_x, high_y - low_y
    side = WIDER * max(distance_m, max(wide, high) / (2.0 * many), np.sqrt(wide * high / (2.0 * many)))
    columns, rows = int(wide / side) + 1, int(high / side) + 1
    cell = np.empty(many, np.int64)
    start = np.zeros(columns * rows + 1, np.int64)
    for i in range(many):
        cell[i] = int((xy[i, 1] - low_y) / side) * columns + int((xy[i, 0] - low_x) / side)
        start[cell[i] + 1] += 1
    for c in range(columns * rows):
        start[c + 1] += start[c]
    order = np.empty(many, np.uint32)
    x, y = np.empty(many), np.empty(many)
    at = start[:-1].copy()
    for i in range(many):
        place = at[cell[i]]
        at[cell[i]] += 1
        order[place], x[place], y[place] = i, xy[i, 0], xy[i, 1]
    mark = marks[order] if len(marks) else marks
    tie = ties[order] if len(ties) else ties
    squared = distance_m * distance_m
    for row in range(rows):
        for column in range(columns):
            first, last = max(column - 1, 0), min(column + 1, columns - 1)
            for i in range(start[row * columns + column], start[row * columns + column + 1]):
                deleted = False
                for near in range(max(row - 1, 0), min(row + 1, rows - 1) + 1):
                    for j in range(start[near * columns + first], start[near * columns + last + 1]):
                        dx, dy = x[j] - x[i], y[j] - y[i]
                        if dx * dx + dy * dy >= squared or j == i:
                            continue
                        deleted = not len(mark) or mark[j] < mark[i]
                        if not deleted and len(tie):
                            deleted = mark[j] == mark[i] and tie[j] < tie[i]
                        if deleted:
                            break
                    if deleted:
                        break
                if deleted:
                    kept[order[i]] = False
    return kept
