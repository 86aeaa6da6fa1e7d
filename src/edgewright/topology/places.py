"""Degrees on Earth to metres on a plane and back, for regions of up to some hundred kilometres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgewright.core.contracts import FloatArray
from edgewright.core.errors import InputError

EARTH_M = 6_371_008.8
"""Mean radius (IUGG)."""
WIDEST_M = 500_000.0
"""How far a place may be from the middle of its region."""


@dataclass(frozen=True)
class Plane:
    """Azimuthal equidistant projection of a sphere around (lon, lat), degrees.

    Distances are off by less than 0.01 % within 50 km of the middle and 0.1 % within 250 km, wherever that is.
    """

    lon: float
    lat: float

    @staticmethod
    def around(lon: FloatArray, lat: FloatArray) -> Plane:
        """With these places around its middle."""
        places = _directions(lon, lat)
        x, y, z = (places.min(axis=0) + places.max(axis=0)) / 2
        return Plane(float(np.degrees(np.arctan2(y, x))), float(np.degrees(np.arctan2(z, np.hypot(x, y)))))

    def away_m(self, lon: FloatArray, lat: FloatArray) -> FloatArray:
        """float64[N], from the middle, however far."""
        places, (up, sides) = _directions(lon, lat), self._axes()
        away: FloatArray = EARTH_M * np.arctan2(np.hypot(*(places @ sides).T), places @ up)
        return away

    def to_metres(self, lon: FloatArray, lat: FloatArray, widest_m: float = WIDEST_M) -> FloatArray:
        """float64[N, 2], metres east and north of the middle. Raises InputError where a place is farther from it."""
        places = _directions(lon, lat)
        up, sides = self._axes()
        across = places @ sides
        sine = np.hypot(*across.T)
        away = np.arctan2(sine, places @ up)
        farthest = float(away.max(initial=0.0) * EARTH_M)
        if farthest > widest_m:
            raise InputError("region", f"{farthest / 1e3:.0f} km around its middle", f"up to {widest_m / 1e3:g} km")
        metres: FloatArray = across * (EARTH_M * np.divide(away, sine, out=np.ones_like(away), where=sine > 0))[:, None]
        return metres

    def to_degrees(self, xy: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Longitude and latitude, float64[N] each, of places float64[N, 2] in metres."""
        up, sides = self._axes()
        away = np.hypot(*xy.T)
        angle = away / EARTH_M
        towards = np.divide(np.sin(angle), away, out=np.full_like(away, 1 / EARTH_M), where=away > 0)
        x, y, z = (np.cos(angle)[:, None] * up + (towards[:, None] * xy) @ sides.T).T
        return np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))

    def _axes(self) -> tuple[FloatArray, FloatArray]:
        """Towards the middle, [3], and east and north there, [3, 2]."""
        up = _directions(np.array(self.lon), np.array(self.lat))
        a = np.radians(self.lon)
        east = np.array([-np.sin(a), np.cos(a), 0.0])
        return up, np.column_stack([east, np.cross(up, east)])


def _directions(lon: FloatArray, lat: FloatArray) -> FloatArray:
    """float64[..., 3], of length 1, from the middle of the Earth."""
    a, b = np.radians(lon), np.radians(lat)
    return np.stack([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)], axis=-1)
