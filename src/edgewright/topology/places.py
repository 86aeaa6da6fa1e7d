"""Degrees on Earth to metres on a plane, for regions of up to some hundred kilometres."""

from __future__ import annotations

import numpy as np

from edgewright.core.contracts import FloatArray

EARTH_M = 6_371_008.8
"""Mean radius (IUGG)."""


def to_metres(lon: FloatArray, lat: FloatArray) -> FloatArray:
    """float64[N, 2], metres east and north of the middle: local equirectangular projection.

    Distances are off by less than 0.1 % over 100 km and 1 % over 500 km, at up to 60 degrees of latitude. A region
    that crosses the antimeridian stays whole.
    """
    east = lon - lon[:1]
    east = (east + 180.0) % 360.0 - 180.0
    middle = (lat.min() + lat.max()) / 2
    xy: FloatArray = np.radians(np.column_stack([(east - (east.min() + east.max()) / 2), lat - middle])) * EARTH_M
    xy[:, 0] *= np.cos(np.radians(middle))
    return xy
