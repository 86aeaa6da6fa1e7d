"""Options that several verb groups share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from edgewright.core.errors import InputError

Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Seed = Annotated[int, typer.Option(min=0)]


def check_file(path: Path, option: str) -> None:
    """Before the work: a file of this name can be written. Raises InputError."""
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError(option, str(path), "a file in a folder that exists and can be written")
