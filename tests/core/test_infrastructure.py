"""Infrastructure as arrays and its files: what is written is read, and what is wrong is named."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from edgewright.core import documents
from edgewright.core.errors import InputError
from edgewright.core.infrastructure import CELLS, KINDS, RADIOS, Infrastructure, files
from edgewright.core.infrastructure.fields import InfrastructureFile, Link, Node
from edgewright.core.infrastructure.model import LINK_NUMBERS, NODE_NUMBERS, from_rows

NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1, max_size=8
)


def numbers(fields: dict[str, Any]) -> st.SearchStrategy[dict[str, float]]:
    """Some of the fields, each within its limits."""
    within = {
        name: st.floats(limits.get("minimum", 1e-300), limits.get("maximum", 1e300), allow_subnormal=False)
        for name, (_, limits) in fields.items()
    }
    return st.fixed_dictionaries({}, optional=within)


@st.composite
def infrastructures(draw: st.DrawFn, names: st.SearchStrategy[str] = NAMES) -> Infrastructure:
    ids = draw(st.lists(names, max_size=6, unique=True))
    nodes = []
    for name in ids:
        row = {"id": name, "kind": draw(st.sampled_from(KINDS)), **draw(numbers(NODE_NUMBERS))}
        if ("lon" in row) != ("lat" in row):
            row.pop("lon", None), row.pop("lat", None)
        nodes.append(row | {"radio": draw(st.lists(st.sampled_from(RADIOS), unique=True))})
    links = []
    if len(ids) > 1:
        ends = st.lists(st.sampled_from(ids), min_size=2, max_size=2, unique=True)
        for source, target in draw(st.lists(ends, max_size=8)):
            links.append({"source": source, "target": target, **draw(numbers(LINK_NUMBERS))})
    return from_rows(nodes, links, draw(st.booleans()))


def same(one: Infrastructure, other: Infrastructure) -> bool:
    """To the last bit."""
    columns = [(one.nodes, other.nodes), (one.links, other.links)]
    return (
        (one.ids, one.directed) == (other.ids, other.directed)
        and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("kind", "radio", "ends"))
        and all(np.array_equal(ours[name], theirs[name], equal_nan=True) for ours, theirs in columns for name in ours)
    )


@given(infrastructures())
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, infrastructure: Infrastructure) -> None:
    path = files.write(infrastructure, tmp_path_factory.mktemp("written") / "infrastructure.json")
    assert same(files.read(path), infrastructure)
    documents.read(InfrastructureFile, path)


def document() -> dict[str, Any]:
    return {
        "format": files.FORMAT,
        "directed": True,
        "nodes": [
            {"id": "c", "kind": "pico_cell", "radio": ["LTE", "NR"], "lon": 2.5, "lat": 41, "coverage_m": 100},
            {"id": "f", "kind": "fog", "cpu": 2, "memory_gb": 4.5, "cpu_price": 1.5, "lifetime_s": 60},
            {"id": "e", "kind": "endpoint"},
            {"id": "s", "kind": "switch"},
        ],
        "links": [
            {"source": "c", "target": "f", "capacity_mbps": 300, "distance_m": 10.5, "delay_s": 1e-6},
            {"source": "e", "target": "c", "reliability": 0.999, "price": 2},
        ],
    }


def test_a_file_and_its_defaults(tmp_path: Path) -> None:
    path = tmp_path / "small.json"
    path.write_text(json.dumps(document()))
    read = files.read(path)
    assert len(read) == 4
    assert read.number["f"] == 1
    assert read.of("fog", "endpoint").tolist() == [1, 2]
    assert read.of(*CELLS).tolist() == [0]
    assert read.ends.tolist() == [[0, 1], [2, 0]]
    assert np.isnan(read.nodes["lat"]).tolist() == [False, True, True, True]
    assert read.nodes["lifetime_s"].tolist() == [np.inf, 60, np.inf, np.inf]
    assert read.nodes["reliability"].tolist() == [1, 1, 1, 1]
    assert read.links["capacity_mbps"].tolist() == [300, np.inf]
    assert [row.get("radio") for row in read.node_rows()] == [["LTE", "NR"], None, None, None]
    assert files.write(read, path).read_text().count("\n") == 9
    assert same(files.read(path), read)


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        (("nodes", 1, "colour"), "red", r"nodes\.1\.colour: got 'red', allowed: no such key"),
        (("colour",), "red", r"colour: got 'red', allowed: no such key"),
        (("format",), "edgewright.infrastructure/9", r"format: got 'edgewright\.infrastructure/9', allowed: 'edgew"),
        (("directed",), 1, r"directed: got 1, allowed: a valid boolean"),
        (("nodes",), None, r"nodes: got None, allowed: a valid "),
        (("nodes", 1), [], r"nodes\.1: got \[\], allowed: an object"),
        (("nodes", 1, "cpu"), "2", r"nodes\.1\.cpu: got '2', allowed: a valid number"),
        (("nodes", 1, "cpu"), True, r"nodes\.1\.cpu: got True, allowed: a valid number"),
        (("nodes", 1, "cpu"), -1, r"nodes\[1\]\.cpu: got -1.0, allowed: a number >= 0"),
        (("nodes", 1, "cpu"), 10**400, r"nodes\.1\.cpu: got .*, allowed: a finite number"),
        (("nodes", 1, "lifetime_s"), 0, r"nodes\[1\]\.lifetime_s: got 0.0, allowed: a number > 0"),
        (("nodes", 0, "lat"), 90.5, r"nodes\[0\]\.lat: got 90.5, allowed: a number >= -90 and <= 90"),
        (("nodes", 1, "lon"), 2.5, r"nodes\[1\]\.lat: got nan, allowed: with lon, or neither"),
        (("nodes", 1, "kind"), "cloud", r"nodes\.1\.kind: got 'cloud', allowed: 'cell', "),
        (("nodes", 0, "radio"), ["6G"], r"nodes\.0\.radio\.0: got '6G', allowed: 'CDMA', "),
        (("nodes", 3, "id"), "c", r"nodes\[3\]\.id: got 'c', allowed: a name used once"),
        (("nodes", 1, "id"), "", r"nodes\.1\.id: got '', allowed: "),
        (("nodes", 1, "id"), 7, r"nodes\.1\.id: got 7, allowed: a valid string"),
        (("links", 0, "target"), "x", r"links\[0\]\.target: got 'x', allowed: the id of a node"),
        (("links", 0, "target"), "c", r"links\[0\]: got \[0, 0\], allowed: from one node to another"),
        (("links", 0, "capacity_mbps"), 0, r"links\[0\]\.capacity_mbps: got 0.0, allowed: a number > 0"),
        (("links", 1, "reliability"), 1.5, r"links\[1\]\.reliability: got 1.5, allowed: a number > 0 and <= 1"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, where: tuple[Any, ...], value: Any, said: str) -> None:
    data = document()
    spot: Any = data
    for step in where[:-1]:
        spot = spot[step]
    spot[where[-1]] = value
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=rf"wrong\.json: {said}"):
        files.read(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"cpu": 2', '"cpu": NaN', "number: got 'NaN', allowed: finite numbers only"),
        ('"cpu": 2', '"cpu": 1e400', "finite numbers only"),
        ('"lifetime_s": 60', '"lifetime_s": 1e400', "finite numbers only"),
        ('"lon": 2.5', '"lon": 1e400', "finite numbers only"),
        ('"cpu": 2', '"cpu": 2, "cpu": 3', "key: got 'cpu', allowed: a name used once"),
        ('"format"', '"fromat"', "format: got None"),
        ("]", "", "syntax: "),
    ],
)
def test_a_text_that_is_wrong(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(document()).replace(old, new))
    with pytest.raises(InputError, match=rf"wrong\.json: .*{said}"):
        files.read(path)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 2**53 + 1, 2**70, 10**400, -(10**400), 1e308, 5e-324, -0.0, "", "x", "c" * 201, "é"]),
    st.floats(),
    st.lists(st.sampled_from(["LTE", "NR", "6G", 1, None]), max_size=2),
    st.just({}),
)
FIELDS = [*Node.model_fields, *Link.model_fields, "colour"]
SPOTS = st.one_of(
    st.tuples(st.sampled_from(["nodes", "links"]), st.integers(0, 1), st.sampled_from(FIELDS)),
    st.tuples(st.sampled_from(["nodes", "links"]), st.integers(0, 1)),
    st.tuples(st.sampled_from(["format", "directed", "nodes", "links", "colour"])),
)


@given(st.lists(st.tuples(SPOTS, VALUES | st.just(...)), max_size=2))
@settings(max_examples=500)
def test_both_ways_of_reading_accept_the_same(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    data = document()
    for where, value in changes:
        spot: Any = data
        try:
            for step in where[:-1]:
                spot = spot[step]
            if value is not ...:
                spot[where[-1]] = value
            else:
                del spot[where[-1]]
        except (KeyError, IndexError, TypeError):
            reject()  # what an earlier change left

    def slowly() -> Infrastructure:
        documents.build(InfrastructureFile, copy.deepcopy(data), source="x")
        return from_rows(data["nodes"], data.get("links", ()), data.get("directed", False))

    try:
        slow = slowly()
    except InputError:
        with pytest.raises(InputError):
            files.build(data, source="x")
    else:
        assert same(files.build(data, source="x"), slow)


def test_arrays_are_read_only_and_its_own() -> None:
    cpu = np.array([1.0, 2.0])
    made = Infrastructure(("a", "b"), np.zeros(2, np.int8), np.array([[0, 1]]), {"cpu": cpu})
    cpu[0] = 9
    assert made.nodes["cpu"].tolist() == [1, 2]
    assert made.radio is not None
    for array in (made.kind, made.ends, made.radio, *made.nodes.values(), *made.links.values()):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": np.array([0, 99], np.int8)}, r"nodes\[1\]\.kind of 13: got 99"),
        ({"kind": np.zeros(3, np.int8)}, r"kind: got \(3,\), allowed: an array of the shape \(2,\)"),
        ({"ends": np.array([[0, 2]])}, r"links\[0\]\.ends: got \[0, 2\], allowed: numbers of two of 2 nodes"),
        ({"ends": np.array([[-1, 0]])}, r"links\[0\]\.ends: got \[-1, 0\]"),
        ({"nodes": {"gpu": np.zeros(2)}}, r"nodes\.gpu: got 'a column', allowed: one of lon, lat"),
        ({"nodes": {"cpu": np.zeros(3)}}, r"cpu: got \(3,\)"),
        ({"nodes": {"cpu": np.array([0, np.nan])}}, r"nodes\[1\]\.cpu: got nan, allowed: a number >= 0"),
        ({"nodes": {"cpu": np.array([0, np.inf])}}, r"nodes\[1\]\.cpu: got inf, allowed: a number >= 0"),
        ({"ids": ("a", "")}, r"nodes\[1\]\.id: got '', allowed: 1 \.\. 200 characters"),
        ({"ids": ("a", "b" * 201)}, r"nodes\[1\]\.id: got 'b+…, allowed: 1 \.\. 200 characters"),
        ({"ids": ("a", "b\x00")}, r"nodes\[1\]\.id: got 'b\\x00', allowed: .* no control characters"),
        ({"ids": ("a", "a")}, r"nodes\[1\]\.id: got 'a', allowed: a name used once"),
    ],
)
def test_arrays_that_are_wrong(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Infrastructure(**{"ids": ("a", "b"), "kind": np.zeros(2, np.int8), **change})


@pytest.mark.parametrize(
    ("directed", "ends", "kind"),
    [
        (False, [[0, 1]], nx.Graph),
        (True, [[0, 1], [1, 0]], nx.DiGraph),
        (False, [[0, 1], [1, 0]], nx.MultiGraph),
        (True, [[0, 1], [0, 1]], nx.MultiDiGraph),
        (True, np.empty((0, 2)), nx.DiGraph),
    ],
)
def test_a_graph_of_it(directed: bool, ends: Any, kind: type) -> None:
    numbers = {"price": np.arange(len(ends), dtype=float)}
    made = Infrastructure(("a", "b"), np.zeros(2, np.int8), np.array(ends), {}, numbers, directed=directed)
    graph = made.graph()
    assert type(graph) is kind
    assert list(graph.nodes(data=True)) == [("a", {"kind": "cell"}), ("b", {"kind": "cell"})]
    assert sorted(attrs.get("price", 0.0) for *_, attrs in graph.edges(data=True)) == numbers["price"].tolist()
