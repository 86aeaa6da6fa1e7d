"""What the verbs of `edgewright topology` share: options, files they write, and how their words are read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from edgewright.cli.options import check_file, check_picture
from edgewright.core.errors import InputError

if TYPE_CHECKING:
    from edgewright.core.infrastructure import Infrastructure
    from edgewright.topology.regions import Region
    from edgewright.topology.rings import Limits

GEOJSON = (".geojson", ".json")
T = TypeVar("T", bound=str)
RegionText = Annotated[
    str | None, typer.Option("--region", help="WEST,SOUTH,EAST,NORTH in degrees, or a GeoJSON file.")
]
LimitTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--limit", help="LEVEL=MEMBERS/KM of m1, access_ring, m2, aggregation_ring or m3; m1=6/10 by default."
    ),
]
Figure = Annotated[Path | None, typer.Option(help="Draw cells, switches and rings here, .png.")]
Out = Annotated[Path | None, typer.Option(help="Write the infrastructure here: .json, .gml, .graphml or .geojson.")]
Map = Annotated[Path | None, typer.Option("--map", help="A map to zoom in, one file without the Internet, .html.")]


def check_outputs(out: Path | None, html: Path | None, figure: Path | None) -> None:
    """Raises InputError."""
    if out:
        from edgewright.core.infrastructure.exchange import SUFFIXES

        if not out.name.endswith(SUFFIXES):
            raise InputError("--out", str(out), f"a name that ends in {', '.join(SUFFIXES)}")
        check_file(out, "--out")
    if html:
        if html.suffix != ".html":
            raise InputError("--map", str(html), "a name that ends in .html")
        check_file(html, "--map")
    if figure:
        check_picture(figure)


def write_infrastructure(
    infrastructure: Infrastructure, out: Path | None, html: Path | None, name: str, region: Region | None = None
) -> None:
    if out:
        from edgewright.core.infrastructure import exchange

        exchange.save(infrastructure, out)
    if html:
        from edgewright.topology.map import write_map

        write_map(infrastructure, html, title=name, region=region.outline() if region else ())


def limits_of(texts: list[str]) -> Limits:
    """Raises InputError."""
    from dataclasses import replace

    from edgewright.topology.rings import LEVELS, Limit, Limits

    limits = Limits()
    for text in texts:
        name, _, value = text.partition("=")
        members, _, distance_km = value.partition("/")
        try:
            limit = Limit(int(members), float(distance_km) * 1e3)
        except InputError as error:
            raise error.at(f"--limit {text}") from None
        except ValueError:
            raise InputError("--limit", text, "LEVEL=MEMBERS/KM, as in m1=6/10") from None
        if name not in LEVELS:
            raise InputError("--limit", text, f"a level of {', '.join(LEVELS)}")
        limits = replace(limits, **{name: limit})
    return limits


def region_of(text: str) -> Region:
    """Raises InputError."""
    from edgewright.topology.regions import Region

    if text.lower().endswith(GEOJSON):
        return Region.read(text)
    try:
        west, south, east, north = map(float, text.split(","))
    except ValueError:
        raise InputError("--region", text, "WEST,SOUTH,EAST,NORTH in degrees, or a GeoJSON file") from None
    try:
        return Region.box(west, south, east, north)
    except InputError as error:
        raise error.at(f"--region {text}") from None


def check_finite(**given: float | None) -> None:
    """By names of options, `_` for `-`. Raises InputError for one that is nan or infinite."""
    for name, value in given.items():
        if value is not None and not math.isfinite(value):
            raise InputError(f"--{name.replace('_', '-')}", value, "a finite number")


def say_others(region: Region, err: bool) -> None:
    """What its file has beside polygons."""
    if region.others:
        what = "feature that is no polygon" if region.others == 1 else "features that are no polygons"
        typer.echo(f"left out: {region.others:,} {what} of the region's file", err=err)


def choice_of(option: str, given: str, allowed: Sequence[T]) -> T:
    """Raises InputError."""
    for each in allowed:
        if each == given:
            return each
    raise InputError(option, given, f"one of {', '.join(map(str, allowed))}")
