"""`edgewright topology`: from a city or from antennas to the switches, rings and edge sites of a 5G network."""

from __future__ import annotations

import typer

from edgewright.cli.topology import network, siting

app = typer.Typer(no_args_is_help=True, help="5G infrastructure: cells, the switches and rings above them, edge sites.")
for verb in (network.generate, network.rings, siting.sites, siting.evaluate, network.convert):
    app.command()(verb)
