"""`edgewright doctor`: what this host can do for real, and why not."""

from __future__ import annotations

import typer

from edgewright.cli.options import Json


def command(as_json: Json = False) -> None:
    """What this host can do for real, found by doing the smallest real thing; and why not."""
    from dataclasses import asdict

    from edgewright.drivers.capabilities import probe

    found = probe()
    if as_json:
        import json

        typer.echo(json.dumps([asdict(capability) for capability in found], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("", "capability", "found, or why not", box=None)
    for capability in found:
        table.add_row("[green]yes[/]" if capability.available else "[red]no[/]", capability.title, capability.reason)
    Console().print(table)
