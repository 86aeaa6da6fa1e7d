"""Cells of a region, layer by layer: macro cells by a point process, smaller ones around them, in buildings, on roads.

Densities: macro cells 12 per km^2, none within 125 m of another; small cells 3 for each macro cell, 10 m apart; femto
cells 4 for each floor; road cells one per km ("NFV Orchestration in Edge and Fog Scenarios", section 1, and its
generator). Micro cells 3 and pico cells 4 for each macro cell, 40 m apart (3GPP TR 38.913, 6.1.2; TR 36.814, table
A.2.1.1.2-3).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from edgewright.core.contracts import FloatArray
from edgewright.core.errors import InputError
from edgewright.core.infrastructure import Kind, Radio
from edgewright.core.tables import number, read_rows
from edgewright.topology import processes, theory
from edgewright.topology.gentrification import Area, Gentrification, reaching
from edgewright.topology.hard_core import survivors
from edgewright.topology.processes import Marks, Ties
from edgewright.topology.regions import Region, features

Process = Literal["poisson", "matern-i", "matern-ii", "thomas", "inhomogeneous-poisson", "inhomogeneous-matern-ii"]
PROCESSES: tuple[Process, ...] = get_args(Process)
OF_AREAS: tuple[Process, ...] = ("inhomogeneous-poisson", "inhomogeneous-matern-ii")
ROUNDS = 200


@dataclass(frozen=True)
class Macro:
    """How macro cells are spread; the mean density is met exactly, by the smallest that thinning brings down to it."""

    process: Process = "inhomogeneous-matern-ii"
    per_km2: float = 12.0
    distance_m: float = 125.0
    """Hard-core distance of the Matern processes; standard deviation of a Thomas cluster."""
    ties: Ties = "keep"
    cluster: float = 5.0
    """Mean cells of a Thomas cluster."""
    marks: Marks = "random"
    """Of the inhomogeneous Matern process: `random` leaves most where most people are; `intensity` is as published."""

    def __post_init__(self) -> None:
        if self.process not in PROCESSES:
            raise InputError("process", self.process, f"one of {', '.join(PROCESSES)}")
        for name, allowed in (("ties", get_args(Ties)), ("marks", get_args(Marks))):
            if getattr(self, name) not in allowed:
                raise InputError(name, getattr(self, name), f"one of {', '.join(allowed)}")
        for name in ("per_km2", "distance_m", "cluster"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(name, getattr(self, name), "a number > 0")


@dataclass(frozen=True)
class Around:
    """Cells around each macro cell: a Poisson number, evenly within the radius, none closer than `apart_m`."""

    kind: Kind
    mean: float
    apart_m: float
    from_macro_m: float


AROUND = {
    "micro": Around("micro_cell", 3.0, 40.0, 75.0),
    "pico": Around("pico_cell", 4.0, 40.0, 75.0),
    "small": Around("small_cell", 3.0, 10.0, 10.0),
}
FEMTO_PER_FLOOR = 4
ROAD_M = 1_000.0


@dataclass(frozen=True)
class Layer:
    """Cells of one kind."""

    name: str
    kind: Kind
    radio: tuple[Radio, ...]
    xy: FloatArray  # float64[N, 2], metres on the region's plane
    left_out: str = ""
    """What of a file has nothing to do with the region, counted, in words."""


def macro_layer(region: Region, macro: Macro, areas: Sequence[Area], rng: np.random.Generator) -> Layer:
    """Raises InputError where the process cannot have such a density."""
    window, r, left_out = region.window, macro.distance_m, ""
    if macro.process in OF_AREAS:
        if not areas:
            raise InputError("areas", 0, f"one at least for the process {macro.process}")
        places, near = reaching(region, areas, r)
        if len(near) < len(areas):
            left_out = f"{len(areas) - len(near):,} of {len(areas):,} areas that do not reach into the region"
        people = Gentrification(places, near)
        wanted = macro.per_km2 * window.area_km2
        if macro.process == "inhomogeneous-poisson":
            factor = theory.Expected.of(window, people, 0.0).factor(wanted)
            xy = people.poisson(window, factor, rng)
        else:
            factor = theory.Expected.of(window, people, r, macro.ties, macro.marks).factor(wanted)
            xy = processes.inhomogeneous_matern_ii(window, people, factor, r, rng, macro.ties, macro.marks)
    elif macro.process == "poisson":
        xy = processes.poisson(window, macro.per_km2, rng)
    elif macro.process == "matern-i":
        xy = processes.matern_i(window, theory.poisson_for_matern_i(macro.per_km2, r), r, rng)
    elif macro.process == "matern-ii":
        xy = processes.matern_ii(window, theory.poisson_for_matern_ii(macro.per_km2, r), r, rng)
    else:
        xy = processes.thomas(window, macro.per_km2 / macro.cluster, macro.cluster, r, rng)
    if not len(xy):
        raise InputError("region", f"no cell at {macro.per_km2:g} per km^2", "a larger region, or a higher density")
    return Layer("macro", "macro_cell", ("LTE", "NR"), xy, left_out)


def around_layer(name: str, mean: float, macro: Layer, radius_m: float, rng: np.random.Generator) -> Layer:
    """Cells of a kind of `AROUND` around macro cells, those near a border outside the region too.

    Raises InputError where they find no room within `radius_m`.
    """
    rule = AROUND[name]
    parents = np.repeat(macro.xy, rng.poisson(mean, len(macro.xy)), axis=0)
    xy = _evenly(parents, rule.from_macro_m, radius_m, rng)
    for _ in range(ROUNDS):
        close = ~survivors(xy, rule.apart_m, np.arange(len(xy), dtype=float), None)
        if not close.any():
            return Layer(name, rule.kind, ("NR",), xy)
        xy[close] = _evenly(parents[close], rule.from_macro_m, radius_m, rng)
    allowed = f"fewer, or a lower density of macro cells, so that all are {rule.apart_m:g} m apart"
    raise InputError(name, f"{mean:g} for each macro cell within {radius_m:.0f} m", allowed)


def _evenly(middles: FloatArray, inner_m: float, outer_m: float, rng: np.random.Generator) -> FloatArray:
    """float64[N, 2], one in the ring around each."""
    if not 0 <= inner_m < outer_m:
        allowed = f"> {inner_m:g} m from it, as a lower density of macro cells has, or none of this kind"
        raise InputError("around", f"{outer_m:.3g} m for each macro cell", allowed)
    away = np.sqrt(rng.uniform(inner_m**2, outer_m**2, len(middles)))
    turn = rng.uniform(0, 2 * np.pi, len(middles))
    found: FloatArray = middles + away[:, None] * np.column_stack([np.cos(turn), np.sin(turn)])
    return found


def femto_layer(region: Region, buildings: str | Path, rng: np.random.Generator) -> Layer:
    """Four cells for each floor of the buildings in the region that a CSV file names: lon, lat, floors, maybe radius_m.

    Raises InputError that names the file, the row and the field.
    """
    rows = []
    for where, row in read_rows(buildings, ("lon", "lat", "floors")):
        lon = number(row["lon"], f"{where}, lon", "-180 .. 180 degrees", buildings, lambda v: -180 <= v <= 180)
        lat = number(row["lat"], f"{where}, lat", "-90 .. 90 degrees", buildings, lambda v: -90 <= v <= 90)
        whole = "a whole number 1 .. 200"
        floors = number(row["floors"], f"{where}, floors", whole, buildings, lambda v: v % 1 == 0 and 1 <= v <= 200)
        wide = row.get("radius_m") or "20"
        radius = number(wide, f"{where}, radius_m", "> 0, up to 1000", buildings, lambda v: 0 < v <= 1000)
        rows.append((lon, lat, floors, radius))
    lon_of, lat_of, floors_of, radius_of = np.array(rows).T
    inside = region.contains(lon_of, lat_of)
    many = FEMTO_PER_FLOOR * floors_of[inside].astype(int)
    middles = region.plane.to_metres(lon_of[inside], lat_of[inside])
    away = np.repeat(radius_of[inside], many) * np.sqrt(rng.random(many.sum()))
    turn = rng.uniform(0, 2 * np.pi, many.sum())
    xy = np.repeat(middles, many, axis=0) + away[:, None] * np.column_stack([np.cos(turn), np.sin(turn)])
    out = len(rows) - len(middles)
    left_out = f"{out:,} of {len(rows):,} buildings outside the region" if out else ""
    return Layer("femto", "femto_cell", ("LTE", "NR"), xy, left_out)


def road_layer(region: Region, roads: str | Path) -> Layer:
    """A cell each kilometre of the lines of a GeoJSON file, as far as they run in the region; the first half a step
    from where each begins. Raises InputError that names the file.
    """
    from shapely import LineString, box
    from shapely.errors import ShapelyError
    from shapely.geometry import shape

    found = [np.empty((0, 2))]
    here, many, out = box(*region.shape.bounds), 0, 0
    for where, geometry, _ in features(roads):
        try:
            if geometry["type"] not in ("LineString", "MultiLineString"):
                raise InputError("type", geometry["type"], "LineString or MultiLineString")
            lines = shape(geometry)
            for line in getattr(lines, "geoms", [lines]):
                places = np.array(line.coords)[:, :2].T
                many += 1
                if not line.intersects(here):
                    out += 1
                    continue
                path = LineString(region.plane.to_metres(places[0], places[1], math.inf))
                steps = np.arange(ROAD_M / 2, path.length, ROAD_M)
                found.append(np.array([path.interpolate(step).coords[0] for step in steps]).reshape(-1, 2))
        except InputError as error:
            raise InputError(f"{where}.geometry.{error.field}", error.given, error.allowed, source=str(roads)) from None
        except (ShapelyError, TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
            raise InputError(f"{where}.geometry", str(error), "coordinates", source=str(roads)) from None
    xy = np.concatenate(found)
    xy = xy[region.window.contains(xy)]
    left_out = f"{out:,} of {many:,} roads outside the region" if out else ""
    if not len(xy):
        left_out = f"{many:,} road{'s' * (many != 1)}, none with a cell in the region"
    return Layer("road", "macro_cell", ("LTE", "NR"), xy, left_out)


@dataclass(frozen=True)
class Plan:
    """What to generate in a region."""

    macro: Macro = Macro()
    areas: tuple[Area, ...] = ()
    around: Mapping[str, float] = field(default_factory=dict)
    """Mean number for each macro cell, by names of `AROUND`."""
    buildings: Path | None = None
    roads: Path | None = None

    def __post_init__(self) -> None:
        for name, mean in self.around.items():
            if name not in AROUND:
                raise InputError("around", name, f"one of {', '.join(AROUND)}")
            if not 0 <= mean <= 1000:
                raise InputError(name, mean, "0 .. 1000 for each macro cell")


def generate(region: Region, plan: Plan, seed: int) -> Iterator[Layer]:
    """Layer by layer; each draws from a stream of its own, so that one more changes none of the others.

    Raises InputError.
    """

    def stream(number: int) -> np.random.Generator:
        return np.random.default_rng([seed, number])

    macro = macro_layer(region, plan.macro, plan.areas, stream(0))
    yield macro
    radius_m = math.sqrt(region.window.area_m2 / len(macro.xy) / math.pi)  # of what is a macro cell's in the mean
    for i, name in enumerate(AROUND, 1):
        if plan.around.get(name):
            yield around_layer(name, plan.around[name], macro, radius_m, stream(i))
    if plan.buildings:
        yield femto_layer(region, plan.buildings, stream(len(AROUND) + 1))
    if plan.roads:
        yield road_layer(region, plan.roads)
