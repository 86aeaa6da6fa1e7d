"""Formats of others: what we write we read again, and of what others wrote it is said what was assumed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.core.errors import InputError
from edgewright.core.infrastructure import KINDS, Infrastructure
from edgewright.core.infrastructure.exchange import load, node_link, save

from .test_infrastructure import infrastructures, same

SUFFIXES = (".json", ".nodelink.json", ".gml", ".graphml", ".geojson")
ANY_NAME = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8) | st.sampled_from(
    ["[]", "()", "&amp;", '"', "None", "1", " ", "NAN"]
)


def written(folder: Path, suffix: str, text: str | bytes | dict[str, Any]) -> Path:
    path = folder / f"other{suffix}"
    if isinstance(text, bytes):
        path.write_bytes(text)
    else:
        path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(data=st.data())
def test_what_we_write_we_read_again(
    suffix: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    names = {} if suffix == ".graphml" else {"names": ANY_NAME}
    infrastructure = data.draw(infrastructures(**names))
    path = save(infrastructure, tmp_path_factory.mktemp("saved") / f"infrastructure{suffix}")
    read, said = load(path)
    assert said == []
    assert same(read, infrastructure)


@given(infrastructures())
def test_networkx_reads_what_we_write(tmp_path_factory: pytest.TempPathFactory, infrastructure: Infrastructure) -> None:
    ours = infrastructure.graph()
    theirs = nx.node_link_graph(node_link(infrastructure))
    assert type(theirs) is type(ours)
    assert dict(theirs.nodes(data=True)) == dict(ours.nodes(data=True))
    assert list(theirs.edges(data=True)) == list(ours.edges(data=True))
    folder = tmp_path_factory.mktemp("saved")
    for theirs in (
        nx.read_gml(save(infrastructure, folder / "x.gml")),
        nx.read_graphml(save(infrastructure, folder / "x.graphml"), force_multigraph=True),
    ):
        assert list(theirs) == list(ours)
        assert sorted(theirs.edges()) == sorted(ours.edges())


@given(infrastructures())
def test_what_networkx_writes_is_read(tmp_path_factory: pytest.TempPathFactory, infrastructure: Infrastructure) -> None:
    """Links in another order, as it keeps them, but none lost, nor anything of a node."""
    graph = infrastructure.graph()
    path = written(tmp_path_factory.mktemp("saved"), ".json", nx.node_link_data(graph))
    read, said = load(path)
    assert all("field key" in sentence for sentence in said)
    again = read.graph()
    assert type(again) is type(graph)
    assert dict(again.nodes(data=True)) == dict(graph.nodes(data=True))
    assert list(again.edges(data="price")) == list(graph.edges(data="price"))


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    one = Infrastructure(("a\uffff",), np.zeros(1, np.int8))
    with pytest.raises(InputError, match=r"x\.graphml: id: got 'a\\uffff', allowed: no control characters"):
        save(one, tmp_path / "x.graphml")
    with pytest.raises(InputError, match=r"file: .* allowed: a name that ends in \.json, "):
        save(one, tmp_path / "x.csv")
    assert list(tmp_path.iterdir()) == []


GRAPHML = """<?xml version="1.0"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
 <key id="n" for="node" attr.name="label" attr.type="string"/>
 <key id="k" for="node" attr.name="kind" attr.type="string"><default>m1</default></key>
 <key id="c" for="edge" attr.name="capacity" attr.type="double"/>
 <graph edgedefault="undirected">
  <node id="a"><data key="n">Aachen</data></node>
  <node id="b"><data key="k">m2</data><port name="north"/></node>
  <edge id="e1" source="a" target="b"><data key="c">40.0</data></edge>
  <edge id="e2" source="b" target="a"/>
 </graph>
</graphml>
"""


def test_graphml_of_others(tmp_path: Path) -> None:
    read, said = load(written(tmp_path, ".graphml", GRAPHML))
    assert read.ids == ("Aachen", "b")
    assert [KINDS[kind] for kind in read.kind] == ["m1", "m2"]
    assert sorted(read.links["capacity_mbps"]) == [40, np.inf]
    assert said == ["GraphML port tag not supported. (1 times)", "1 link: capacity without a unit read as Mb/s"]


def test_geojson_of_others(tmp_path: Path) -> None:
    def feature(kind: str, coordinates: Any, **properties: Any) -> dict[str, Any]:
        return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": properties}

    features = [
        feature("Point", [1, 2, 300], name="A", type="m1"),
        feature("Point", [3, 4], name="B", colour="red"),
        feature("LineString", [[1, 2], [2, 2], [3, 4]], source="A", target="B", distance=2, distanceUnits="km"),
        feature("Polygon", []),
    ]
    data = {"type": "FeatureCollection", "features": features, "crs": None}
    read, said = load(written(tmp_path, ".geojson", data))
    assert (read.ids, read.nodes["lat"].tolist(), read.links["distance_m"].tolist()) == (("A", "B"), [2, 4], [2000])
    assert said == [
        "height of a Point left out (1 times)",
        "Polygon left out (1 times)",
        "course of a link between its ends left out (1 times)",
        "field crs of the whole is not known, left out",
        "1 node: field colour is not known, left out",
        "1 node: no type that is known, read as switch",
    ]


def gml(node: str = "", edge: str = "", more: str = "") -> str:
    nodes = f'node [ id 1 name "a" type "m1"\n {node} ]\n node [ id 2 ]'
    return f"graph [\n {nodes}\n edge [ source 1 target 2 {edge} ]\n{more}]\n"


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 8), st.binary(max_size=3)), min_size=1, max_size=3))
def test_a_damaged_file_is_read_or_refused(
    suffix: str, tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int, bytes]]
) -> None:
    numbers = {"lon": np.array([1.5, 2.0]), "lat": np.array([1e-7, 2.0]), "cpu": np.array([1e22, 3.0])}
    links = {"price": np.array([0.5])}
    whole = Infrastructure(("a", "b"), np.array([0, 5]), np.array([[1, 0]]), numbers, links, np.array([24, 0]))
    path = save(whole, tmp_path_factory.mktemp("damaged") / f"x{suffix}")
    data = path.read_bytes()
    for at, length, instead in damage:
        at %= len(data)
        data = data[:at] + instead + data[at + length :]
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        load(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (gml('cpu "many"'), "node a: cpu: got 'many', allowed: a valid number"),
        (gml("mem -1"), "node a: mem: got -1, allowed: greater than or equal to 0"),
        (gml("mem NAN"), "node a: mem: got nan, allowed: a finite number"),
        (gml("cpu " + "9" * 400), "node a: cpu: got 9+…, allowed: a "),
        (gml("cpu " + "9" * 5000), "syntax: "),
        (gml("cpu [ a 1 ]"), "node a: cpu: got {'a': 1}, allowed: a valid number"),
        (gml("lon 181.0 lat 1"), "node a: lon: got 181.0, allowed: less than or equal to 180"),
        (gml("Longitude 1"), "node a: lat: got None, allowed: longitude and latitude, or neither"),
        (gml("lon 1 Longitude 2 lat 1"), "node a: Longitude: got 2, allowed: 1, as lon says"),
        (gml(more='node [ id 3 type "vnf" ]'), "node 3: type: got 'vnf', allowed: one of 'cell', "),
        (gml(more='node [ id 3 type "cell" size "huge" ]'), "node 3: size: got 'huge', allowed: one of '', "),
        (gml('kind "m7"'), "node a: kind: got 'm7', allowed: one of "),
        (gml('radio "LTE,6G"'), "node a: radio: got '6G', allowed: one of 'CDMA', "),
        (gml("radio 5"), "node a: radio: got 5, allowed: names of radio technologies"),
        (gml(more="node [ id 1 ]"), "syntax: got 'NetworkXError: node id 1 is duplicated'"),
        (gml(more='node [ label "x" ]'), "syntax: got .*node #2 has no 'id'"),
        (gml(more="edge [ source 1 target 9 ]"), "syntax: got .*undefined target 9"),
        (
            gml(edge='bandwidth 1 bandwidthUnits "MB"'),
            "link a -> 2: bandwidthUnits: got 'MB', allowed: one of 'kb/s', ",
        ),
        (gml(edge='distance 1 distanceUnits "mile"'), "link a -> 2: distanceUnits: got 'mile', allowed: one of 'm', "),
        (gml(edge="bandwidth 5 bw 6"), "link a -> 2: bw: got 6, allowed: 5, as bandwidth says"),
        (gml(edge="bandwidth 0"), "link a -> 2: bandwidth: got 0.0, allowed: greater than 0"),
        (gml(edge="reliability 1.5"), "link a -> 2: reliability: got 1.5, allowed: less than or equal to 1"),
        (gml(edge='delay "1"'), "link a -> 2: delay: got '1', allowed: a valid number"),
        (gml(edge=f"delay {'9' * 400} distance 5"), "link a -> 2: delay: got 9+…, allowed: a "),
        (gml() + "]", "syntax: "),
        ("graph [" * 2000, "syntax: "),
        ("", "syntax: got .*no graph"),
        (b'graph [ node [ id 1 label "\xff" ] ]', 'syntax: got "UnicodeDecodeError'),
    ],
)
def test_gml_that_is_wrong(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(InputError, match=rf"other\.gml: {said}"):
        load(written(tmp_path, ".gml", text))


BOMB = '<!DOCTYPE g [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'
OUTSIDE = '<!DOCTYPE g [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("<graphml", BOMB + "<graphml", 1), "entity: got 'a', allowed: no declarations of"),
        (
            lambda text: text.replace("<graphml", OUTSIDE + "<graphml", 1),
            "entity: got 'a', allowed: no declarations of",
        ),
        (lambda text: text.replace("Aachen", "&a;"), "syntax: got 'undefined entity"),
        (lambda text: text.replace('id="b"', 'id="a"'), r"nodes\[1\]\.id: got 'a', allowed: an id used once"),
        (
            lambda text: text.replace('target="b"', 'target="x"'),
            "link a -> x: target: got 'x', allowed: the id of a node",
        ),
        (lambda text: text.replace('target="b"', ""), "link a -> None: target: got None, allowed: the id of a node"),
        (lambda text: text.replace('"e1" source="a" target="b"', '"e2" source="b" target="a"'), "edge ids: "),
        (lambda text: text.replace(">40.0<", ">much<"), "syntax: got .*could not convert string to float: 'much'"),
        (lambda text: text.replace(">40.0<", ">nan<"), "link Aachen -> b: capacity: got nan, allowed: a finite number"),
        (lambda text: text.replace('key="c"', 'key="z"'), "syntax: got .*no key z"),
        (lambda text: text.replace('attr.type="double"', 'attr.type="complex"'), "syntax: got \"KeyError: 'complex'"),
        (
            lambda text: text.replace('<port name="north"/>', "<graph/>"),
            "graph: got '2 graphs', allowed: one, with none",
        ),
        (lambda text: text.replace('<edge id="e2"', '<edge directed="true"'), "syntax: got .*directed=true"),
        (lambda text: text[:-20], "syntax: "),
        (lambda text: text.replace('version="1.0"', 'version="1.0" encoding="odd"'), "syntax: "),
        (lambda text: "", "syntax: got 'no element found"),
    ],
)
def test_graphml_that_is_wrong(tmp_path: Path, change: Callable[[str], str], said: str) -> None:
    with pytest.raises(InputError, match=rf"other\.graphml: {said}"):
        load(written(tmp_path, ".graphml", change(GRAPHML)))


NODES = [{"id": 1}, {"id": "b"}]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], r"document: got \[\], allowed: a format 'edgewright\.infrastructure/1', or node-link data"),
        ({"nodes": NODES}, r"document: got \['nodes'\]"),
        ({"nodes": NODES, "links": [], "edges": []}, "document: got "),
        ({"nodes": NODES, "links": None}, "links: got None, allowed: a list of mappings"),
        ({"nodes": [1], "links": []}, r"nodes: got \[1\], allowed: a list of mappings"),
        ({"nodes": [{}], "links": []}, r"nodes\[0\]\.id: got None, allowed: text or a whole number"),
        ({"nodes": [{"id": [1]}], "links": []}, r"nodes\[0\]\.id: got \[1\], allowed: text or a whole number"),
        ({"nodes": [{"id": 1}, {"id": 1}], "links": []}, "node 1: id: got 1, allowed: an id used once"),
        ({"nodes": [{"id": 1, "name": {}}], "links": []}, r"node 1: name: got \[{}\], allowed: text"),
        ({"nodes": [{"id": 1, "pos": [1]}], "links": []}, r"node 1: pos: got \[1\], allowed: longitude and latitude"),
        (
            {"nodes": NODES, "links": [{"source": 1, "target": 2}]},
            "link 1 -> 2: target: got 2, allowed: the id of a node",
        ),
        ({"nodes": NODES, "links": [{"source": 1}]}, r"links\[0\]\.target: got None, allowed: text or a whole number"),
        ({"nodes": NODES, "links": [], "directed": 1}, "directed: got 1, allowed: true or false"),
        ({"nodes": NODES, "links": [], "graph": []}, r"graph: got \[\], allowed: a mapping of fields"),
        ({"format": "edgewright.infrastructure/2", "nodes": []}, "format: got 'edgewright.infrastructure/2'"),
        ({"nodes": [{"id": 1, "name": "a" * 201}], "links": []}, "node a+: id: got 'a+…, allowed: "),
        (
            {"nodes": [{"id": i, "name": n} for i, n in enumerate(["a", "a", "a (1)"])], "links": []},
            r"nodes\[2\]\.id: got",
        ),
        ('{"nodes": [], "links": [], "nodes": []}', "key: got 'nodes', allowed: a name used once"),
        ("{", "syntax: "),
    ],
)
def test_json_that_is_wrong(tmp_path: Path, data: Any, said: str) -> None:
    with pytest.raises(InputError, match=rf"other\.json: {said}"):
        load(written(tmp_path, ".json", data if isinstance(data, str) else json.dumps(data)))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], r"type: got \[\], allowed: 'FeatureCollection'"),
        ({"type": "Feature"}, "type: got 'Feature', allowed: 'FeatureCollection'"),
        ({"type": "FeatureCollection"}, "features: got None, allowed: a list of mappings"),
        ({"type": "FeatureCollection", "features": [], "directed": "no"}, "directed: got 'no', allowed: true or false"),
    ],
)
def test_geojson_that_is_wrong(tmp_path: Path, data: Any, said: str) -> None:
    with pytest.raises(InputError, match=rf"other\.geojson: {said}"):
        load(written(tmp_path, ".geojson", json.dumps(data)))


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ([{"geometry": 1}], r"features\[0\]: got {'geometry': 1}, allowed: a geometry and properties, or null"),
        ([{}], r"features\[0\]\.id: got None, allowed: text or a whole number"),
        ([{"id": "a"}, {"id": "a"}], r"features\[1\]\.id: got 'a', allowed: an id used once"),
        (
            [{"id": "a", "geometry": {"type": "Point"}}],
            r"features\[0\]\.geometry\.coordinates: got None, allowed: longitude and",
        ),
        (
            [{"id": "a", "geometry": {"type": "Point", "coordinates": [1, 91]}}],
            "node a: coordinates: got 91, allowed: less",
        ),
        ([{"geometry": {"type": ["Point"]}}], r"features\[0\]\.geometry\.type: got \['Point'\], allowed: text"),
        ([{"geometry": {"type": "LineString"}}], r"features\[0\]\.properties\.source: got None, allowed: text or"),
        ([{"properties": {"source": "a", "target": "b"}}], "link a -> b: source: got 'a', allowed: the id of a node"),
    ],
)
def test_features_that_are_wrong(tmp_path: Path, features: list[Any], said: str) -> None:
    data = {"type": "FeatureCollection", "features": features}
    with pytest.raises(InputError, match=rf"other\.geojson: {said}"):
        load(written(tmp_path, ".geojson", data))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.gml: file: got .*, allowed: a readable file"):
        load(tmp_path / "none.gml")
    with pytest.raises(InputError, match=r"allowed: a name that ends in \.json, \.gml, \.graphml or \.geojson"):
        load(tmp_path / "none.csv")
    with pytest.raises(InputError, match="delay_unit: got 'h', allowed: one of s, ms, us, ns"):
        load(written(tmp_path, ".gml", gml()), delay_unit="h")  # type: ignore[arg-type]
