"""Versioned files, read strictly: an unknown key, a wrong type, a NaN or a duplicate is an error that says where.

A document is a frozen pydantic model whose first field is `format: Literal["edgewright.<capability>/<version>"]`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgewright.core.errors import InputError


class Part(BaseModel):
    """A piece of a document: frozen, no unknown keys, no coercion of text to numbers, no NaN or infinity."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Document(Part):
    """A whole file."""

    format: str


Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
D = TypeVar("D", bound=Document)
P = TypeVar("P", bound=BaseModel)


def read(kind: type[D], path: str | Path) -> D:
    """Read a JSON or YAML document. Raises InputError naming the file and the field."""
    return build(kind, load(path), source=str(path))


def parse(kind: type[D], text: str, *, source: str, yaml_syntax: bool = False) -> D:
    """Parse the text of a document; `source` is named in errors."""
    data = load_yaml(text, source=source) if yaml_syntax else load_json(text, source=source)
    return build(kind, data, source=source)


def build(kind: type[D], data: Any, *, source: str) -> D:
    """A document from its data. Raises InputError."""
    if not isinstance(data, Mapping):
        raise InputError("document", data, "a mapping of fields", source=source)
    expected = get_args(kind.model_fields["format"].annotation)
    if data.get("format") not in expected:
        raise InputError("format", data.get("format"), " or ".join(map(repr, expected)), source=source)
    return validate(kind, data, source=source)


def load(path: str | Path) -> Any:
    """The data of a JSON or YAML file. Raises InputError."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("file", str(path), "a readable UTF-8 text file", source=str(path)) from error
    return (load_yaml if path.suffix in {".yaml", ".yml"} else load_json)(text, source=str(path))


def load_json(text: str, *, source: str) -> Any:
    """The data of a JSON text. Raises InputError for no JSON, a NaN, a key twice, half a character, a NUL."""
    try:
        data = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
        if "\\u" in text.lower():
            _check_scalars(data)
        return data
    except InputError as error:
        raise error.at(source) from None
    except (ValueError, RecursionError) as error:  # a number of too many digits, and nesting that is too deep, too
        raise InputError("syntax", str(error), "valid JSON", source=source) from None


def load_yaml(text: str, *, source: str) -> Any:
    """The data of a YAML text. Raises InputError for no YAML, a key that comes twice, aliases without end."""
    try:
        data = yaml.load(text, Loader=_StrictYaml)  # noqa: S506  (a SafeLoader)
        _bound(data, 4 * len(text) + 1_000_000)  # never reached without aliases
        if "\\" in text:
            _check_scalars(data)
        return data
    except InputError as error:
        raise error.at(source) from None
    except Exception as error:  # beside YAMLError whatever the conversion of a value raises: PyYAML lets it through
        raise InputError("syntax", str(error), "valid YAML", source=source) from None


def validate(kind: type[P], data: Any, *, source: str) -> P:
    """Validate plain data against a model; every finding becomes one InputError, the first is raised."""
    try:
        # Plain data from JSON or YAML has lists where the model has tuples: validate it as JSON.
        return kind.model_validate_json(_as_json(data, source))
    except ValidationError as error:
        raise input_error(error, source) from None


def plain(data: Any, *, source: str) -> Any:
    """The same data as JSON has it: keys are text, numbers finite. Raises InputError."""
    return json.loads(_as_json(data, source))


def _as_json(data: Any, source: str) -> str:
    try:
        return json.dumps(data, allow_nan=False)
    except ValueError as error:
        try:
            _check_scalars(data)
        except InputError as named:
            raise named.at(source) from None
        raise InputError("document", str(error), "data without itself inside", source=source) from None
    except TypeError as error:
        raise InputError("document", str(error), "text, numbers, lists and mappings only", source=source) from None
    except RecursionError as error:
        raise InputError("document", str(error), "less nesting", source=source) from None


def input_error(error: ValidationError, source: str | None) -> InputError:
    """The first finding of a pydantic error in our words."""
    first = error.errors(include_url=False)[0]
    cause = (first.get("ctx") or {}).get("error")
    field = ".".join(str(part) for part in first["loc"]) or "document"
    if isinstance(cause, InputError):
        inside = f"{field}.{cause.field}" if field != "document" else cause.field
        return InputError(inside, cause.given, cause.allowed, source=source)
    allowed = {"extra_forbidden": "no such key", "missing": "this key is required"}.get(
        first["type"], first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    )
    given = "nothing" if first["type"] == "missing" else first["input"]
    return InputError(field, given, allowed, source=source)


def unique(values: Iterable[Hashable], field: str, allowed: str = "a name used once") -> None:
    """Raise InputError at the first value that comes twice; a `{}` in `field` becomes its position."""
    seen: set[Hashable] = set()
    for i, value in enumerate(values):
        if value in seen:
            raise InputError(field.format(i), value, allowed)
        seen.add(value)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        unique((key for key, _ in pairs), "key")
    return data


def _no_constant(name: str) -> float:
    raise InputError("number", name, "finite numbers only")


def _bound(data: Any, most: int) -> None:
    """Through aliases a few lines can stand for more data than there is memory, or contain themselves."""
    waiting = [data]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting += [*part, *part.values()]
        elif isinstance(part, list | tuple):
            waiting += part
        else:
            most -= len(str(part))
        most -= 1
        if most < 0:
            raise InputError("aliases", "far more data than text", "fewer of them, and none inside itself")


def _check_scalars(data: Any) -> None:
    """Half of a surrogate pair nothing could write out again, a NUL no database would keep, JSON has no infinity."""
    waiting = [("document", data)]
    while waiting:
        path, part = waiting.pop()
        inside = f"{path}." if path != "document" else ""
        if isinstance(part, dict):
            waiting += [(path, key) for key in part] + [(f"{inside}{key}", value) for key, value in part.items()]
        elif isinstance(part, list | tuple):
            waiting += [(f"{inside}{i}", value) for i, value in enumerate(part)]
        elif isinstance(part, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in part):
            raise InputError(path, part, "text without NUL and unpaired surrogates")
        elif isinstance(part, float) and not math.isfinite(part):
            raise InputError(path, part, "finite numbers only")


class _StrictYaml(yaml.SafeLoader):
    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        if isinstance(node, yaml.MappingNode):
            if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
                raise InputError("key", "<<", "no merge keys: write the fields out")
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            unique((str(key) for key in keys if isinstance(key, Hashable)), "key")
        return super().construct_mapping(node, deep=deep)

    def construct_yaml_int(self, node: Any) -> int:
        value = super().construct_yaml_int(node)
        str(value)  # a ValueError past Python's limit of decimal digits: a hexadecimal one would raise it when told
        return value


_StrictYaml.add_constructor("tag:yaml.org,2002:int", _StrictYaml.construct_yaml_int)
