"""`edgewright up`: run the orchestrator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgewright.service.up import Orchestrator


def command(
    port: Annotated[int | None, typer.Option(help="Default: 8741, or the next free one.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: 127.0.0.1.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of database, logs, state.")] = None,
    scenario: Annotated[Path | None, typer.Option(help="Scenario of the first loop, or none. Default: demo.")] = None,
    backhaul: Annotated[Path | None, typer.Option(help="Scenario of a backhaul loop. Default: none.")] = None,
    migration: Annotated[Path | None, typer.Option(help="Scenario of a migration loop. Default: none.")] = None,
    role: Annotated[str | None, typer.Option(help="all, api, loops or ui.")] = None,
    new_key: Annotated[bool, typer.Option("--new-key", help="Make another API key and print it once.")] = False,
) -> None:
    """Run the orchestrator: loops, API and page. Further settings: EDGEWRIGHT_* (see docs/service.md)."""
    from edgewright.service.settings import bind, read_settings
    from edgewright.service.store import StoreError
    from edgewright.service.up import log_to_stderr, orchestrator, prepare_process, run

    log_to_stderr()
    prepare_process()
    settings = read_settings(
        port=port, host=host, data_dir=data, scenario=scenario, backhaul=backhaul, migration=migration, role=role
    )
    try:
        made = orchestrator(settings, bind(settings), new_key=new_key)
    except StoreError as error:
        typer.secho(f"edgewright: {error}", fg="red", err=True)
        raise typer.Exit(1) from None
    run(made, _tell)


def _tell(made: Orchestrator) -> None:
    typer.echo(f"edgewright is up: {made.page}")
    if made.first_key:
        typer.echo(f"API key (shown this once, also in the address): {made.first_key}")
    else:
        typer.echo("API key: as printed at the first start; `edgewright up --new-key` makes another")
    if made.runtime is None:
        return
    typer.echo(f"API: {made.address}/api/docs   data: {made.settings.data_dir}")
    for name, loop in made.runtime.loops.items():
        typer.echo(f"loop {name}: {loop.driver.kind} ({loop.driver.reason})")
    for name, router in made.runtime.backhauls.loops.items():
        typer.echo(f"backhaul {name}: {router.choice.kind} ({router.choice.reason})")
    for name, follower in made.runtime.migrations.loops.items():
        typer.echo(f"migration {name}: {follower.choice.kind} ({follower.choice.reason})")
    if not made.runtime.active:
        typer.echo("another worker runs the loops; this one serves the API")
