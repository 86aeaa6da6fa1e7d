"""`edgewright topology sites` and `evaluate`: where edge sites must stand, by one solver or by all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgewright.cli.options import Json, Seed, check_file, writable
from edgewright.cli.topology.options import (
    Figure,
    Map,
    Out,
    RegionText,
    check_outputs,
    region_of,
    say_others,
    write_infrastructure,
)
from edgewright.core.errors import InputError
from edgewright.core.files import replacing

if TYPE_CHECKING:
    from edgewright.core.infrastructure import Infrastructure
    from edgewright.topology.siting import Terms
    from edgewright.topology.statistics import Envelope, Summary

INFEASIBLE = 3
FILES = ("evaluation.json", "loads.png", "sites.png", "spread.png")
Source = Annotated[Path, typer.Option("--infrastructure", help="With M1 and M2 switches, as `topology rings` makes.")]
Rtt = Annotated[float, typer.Option("--rtt-ms", help="Round-trip time that every cell must have.")]
Redundancy = Annotated[int, typer.Option(min=1, max=8, help="Different sites that each cell needs.")]
Cost = Annotated[list[str] | None, typer.Option(help="Of a site, RING=COST as in m1=1; 1 at both by default.")]
Served = Annotated[list[str] | None, typer.Option(help="Cells of a site, RING=CELLS; m1=6 and m2=144 by default.")]
Existing = Annotated[list[str] | None, typer.Option(help="Id of a switch that has a site already; several times.")]
TimeLimit = Annotated[
    float | None,
    typer.Option("--time-limit-s", help="Of a solver, a first answer apart; fast 40, exact 60 by default."),
]


def sites(
    infrastructure: Source,
    numerology: Annotated[str, typer.Option(help="fdd-30khz-2s, fdd-120khz-7s or tdd-120khz-7s.")] = "fdd-120khz-7s",
    rtt_ms: Rtt = 1.0,
    solver: Annotated[str, typer.Option(help="greedy, exact or fast.")] = "fast",
    redundancy: Redundancy = 1,
    cost: Cost = None,
    served: Served = None,
    existing: Existing = None,
    server: Annotated[
        list[str] | None, typer.Option(help="What a site has, for --out: RING=VCPUS/MEMORY_GB/STORAGE_GB/VCPU_PRICE.")
    ] = None,
    time_limit_s: TimeLimit = None,
    grid_m: Annotated[
        float | None, typer.Option(help="Sites on a grid of this step, not at switches; greedy only, as published.")
    ] = None,
    out: Out = None,
    html: Map = None,
    figure: Figure = None,
    as_json: Json = False,
) -> None:
    """Edge sites at M1 and M2 switches, so that every cell meets a round-trip time, at least cost."""
    from edgewright.topology import siting
    from edgewright.topology.build import with_sites
    from edgewright.topology.evaluation import Entry, timed, worst_rtt_s

    check_outputs(out, html, figure)
    _check_limit(time_limit_s)
    if grid_m is not None and (solver != "greedy" or out or html):
        raise InputError("--grid-m", grid_m, "with --solver greedy, and without --out and --map")
    if server and not (out or html):
        raise InputError("--server", server[0], "with --out or --map")
    servers = {f"m{ring}": values for ring, values in _by_ring("--server", server, 4).items()}
    found, terms = _terms(infrastructure, numerology, rtt_ms, redundancy, cost, served, existing, grid_m is not None)
    try:
        given, cells, ids = siting.problem(found, terms, grid_m)
    except InputError as error:
        raise error.at(str(infrastructure)) from None
    lon, lat = cells.plane.to_degrees(given.candidates)
    entry: Entry = timed(given, numerology, solver, time_limit_s)
    solution = entry.solution
    loads = solution.served(len(ids))
    worst = worst_rtt_s(given, solution, terms)
    rows: list[dict[str, Any]] = [
        {
            "switch": ids[j],
            "ring": f"M{given.ring[j]}",
            "lon": round(float(lon[j]), 6),
            "lat": round(float(lat[j]), 6),
            "served": int(loads[j]),
            "worst_rtt_ms": round(1e3 * float(far), 4),
            "existing": bool(given.existing[j]),
        }
        for j, far in zip(solution.sites, worst, strict=True)
    ]
    if out or html:
        write_infrastructure(
            with_sites(found, [row["switch"] for row in rows], servers), out, html, infrastructure.stem
        )
    if figure:
        from edgewright.topology.figures import of_sites

        of_sites([entry], figure)
    short = [name for name, lacks in zip(cells.ids, solution.lacking, strict=True) if lacks]
    if as_json:
        head = entry.row() | {
            "rtt_ms": rtt_ms,
            "sites": rows,
            "served": len(cells) - len(short),
            "uncovered": len(short),
        }
        typer.echo(json.dumps(head | {"without": short}))
    else:
        _say(entry.row(), rtt_ms, given.reach_m, given.ring)
        for row in rows[:20]:
            typer.echo("  {switch} ({ring}) at {lon}, {lat}: {served} cells, at most {worst_rtt_ms} ms".format(**row))
        if len(rows) > 20:
            typer.echo(f"  and {len(rows) - 20:,} more (--json, --out, --map)")
        if short:
            names = f"{', '.join(short[:10])}{' ...' if len(short) > 10 else ''}"
            typer.echo(f"infeasible: {len(short):,} of {len(cells):,} cells without the sites they need: {names}")
    if short:
        raise typer.Exit(INFEASIBLE)


def evaluate(
    infrastructure: Source,
    numerology: Annotated[list[str] | None, typer.Option(help="Several times; all by default.")] = None,
    rtt_ms: Rtt = 1.0,
    solver: Annotated[list[str] | None, typer.Option(help="Several times; all by default.")] = None,
    redundancy: Redundancy = 1,
    cost: Cost = None,
    served: Served = None,
    existing: Existing = None,
    time_limit_s: TimeLimit = None,
    region: RegionText = None,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="A folder for the table and the figures.")] = None,
    as_json: Json = False,
) -> None:
    """How cells are spread, beside pure chance; and solvers of edge sites beside each other, for each numerology, each
    answer judged anew.
    """
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    from edgewright.topology.evaluation import compare
    from edgewright.topology.siting import NUMEROLOGIES
    from edgewright.topology.solvers import SOLVERS

    _check_limit(time_limit_s)
    if out:
        writable(out, "--out")
        for name in FILES:
            check_file(out / name, "--out")
    names = numerology or list(NUMEROLOGIES)
    found, terms = _terms(infrastructure, names[0], rtt_ms, redundancy, cost, served, existing)
    found_spread, near = _spread(found, infrastructure, region, seed, as_json)
    entries = []
    try:
        for entry in compare(found, names, solver or list(SOLVERS), terms, time_limit_s):
            entries.append(entry)
            if not as_json:
                typer.echo(f"{entry.numerology} {entry.solver}: {entry.seconds:.1f} s", err=True)
    except InputError as error:
        raise error.at(str(infrastructure)) from None
    rows = [entry.row() for entry in entries]
    if out:
        from edgewright.topology.figures import of_loads, of_sites, of_spread

        with replacing(out / FILES[0]) as new:
            new.write_text(json.dumps({"cells": near, "siting": rows}, indent=1) + "\n")
        if found_spread:
            of_spread(*found_spread, out / "spread.png")
        of_loads(entries, out / "loads.png")
        of_sites(entries, out / "sites.png")
    if as_json:
        typer.echo(json.dumps({"cells": near, "siting": rows}))
    else:
        table = Table(title=f"{infrastructure.stem}, {rtt_ms:g} ms", box=SIMPLE, padding=(0, 1, 0, 0))
        columns = ("numerology", "solver", "m1", "m2", "uncovered", "value", "bound", "gap", "seconds")
        for column in columns:
            table.add_column(column, justify="left" if column in columns[:2] else "right", no_wrap=True)
        for row in rows:
            table.add_row(*(f"{row[name]:.2%}" if name == "gap" else f"{row[name]}" for name in columns))
        Console().print(table)
    if any(row["uncovered"] for row in rows):
        raise typer.Exit(INFEASIBLE)


def _spread(
    found: Infrastructure, path: Path, region: str | None, seed: int, as_json: bool
) -> tuple[tuple[Summary, Envelope] | None, dict[str, Any]]:
    """How cells lie, also in words; nothing where they are too few for it, and why."""
    from edgewright.topology.build import Cells
    from edgewright.topology.evaluation import spread

    try:
        every = len(Cells.of_infrastructure(found))
    except InputError as error:
        raise error.at(str(path)) from None
    where = region_of(region) if region else None
    if where:
        say_others(where, as_json)
    try:
        cells, chance = spread(found, where, seed)
    except InputError as error:
        typer.echo(f"{every:,} cells; no statistics of how they lie: {error}", err=as_json)
        return None, {"points": every, "reason": str(error)}
    place = "region" if where else "box around them"
    if not as_json:
        typer.echo(
            f"{cells.points:,} of {every:,} cells in the {place}, {cells.per_km2:.2f} per km2; the nearest at "
            f"{cells.nearest_m:.0f} m in the mean, {cells.clark_evans:.2f} of what chance has; sites are for all cells"
        )
    names = ("points", "per_km2", "nearest_m", "clark_evans")
    return (cells, chance), {name: getattr(cells, name) for name in names} | {"in": place}


def _terms(
    path: Path,
    numerology: str,
    rtt_ms: float,
    redundancy: int,
    cost: list[str] | None,
    served: list[str] | None,
    existing: list[str] | None,
    on_grid: bool = False,
) -> tuple[Infrastructure, Terms]:
    """The infrastructure, and what is asked of its sites; those that its servers show exist. Raises InputError."""
    from edgewright.core.infrastructure import exchange
    from edgewright.topology import siting
    from edgewright.topology.build import sites_of

    radio = siting.numerology(numerology)
    costs = siting.COST | {ring: values[0] for ring, values in _by_ring("--cost", cost, 1).items()}
    cells = dict(siting.SERVED)
    for ring, (many,) in _by_ring("--served", served, 1).items():
        if many < 1 or many % 1:
            raise InputError("--served", f"m{ring}={many:g}", "a whole number of cells >= 1")
        cells[ring] = int(many)
    found, notes = exchange.load(path)
    for note in notes:
        typer.echo(note, err=True)
    there = frozenset([*(existing or ()), *(() if on_grid else sites_of(found))])
    return found, siting.Terms(radio, rtt_ms / 1e3, redundancy, cells, costs, there)


def _by_ring(option: str, texts: list[str] | None, many: int) -> dict[int, list[float]]:
    """Raises InputError."""
    found = {}
    for text in texts or ():
        ring, _, values = text.partition("=")
        try:
            numbers = [float(value) for value in values.split("/")]
        except ValueError:
            numbers = []
        if ring not in ("m1", "m2") or len(numbers) != many or not all(0 <= value < 1e12 for value in numbers):
            form = "/".join(["NUMBER"] * many)
            raise InputError(option, text, f"m1={form} or m2={form}, numbers >= 0")
        found[int(ring[1])] = numbers
    return found


def _check_limit(time_limit_s: float | None) -> None:
    """Raises InputError."""
    if time_limit_s is not None and not 0 <= time_limit_s < 1e9:
        raise InputError("--time-limit-s", time_limit_s, "a number of seconds >= 0")


def _say(row: dict[str, Any], rtt_ms: float, reach_m: Any, ring: Any) -> None:
    reach = ", ".join(f"M{m} {reach_m[ring == m][0] / 1e3:g} km" for m in (1, 2) if (ring == m).any())
    typer.echo(f"{row['numerology']}, {rtt_ms:g} ms: a site reaches ({reach})")
    proof = "as many cells as can be; " if row["uncovered"] else ""
    proof += "proven optimal" if row["gap"] == 0 else f"bound {row['bound']:g}, gap {row['gap']:.2%}"
    why = f" ({row['reason']})" if row["reason"] else ""
    many = f"{row['m1'] + row['m2']:,} site{'s' * (row['m1'] + row['m2'] != 1)}"
    typer.echo(
        f"{many}, {row['m1']:,} at M1 and {row['m2']:,} at M2, cost {row['value']:g}; {proof}{why}; "
        f"{row['solver']}, {row['seconds']:.1f} s"
    )
