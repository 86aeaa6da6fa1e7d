"""CSV files of the user, read so that what is wrong is named."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from edgewright.core.errors import InputError


@contextmanager
def opened(path: str | Path) -> Iterator[TextIO]:
    """A CSV file to read, with a byte order mark or without. Raises InputError naming the file, amid reading too."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            yield file
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError("file", str(path), f"a readable CSV file in UTF-8 ({error})", source=str(path)) from error


def read_rows(path: str | Path, columns: Collection[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Rows of a CSV file with a header line -> where each is, as "row 7", and what it has by column.

    Raises InputError naming the file, for one that cannot be read, that lacks a column, or has no row, and naming the
    row for one of another length.
    """
    empty = True
    with opened(path) as file:
        table = csv.DictReader(file, strict=True)
        header = table.fieldnames or []
        for column in columns:
            if column not in header:
                raise InputError(column, list(header), "a column of this name", source=str(path))
        for row in table:
            empty = False
            if None in row or None in row.values():  # what DictReader has of too many and of too few
                raise InputError(
                    f"row {table.line_num}", "another number of columns", f"{len(header)} columns", source=str(path)
                )
            yield f"row {table.line_num}", row
    if empty:
        raise InputError("file", "no rows", "at least one row", source=str(path))


def number(
    text: str | None, where: str, allowed: str, source: str | Path, good: Callable[[float], bool] = lambda _: True
) -> float:
    """What a text says. Raises InputError, with what is allowed in words, for anything that is not a `good` number."""
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and good(value)):
        raise InputError(where, text, allowed, source=str(source))
    return value
