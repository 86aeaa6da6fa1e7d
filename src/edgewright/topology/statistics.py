"""Whether points cluster or keep apart: nearest neighbours, Ripley's K and L, pair correlation, beside pure chance.

K is corrected at the border by translation: a pair at the vector t counts 1 / |W and W + t|, which is unbiased in any
window. Distances to the nearest are corrected as survival times, which the border censors (Kaplan-Meier).
Source: Chiu, Stoyan, Kendall, Mecke, "Stochastic Geometry and its Applications" (2013), sec. 4.7; Baddeley, Gill,
"Kaplan-Meier estimators of distance distributions for spatial point processes" (1997); Baddeley, Moller, Waagepetersen,
"Non- and semi-parametric estimation of interaction in inhomogeneous point patterns" (2000).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from edgewright.core.compiled import compiled
from edgewright.core.contracts import FloatArray
from edgewright.core.errors import InputError
from edgewright.topology.hard_core import WIDER
from edgewright.topology.processes import KM2
from edgewright.topology.regions import Window

STEPS = 16
"""From the middle to the side of the table of overlaps of a polygon with itself."""
LEAST_SIMULATIONS = 39


@dataclass(frozen=True)
class Summary:
    """Of N points; every float64[R] belongs to `radii_m`."""

    points: int
    per_km2: float
    nearest_m: float
    """Mean distance to the nearest other point."""
    clark_evans: float
    """`nearest_m` over that of a Poisson process: below 1 they cluster, above they keep apart."""
    radii_m: FloatArray
    nearest: FloatArray
    """Share of points with another one within the radius."""
    nearest_poisson: FloatArray
    """The same of a Poisson process."""
    k_m2: FloatArray
    l_m: FloatArray
    """sqrt(K / pi), the radius itself in a Poisson process."""
    pair_correlation: FloatArray
    """Mean of g from the radius before, or 0, to this one; 1 in a Poisson process."""


@dataclass(frozen=True)
class Envelope:
    """Lowest and highest L of as many points that are spread evenly: beyond `high_m` points cluster, below `low_m` they
    keep apart. By chance either happens at one given radius in 2 of `simulations` + 1 cases.
    """

    radii_m: FloatArray
    low_m: FloatArray  # float64[R]
    high_m: FloatArray  # float64[R]
    simulations: int


def summary(xy: FloatArray, window: Window, radii_m: FloatArray) -> Summary:
    """Of points float64[N, 2] in metres, at radii float64[R] that rise. Raises InputError."""
    k = ripley_k(xy, window, radii_m)
    away, left = _nearest(xy, window)
    density = len(xy) / window.area_m2
    mean = float(np.diff(away, prepend=0.0) @ np.concatenate([[1.0], left[:-1]]))
    # How many are left beyond each radius: 1 before the first distance.
    beyond = np.concatenate([[1.0], left])[np.searchsorted(away, radii_m, side="right")]
    return Summary(
        points=len(xy),
        per_km2=density * KM2,
        nearest_m=mean,
        clark_evans=mean * 2 * float(np.sqrt(density)),
        radii_m=radii_m,
        nearest=1 - beyond,
        nearest_poisson=-np.expm1(-density * np.pi * radii_m**2),
        k_m2=k,
        l_m=np.sqrt(k / np.pi),
        pair_correlation=pair_correlation(k, radii_m),
    )


def ripley_k(xy: FloatArray, window: Window, radii_m: FloatArray) -> FloatArray:
    """float64[R], m^2: points within the radius of one, over the density. Raises InputError."""
    pairs = pair_sums(xy, window, radii_m)
    k: FloatArray = pairs * window.area_m2**2 / (len(xy) * (len(xy) - 1.0))
    return k


def inhomogeneous_k(xy: FloatArray, window: Window, radii_m: FloatArray, intensity: FloatArray) -> FloatArray:
    """float64[R], m^2: K as if the density were even, of points where it is `intensity`, float64[N], per m^2.

    pi r^2 for a Poisson process of this intensity. Raises InputError.
    """
    if intensity.shape != (len(xy),) or not (np.isfinite(intensity) & (intensity > 0)).all():
        raise InputError("intensity", intensity.shape, "one number > 0 for each point")
    return pair_sums(xy, window, radii_m, 1 / intensity)


def pair_correlation(k_m2: FloatArray, radii_m: FloatArray) -> FloatArray:
    """float64[R], mean of g in the ring that ends at each radius, from K there."""
    g: FloatArray = np.diff(k_m2, prepend=0.0) / (np.pi * np.diff(radii_m**2, prepend=0.0))
    return g


def pair_sums(xy: FloatArray, window: Window, radii_m: FloatArray, weights: FloatArray | None = None) -> FloatArray:
    """float64[R], 1/m^2: sum over ordered pairs within each radius of both weights (1 without) over the overlap of the
    window with itself moved by their vector: in the mean K times the square of the density. Raises InputError.
    """
    _check(xy, window, radii_m)
    farthest = float(radii_m[-1])
    west, south, east, north = window.bounds
    # Cells as wide as the farthest pair, but no more of them than a few for each point.
    side = WIDER * max(farthest, float(np.sqrt((east - west) * (north - south) / (2 * len(xy)))))
    columns, rows = int((east - west) / side) + 1, int((north - south) / side) + 1
    column, row = ((xy - (west, south)) / side).astype(np.int64).T
    cell = row * columns + column
    order = np.argsort(cell, kind="stable")
    start = np.searchsorted(cell[order], np.arange(columns * rows + 1))
    weights = np.ones(len(xy)) if weights is None else weights[order]
    overlap = _overlap(window, farthest)
    rings: FloatArray = _pairs(xy[order], weights, start, columns, radii_m**2, overlap, farthest)
    return np.cumsum(rings)


def poisson_envelope(
    points: int, window: Window, radii_m: FloatArray, seed: int = 0, simulations: int = LEAST_SIMULATIONS
) -> Envelope:
    """Of L, for as many points as the pattern has. Raises InputError."""
    if simulations < LEAST_SIMULATIONS:
        raise InputError("simulations", simulations, f"{LEAST_SIMULATIONS} or more")
    if points < 2:
        raise InputError("points", points, "2 or more")
    rng = np.random.default_rng(seed)
    low, high = np.full(len(radii_m), np.inf), np.zeros(len(radii_m))
    for _ in range(simulations):
        found = np.sqrt(ripley_k(_evenly(points, window, rng), window, radii_m) / np.pi)
        low, high = np.minimum(low, found), np.maximum(high, found)
    return Envelope(radii_m, low, high, simulations)


def _evenly(points: int, window: Window, rng: np.random.Generator) -> FloatArray:
    west, south, east, north = window.bounds
    found = np.empty((0, 2))
    while len(found) < points:
        xy = rng.uniform((west, south), (east, north), (points, 2))
        found = np.concatenate([found, xy[window.contains(xy)]])
    return found[:points]


def _check(xy: FloatArray, window: Window, radii_m: FloatArray) -> None:
    if xy.ndim != 2 or xy.shape[1] != 2 or len(xy) < 2:
        raise InputError("points", xy.shape, "2 or more places of two numbers")
    if not window.contains(xy).all():
        raise InputError("points", f"{int((~window.contains(xy)).sum())} outside", "all in the window")
    west, south, east, north = window.bounds
    most = min(east - west, north - south) / 2
    if radii_m.ndim != 1 or not len(radii_m) or not (np.diff(radii_m, prepend=0.0) > 0).all() or radii_m[-1] > most:
        raise InputError("radii_m", radii_m.tolist(), f"rising, > 0, up to {most:g}: half the window's shorter side")


def _nearest(xy: FloatArray, window: Window) -> tuple[FloatArray, FloatArray]:
    """Sorted distances, and the share of points whose nearest is farther away, float64[N] each."""
    from scipy.spatial import KDTree

    distance = KDTree(xy).query(xy, k=2)[0][:, 1]
    border = _to_border(xy, window)
    away, seen = np.minimum(distance, border), distance <= border
    order = np.lexsort((~seen, away))
    left = np.cumprod(1 - seen[order] / np.arange(len(xy), 0, -1))
    return away[order], left


def _to_border(xy: FloatArray, window: Window) -> FloatArray:
    from shapely import distance, points, prepare

    border = window.shape.boundary
    prepare(border)
    return np.asarray(distance(border, points(xy)))


@lru_cache(maxsize=4)  # an envelope asks for it at every pattern
def _overlap(window: Window, farthest: float) -> FloatArray:
    """float64[Y, X], m^2, at vectors from (-farthest, 0) to (farthest, farthest); those opposite have the same.

    Bilinear between: exact for a box, of which it holds the corners.
    """
    from shapely import area, intersection, simplify
    from shapely.affinity import translate

    west, south, east, north = window.bounds
    if np.isclose(window.area_m2, (east - west) * (north - south), rtol=1e-12):
        x, y = 1 - farthest / (east - west), 1 - farthest / (north - south)
        return np.outer([1.0, y], [x, 1.0, x]) * window.area_m2
    # Details far below the distances change nothing, and cost time.
    shape = simplify(window.shape, farthest / 1000)
    steps = farthest * np.arange(-STEPS, STEPS + 1) / STEPS
    right, up = np.meshgrid(steps, steps[STEPS:])
    moved = [translate(shape, *by) for by in zip(right.ravel().tolist(), up.ravel().tolist(), strict=True)]
    found: FloatArray = area(intersection(shape, moved)).reshape(right.shape)
    if (found[np.hypot(right, up) <= farthest] <= 0).any():
        raise InputError("radii_m", farthest, "shorter: there is a direction in which the window holds no such pair")
    return found


@compiled(__file__)
def _pairs(xy, weights, start, columns, squares, overlap, farthest):  # type: ignore[no-untyped-def]  # compiled
    """float64[R], by the ring a pair is in; each pair is met once and counts twice."""
    sums = np.zeros(len(squares))
    last = squares[-1]
    high, wide = overlap.shape[0] - 1, overlap.shape[1] - 1
    per_step = high / farthest
    for cell in range(len(start) - 1):
        row, column = cell // columns, cell % columns
        left, right = row * columns + max(column - 1, 0), row * columns + min(column + 1, columns - 1)
        above = right + columns < len(start) - 1
        for i in range(start[cell], start[cell + 1]):
            for stretch in range(2 if above else 1):
                begin = i + 1 if stretch == 0 else start[left + columns]
                end = start[right + 1 + stretch * columns]
                for j in range(begin, end):
                    dx, dy = xy[j, 0] - xy[i, 0], xy[j, 1] - xy[i, 1]
                    squared = dx * dx + dy * dy
                    if squared > last:
                        continue
                    if dy < 0:
                        dx, dy = -dx, -dy
                    u, v = (dx + farthest) * per_step, dy * per_step
                    a, b = min(int(u), wide - 1), min(int(v), high - 1)
                    u, v = u - a, v - b
                    lower = overlap[b, a] * (1 - u) + overlap[b, a + 1] * u
                    upper = overlap[b + 1, a] * (1 - u) + overlap[b + 1, a + 1] * u
                    ring = np.searchsorted(squares, squared)
                    sums[ring] += 2 * weights[i] * weights[j] / (lower * (1 - v) + upper * v)
    return sums
