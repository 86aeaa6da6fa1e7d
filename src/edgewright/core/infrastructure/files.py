"""Files `edgewright.infrastructure/1`: one row a node, one row a link, read strictly."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from edgewright.core import documents
from edgewright.core.documents import Part
from edgewright.core.errors import InputError
from edgewright.core.files import replacing
from edgewright.core.infrastructure.fields import InfrastructureFile, Link, Node
from edgewright.core.infrastructure.model import KINDS, LINK_NUMBERS, NODE_NUMBERS, RADIOS, Infrastructure, from_rows

_MOST = sys.float_info.max
FORMAT: str = get_args(InfrastructureFile.model_fields["format"].annotation)[0]


def read(path: str | Path) -> Infrastructure:
    """Raises InputError naming the file, the row and the field."""
    return build(documents.load(path), source=str(path))


def build(data: Any, *, source: str) -> Infrastructure:
    """Of the data of a file. Raises InputError."""
    if not _plain(data):
        documents.build(InfrastructureFile, data, source=source)  # says what is wrong, where something is
        data = documents.plain(data, source=source)
    try:
        return from_rows(data["nodes"], data.get("links", ()), data.get("directed", False))
    except InputError as error:
        raise error.at(source) from None


def write(infrastructure: Infrastructure, path: Path) -> Path:
    """One line a row, whole or not at all."""
    with replacing(path) as new, new.open("w", encoding="utf-8") as file:
        file.writelines(_text(infrastructure))
    return path


def _text(infrastructure: Infrastructure) -> Iterator[str]:
    head = json.dumps({"format": FORMAT, "directed": infrastructure.directed})
    yield head[:-1]
    for name, rows in (("nodes", infrastructure.node_rows()), ("links", infrastructure.link_rows())):
        yield f',\n "{name}": ['
        for i, row in enumerate(rows):
            yield (",\n  " if i else "\n  ") + json.dumps(row, ensure_ascii=False, allow_nan=False)
        yield "]"
    yield "}\n"


def _plain(data: Any) -> bool:
    """Whether all keys are known and all values of their types, limits of numbers apart; where not, or in doubt, the
    models of `fields` judge row by row, which takes three times as long.
    """
    return (
        isinstance(data, dict)
        and data.get("format") == FORMAT
        and data.keys() <= InfrastructureFile.model_fields.keys()
        and isinstance(data.get("directed", False), bool)
        and _plain_rows(data.get("nodes"), Node, NODE_NUMBERS, {"id": None, "kind": KINDS}, RADIOS)
        and _plain_rows(data.get("links", []), Link, LINK_NUMBERS, {"source": None, "target": None}, ())
    )


def _plain_rows(
    rows: Any,
    part: type[Part],
    numbers: Mapping[str, Any],
    texts: Mapping[str, tuple[str, ...] | None],
    radios: tuple[str, ...],
) -> bool:
    if not isinstance(rows, list) or not set(map(type, rows)) <= {dict}:
        return False
    if not set().union(*rows) <= part.model_fields.keys():
        return False
    for name, known in texts.items():
        values = [row.get(name) for row in rows]
        if not set(map(type, values)) <= {str}:
            return False
        if not (set(values) <= set(known) if known else all(0 < len(value) <= 200 for value in values)):
            return False
    named = [row["radio"] for row in rows if "radio" in row]
    if not all(type(radio) is list and all(type(name) is str and name in radios for name in radio) for radio in named):
        return False
    for name in numbers:
        values = [row.get(name, 0.0) for row in rows]
        if not set(map(type, values)) <= {int, float}:
            return False
        if not all(-_MOST <= value <= _MOST for value in values):  # 1e400 is infinite, 10**400 is no float
            return False
    return True
