"""What point processes have in the mean: density, pair correlation, Ripley's K, and eq. 9 for the inhomogeneous one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgewright.core.contracts import FloatArray
from edgewright.core.errors import InputError
from edgewright.topology.processes import KM2, Intensity, Marks, Ties
from edgewright.topology.regions import Window

NODES = 60_000
"""Of the quadrature over a window, at most."""
RINGS, SPOKES = 10, 24
"""Of the quadrature over the disc around each."""

MOST_FACTOR = 100.0
"""How many more points than are wanted are drawn to have them after thinning, at most."""


def matern_i_per_km2(per_km2: float, distance_m: float) -> float:
    """Density of Matern I from that of its Poisson process."""
    return per_km2 * float(np.exp(-per_km2 / KM2 * np.pi * distance_m**2))


def matern_ii_per_km2(per_km2: float, distance_m: float) -> float:
    """Density of Matern II from that of its Poisson process; below 1 / (pi r^2)."""
    mean = per_km2 / KM2 * np.pi * distance_m**2
    return per_km2 * float(-np.expm1(-mean) / mean) if mean > 0 else per_km2


def poisson_for_matern_i(per_km2: float, distance_m: float) -> float:
    """The smallest density of a Poisson process whose Matern I has this one. Raises InputError where none has."""
    from scipy.special import lambertw

    disc_km2 = np.pi * distance_m**2 / KM2
    if per_km2 * disc_km2 * np.e > 1:
        raise InputError("per_km2", per_km2, f"up to {1 / (np.e * disc_km2):.2f} at {distance_m:g} m (Matern I)")
    return float(-lambertw(-per_km2 * disc_km2).real / disc_km2)


def poisson_for_matern_ii(per_km2: float, distance_m: float) -> float:
    """The density of the Poisson process whose Matern II has this one. Raises InputError where none has."""
    disc_km2 = np.pi * distance_m**2 / KM2
    if per_km2 * disc_km2 >= 1:
        raise InputError("per_km2", per_km2, f"below {1 / disc_km2:.2f} at {distance_m:g} m (Matern II)")
    return float(-np.log1p(-per_km2 * disc_km2) / disc_km2)


def union_m2(distance_m: float, t_m: FloatArray) -> FloatArray:
    """Of two discs of radius `distance_m` whose middles are `t_m` apart."""
    half = np.clip(t_m / (2 * distance_m), 0.0, 1.0)
    lens = 2 * distance_m**2 * (np.arccos(half) - half * np.sqrt(1 - half**2))
    area: FloatArray = 2 * np.pi * distance_m**2 - lens
    return area


def matern_i_pair_correlation(per_km2: float, distance_m: float, t_m: FloatArray) -> FloatArray:
    """g(t), 0 within the distance."""
    density, disc = per_km2 / KM2, np.pi * distance_m**2
    found: FloatArray = np.where(t_m >= distance_m, np.exp(density * (2 * disc - union_m2(distance_m, t_m))), 0.0)
    return found


def matern_ii_pair_correlation(per_km2: float, distance_m: float, t_m: FloatArray) -> FloatArray:
    """g(t), 0 within the distance."""
    density, disc = per_km2 / KM2, np.pi * distance_m**2
    union = union_m2(distance_m, np.maximum(t_m, distance_m))
    one, both = -np.expm1(-density * disc), -np.expm1(-density * union)
    second = 2 * (union * one - disc * both) / (disc * union * (union - disc))
    found: FloatArray = np.where(t_m >= distance_m, second / (one / disc) ** 2, 0.0)
    return found


def thomas_pair_correlation(parents_per_km2: float, sigma_m: float, t_m: FloatArray) -> FloatArray:
    """g(t); it does not depend on how many children there are."""
    spread = 4 * sigma_m**2
    found: FloatArray = 1 + np.exp(-(t_m**2) / spread) / (np.pi * spread * parents_per_km2 / KM2)
    return found


@dataclass(frozen=True)
class Expected:
    """The mean count of the inhomogeneous Matern II process in a window, for any factor of its intensity (eq. 9).

    E[N] = integral of exp(-c H(x)) c g(x) s(c T(x)) dx: H is how much of the intensity within the distance around x is
    higher than at x, T how much is equal; s(t) = (1 - exp(-t)) / t where ties are broken at random and 1 where they are
    kept. With random marks all in the disc counts as equal.
    """

    here: FloatArray  # float64[Q], intensity at the nodes times the area of each
    higher: FloatArray  # float64[Q]
    tied: FloatArray  # float64[Q]

    @staticmethod
    def of(
        window: Window, intensity: Intensity, distance_m: float, ties: Ties = "random", marks: Marks = "intensity"
    ) -> Expected:
        west, south, east, north = window.bounds
        step = max(distance_m / 4, np.sqrt((east - west) * (north - south) / NODES))
        columns, rows = int(np.ceil((east - west) / step)), int(np.ceil((north - south) / step))
        x = west + (np.arange(columns) + 0.5) * (east - west) / columns
        y = south + (np.arange(rows) + 0.5) * (north - south) / rows
        nodes = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        nodes = nodes[window.contains(nodes)]
        cell = window.area_m2 / len(nodes)
        here = intensity(nodes)
        nodes, here = nodes[here > 0], here[here > 0]
        # As many nodes for equal areas: middles of rings of equal area, spokes turned from ring to ring, and none along
        # an axis, where on a slope along the other all would be equal.
        radius = distance_m * np.sqrt((np.arange(RINGS) + 0.5) / RINGS)
        turn = (np.arange(SPOKES) + 0.25 + 0.5 * (np.arange(RINGS) % 2)[:, None]) * 2 * np.pi / SPOKES
        around = np.stack([radius[:, None] * np.cos(turn), radius[:, None] * np.sin(turn)], axis=-1).reshape(-1, 2)
        higher, lower, tied = np.zeros((3, len(nodes)))
        for offset in around if distance_m > 0 else ():
            there = intensity(nodes + offset)
            higher += np.where(there > here, there, 0.0)
            lower += np.where(there < here, there, 0.0)
            tied += np.where(there == here, there, 0.0)
        part = np.pi * distance_m**2 / len(around)
        if marks == "random":  # as if all were equal
            return Expected(here * cell, np.zeros(len(nodes)), (higher + lower + tied) * part)
        return Expected(here * cell, higher * part, tied * part if ties == "random" else np.zeros(len(nodes)))

    def count(self, factor: float) -> float:
        """E[N] for `factor` times the intensity."""
        tied = factor * self.tied
        share = np.divide(-np.expm1(-tied), tied, out=np.ones_like(tied), where=tied > 0)
        return float(factor * (self.here * share * np.exp(-factor * self.higher)).sum())

    def factor(self, count: float) -> float:
        """The smallest with this mean count. Raises InputError where none has it, saying how many there can be."""
        from scipy.optimize import brentq

        if not self.here.sum() > 0:
            raise InputError("areas", "nothing in the region", "areas that reach into it")
        # Past the last factor the disc around a point holds more than its quadrature tells apart.
        tried = count / self.here.sum() * np.geomspace(1.0, MOST_FACTOR, 200)
        below, most = 0.0, 0.0
        for c in tried.tolist():
            reached = self.count(c)
            if reached >= count:
                return float(brentq(lambda c: self.count(c) - count, below, c, rtol=1e-12)) if below else c
            below, most = c, max(most, reached)
        form = ".0f" if most >= 1000 else ".6g"
        allowed = f"up to {most:{form}} at this distance and thinning"
        raise InputError("density", f"{count:{form}} cells in the mean", allowed)
