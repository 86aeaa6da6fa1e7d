"""The `edgewright` command.

One small file per verb group: a module here with a Typer `app` becomes the group of its name, one with a function
`command` the command of its name. They import what is heavy inside their functions, so that `--help` stays quick.
Exit codes: 0 ok, 1 failed, 2 bad input (any InputError, told here for all verbs), 3 infeasible.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import edgewright
from edgewright.core.errors import CapacityError, InputError


class _Told(TyperGroup):
    """Bad input is a message and exit code 2, never a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (InputError, CapacityError) as error:
            typer.secho(f"edgewright: {error}", fg="red", err=True)
            raise typer.Exit(2) from None


app = typer.Typer(
    cls=_Told,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Plan, simulate and operate services at the network edge.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgewright {edgewright.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    pass


for _found in pkgutil.iter_modules(__path__):
    _module = import_module(f"{__name__}.{_found.name}")
    if hasattr(_module, "app"):
        app.add_typer(_module.app, name=_found.name)
    elif hasattr(_module, "command"):
        app.command(_found.name)(_module.command)
