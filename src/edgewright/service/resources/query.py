"""Queries of TMF630 (Part 1: filtering, sorting, paging, attribute selection), and what they mean for a body.

A condition speaks of the scalars at a path; a path has no array indices: `place.name` is the name of every place, and
conditions hold each for itself, of one element or another. A scalar's text is the string, or the number or truth value
as JSON writes it; a date-time (RFC 3339; without an offset in UTC) is in UTC with microseconds. null is absent.

    a=x, a.eq=x     a scalar's text is x, or its number is where both are numbers (a JSON number; double precision)
    a.ne=x          what `a.eq=x` does not find, with those without an `a`
    a.gt, .gte, ... as numbers where both are, else as text by code points
    a.regex=x       RE2 finds x anywhere in a text (in linear time: no look-around, no back references; `(?i)` is there)
    a=x,y           x or y (`ne`: neither); a regular expression keeps its commas
    a=x&a=y         both
"""

from __future__ import annotations

import math
import operator
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, cast, get_args

import re2  # type: ignore[import-untyped]

from edgewright.core.errors import InputError

Json = dict[str, Any]
Operator = Literal["eq", "ne", "gt", "gte", "lt", "lte", "regex"]
ORDERINGS: dict[str, Callable[[Any, Any], Any]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
DEFAULT_LIMIT, MAX_LIMIT, MAX_OFFSET = 100, 1000, 10**9
MAX_CONDITIONS, MAX_VALUES, MAX_SORT, MAX_REGEX = 50, 100, 8, 1000
MAX_REGEX_BYTES = 65536
NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
# A plus that nobody escaped comes out of a URL as a space.
DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+ -]\d\d:?\d\d)?", re.ASCII)


@dataclass(frozen=True)
class Condition:
    path: str
    operator: Operator
    values: tuple[str, ...]  # one of them


@dataclass(frozen=True)
class Query:
    conditions: tuple[Condition, ...] = ()  # all of them
    sort: tuple[tuple[str, bool], ...] = ()  # path, descending
    offset: int = 0
    limit: int = DEFAULT_LIMIT
    fields: tuple[str, ...] | None = None  # None: all; empty: id and href


class Scalar(NamedTuple):
    path: str
    text: str
    number: float | None


def parse_query(parameters: Iterable[tuple[str, str]], paths: Callable[[str], bool]) -> Query:
    """`parameters` as decoded from a URL; `paths` says whether the resource has a dotted path.

    Raises InputError with the parameter's name.
    """
    conditions: list[Condition] = []
    sort: list[tuple[str, bool]] = []
    fields: list[str] | None = None
    page: dict[str, int] = {}
    for name, value in parameters:
        check_text(name, value)
        if name in ("offset", "limit"):
            if name in page:
                raise InputError(name, value, "given once")
            page[name] = _whole(name, value, MAX_OFFSET if name == "offset" else MAX_LIMIT)
        elif name == "sort":
            sort += [(path.lstrip("+- "), path.startswith("-")) for path in value.split(",")]
        elif name == "fields":
            fields = (fields or []) + [each.strip() for each in value.split(",") if each.strip() != "none"]
        else:
            conditions.append(_condition(name, value, paths))
    for path in (path for path, _ in sort):
        if not paths(path):
            raise InputError("sort", path, "attributes of the resource, `-` before one for descending")
    for field in fields or ():
        if not paths(field):
            raise InputError("fields", field, "attributes of the resource, or none")
    if len(sort) > MAX_SORT:
        raise InputError("sort", len(sort), f"at most {MAX_SORT} attributes")
    if len(conditions) > MAX_CONDITIONS:
        raise InputError(conditions[-1].path, len(conditions), f"at most {MAX_CONDITIONS} conditions")
    return Query(tuple(conditions), tuple(sort), fields=None if fields is None else tuple(fields), **page)


def _condition(name: str, value: str, paths: Callable[[str], bool]) -> Condition:
    path, _, last = name.rpartition(".")
    if not path or last not in get_args(Operator):
        path, last = name, "eq"
    if not paths(path):
        allowed = f"as a parameter an attribute of the resource, and one of .{', .'.join(get_args(Operator))} after it"
        raise InputError(name, value, allowed)
    if last == "regex":
        compiled(name, value)
        return Condition(path, "regex", (value,))
    values = tuple(value.split(","))
    if len(values) > MAX_VALUES:
        raise InputError(name, len(values), f"at most {MAX_VALUES} values")
    return Condition(path, cast(Operator, last), values)


def _whole(name: str, value: str, most: int) -> int:
    if not re.fullmatch(r"\d{1,10}", value, re.ASCII) or int(value) > most:
        raise InputError(name, value, f"a whole number 0 .. {most}")
    return int(value)


def compiled(name: str, pattern: str) -> Any:
    """A regular expression of RE2. Raises InputError."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_REGEX_BYTES  # bounds its program, and so the time for each character
    try:
        if len(pattern) > MAX_REGEX:
            raise InputError(name, pattern, f"a regular expression of at most {MAX_REGEX} characters")
        return re2.compile(pattern, options)
    except re2.error as error:
        raise InputError(name, pattern, f"a regular expression of RE2 ({error.args[0].decode()})") from None


def check_text(name: str, text: str) -> None:
    """Raises InputError for what a database cannot hold: NUL and halves of surrogate pairs."""
    if not text.isprintable() and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text):
        raise InputError(name, text, "text without NUL and unpaired surrogates")


def matches(body: Json, conditions: Iterable[Condition]) -> bool:
    """Whether all hold: what a search in the store finds."""
    found: defaultdict[str, list[Scalar]] = defaultdict(list)
    for scalar in scalars(body):
        found[scalar.path].append(scalar)
    return all(_holds(condition, found[condition.path]) for condition in conditions)


def _holds(condition: Condition, there: list[Scalar]) -> bool:
    if condition.operator == "regex":
        return any(compiled(condition.path, each).search(s.text) for each in condition.values for s in there)
    values = [comparable(value) for value in condition.values]
    if condition.operator in ("eq", "ne"):
        equal = any(s.text == text or None is not number == s.number for text, number in values for s in there)
        return equal == (condition.operator == "eq")
    holds = ORDERINGS[condition.operator]
    return any(
        holds(s.text, text) if number is None or s.number is None else holds(s.number, number)
        for text, number in values
        for s in there
    )


def select_fields(body: Json, fields: Iterable[str] | None) -> Json:
    """Those attributes, whole or a part (`place.name`), and always id and href; @type too where any are asked for."""
    if fields is None:
        return body
    asked = tuple(fields)
    selected: Json = _select(body, ("id", "href", *asked, *(("@type",) if asked else ())))
    return selected


def _select(value: Any, fields: Iterable[str]) -> Any:
    if isinstance(value, list):
        return [_select(each, fields) for each in value]
    if not isinstance(value, dict):
        return value
    inner: dict[str, list[str]] = {}
    for field in fields:
        name, _, rest = field.partition(".")
        inner.setdefault(name, []).append(rest)
    return {
        name: each if "" in inner[name] else _select(each, inner[name]) for name, each in value.items() if name in inner
    }


def scalars(body: Json, levels: float = math.inf) -> Iterator[Scalar]:
    """All, in the order of the body. Raises InputError for more `levels` of objects and arrays, and infinite ones."""
    ahead: list[tuple[str, Any, int]] = [("", body, 1)]
    while ahead:
        path, value, level = ahead.pop()
        if isinstance(value, dict | list):
            if level > levels:
                raise InputError(path, "deeper objects and arrays", f"at most {levels} levels")
            if isinstance(value, list):
                ahead += [(path, each, level + 1) for each in reversed(value)]
            else:
                start = f"{path}." if path else ""
                ahead += [(start + name, each, level + 1) for name, each in reversed(value.items())]
        elif isinstance(value, str):
            yield Scalar(path, _normal(value), None)
        elif isinstance(value, bool):
            yield Scalar(path, "true" if value else "false", None)
        elif value is not None:
            text = repr(value)
            if text in ("nan", "inf", "-inf"):
                raise InputError(path, value, "a finite number")
            yield Scalar(path, text, _number(text))


def comparable(value: str) -> tuple[str, float | None]:
    """Text and number of a value in a query."""
    return _normal(value), _number(value)


def _number(text: str) -> float | None:
    if not NUMBER.fullmatch(text):
        return None
    number = float(text)
    return number if abs(number) != float("inf") else None


def _normal(text: str) -> str:
    """A date-time in UTC, so that the order of texts is that of time."""
    if len(text) < 16 or text[4] != "-" or not DATE_TIME.fullmatch(text):
        return text
    try:
        moment = datetime.fromisoformat(text.upper().replace(" ", "+"))
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # no such day, or beyond the years
        return text
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
