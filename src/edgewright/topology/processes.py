"""Point processes of base stations on a plane, in metres; densities are per square kilometre.

Each is drawn in a window as if the plane went on around it (there are no edge effects): what lies outside within reach
takes part and is then left out. Formulas of first and second order are beside them, for tests and for planning.
Source: "NFV Orchestration in Edge and Fog Scenarios", section 1, eqs. 9 and 10 of its generator; Chiu, Stoyan, Kendall,
Mecke, "Stochastic Geometry and its Applications" (2013), ch. 5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np

from edgewright.core.contracts import FloatArray
from edgewright.core.errors import InputError
from edgewright.topology.hard_core import survivors
from edgewright.topology.regions import Window

KM2 = 1e6
MOST_POINTS = 50_000_000
"""Expected ones a process may draw: what a machine of 16 GB holds."""
Ties = Literal["keep", "random"]
Marks = Literal["intensity", "random"]


class Intensity(Protocol):
    """Points per square metre over the plane, up to a factor."""

    def __call__(self, xy: FloatArray) -> FloatArray:
        """float64[N], of places float64[N, 2]."""
        ...

    def poisson(self, window: Window, factor: float, rng: np.random.Generator) -> FloatArray:
        """float64[N, 2], a Poisson process of `factor` times this intensity."""
        ...


def poisson(window: Window, per_km2: float, rng: np.random.Generator) -> FloatArray:
    """float64[N, 2], homogeneous. Raises InputError for a density that is none."""
    west, south, east, north = window.bounds
    wide, high = east - west, north - south
    many = rng.poisson(_expected(per_km2, wide * high))
    # Uniform ones in the order of their second coordinate, as spacings give them: neighbours lie near in memory.
    spaces = rng.standard_exponential(many + 1)
    np.cumsum(spaces, out=spaces)
    xy = np.empty((many, 2))
    xy[:, 0] = west + wide * rng.random(many)
    xy[:, 1] = south + high * (spaces[:-1] / spaces[-1])
    return inside(xy, window)


class Bounded:
    """An intensity given by a function, nowhere above `most`, both per square metre."""

    def __init__(self, function: Callable[[FloatArray], FloatArray], most: float) -> None:
        self.function, self.most = function, most

    def __call__(self, xy: FloatArray) -> FloatArray:
        return self.function(xy)

    def poisson(self, window: Window, factor: float, rng: np.random.Generator) -> FloatArray:
        """By thinning a homogeneous one. Raises InputError where the function exceeds its bound."""
        xy = poisson(window, factor * self.most * KM2, rng)
        here = self.function(xy)
        if len(here) and not (here.min() >= 0 and here.max() <= self.most):
            raise InputError("intensity", (float(here.min()), float(here.max())), f"0 .. {self.most:g} per m^2")
        return xy[rng.random(len(xy)) * self.most < here]


def matern_i(window: Window, per_km2: float, distance_m: float, rng: np.random.Generator) -> FloatArray:
    """Of a Poisson process, the points without any other within the distance."""
    xy = poisson(window.around(distance_m), per_km2, rng)
    return inside(xy[survivors(xy, distance_m, None, None)], window)


def matern_ii(window: Window, per_km2: float, distance_m: float, rng: np.random.Generator) -> FloatArray:
    """Of a Poisson process with random marks, the points without any of a smaller mark within the distance."""
    xy = poisson(window.around(distance_m), per_km2, rng)
    return inside(xy[survivors(xy, distance_m, rng.random(len(xy)), None)], window)


def inhomogeneous_matern_ii(
    window: Window,
    intensity: Intensity,
    factor: float,
    distance_m: float,
    rng: np.random.Generator,
    ties: Ties = "random",
    marks: Marks = "intensity",
) -> FloatArray:
    """Marks are 1 / intensity: where it is higher, points delete those within the distance (eq. 10).

    Points of equal intensity: `keep` lets them be, as published; `random` deletes all but the first of a random order,
    so that no two points are within the distance. Wherever the intensity changes, few points are left, however high it
    is; with `random` marks as many are left as the distance allows.
    """
    xy = intensity.poisson(window.around(distance_m), factor, rng)
    orders = rng.random(len(xy))
    if marks == "random":
        left = survivors(xy, distance_m, orders, None)
    else:
        left = survivors(xy, distance_m, -intensity(xy), orders if ties == "random" else None)
    return inside(xy[left], window)


def neyman_scott(
    window: Window,
    parents_per_km2: float,
    children: float,
    offsets: Callable[[np.random.Generator, int], FloatArray],
    reach_m: float,
    rng: np.random.Generator,
) -> FloatArray:
    """Clusters of Poisson(`children`) points around the points of a Poisson process, which are not in it.

    `offsets(rng, N)` draws float64[N, 2] around a parent, next to none of them farther than `reach_m`.
    """
    parents = poisson(window.around(reach_m), parents_per_km2, rng)
    _expected(parents_per_km2 * children, window.around(reach_m).area_m2)
    around = np.repeat(parents, rng.poisson(children, len(parents)), axis=0)
    return inside(around + offsets(rng, len(around)), window)


def thomas(
    window: Window, parents_per_km2: float, children: float, sigma_m: float, rng: np.random.Generator
) -> FloatArray:
    """Neyman-Scott with normal offsets of this standard deviation in each coordinate."""

    def offsets(rng: np.random.Generator, many: int) -> FloatArray:
        return rng.normal(0.0, sigma_m, (many, 2))

    return neyman_scott(window, parents_per_km2, children, offsets, 6 * sigma_m, rng)


def _expected(per_km2: float, area_m2: float) -> float:
    expected = per_km2 / KM2 * area_m2
    if not 0 <= expected <= MOST_POINTS:
        raise InputError("density", f"{expected:g} points", f"0 .. {MOST_POINTS:g} points in the region")
    return expected


def inside(xy: FloatArray, window: Window) -> FloatArray:
    inside = window.contains(xy)
    return xy if inside.all() else xy[inside]
