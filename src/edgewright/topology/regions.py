"""Where infrastructure is generated: a box, polygons or a circle around a place, on Earth and on its plane."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgewright.core import documents
from edgewright.core.contracts import BoolArray, FloatArray
from edgewright.core.errors import InputError
from edgewright.topology.places import WIDEST_M, Plane

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

WIDEST_CIRCLE_M = 0.8 * WIDEST_M
"""The middle of what lies in it may be another one, from which all has to be near enough, too."""
SHAPES = ("Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon")
"""Kinds of geometry that have coordinates."""
SIDE_DEGREES = 0.02
"""Sides along parallels are bent on a plane: they are cut into pieces of this length."""


@dataclass(frozen=True)
class Window:
    """A part of the plane, in metres, with an area; holes and several pieces are allowed."""

    shape: BaseGeometry

    @staticmethod
    def box(west: float, south: float, east: float, north: float) -> Window:
        from shapely.geometry import box

        if not (west < east and south < north):
            raise InputError("window", (west, south, east, north), "west < east and south < north")
        return Window(box(west, south, east, north))

    def __post_init__(self) -> None:
        if not (self.shape.is_valid and self.shape.area > 0):
            raise InputError("region", self.shape.geom_type, "polygons with an area, whose sides do not cross")

    @cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north."""
        west, south, east, north = self.shape.bounds
        return west, south, east, north

    @property
    def area_m2(self) -> float:
        return float(self.shape.area)

    @property
    def area_km2(self) -> float:
        return self.area_m2 / 1e6

    def contains(self, xy: FloatArray) -> BoolArray:
        """bool[N], of places float64[N, 2]."""
        west, south, east, north = self.bounds
        x, y = xy.T
        inside: BoolArray = (x >= west) & (x <= east) & (y >= south) & (y <= north)
        if not self._is_box:
            from shapely import contains_xy, prepare

            prepare(self.shape)
            inside[inside] = contains_xy(self.shape, *xy[inside].T)
        return inside

    @cached_property
    def _is_box(self) -> bool:
        from shapely.geometry import box

        return bool(self.shape.equals(box(*self.bounds)))

    def around(self, distance_m: float) -> Window:
        """The box that holds all that is within this distance."""
        west, south, east, north = self.bounds
        return Window.box(west - distance_m, south - distance_m, east + distance_m, north + distance_m)


@dataclass(frozen=True)
class Region:
    """Polygons on Earth, in degrees east and north."""

    shape: BaseGeometry
    others: int = 0
    """Features of its file that are no polygons, left out."""

    def __post_init__(self) -> None:
        west, south, east, north = self.shape.bounds if not self.shape.is_empty else (np.nan,) * 4
        for name, low, high, most in (("lon", west, east, 180.0), ("lat", south, north, 90.0)):
            if not -most <= low < high <= most:
                raise InputError(f"region.{name}", (low, high), f"from less to more, within -{most:g} .. {most:g}")
        if not self.shape.is_valid:
            raise InputError("region", self.shape.geom_type, "polygons whose sides do not cross")

    @staticmethod
    def box(west: float, south: float, east: float, north: float) -> Region:
        """Between two meridians and two parallels. Raises InputError."""
        from shapely.geometry import Polygon

        for name, low, high in (("lon", west, east), ("lat", south, north)):
            if not low < high:
                raise InputError(f"region.{name}", (low, high), "from less to more")
        if east - west >= 360:
            raise InputError("region.lon", (west, east), "less wide than all around the Earth: less than 360 degrees")
        return Region(Polygon([(west, south), (east, south), (east, north), (west, north)]))

    @staticmethod
    def circle(lon: float, lat: float, radius_m: float) -> Region:
        """Around a place. Raises InputError where it has none or is too large."""
        from shapely.geometry import Polygon

        if not 0 < radius_m <= WIDEST_CIRCLE_M:
            raise InputError("radius_m", radius_m, f"more than 0, up to {WIDEST_CIRCLE_M:g}")
        turn = np.linspace(0.0, 2 * np.pi, 128, endpoint=False)
        ring = radius_m * np.column_stack([np.cos(turn), np.sin(turn)])
        return Region(Polygon(np.column_stack(Plane(lon, lat).to_degrees(ring))))

    @staticmethod
    def read(path: str | Path) -> Region:
        """All polygons of a GeoJSON file. Raises InputError that names it."""
        from shapely import union_all
        from shapely.errors import ShapelyError
        from shapely.geometry import shape

        polygons = []
        found = features(path)
        for where, geometry, _ in found:
            if geometry.get("type") in ("Polygon", "MultiPolygon"):
                try:
                    polygons.append(shape(geometry))
                except (ShapelyError, TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
                    raise InputError(f"{where}.geometry", str(error), "coordinates", source=str(path)) from None
        if not polygons:
            raise InputError("features", "no Polygon", "one at least", source=str(path))
        for number, polygon in enumerate(polygons):
            if not polygon.is_valid:
                allowed = "polygons whose sides do not cross"
                raise InputError(f"polygon {number}", polygon.geom_type, allowed, source=str(path))
        try:
            return Region(union_all(polygons), len(found) - len(polygons))
        except InputError as error:
            raise error.at(str(path)) from None

    @cached_property
    def plane(self) -> Plane:
        from shapely import get_coordinates

        return Plane.around(*get_coordinates(self.shape).T)

    @cached_property
    def window(self) -> Window:
        """On its plane. Raises InputError where it is too wide for one."""
        from shapely import segmentize, transform

        plane = self.plane
        try:
            return Window(transform(segmentize(self.shape, SIDE_DEGREES), lambda at: plane.to_metres(*at.T)))
        except InputError as error:
            raise InputError("region", error.given, error.allowed) from None

    def contains(self, lon: FloatArray, lat: FloatArray) -> BoolArray:
        """bool[N]; what lies on its edge is inside."""
        from shapely import intersects_xy, prepare

        prepare(self.shape)
        inside: BoolArray = intersects_xy(self.shape, lon, lat)
        return inside

    def outline(self) -> list[list[tuple[float, float]]]:
        """Its rings, closed, holes too."""
        pieces = getattr(self.shape, "geoms", [self.shape])
        return [list(ring.coords) for piece in pieces for ring in (piece.exterior, *piece.interiors)]


def features(path: str | Path) -> list[tuple[str, dict[str, object], dict[str, object]]]:
    """Of a GeoJSON file (RFC 7946): where each is, as "features[7]", its geometry and its properties.

    Raises InputError that names the file.
    """
    data = documents.load(path)
    if not isinstance(data, dict):
        raise InputError("document", data, "a GeoJSON object", source=str(path))
    if data.get("type") == "FeatureCollection":
        listed = data.get("features")
        if not isinstance(listed, list):
            raise InputError("features", listed, "a list", source=str(path))
        found = [(f"features[{i}]", feature) for i, feature in enumerate(listed)]
    else:
        found = [("document", data if data.get("type") == "Feature" else {"type": "Feature", "geometry": data})]
    given = []
    for where, feature in found:
        if not isinstance(feature, dict) or feature.get("type") != "Feature":
            raise InputError(where, feature, "a GeoJSON Feature", source=str(path))
        geometry, properties = feature.get("geometry"), feature.get("properties") or {}
        if not isinstance(geometry, dict) or "type" not in geometry or not isinstance(properties, dict):
            raise InputError(where, feature, "a Feature with a geometry and properties", source=str(path))
        if geometry["type"] in SHAPES and "coordinates" not in geometry:
            raise InputError(f"{where}.geometry", geometry, "coordinates", source=str(path))
        given.append((where, geometry, properties))
    return given
