"""How much is built and lived where: a hill for each area, which base stations follow.

G(x) = sum of f_i(|x - x_i|): f_i is flat to half the radius of area i, falls over b = radius * dispersion by the
smoothstep of order 3, and holds its population. Source: "NFV Orchestration in Edge and Fog Scenarios", section 1, and
its generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgewright.core.compiled import compiled
from edgewright.core.contracts import FloatArray, IntArray
from edgewright.core.errors import InputError
from edgewright.topology.places import WIDEST_M
from edgewright.topology.processes import MOST_POINTS, inside
from edgewright.topology.regions import Region, Window

CELLS = 128
"""Along each side of a grid that finds the hills around a place."""
FARTHEST_M = 4 * WIDEST_M
"""How far from the middle of a region an area may be whose hill reaches into it."""


@dataclass(frozen=True)
class Area:
    """A place where people are; degrees."""

    lon: float
    lat: float
    population: float
    radius_m: float
    dispersion: float = 1.0
    """How far it fades out beyond half its radius, in radii."""
    name: str = ""

    def __post_init__(self) -> None:
        for field, good, allowed in (
            ("lon", -180 <= self.lon <= 180, "-180 .. 180 degrees"),
            ("lat", -90 <= self.lat <= 90, "-90 .. 90 degrees"),
            ("population", 0 < self.population < 1e10, "> 0"),
            ("radius_m", 0 < self.radius_m <= 500_000, "> 0, up to 500000"),
            ("dispersion", 0 < self.dispersion <= 100, "> 0, up to 100"),
        ):
            if not good:
                raise InputError(field, getattr(self, field), allowed)


class Gentrification:
    """People per square metre around `xy`, float64[K, 2] in metres."""

    def __init__(self, xy: FloatArray, areas: Sequence[Area]) -> None:
        if not areas:
            raise InputError("areas", 0, "one at least")
        self.xy = xy
        self.flat = np.array([area.radius_m / 2 for area in areas])
        self.fall = np.array([area.radius_m * area.dispersion for area in areas])
        # The integral of 1 - S(t) over 0 .. 1 is 1 / 2, that of t (1 - S(t)) is 5 / 36.
        volume = np.pi * self.flat**2 + 2 * np.pi * self.fall * (self.flat / 2 + self.fall * 5 / 36)
        self.top = np.array([area.population for area in areas]) / volume
        self._grid = _hills_by_cell(xy, self.flat + self.fall)

    def __call__(self, xy: FloatArray) -> FloatArray:
        """float64[N], of places float64[N, 2]."""
        found: FloatArray = _height(np.ascontiguousarray(xy), self.xy, self.flat, self.fall, self.top, *self._grid)
        return found

    def poisson(self, window: Window, factor: float, rng: np.random.Generator) -> FloatArray:
        """One process for each hill, thinned under it: nothing is drawn where nobody lives."""
        reach = self.flat + self.fall
        west, south, east, north = window.bounds
        x, y = self.xy.T
        near = (x > west - reach) & (x < east + reach) & (y > south - reach) & (y < north + reach)
        expected = factor * self.top[near] * np.pi * reach[near] ** 2
        if not 0 <= expected.sum() <= MOST_POINTS:
            raise InputError("density", f"{expected.sum():g} points", f"0 .. {MOST_POINTS:g} points in the region")
        hill = np.repeat(np.flatnonzero(near), rng.poisson(expected))
        away = reach[hill] * np.sqrt(rng.random(len(hill)))
        turn = 2 * np.pi * rng.random(len(hill))
        kept = rng.random(len(hill)) < fallen((away - self.flat[hill]) / self.fall[hill])
        hill, away, turn = hill[kept], away[kept], turn[kept]
        return inside(self.xy[hill] + away[:, None] * np.column_stack([np.cos(turn), np.sin(turn)]), window)


def reaching(region: Region, areas: Sequence[Area], margin_m: float) -> tuple[FloatArray, list[Area]]:
    """Areas whose hills may come within `margin_m` of the region, and where they are on its plane, float64[K, 2].

    Raises InputError where there is none, or one so wide that it comes from too far away.
    """
    window, plane = region.window.around(margin_m), region.plane
    lon, lat = np.array([area.lon for area in areas]), np.array([area.lat for area in areas])
    reach = np.array([area.radius_m * (0.5 + area.dispersion) for area in areas])
    west, south, east, north = window.bounds
    near = np.flatnonzero(plane.away_m(lon, lat) < reach + np.hypot(max(-west, east), max(-south, north)))
    xy = plane.to_metres(lon[near], lat[near], FARTHEST_M)
    x, y = xy.T
    reach = reach[near]
    here = (x > west - reach) & (x < east + reach) & (y > south - reach) & (y < north + reach)
    if not here.any():
        raise InputError("areas", "nothing in the region", "areas that reach into it")
    return xy[here], [areas[i] for i in near[here]]


def fallen(t: FloatArray) -> FloatArray:
    """1 - S(t): 1 up to 0, 0 from 1 on, with three derivatives of 0 at both."""
    t = np.clip(t, 0.0, 1.0)
    left: FloatArray = 1 - t**4 * (35 + t * (-84 + t * (70 - 20 * t)))
    return left


def _hills_by_cell(middle: FloatArray, reach: FloatArray) -> tuple[FloatArray, FloatArray, IntArray, IntArray]:
    """A grid over all hills: its corner, the sides of a cell, and by cell those that may reach into it, as CSR."""
    corner = (middle - reach[:, None]).min(axis=0)
    side = ((middle + reach[:, None]).max(axis=0) - corner) / CELLS
    low = np.clip((middle - reach[:, None] - corner) / side, 0, CELLS - 1).astype(int)
    high = np.clip((middle + reach[:, None] - corner) / side, 0, CELLS - 1).astype(int)
    of_cell: list[list[int]] = [[] for _ in range(CELLS * CELLS)]
    for hill, (west, south), (east, north) in zip(range(len(middle)), low.tolist(), high.tolist(), strict=True):
        for row in range(south, north + 1):
            for column in range(west, east + 1):
                of_cell[row * CELLS + column].append(hill)
    start = np.concatenate([[0], np.cumsum([len(hills) for hills in of_cell])])
    return corner, side, start, np.array([hill for hills in of_cell for hill in hills], np.int64)


@compiled(__file__)
def _height(xy, middle, flat, fall, top, corner, side, start, hills):  # type: ignore[no-untyped-def]  # compiled
    found = np.zeros(len(xy))
    for i in range(len(xy)):
        column, row = (xy[i, 0] - corner[0]) / side[0], (xy[i, 1] - corner[1]) / side[1]
        if column < 0 or row < 0 or column >= CELLS or row >= CELLS:
            continue
        cell = int(row) * CELLS + int(column)
        for at in range(start[cell], start[cell + 1]):
            k = hills[at]
            dx, dy = xy[i, 0] - middle[k, 0], xy[i, 1] - middle[k, 1]
            squared = dx * dx + dy * dy
            if squared <= flat[k] * flat[k]:
                found[i] += top[k]
            elif squared < (flat[k] + fall[k]) ** 2:
                t = (np.sqrt(squared) - flat[k]) / fall[k]
                found[i] += top[k] * (1 - t**4 * (35 + t * (-84 + t * (70 - 20 * t))))
    return found
