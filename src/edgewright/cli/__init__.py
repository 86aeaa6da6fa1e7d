"""The `edgewright` command.

One small file per verb group: a module here with a Typer `app` becomes the group of its name, one with a function
`command` the command of its name. They import what is heavy inside their functions, so that `--help` stays quick.
Exit codes: 0 ok, 1 failed, 2 bad input, 3 infeasible; an InputError, a host that cannot and a file that cannot be
written are told here for all verbs.
"""

from __future__ import annotations

import errno
import pkgutil
import signal
import sys
import threading
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import edgewright
from edgewright.core.errors import CapacityError, InputError


class _Told(TyperGroup):
    """Bad input is a message and exit code 2, what this host cannot do one and exit code 1; never a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (InputError, CapacityError) as error:
            typer.secho(f"edgewright: {error}", fg="red", err=True)
            raise typer.Exit(2) from None
        except Exception as error:
            said = str(error) if _host_failed(error) else _unwritten(error)
            if said is None:
                raise
            typer.secho(f"edgewright: {said}", fg="red", err=True)
            raise typer.Exit(1) from None


def _host_failed(error: Exception) -> bool:
    """Looked up among the modules that are there: `--help`, which ends by an exception too, must import none."""
    kinds = (
        ("edgewright.drivers.host", "HostError"),
        ("edgewright.drivers.linux.cgroups", "Unavailable"),
        ("edgewright.drivers.linux.namespaces", "NetworkError"),
        ("edgewright.drivers.linux.criu", "CriuError"),
    )
    return any(name in sys.modules and isinstance(error, getattr(sys.modules[name], kind)) for name, kind in kinds)


def _unwritten(error: Exception) -> str | None:
    """Of a file that cannot be written; files that cannot be read are an InputError."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
    if not isinstance(error, OSError) or (error.filename is None and error.errno not in full):
        return None
    return f"cannot write {'a file' if error.filename is None else error.filename}: {error.strerror or error}"


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
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _unwind)


def _unwind(number: int, _: object) -> None:
    """As Ctrl-C does: what a command started on this host ends with it."""
    raise SystemExit(128 + number)


for _found in pkgutil.iter_modules(__path__):
    _module = import_module(f"{__name__}.{_found.name}")
    if hasattr(_module, "app"):
        app.add_typer(_module.app, name=_found.name)
    elif hasattr(_module, "command"):
        app.command(_found.name)(_module.command)
