"""`edgewright topology generate`, `rings` and `convert`: cells, the switches and rings above them, files of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from edgewright.cli.options import Json, Seed, check_file
from edgewright.cli.topology.options import (
    GEOJSON,
    Figure,
    LimitTexts,
    Map,
    Out,
    RegionText,
    check_finite,
    check_outputs,
    choice_of,
    limits_of,
    region_of,
    say_others,
    write_infrastructure,
)
from edgewright.core.errors import InputError

if TYPE_CHECKING:
    from edgewright.topology.build import Cells
    from edgewright.topology.gentrification import Area
    from edgewright.topology.regions import Region
    from edgewright.topology.rings import Limits, Rings


def generate(
    city: Annotated[str | None, typer.Option(help="NAME or NAME,COUNTRY: a circle around it, as wide as it.")] = None,
    radius_km: Annotated[float | None, typer.Option(help="Of the circle around the city.")] = None,
    region: RegionText = None,
    areas: Annotated[
        Path | None,
        typer.Option(
            help="Where people are: CSV with lon,lat,population, or GeoJSON. Default: the cities known there."
        ),
    ] = None,
    process: Annotated[str, typer.Option(help="Of macro cells, as in the docs.")] = "inhomogeneous-matern-ii",
    per_km2: Annotated[float | None, typer.Option(help="Mean density of macro cells. Default: 12.")] = None,
    cells: Annotated[int | None, typer.Option(min=1, help="Mean number of macro cells, instead of a density.")] = None,
    distance_m: Annotated[float, typer.Option(help="No two macro cells closer; spread of a Thomas cluster.")] = 125.0,
    marks: Annotated[
        str | None,
        typer.Option(help="Which of two cells too close stays: random (default), or intensity (as published)."),
    ] = None,
    ties: Annotated[
        str | None,
        typer.Option(help="With --marks intensity, of equal ones: keep (default, as published), or random."),
    ] = None,
    micro: Annotated[float, typer.Option(help="For each macro cell; 3 in 3GPP TR 38.913.")] = 0.0,
    pico: Annotated[float, typer.Option(help="For each macro cell; 4 in 3GPP TR 36.814.")] = 0.0,
    small: Annotated[float, typer.Option(help="For each macro cell; 3 in the reference.")] = 0.0,
    buildings: Annotated[Path | None, typer.Option(help="CSV with lon,lat,floors: four femto cells a floor.")] = None,
    roads: Annotated[Path | None, typer.Option(help="GeoJSON lines: a cell each kilometre.")] = None,
    rings: Annotated[bool, typer.Option(help="Switches and rings above the cells.")] = True,
    limit: LimitTexts = None,
    seed: Seed = 0,
    out: Out = None,
    html: Map = None,
    figure: Figure = None,
    as_json: Json = False,
) -> None:
    """Generate the cells of a region, and the switches and rings above them."""
    from edgewright.topology import layers
    from edgewright.topology.build import Cells
    from edgewright.topology.processes import Marks, Ties

    numbers = {"radius_km": radius_km, "per_km2": per_km2, "distance_m": distance_m}
    check_finite(**numbers, micro=micro, pico=pico, small=small)
    limits = limits_of(limit or [])
    check_outputs(out, html, figure)
    kind = choice_of("--process", process, layers.PROCESSES)
    needed = kind in layers.OF_AREAS
    with_marks = "with --process inhomogeneous-matern-ii"
    for option, given, good, allowed in (
        ("--areas", areas, needed, f"with --process {' or '.join(layers.OF_AREAS)}"),
        ("--marks", marks, kind == "inhomogeneous-matern-ii", with_marks),
        (
            "--ties",
            ties,
            kind == "inhomogeneous-matern-ii" and marks == "intensity",
            f"{with_marks}, --marks intensity",
        ),
        ("--per-km2", per_km2, cells is None, "without --cells"),
        ("--figure", figure, rings, "without --no-rings"),
        ("--limit", limit, rings, "without --no-rings"),
    ):
        if given not in (None, []) and not good:
            raise InputError(option, str(given) if isinstance(given, Path) else given, allowed)
    where, name = _where(city, radius_km, region, as_json)
    default = layers.Macro()
    macro = layers.Macro(
        kind,
        cells / where.window.area_km2 if cells else default.per_km2 if per_km2 is None else per_km2,
        distance_m,
        choice_of("--ties", ties, get_args(Ties)) if ties is not None else default.ties,
        marks=choice_of("--marks", marks, get_args(Marks)) if marks is not None else default.marks,
    )
    people = _areas(areas, where, as_json) if needed else ()
    around = {"micro": micro, "pico": pico, "small": small}
    plan = layers.Plan(macro, tuple(people), around, buildings, roads)
    made = []
    for layer in layers.generate(where, plan, seed):
        made.append(layer)
        if not as_json:
            typer.echo(f"{len(layer.xy):>9,} {layer.name} cell{'s' * (len(layer.xy) != 1)}")
        if layer.left_out and (areas or layer.name != "macro"):  # of the cities known nobody gave a file
            typer.echo(f"left out: {layer.left_out}", err=as_json)
    if not as_json:
        density = len(made[0].xy) / where.window.area_km2
        at = f"{len(people)} areas, " if needed else ""
        wide = f"{where.window.area_km2:,.1f} km2"
        typer.echo(f"{name}: {wide}, {at}{density:.2f} macro cells per km2 (mean {macro.per_km2:.2f})")
    _finish(Cells.of_layers(made, where.plane), limits if rings else None, out, html, figure, as_json, name, where)


def rings(
    antennas: Annotated[Path | None, typer.Option(help="A CSV file of OpenCelliD.")] = None,
    infrastructure: Annotated[Path | None, typer.Option(help="Or any infrastructure: its cells are taken.")] = None,
    radio: Annotated[list[str] | None, typer.Option(help="GSM, UMTS, LTE, NR or CDMA; several times.")] = None,
    net: Annotated[list[int] | None, typer.Option(help="Code of the operator in its country; several times.")] = None,
    region: RegionText = None,
    merge_m: Annotated[
        float | None, typer.Option(help="Antennas of an operator no farther apart than this are one site.")
    ] = None,
    limit: LimitTexts = None,
    out: Out = None,
    html: Map = None,
    figure: Figure = None,
    as_json: Json = False,
) -> None:
    """Group cells under M1 switches, these in access rings, these under M2 switches, and on to M3."""
    check_finite(merge_m=merge_m)
    limits = limits_of(limit or [])
    check_outputs(out, html, figure)
    if (antennas is None) == (infrastructure is None):
        raise InputError("--antennas, --infrastructure", "none or both", "one of them")
    where = region_of(region) if region else None
    if where:
        say_others(where, as_json)
    if infrastructure is not None:
        from edgewright.core.infrastructure import exchange
        from edgewright.topology.build import Cells, left_out

        if radio or net or where or merge_m is not None:
            raise InputError("--infrastructure", "with --radio, --net, --region or --merge-m", "these with --antennas")
        found, notes = exchange.load(infrastructure)
        for note in notes:
            typer.echo(note, err=True)
        try:
            cells, name = Cells.of_infrastructure(found), infrastructure.stem
            cells.check_ids()
        except InputError as error:
            raise error.at(str(infrastructure)) from None
        if out_of := left_out(found):
            typer.echo(f"left out: {out_of}", err=as_json)
    else:
        from edgewright.topology import antennas as files

        assert antennas is not None
        read = files.read(antennas, radios=radio or (), nets=net or (), region=where)
        try:
            cells, name = files.cells(read, merged_m=merge_m), antennas.stem
        except InputError as error:
            raise error.at(str(antennas)) from None
        out_of = ", ".join(f"{many:,} by {reason}" for reason, many in read.left_out.items() if many)
        if out_of:
            typer.echo(f"left out: {out_of}", err=as_json)
        if len(cells) < len(read):
            typer.echo(f"{len(read):,} antennas merged to {len(cells):,} sites", err=as_json)
    if not as_json:
        typer.echo(f"{len(cells):,} cell{'s' * (len(cells) > 1)}")
    _finish(cells, limits, out, html, figure, as_json, name, where)


def convert(
    source: Annotated[Path, typer.Argument(help=".json (ours or node-link), .gml, .graphml or .geojson")],
    target: Annotated[Path, typer.Argument(help=".json, .gml, .graphml, .geojson or .nodelink.json")],
    delay_unit: Annotated[str | None, typer.Option(help="s, ms, us or ns, where the file does not tell.")] = None,
) -> None:
    """Read an infrastructure in one format and write it in another, saying what was assumed and left out."""
    from edgewright.core.infrastructure import exchange

    check_file(target, "TARGET")
    unit = choice_of("--delay-unit", delay_unit, get_args(exchange.DelayUnit)) if delay_unit else None
    found, notes = exchange.load(source, delay_unit=unit)
    exchange.save(found, target)
    for note in notes:
        typer.echo(note)
    typer.echo(f"{len(found):,} nodes, {len(found.ends):,} links")


def _finish(
    cells: Cells,
    limits: Limits | None,
    out: Path | None,
    html: Path | None,
    figure: Path | None,
    as_json: bool,
    name: str,
    region: Region | None,
) -> None:
    """Switches above these cells, files and words."""
    from edgewright.topology.build import alone, with_rings
    from edgewright.topology.rings import rings as group

    made = group(cells.xy, limits) if limits else None
    if out or html:
        infrastructure = with_rings(cells, made) if made else alone(cells)
        write_infrastructure(infrastructure, out, html, name, region)
    if figure and made:
        from edgewright.topology.figures import of_rings

        of_rings(made, figure)
    if as_json:
        typer.echo(json.dumps(made.counts() if made else {"cells": len(cells)}))
    elif made:
        _say(made)


def _say(made: Rings) -> None:
    members = len(made.cells)
    for name, level in made.levels.items():
        most = getattr(made.limits, name)
        noun = f"{name.upper()} switch" if name.startswith("m") else name.replace("_", " ")
        noun += ("es" if noun.endswith("h") else "s") * (len(level) > 1)
        mean, far_km = members / len(level), most.distance_m / 1e3
        typer.echo(f"{len(level):>9,} {noun} of {mean:.2f} in the mean, at most {most.members} within {far_km:g} km")
        members = len(level)


def _where(city: str | None, radius_km: float | None, region: str | None, as_json: bool) -> tuple[Region, str]:
    """Raises InputError."""
    from edgewright.topology.areas import find_city, radius_m
    from edgewright.topology.regions import Region

    if (city is None) == (region is None):
        raise InputError("--city, --region", "none or both", "one of them")
    if region is not None:
        if radius_km is not None:
            raise InputError("--radius-km", radius_km, "with --city")
        where = region_of(region)
        try:
            _ = where.window  # on a plane
        except InputError as error:
            raise error.at(region) from None
        say_others(where, as_json)
        return where, Path(region).stem if region.lower().endswith(GEOJSON) else region
    assert city is not None
    found = find_city(city)
    if found.of_name > 1:
        typer.echo(f"{found}: the largest of {found.of_name} of this name", err=as_json)
    wide = radius_m(found.population) if radius_km is None else radius_km * 1e3
    return Region.circle(found.lon, found.lat, wide), str(found)


def _areas(path: Path | None, region: Region, as_json: bool) -> list[Area]:
    """Raises InputError."""
    from edgewright.topology import areas

    if path:
        return areas.read(path, lambda what: typer.echo(f"left out: {what}", err=as_json))
    return areas.cities_in(region)
