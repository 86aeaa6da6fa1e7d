"""Resources: what a search in either database finds is what `matches` says; patches."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cmp_to_key
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import event, func, select

from edgewright.core.errors import InputError
from edgewright.service.resources.collection import MAX_SCALARS, Collection, Found
from edgewright.service.resources.patch import merge_patch
from edgewright.service.resources.query import (
    Condition,
    Query,
    Scalar,
    matches,
    parse_query,
    scalars,
    select_fields,
)
from edgewright.service.store import Store, StoreError
from edgewright.service.store.tables import AttributeRow, ResourceRow

Json = dict[str, Any]


def parsed(text: str) -> Query:
    return parse_query(parse_qsl(text, keep_blank_values=True), lambda path: not path.startswith("unknown"))


@contextmanager
def collection(store: Store, *bodies: Json) -> Iterator[Collection]:
    """Of a kind of its own, gone at the end."""
    with store.write() as session:
        made = Collection(session, uuid.uuid4().hex)
        for n, body in enumerate(bodies):
            made.add(str(n), {**body, "id": str(n)})
        yield made
        session.rollback()


def ids(found: Found) -> list[str]:
    return [body["id"] for body in found.bodies]


# What a query means

SERVICES: list[Json] = [
    {"name": "camera", "priority": 1, "isBundle": True, "startDate": "2026-03-01T12:00:00+01:00"},
    {"name": "Beta", "priority": 10, "isBundle": False, "startDate": "2026-03-01T11:30:00Z"},
    {"name": "x" * 150 + "a", "priority": 2.5, "place": [{"name": "Oulu"}, {"name": "Turin", "floor": 3}]},
    {"name": "x" * 150 + "b", "priority": "2", "place": {"name": "Oulu"}, "note": None, "tags": ["a,b", "1.0"]},
]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "0123"),
        ("name=camera", "0"),
        ("name.eq=camera,Beta", "01"),
        ("name.ne=camera,Beta", "23"),
        (f"name={'x' * 150}b", "3"),  # alike as far as the index goes
        ("place.name=Oulu", "23"),
        ("place.name=Oulu&place.name=Turin", "2"),  # both, each of an element
        ("place.name.ne=Oulu", "01"),
        ("priority=1", "0"),
        ("priority=1.0", "0"),
        ("priority=2", "3"),
        ("priority.gt=2", "12"),  # as numbers, and 3 as text is no greater
        ("priority.gt=2.5", "1"),
        ("priority.gte=2.5&priority.lt=1e1", "2"),
        ("priority.lte=1,foo", "0123"),  # text before foo
        ("tags=1", ""),  # a text, which is not a number
        ("tags=1.0", "3"),
        ("isBundle=true", "0"),
        ("isBundle.ne=true", "123"),
        ("startDate=2026-03-01T11:00:00Z", "0"),
        ("startDate=2026-03-01T12:00:00+01:00", "0"),  # the plus comes as a space
        ("startDate.gt=2026-03-01T12:15:00%2B01:00", "1"),
        ("startDate.lt=2026-03-01T11:15", "0"),
        ("startDate.gt=2026-03-01", "01"),
        ("note=null", ""),
        ("note.ne=null", "0123"),
        ("name.regex=^(?i)b", "1"),
        ("name.regex=x{140,}[ab]$", "23"),
        ("name.regex=m.r&isBundle=true", "0"),
        ("tags.regex=a,b", "3"),
        ("sort=name", "1023"),
        ("sort=-name", "3201"),
        ("sort=priority", "0213"),  # numbers before texts
        ("sort=-priority", "3120"),
        ("sort=place.name,-name", "3210"[:2] + "01"),
        ("sort=-startDate", "1023"),
        ("sort=%2BisBundle", "1023"),
        ("offset=1&limit=2", "12"),
        ("limit=0", ""),
        ("offset=9", ""),
    ],
)
def test_a_query_finds(store: Store, query: str, expected: str) -> None:
    asked = parsed(query)
    with collection(store, *SERVICES) as services:
        found = services.find(asked)
    assert "".join(ids(found)) == expected
    if not asked.offset and asked.limit:
        assert found.total == len(expected)
        assert {n for n, body in enumerate(SERVICES) if matches(body, asked.conditions)} == set(map(int, expected))
    else:
        assert found.total == len(SERVICES)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("unknown=1", "unknown"),
        ("unknown.part.gt=1", "unknown.part.gt"),
        ("sort=-unknown", "sort"),
        ("fields=name,unknown", "fields"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=٣", "limit"),
        ("limit=1&limit=2", "limit"),
        ("offset=99999999999", "offset"),
        ("name.regex=(a", "name.regex"),
        ("name.regex=(?=a)", "name.regex"),
        ("name.regex=" + "a" * 2000, "name.regex"),
        ("name.regex=(((a{100}){100}){100})", "name.regex"),
        ("name=%00", "name"),
        ("name=" + "a," * 200, "name"),
        ("&".join(["name=a"] * 100), "name"),
        ("sort=" + ",".join("abcdefghi"), "sort"),
        ("=a", ""),
    ],
)
def test_a_bad_query_is_refused(query: str, named: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_query(parse_qsl(query, True), lambda path: bool(path) and not path.startswith("unknown"))
    assert refused.value.field == named


def test_a_regular_expression_takes_linear_time() -> None:
    body = {"name": "a" * 20_000}
    assert not matches(body, parsed("name.regex=^(a%2B)%2B$b").conditions)
    assert not matches(body, parsed("name.regex=(a|aa)%2Bb").conditions)


def test_fields() -> None:
    body = {"id": "1", "href": "/1", "@type": "T", "name": "n", "place": [{"name": "Oulu", "floor": 3}, {"floor": 4}]}
    assert select_fields(body, parsed("").fields) == body
    assert select_fields(body, parsed("fields=none").fields) == {"id": "1", "href": "/1"}
    assert select_fields(body, parsed("fields=name").fields) == {"id": "1", "href": "/1", "@type": "T", "name": "n"}
    assert select_fields(body, parsed("fields=place.name").fields)["place"] == [{"name": "Oulu"}, {}]
    assert select_fields(body, parsed("fields=place.name,place").fields)["place"] == body["place"]


# The database beside the reference

TEXTS = st.sampled_from(["", "a", "A", "b", "ä", "𝄞", "ﬀ", "10", "9", "1.0", "true", "a,b", "%", "'\"\\", "x" * 120])
DAY = "2026-01-01T00:"
DATES = st.sampled_from([DAY + "00:00Z", DAY + "30:00+01:00", "2025-12-31T23:30:00.5Z", "2026-02-30T00:00:00Z"])
NUMBERS = st.sampled_from([0, -0.0, 1, 1.0, 2, 9.5, 10, -3, 2**53 + 1, 2**53, 10**400, 5e-324, 1.7e308])
VALUES = TEXTS | DATES | NUMBERS | st.booleans() | st.none() | st.text("\tab%_é\U0001f600", max_size=3)
NAMES = st.sampled_from(["a", "b", "@c", "a.b"])
BODIES = st.dictionaries(
    NAMES,
    st.recursive(
        VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=5
    ),
    max_size=4,
)
PATHS = st.sampled_from(["a", "b", "@c", "a.b", "a.a", "b.a", "none"])
ASKED = VALUES.filter(lambda value: value is not None).map(lambda value: next(scalars({"a": value})).text)
OPERATORS = st.sampled_from(["eq", "ne", "gt", "gte", "lt", "lte"])
REGEXES = st.sampled_from([("^a",), ("[0-9]$",), ("",), (".é?$",), ("(?i)A|x{9}",)])
CONDITIONS = st.builds(Condition, PATHS, OPERATORS, st.lists(ASKED, min_size=1, max_size=3).map(tuple)) | st.builds(
    Condition, PATHS, st.just("regex"), REGEXES
)
QUERIES = st.builds(
    Query,
    st.lists(CONDITIONS, max_size=3).map(tuple),
    st.lists(st.tuples(PATHS, st.booleans()), max_size=2).map(tuple),
    st.integers(0, 3),
    st.integers(0, 6),
)


def reference(bodies: list[Json], query: Query) -> tuple[list[str], int]:
    """The same by the book: ids of the page, and the total."""

    def least(body: Json, path: str) -> Any:
        there = [scalar for scalar in scalars(body) if scalar.path == path]
        return min(((1, 0.0, s.text) if s.number is None else (0, s.number, "") for s in there), default=None)

    def compare(one: Json, other: Json) -> int:
        for path, descending in query.sort:
            a, b = least(one, path), least(other, path)
            if a != b:
                if a is None or b is None:
                    return 1 if a is None else -1
                return (1 if a > b else -1) * (-1 if descending else 1)
        return 0

    found = sorted((body for body in bodies if matches(body, query.conditions)), key=cmp_to_key(compare))
    return [body["id"] for body in found[query.offset : query.offset + query.limit]], len(found)


@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(BODIES, max_size=8), st.lists(QUERIES, min_size=1, max_size=5), st.sampled_from([1, 3, 1000]))
def test_the_database_finds_what_matches_says(store: Store, bodies: list[Json], queries: list[Query], few: int) -> None:
    with collection(store, *bodies) as kept, pytest.MonkeyPatch.context() as patched:
        patched.setattr("edgewright.service.resources.collection.FEW", few)
        numbered = [{**body, "id": str(n)} for n, body in enumerate(bodies)]
        assert kept.find(Query()).bodies == numbered
        for query in queries:
            found = kept.find(query)
            assert (ids(found), found.total) == reference(numbered, query)


def test_a_regular_expression_that_matches_many_texts_takes_few_parameters(store: Store) -> None:
    taken: list[int] = []
    with collection(store, {"tags": [f"t{n}" for n in range(1900)]}) as kept:
        event.listen(store.engine, "before_cursor_execute", lambda *given: taken.append(len(given[3])))
        assert kept.find(parsed("tags.regex=t")).total == 1
    assert taken
    assert max(taken) < 10


# Keeping


def attributes(kept: Collection, id: str = "0") -> list[Scalar]:
    rows = (
        select(AttributeRow.path, AttributeRow.text, AttributeRow.number)
        .join(ResourceRow, ResourceRow.seq == AttributeRow.resource)
        .where(ResourceRow.kind == kept.kind, ResourceRow.id == id)
        .order_by(AttributeRow.n)
    )
    return [Scalar(*row) for row in kept.session.execute(rows)]


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(BODIES, st.lists(BODIES, min_size=1, max_size=3))
def test_what_is_put_is_there_and_searchable(store: Store, first: Json, later: list[Json]) -> None:
    with collection(store, first) as kept:
        for body in later:
            body = {**body, "id": "0"}
            kept.put("0", body)
            assert kept.get("0") == body
            assert attributes(kept) == list(scalars(body))


def test_put_writes_what_changed_alone(store: Store) -> None:
    body: Json = {"state": "active", "ports": list(range(50))}
    with collection(store, body) as kept:
        statements: list[tuple[str, int]] = []

        def note(_c: Any, _u: Any, statement: str, parameters: Any, _x: Any, many: bool) -> None:
            if not statement.startswith("SELECT"):
                statements.append((" ".join(statement.split()[:3]), len(parameters) if many else 1))

        event.listen(store.engine, "before_cursor_execute", note)
        try:
            kept.put("0", {**body, "id": "0"})
            assert statements == []
            kept.put("0", {**body, "id": "0", "state": "inactive"})
        finally:
            event.remove(store.engine, "before_cursor_execute", note)
        assert statements == [("UPDATE resources SET", 1), ("DELETE FROM attributes", 1), ("INSERT INTO attributes", 1)]
        assert ids(kept.find(parsed("state=inactive&ports=49"))) == ["0"]
        kept.put("0", {**body, "id": "0", "state": True})
        kept.put("0", {**body, "id": "0", "state": 1})  # equal in Python alone
        assert attributes(kept)[0] == Scalar("state", "1", 1.0)
        with pytest.raises(LookupError):
            kept.put("1", body)


def test_add_get_remove(store: Store) -> None:
    with collection(store, {"name": "a"}, {"name": "b"}) as kept:
        other = Collection(kept.session, "other")
        assert (kept.get("0", lock=True) or {})["name"] == "a"
        assert other.get("0") is None
        assert other.find(Query()) == Found([], 0)
        assert not other.remove("0")
        assert kept.remove("0")
        assert not kept.remove("0")
        assert kept.get("0") is None
        assert kept.session.scalar(select(func.count()).select_from(AttributeRow)) == 2
        assert ids(kept.find(Query())) == ["1"]


@pytest.mark.parametrize(
    "body",
    [
        {"ports": list(range(MAX_SCALARS))},
        {"a" * 201: 1},
        {"a": "\0"},
        {"a": "\ud800"},
        {"\ud800": 1},
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": json.loads("[" * 70 + "]" * 70)},
    ],
    ids=["values", "path", "nul", "surrogate", "surrogate in a name", "nan", "inf", "levels"],
)
def test_a_body_that_cannot_be_searched_is_refused_whole(store: Store, body: Json) -> None:
    with collection(store, {"name": "a"}) as kept:
        with pytest.raises(InputError):
            kept.add("1", {**body, "id": "1"})
        with pytest.raises(InputError):
            kept.put("0", {**body, "id": "0"})
        assert kept.find(Query()) == Found([{"name": "a", "id": "0"}], 1)
        assert attributes(kept) == [Scalar("name", "a", None), Scalar("id", "0", None)]


def lock_too(store: Store) -> None:
    with store.write() as session:
        if store.dialect == "postgresql":
            session.connection().exec_driver_sql("SET LOCAL lock_timeout = 100")
        Collection(session, "counter").get("0", lock=True)


def test_of_two_writers_one_waits(store: Store) -> None:
    with store.write() as session:
        Collection(session, "counter").add("0", {"id": "0", "n": 0})
    with store.write() as first:
        here = Collection(first, "counter")
        assert here.get("0", lock=True) == {"id": "0", "n": 0}
        with pytest.raises(StoreError, match="lock"):
            lock_too(store)
        here.put("0", {"id": "0", "n": 1})
    with store.read() as session:
        assert Collection(session, "counter").get("0") == {"id": "0", "n": 1}


# Patches


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # RFC 7396, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


@given(BODIES, BODIES)
def test_a_patch_twice_is_once_and_changes_no_input(target: Json, patch: Json) -> None:
    before = repr((target, patch))
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once
    assert repr((target, patch)) == before
