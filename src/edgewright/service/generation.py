"""What topologies are asked for, and how one is generated."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from edgewright.core.documents import Name, Part
from edgewright.core.errors import InputError
from edgewright.topology.layers import OF_AREAS, Macro, Process
from edgewright.topology.processes import Marks, Ties
from edgewright.topology.regions import Region

MOST_CELLS, MOST_DRAWN, LEAST_KM2 = 200_000, 2_000_000, 1e-6
"""Expected ones of all kinds, of one topology."""
INFRASTRUCTURE, MAP = "infrastructure.json", "map.html"
Step = Literal["place", "cells", "rings", "files"]
Degrees = Annotated[float, Field(ge=-180, le=180)]
ForEachMacro = Annotated[float, Field(ge=0, le=1000)]


class NoRoom(InputError):
    """More than this worker makes or keeps."""


class Place(Part):
    """Where people are."""

    lon: Degrees
    lat: Annotated[float, Field(ge=-90, le=90)]
    population: Annotated[float, Field(gt=0, lt=1e10)]
    radius_m: Annotated[float, Field(gt=0, le=500_000)] | None = None
    """None: of a city with so many people."""
    dispersion: Annotated[float, Field(gt=0, le=100)] = 1.0
    """How far it fades out beyond half its radius, in radii."""


class Asked(Part):
    """What to generate, and where: in a city or in a region."""

    name: Name
    city: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """NAME or NAME,COUNTRY: a circle around it."""
    radius_km: Annotated[float, Field(ge=0.001, le=400)] | None = None
    """Of that circle. None: as wide as the city."""
    region: Annotated[list[Degrees], Field(min_length=4, max_length=4)] | None = None
    """West, south, east, north."""
    process: Process = "inhomogeneous-matern-ii"
    """Of macro cells."""
    per_km2: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Mean density of macro cells; where nothing is said, that of `edgewright topology generate`."""
    cells: Annotated[int, Field(ge=1, le=10**9)] | None = None
    """Their mean number, instead of a density."""
    distance_m: Annotated[float, Field(gt=0, le=10_000)] = 125.0
    """No two macro cells closer; spread of a Thomas cluster."""
    marks: Marks = "random"
    """Of the inhomogeneous Matern process: which of two too close stays."""
    ties: Ties = "keep"
    """With marks by intensity: of equal ones."""
    micro: ForEachMacro = 0.0
    """For each macro cell, as pico and small."""
    pico: ForEachMacro = 0.0
    small: ForEachMacro = 0.0
    areas: Annotated[list[Place], Field(min_length=1, max_length=10_000)] | None = None
    """None: the cities known there."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    def density(self, area_km2: float) -> float:
        """Macro cells per square kilometre of a region so large. Raises NoRoom for too many cells."""
        if not area_km2 >= LEAST_KM2:
            raise InputError("region", self.region, f"{LEAST_KM2 * 1e6:g} m2 or more")
        density = self.cells / area_km2 if self.cells else self.per_km2 or Macro.per_km2
        expected = density * area_km2 * (1 + self.micro + self.pico + self.small)
        if expected > MOST_CELLS:
            allowed = f"at most {MOST_CELLS:,} expected cells of all kinds: fewer, or a smaller region"
            raise NoRoom("cells" if self.cells else "per_km2", f"{expected:,.0f} cells", allowed)
        return density

    def check(self) -> None:
        """Raises InputError for what does not go together, NoRoom for too many cells where that is known already."""
        if (self.city is None) == (self.region is None):
            raise InputError("city", self.city, "one of city and region")
        if self.radius_km is not None and self.city is None:
            raise InputError("radius_km", self.radius_km, "with city")
        if self.per_km2 is not None and self.cells is not None:
            raise InputError("cells", self.cells, "one of cells and per_km2")
        if self.areas is not None and self.process not in OF_AREAS:
            raise InputError("areas", f"{len(self.areas)} areas", f"with a process of {', '.join(OF_AREAS)}")
        if self.region is not None:
            self.density(Region.box(*self.region).window.area_km2)
        elif self.radius_km is not None:
            self.density(math.pi * self.radius_km**2)
        elif self.cells is not None:
            self.density(1.0)


class Made(Part):
    """What came of it."""

    title: str
    area_km2: float
    per_km2: float
    """Macro cells."""
    areas: int
    """Places with people that the cells follow."""
    cells: dict[str, int]
    """By kind."""
    switches: dict[str, int]
    rings: dict[str, int]
    links: int
    seconds: float


def generate(asked: Asked, folder: Path, say: Callable[[Step, dict[str, int]], Any]) -> Made:
    """Write infrastructure and map into the folder. Raises InputError, OSError."""
    from edgewright.core.infrastructure import files
    from edgewright.topology import layers
    from edgewright.topology.build import Cells, with_rings
    from edgewright.topology.map import write_map
    from edgewright.topology.rings import rings

    began = time.monotonic()
    cells: dict[str, int] = {}
    say("place", cells)
    region, title = _where(asked)
    density = asked.density(region.window.area_km2)
    if asked.process == "thomas":
        drawn = density * region.window.around(6 * asked.distance_m).area_km2
        if drawn > MOST_DRAWN:
            raise NoRoom("distance_m", asked.distance_m, "less: clusters around so far outside are drawn, too")
    macro = layers.Macro(asked.process, density, asked.distance_m, asked.ties, marks=asked.marks)
    people = _people(asked, region)
    say("cells", cells)
    around = {"micro": asked.micro, "pico": asked.pico, "small": asked.small}
    made = []
    for layer in layers.generate(region, layers.Plan(macro, people, around), asked.seed):
        made.append(layer)
        cells[layer.kind] = len(layer.xy)
        say("cells", cells)
    say("rings", cells)
    spread = Cells.of_layers(made, region.plane)
    grouped = rings(spread.xy)
    infrastructure = with_rings(spread, grouped)
    say("files", cells)
    files.write(infrastructure, folder / INFRASTRUCTURE)
    write_map(infrastructure, folder / MAP, title=title, region=region.outline())
    many = grouped.counts()
    return Made(
        title=title,
        area_km2=region.window.area_km2,
        per_km2=len(made[0].xy) / region.window.area_km2,
        areas=len(people),
        cells=cells,
        switches={name: many[name] for name in ("m1", "m2", "m3")},
        rings={"access": many["access_rings"], "aggregation": many["aggregation_rings"]},
        links=len(infrastructure.ends),
        seconds=time.monotonic() - began,
    )


def _where(asked: Asked) -> tuple[Region, str]:
    from edgewright.topology.areas import find_city, radius_m

    if asked.region is not None:
        return Region.box(*asked.region), asked.name
    assert asked.city is not None
    city = find_city(asked.city)
    wide_m = radius_m(city.population) if asked.radius_km is None else asked.radius_km * 1e3
    return Region.circle(city.lon, city.lat, wide_m), str(city)


def _people(asked: Asked, region: Region) -> tuple[Any, ...]:
    """Areas, where cells follow them."""
    from edgewright.topology.areas import cities_in, radius_m
    from edgewright.topology.gentrification import Area

    if asked.process not in OF_AREAS:
        return ()
    if asked.areas is None:
        return tuple(cities_in(region))
    return tuple(
        Area(each.lon, each.lat, each.population, each.radius_m or radius_m(each.population), each.dispersion)
        for each in asked.areas
    )
