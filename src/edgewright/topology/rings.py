"""Cells under switches, and switches in rings: the transport of a 5G network as ITU-T GSTR-TN5G draws it.

cells -> M1 switches -> access rings -> M2 switches -> aggregation rings -> M3 switches. Each level groups the members
of the one below: by complete linkage, cut where two members would be too far apart, and then in equal parts of no more
than its limit. Source: the generator 5GEN of "NFV Orchestration in Edge and Fog Scenarios", section 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist

from edgewright.core.contracts import FloatArray, IntArray, Violation
from edgewright.core.errors import InputError

AT_ONCE = 4_000
"""Points that complete linkage takes together; its time and memory grow with their square."""
SLACK_M = 1e-6
FARTHEST_M = 1e8


@dataclass(frozen=True)
class Limit:
    """How many members a group may have, and how far any two of them may be from each other."""

    members: int
    distance_m: float

    def __post_init__(self) -> None:
        if self.members < 1:
            raise InputError("members", self.members, "a whole number >= 1")
        if not 0 <= self.distance_m < np.inf:
            raise InputError("distance_m", self.distance_m, "a number of metres >= 0")


@dataclass(frozen=True)
class Limits:
    m1: Limit = Limit(6, 10_000.0)
    access_ring: Limit = Limit(6, 20_000.0)
    m2: Limit = Limit(4, 20_000.0)
    aggregation_ring: Limit = Limit(6, 40_000.0)
    m3: Limit = Limit(2, 80_000.0)


LEVELS = ("m1", "access_ring", "m2", "aggregation_ring", "m3")


@dataclass(frozen=True)
class Level:
    """Groups of the members of the level below."""

    group: IntArray  # int64[members], which group each belongs to
    xy: FloatArray  # float64[groups, 2], metres: the middle of its members

    def __len__(self) -> int:
        return len(self.xy)

    def members(self) -> list[IntArray]:
        """Of each group, in their order."""
        order = np.argsort(self.group, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.group, minlength=len(self)))[:-1])


@dataclass(frozen=True)
class Rings:
    cells: FloatArray  # float64[N, 2], metres
    levels: dict[str, Level]
    """By the names of `LEVELS`, from below."""
    limits: Limits

    def counts(self) -> dict[str, int]:
        return {"cells": len(self.cells)} | {
            name if name[0] == "m" else f"{name}s": len(level) for name, level in self.levels.items()
        }


def rings(cells: FloatArray, limits: Limits | None = None) -> Rings:
    """The hierarchy above these cells, float64[N, 2] in metres. Raises InputError where there is none, or no number."""
    limits = limits or Limits()
    if cells.ndim != 2 or cells.shape[1] != 2 or not len(cells) or not (np.abs(cells) <= FARTHEST_M).all():
        raise InputError("cells", cells.shape, f"one or more places of two numbers within {FARTHEST_M:g} m")
    levels, below = {}, cells
    for name in LEVELS:
        group = grouped(below, getattr(limits, name))
        below = _middles(below, group)
        levels[name] = Level(group, below)
    return Rings(cells, levels, limits)


def grouped(xy: FloatArray, limit: Limit) -> IntArray:
    """int64[N], the group of each point; numbered from 0 in the order in which they are met."""
    parts = [
        part
        for block in _split(xy, np.arange(len(xy)), 1 if _extent(xy) <= limit.distance_m else -(-len(xy) // AT_ONCE))
        for cluster in _near(xy, block, limit.distance_m)
        for part in _split(xy, cluster, -(-len(cluster) // limit.members))
    ]
    group = np.empty(len(xy), np.int64)
    for number, part in enumerate(sorted(parts, key=np.min)):
        group[part] = number
    return group


def _near(xy: FloatArray, chosen: IntArray, distance_m: float) -> list[IntArray]:
    """Clusters of complete linkage in which no two are farther apart."""
    distance_m += SLACK_M / 2  # the middles of equal places are equal to rounding
    if _extent(xy[chosen]) <= distance_m:
        return [chosen]
    cluster = fcluster(linkage(pdist(xy[chosen]), "complete"), distance_m, "distance")
    return [chosen[cluster == number] for number in np.unique(cluster)]


def _extent(xy: FloatArray) -> float:
    """No two are farther apart."""
    return float(np.hypot(*np.ptp(xy, axis=0)))


def _split(xy: FloatArray, chosen: IntArray, parts: int) -> list[IntArray]:
    """Into so many parts, equal to one member, by halving across the longer side."""
    done, waiting = [], [(chosen, parts)]
    while waiting:
        points, parts = waiting.pop()
        if parts == 1:
            done.append(points)
            continue
        left = parts // 2
        cut = len(points) * left // parts
        sides = np.ptp(xy[points], axis=0)
        across = int(sides[1] > sides[0])
        # Sorted whole, ties by the other side and the number: a partition leaves them to the processor.
        order = np.lexsort((points, xy[points, 1 - across], xy[points, across]))
        waiting += [(points[order[cut:]], parts - left), (points[order[:cut]], left)]
    return done


def _middles(xy: FloatArray, group: IntArray) -> FloatArray:
    """float64[groups, 2]"""
    many = np.bincount(group)
    return np.column_stack([np.bincount(group, weights=column) / many for column in xy.T])


def tours(below: Level, rings: Level, above: Level) -> list[IntArray]:
    """Each ring around the middle of its members and of the switch above, which closes it: numbers of members, -1 for
    the switch.
    """
    found = []
    for switch, members in zip(above.group, rings.members(), strict=True):
        order = around(np.vstack([above.xy[switch], below.xy[members]]))
        found.append(np.concatenate([[-1], members])[order])
    return found


def around(xy: FloatArray) -> IntArray:
    """int64[N], the order of these places around their middle."""
    away = xy - xy.mean(axis=0)
    return np.argsort(np.arctan2(away[:, 1], away[:, 0]), kind="stable")


def check(rings: Rings) -> list[Violation]:
    """Every limit, and that all are in a group that stands in their middle, judged from the groups alone."""
    found: list[Violation] = []
    below = rings.cells
    for name in LEVELS:
        level, limit = rings.levels[name], getattr(rings.limits, name)
        group, many = level.group, len(level)
        if len(group) != len(below) or not ((group >= 0) & (group < many)).all():
            outside = int(((group < 0) | (group >= many)).sum()) + abs(len(group) - len(below))
            return [*found, Violation(f"{name}.group", outside, "each of the level below in one group")]
        for number, places in enumerate(below[members] for members in level.members()):
            if not 1 <= len(places) <= limit.members:
                found.append(Violation(f"{name}[{number}].members", len(places), f"1 .. {limit.members}"))
                continue
            widest = pdist(places).max(initial=0.0)
            if widest > limit.distance_m + SLACK_M:
                found.append(Violation(f"{name}[{number}].distance_m", widest, f"<= {limit.distance_m:g}"))
            off = float(np.hypot(*(places.mean(axis=0) - level.xy[number])))
            if off > SLACK_M:
                found.append(Violation(f"{name}[{number}].xy", off, "0 m from the middle of its members"))
        below = level.xy
    return found
