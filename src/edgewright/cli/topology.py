"""`edgewright topology`: from antennas to the switches and rings of a 5G network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgewright.cli.options import Json, check_picture
from edgewright.core.errors import InputError

if TYPE_CHECKING:
    from edgewright.topology.antennas import Region
    from edgewright.topology.rings import Limits

app = typer.Typer(no_args_is_help=True, help="5G infrastructure: cells, and the switches and rings above them.")


@app.callback()
def group() -> None:
    """Verbs of their own, although there is one."""


@app.command()
def rings(
    antennas: Annotated[Path, typer.Option(help="A CSV file of OpenCelliD.")],
    radio: Annotated[list[str] | None, typer.Option(help="GSM, UMTS, LTE, NR or CDMA; several times.")] = None,
    net: Annotated[list[int] | None, typer.Option(help="Code of the operator in its country; several times.")] = None,
    region: Annotated[str | None, typer.Option(help="WEST,SOUTH,EAST,NORTH in degrees.")] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(help="LEVEL=MEMBERS/KM of m1, access_ring, m2, aggregation_ring or m3; m1=6/10 by default."),
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw cells, switches and rings here, .png.")] = None,
    as_json: Json = False,
) -> None:
    """Group cells under M1 switches, these in access rings, these under M2 switches, and on to M3."""
    from edgewright.topology import antennas as files
    from edgewright.topology.places import to_metres
    from edgewright.topology.rings import LEVELS
    from edgewright.topology.rings import rings as group

    limits = _limits(limit or [])
    if figure:
        check_picture(figure)
    found = files.read(antennas, radios=radio or (), nets=net or (), region=_region(region) if region else None)
    made = group(to_metres(found.lon, found.lat), limits)
    if figure:
        from edgewright.topology.figures import of_rings

        of_rings(made, figure)
    out = ", ".join(f"{many:,} by {reason}" for reason, many in found.left_out.items() if many)
    if as_json:
        typer.echo(json.dumps(made.counts()))
        if out:
            typer.echo(f"left out: {out}", err=True)
        return
    typer.echo(f"{len(found):,} cell{'s' * (len(found) > 1)}" + (f"; left out: {out}" if out else ""))
    members = len(found)
    for name in LEVELS:
        level = made.levels[name]
        most = getattr(limits, name)
        noun = f"{name.upper()} switch" if name.startswith("m") else name.replace("_", " ")
        noun += ("es" if noun.endswith("h") else "s") * (len(level) > 1)
        mean, far_km = members / len(level), most.distance_m / 1e3
        typer.echo(f"{len(level):>7,} {noun} of {mean:.2f} in the mean, at most {most.members} within {far_km:g} km")
        members = len(level)


def _limits(texts: list[str]) -> Limits:
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


def _region(text: str) -> Region:
    """Raises InputError."""
    from edgewright.topology.antennas import Region

    try:
        west, south, east, north = map(float, text.split(","))
    except ValueError:
        raise InputError("--region", text, "WEST,SOUTH,EAST,NORTH in degrees") from None
    try:
        return Region(west, south, east, north)
    except InputError as error:
        raise error.at(f"--region {text}") from None
