"""Infrastructures in the formats of others, read and written: GML, GraphML, GeoJSON, node-link JSON.

What we write we read again as it was. Of what others wrote, each assumption and each thing left out is said.
"""

from __future__ import annotations

import io
import json
import re
import warnings
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

from edgewright.core import documents
from edgewright.core.documents import unique
from edgewright.core.errors import InputError
from edgewright.core.files import replacing
from edgewright.core.infrastructure import files
from edgewright.core.infrastructure.dialects import DelayUnit, Found, gml_word, understood
from edgewright.core.infrastructure.model import Infrastructure

if TYPE_CHECKING:
    import networkx as nx

SUFFIXES = (".json", ".gml", ".graphml", ".geojson")
"""Of files that can be written; `.nodelink.json` too."""

__all__ = ["DelayUnit", "load", "node_link", "save"]

# networkx reads parallel links, and numbers as 1e-06, only where the text is a little different.
_GRAPH = re.compile(r"^([ \t]*graph\s*\[)", re.MULTILINE)
_MULTIGRAPH = re.compile(r"^[ \t]*multigraph[ \t]+[01][ \t]*$", re.MULTILINE)
_WHOLE_WITH_EXPONENT = re.compile(r"^([ \t]*\w+[ \t]+[+-]?\d+)(?=[eE][+-]?\d+[ \t]*$)", re.MULTILINE)
_NOT_XML = re.compile("[^\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def load(path: str | Path, *, delay_unit: DelayUnit | None = None) -> tuple[Infrastructure, list[str]]:
    """An infrastructure by the suffix of its file: .json (ours, or node-link as of networkx and topohub), .gml,
    .graphml or .geojson; and a sentence for each assumption made and each thing left out, with how many.

    `delay_unit` is that of fields called `delay`; without, it is found from links as fast as light, else seconds.
    Raises InputError naming the file, the node or link and the field.
    """
    path = Path(path)
    match path.suffix.lower():
        case ".json":
            data = documents.load(path)
            if isinstance(data, dict) and data.get("format") is not None:
                return files.build(data, source=str(path)), []
            found = _of_node_link(data, str(path))
        case ".geojson":
            found = _of_geojson(documents.load(path), str(path))
        case ".gml":
            found = _of_gml(_bytes(path), str(path))
        case ".graphml":
            found = _of_graphml(_bytes(path), str(path))
        case _:
            raise InputError("file", str(path), "a name that ends in .json, .gml, .graphml or .geojson")
    return understood(found, str(path), delay_unit)


def save(infrastructure: Infrastructure, path: Path) -> Path:
    """Write it, whole or not at all, by suffix: .json (ours), .nodelink.json, .gml, .graphml or .geojson.

    Raises InputError for another suffix, and for an id that the format cannot hold.
    """
    import networkx as nx

    suffix = path.suffix.lower()
    if path.name.lower().endswith(".nodelink.json"):
        _write_json(node_link(infrastructure), path)
    elif suffix == ".json":
        files.write(infrastructure, path)
    elif suffix == ".geojson":
        _write_json(_geojson(infrastructure), path)
    elif suffix == ".gml":
        with replacing(path) as new:
            nx.write_gml(_graph(infrastructure, gml=True), new)
    elif suffix == ".graphml":
        for name in filter(_NOT_XML.search, infrastructure.ids):
            raise InputError("id", name, "no control characters, as XML has none", source=str(path))
        with replacing(path) as new:
            nx.write_graphml_xml(_graph(infrastructure, gml=False), new)
    else:
        raise InputError("file", str(path), "a name that ends in .json, .nodelink.json, .gml, .graphml or .geojson")
    return path


def node_link(infrastructure: Infrastructure) -> dict[str, Any]:
    """Node-link data as `networkx.node_link_graph` takes it, fields as in our own files."""
    pairs = set(map(tuple if infrastructure.directed else frozenset, infrastructure.ends.tolist()))
    return {
        "directed": infrastructure.directed,
        "multigraph": len(pairs) < len(infrastructure.ends),
        "graph": {},
        "nodes": list(infrastructure.node_rows()),
        "edges": list(infrastructure.link_rows()),
    }


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError("file", str(path), "a readable file", source=str(path)) from error


def _write_json(data: Any, path: Path) -> None:
    with replacing(path) as new, new.open("w", encoding="utf-8") as file:
        json.dump(data, file, ensure_ascii=False, allow_nan=False)


def _graph(infrastructure: Infrastructure, gml: bool) -> nx.Graph:
    """A link's key is its number and `reversed` tells that it begins at the later node: networkx keeps neither."""
    import networkx as nx

    graph = nx.MultiDiGraph() if infrastructure.directed else nx.MultiGraph()
    word = gml_word if gml else str
    for row in infrastructure.node_rows():
        if "radio" in row:
            row["radio"] = ",".join(row["radio"])
        graph.add_node(row.pop("id"), **{word(name): value for name, value in row.items()})
    turned = infrastructure.ends[:, 0] > infrastructure.ends[:, 1]
    for i, (row, back) in enumerate(zip(infrastructure.link_rows(), turned.tolist(), strict=True)):
        if back and not infrastructure.directed:
            row["reversed"] = 1
        graph.add_edge(row.pop("source"), row.pop("target"), i, **{word(name): value for name, value in row.items()})
    return graph


def _of_graph(graph: nx.Graph, said: list[str]) -> Found:
    defaults = {name: graph.graph.pop(f"{name}_default", {}) for name in ("node", "edge")}
    nodes = [(key, {**defaults["node"], **attrs}) for key, attrs in graph.nodes(data=True)]
    links = [(begin, end, {**defaults["edge"], **attrs}) for begin, end, attrs in graph.edges(data=True)]
    keys = [key for _, _, key in graph.edges(keys=True)] if graph.is_multigraph() else []
    if links and set(keys) == set(range(len(links))):  # numbers of all links, as we write them
        numbered = dict(zip(keys, links, strict=True))
        links = [
            (end, begin, attrs) if attrs.pop("reversed", 0) == 1 else (begin, end, attrs)
            for begin, end, attrs in map(numbered.__getitem__, range(len(links)))
        ]
    return Found(nodes, links, graph.is_directed(), said + _left_out(graph.graph))


def _left_out(fields: Iterable[str]) -> list[str]:
    return [f"field {name} of the whole is not known, left out" for name in fields]


def _of_gml(data: bytes, source: str) -> Found:
    import networkx as nx

    try:
        text = _WHOLE_WITH_EXPONENT.sub(r"\1.", data.decode("utf-8-sig"))
        text = _GRAPH.sub(r"\1 multigraph 1 ", _MULTIGRAPH.sub("", text), count=1)
        found = _of_graph(nx.parse_gml(text, label=None), [])
    except Exception as error:  # of many kinds, as the parser takes the text for what it should be
        raise InputError(
            "syntax", f"{type(error).__name__}: {error}", "a valid GML file in UTF-8", source=source
        ) from None
    for _, attrs in found.nodes:  # networkx takes these texts for an empty list
        attrs.update({name: str(value) for name, value in attrs.items() if value in ([], ())})
    return found


def _of_graphml(data: bytes, source: str) -> Found:
    import networkx as nx

    edges = _check_graphml(data, source)
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            graph = nx.read_graphml(io.BytesIO(data), force_multigraph=True)
        counts = Counter(str(warning.message) for warning in heard)
        found = _of_graph(graph, [f"{message} ({count} times)" for message, count in counts.items()])
    except Exception as error:  # of many kinds, as the reader takes the elements for what they should be
        raise InputError("syntax", f"{type(error).__name__}: {error}", "a valid GraphML file", source=source) from None
    if len(found.links) != edges:
        raise InputError("edge ids", "one that comes twice", "an id used once", source=source)
    return found


def _check_graphml(data: bytes, source: str) -> int:
    """The number of edges. Refuses what networkx would let through: entities, ids that come twice, unknown ends,
    graphs inside graphs.
    """
    parts: dict[str, list[dict[str, str]]] = {"graph": [], "node": [], "edge": []}

    def start(tag: str, attributes: dict[str, str]) -> None:
        name = tag.removeprefix("http://graphml.graphdrawing.org/xmlns ")
        if name in parts:
            parts[name].append(attributes)

    def entity(name: str, *_: object) -> None:
        raise InputError("entity", name, "no declarations of entities")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = start
    parser.EntityDeclHandler = entity
    try:
        parser.Parse(data, True)
        if len(parts["graph"]) != 1:
            raise InputError("graph", f"{len(parts['graph'])} graphs", "one, with none inside")
        ids = [node.get("id") for node in parts["node"]]
        unique(ids, "nodes[{}].id", "an id used once")
        known = set(ids) - {None}
        for edge in parts["edge"]:
            for end in ("source", "target"):
                if edge.get(end) not in known:
                    where = f"link {edge.get('source')} -> {edge.get('target')}: {end}"
                    raise InputError(where, edge.get(end), "the id of a node")
    except InputError as error:
        raise error.at(source) from None
    except Exception as error:  # beside ExpatError, a LookupError or ValueError for an encoding
        raise InputError("syntax", str(error), "valid XML", source=source) from None
    return len(parts["edge"])


def _of_node_link(data: Any, source: str) -> Found:
    names = [name for name in ("links", "edges") if isinstance(data, dict) and name in data]
    if len(names) != 1 or "nodes" not in data:
        allowed = f"a format {files.FORMAT!r}, or node-link data: nodes, and links or edges"
        raise InputError("document", list(data) if isinstance(data, dict) else data, allowed, source=source)
    directed, whole = data.get("directed", False), data.get("graph", {})
    if not isinstance(directed, bool):
        raise InputError("directed", directed, "true or false", source=source)
    if not isinstance(whole, dict):
        raise InputError("graph", whole, "a mapping of fields", source=source)
    nodes = []
    for i, row in enumerate(_rows(data, "nodes", source)):
        nodes.append((_key(row.pop("id", None), f"nodes[{i}].id", source), row))
    links = []
    for i, row in enumerate(_rows(data, names[0], source)):
        begin, end = (_key(row.pop(word, None), f"{names[0]}[{i}].{word}", source) for word in ("source", "target"))
        links.append((begin, end, row))
    rest = data.keys() - {"directed", "multigraph", "graph", "nodes", *names}
    return Found(nodes, links, directed, _left_out([*whole, *sorted(rest)]))


def _rows(data: Mapping[str, Any], name: str, source: str) -> list[dict[str, Any]]:
    rows = data.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(name, rows, "a list of mappings", source=source)
    return [dict(row) for row in rows]


def _key(given: Any, field: str, source: str) -> Hashable:
    if not isinstance(given, str | int) or isinstance(given, bool):
        raise InputError(field, given, "text or a whole number", source=source)
    return given


def _geojson(infrastructure: Infrastructure) -> dict[str, Any]:
    features, places = [], []
    for row in infrastructure.node_rows():
        places.append([row.pop("lon"), row.pop("lat")] if "lon" in row else None)
        features.append(
            {"type": "Feature", "id": row.pop("id"), "geometry": _shape("Point", places[-1]), "properties": row}
        )
    for (begin, end), row in zip(infrastructure.ends.tolist(), infrastructure.link_rows(), strict=True):
        course = [places[begin], places[end]]
        shape = _shape("LineString", None if None in course else course)
        features.append({"type": "Feature", "geometry": shape, "properties": row})
    return {"type": "FeatureCollection", "directed": infrastructure.directed, "features": features}


def _shape(kind: str, coordinates: Any) -> dict[str, Any] | None:
    return None if coordinates is None else {"type": kind, "coordinates": coordinates}


def _of_geojson(data: Any, source: str) -> Found:
    if not isinstance(data, dict) or data.get("type") != "FeatureCollection":
        raise InputError(
            "type", data.get("type") if isinstance(data, dict) else data, "'FeatureCollection'", source=source
        )
    directed = data.get("directed", False)
    if not isinstance(directed, bool):
        raise InputError("directed", directed, "true or false", source=source)
    nodes: dict[Hashable, dict[str, Any]] = {}
    links, courses = [], []
    said: Counter[str] = Counter()
    for i, feature in enumerate(_rows(data, "features", source)):
        where = f"features[{i}]"
        shape, attrs = feature.get("geometry") or {}, feature.get("properties") or {}
        if not isinstance(shape, dict) or not isinstance(attrs, dict):
            raise InputError(where, feature, "a geometry and properties, or null", source=source)
        attrs, kind, course = dict(attrs), shape.get("type"), shape.get("coordinates")
        if not isinstance(kind, str | None):
            raise InputError(f"{where}.geometry.type", kind, "text", source=source)
        if kind == "LineString" or (kind is None and "source" in attrs):
            ends = [_key(attrs.pop(word, None), f"{where}.properties.{word}", source) for word in ("source", "target")]
            links.append((ends[0], ends[1], attrs))
            courses.append(course)
        elif kind in {"Point", None}:
            own = feature["id"] if "id" in feature else attrs.pop("id") if "id" in attrs else attrs.get("name")
            key = _key(own, f"{where}.id", source)
            if key in nodes:
                raise InputError(f"{where}.id", key, "an id used once", source=source)
            if kind:
                if not isinstance(course, list):
                    raise InputError(f"{where}.geometry.coordinates", course, "longitude and latitude", source=source)
                if len(course) > 2:
                    said["height of a Point left out"] += 1
                attrs["coordinates"] = course[:2]
            nodes[key] = attrs
        else:
            said[f"{kind} left out"] += 1
        for name in sorted(feature.keys() - {"type", "id", "geometry", "properties"}):
            said[f"field {name} of a feature is not known, left out"] += 1
    for (begin, end, _), course in zip(links, courses, strict=True):
        if course is not None and course != [nodes.get(key, {}).get("coordinates") for key in (begin, end)]:
            said["course of a link between its ends left out"] += 1
    rest = sorted(data.keys() - {"type", "directed", "features"})
    told = [f"{sentence} ({count} times)" for sentence, count in said.items()]
    return Found(list(nodes.items()), links, directed, told + _left_out(rest))
