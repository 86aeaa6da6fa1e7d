"""Options that several verb groups share."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from edgewright.core.errors import InputError

Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Jobs = Annotated[int | None, typer.Option(min=1, help="Processes. Default: one a core.")]
Seed = Annotated[int, typer.Option(min=0)]


def check_file(path: Path, option: str) -> None:
    """Before the work: a file of this name can be written. Raises InputError."""
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError(option, str(path), "a file in a folder that exists and can be written")


def check_picture(path: Path, option: str = "--figure") -> None:
    """Before the work: a picture of this name can be drawn. Raises InputError."""
    if path.suffix != ".png":
        raise InputError(option, str(path), "a name that ends in .png")
    check_file(path, option)


def writable(folder: Path, option: str) -> None:
    """Before hours of work: make the folder and try it. Raises InputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(option, str(folder), f"a folder that can be written ({error})") from None
