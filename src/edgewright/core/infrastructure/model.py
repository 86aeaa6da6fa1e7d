"""An infrastructure as arrays, one entry a node or a link; hundreds of thousands of them cost no object each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from edgewright.core.contracts import FloatArray, IntArray
from edgewright.core.documents import Part, unique
from edgewright.core.errors import InputError
from edgewright.core.infrastructure.fields import Kind, Link, Node, Radio

if TYPE_CHECKING:
    import networkx as nx

KINDS: tuple[Kind, ...] = get_args(Kind)
CELLS: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind.endswith("cell"))
RADIOS: tuple[Radio, ...] = get_args(Radio)
_BITS = {radio: 1 << bit for bit, radio in enumerate(RADIOS)}
_WITHOUT = {"lon": np.nan, "lat": np.nan, "lifetime_s": np.inf, "capacity_mbps": np.inf}
"""What stands in an array where the file has nothing."""
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_LONGEST = 200


def _numbers(part: type[Part]) -> dict[str, tuple[float, Mapping[str, float]]]:
    """Of each field that holds a number: its default and its limits, as JSON schema names them."""
    numbers: dict[str, tuple[float, Mapping[str, float]]] = {}
    for name, schema in part.model_json_schema()["properties"].items():
        first = schema.get("anyOf", [schema])[0]
        if first.get("type") == "number":
            limits = {key: first[key] for key in _LIMITS if key in first}
            numbers[name] = (_WITHOUT.get(name, schema.get("default")), limits)
    return numbers


_LIMITS = {
    "minimum": (np.greater_equal, ">="),
    "exclusiveMinimum": (np.greater, ">"),
    "maximum": (np.less_equal, "<="),
}
NODE_NUMBERS, LINK_NUMBERS = _numbers(Node), _numbers(Link)


@dataclass(frozen=True, eq=False)
class Infrastructure:
    """N nodes, L links. Columns that are not given have the defaults of `fields.Node` and `fields.Link`.

    Raises InputError that names the column and the entry for one of another length, out of its limits, an id that is
    none or comes twice, a link to nowhere or to where it began.
    """

    ids: tuple[str, ...]
    kind: NDArray[np.int8]
    """[N], which of `KINDS`."""
    ends: IntArray = field(default_factory=lambda: np.empty((0, 2), np.int64))
    """[L, 2], numbers of the nodes from and to which each link leads."""
    nodes: Mapping[str, FloatArray] = field(default_factory=dict)
    """By field of `Node`, float64[N]; nan for a place, inf for a lifetime that is not told."""
    links: Mapping[str, FloatArray] = field(default_factory=dict)
    """By field of `Link`, float64[L]; inf for a capacity without limit."""
    radio: NDArray[np.uint8] | None = None
    """[N], bit b set: `RADIOS[b]`."""
    directed: bool = False

    def __post_init__(self) -> None:
        for i, name in enumerate(self.ids):
            if not 0 < len(name) <= _LONGEST or _CONTROL.search(name):
                raise InputError(f"nodes[{i}].id", name, f"1 .. {_LONGEST} characters, no control characters")
        unique(self.ids, "nodes[{}].id")
        count = len(self.ids)
        arrays = {
            "kind": _frozen("kind", self.kind, np.int8, (count,)),
            "radio": _frozen("radio", np.zeros(count) if self.radio is None else self.radio, np.uint8, (count,)),
            "ends": _frozen("ends", self.ends, np.int64, (len(self.ends), 2)),
            "nodes": _columns("nodes", self.nodes, NODE_NUMBERS, count),
            "links": _columns("links", self.links, LINK_NUMBERS, len(self.ends)),
        }
        for name, array in arrays.items():
            object.__setattr__(self, name, array)
        _refuse(f"nodes[{{}}].kind of {len(KINDS)}", self.kind, (self.kind >= 0) & (self.kind < len(KINDS)), "known")
        lost = ((self.ends < 0) | (self.ends >= count)).any(axis=1)
        _refuse("links[{}].ends", self.ends, ~lost, f"numbers of two of {count} nodes")
        _refuse("links[{}]", self.ends, self.ends[:, 0] != self.ends[:, 1], "from one node to another")
        lon, lat = self.nodes["lon"], self.nodes["lat"]
        _refuse("nodes[{}].lat", lat, np.isnan(lon) == np.isnan(lat), "with lon, or neither")

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def number(self) -> Mapping[str, int]:
        """Of each id."""
        return {name: i for i, name in enumerate(self.ids)}

    def of(self, *kinds: Kind) -> IntArray:
        """Numbers of the nodes of these kinds, in their order."""
        return np.flatnonzero(np.isin(self.kind, [KINDS.index(kind) for kind in kinds]))

    def node_rows(self) -> Iterator[dict[str, Any]]:
        """Each as `fields.Node` has it, without what is at its default."""
        told = _told(self.nodes, NODE_NUMBERS)
        assert self.radio is not None
        for i, (name, kind, radio) in enumerate(zip(self.ids, self.kind.tolist(), self.radio.tolist(), strict=True)):
            row: dict[str, Any] = {"id": name, "kind": KINDS[kind]}
            if radio:
                row["radio"] = [name for bit, name in enumerate(RADIOS) if radio >> bit & 1]
            yield row | {key: values[i] for key, values in told.items() if values[i] is not None}

    def link_rows(self) -> Iterator[dict[str, Any]]:
        """Each as `fields.Link` has it, without what is at its default."""
        told = _told(self.links, LINK_NUMBERS)
        for i, (source, target) in enumerate(self.ends.tolist()):
            row: dict[str, Any] = {"source": self.ids[source], "target": self.ids[target]}
            yield row | {key: values[i] for key, values in told.items() if values[i] is not None}

    def graph(self) -> nx.Graph:
        """A networkx graph of it, directed as it is, with parallel links only if there are any; nodes by their ids,
        attributes as in a file.
        """
        import networkx as nx

        pairs = self.ends if self.directed else np.sort(self.ends, axis=1)
        parallel = len(np.unique(pairs, axis=0)) < len(pairs)
        kinds = (nx.MultiDiGraph, nx.MultiGraph) if parallel else (nx.DiGraph, nx.Graph)
        graph = kinds[0 if self.directed else 1]()
        graph.add_nodes_from((row.pop("id"), row) for row in self.node_rows())
        graph.add_edges_from((row.pop("source"), row.pop("target"), row) for row in self.link_rows())
        return graph


def radio_bits(radios: Iterable[Radio]) -> int:
    """As a node holds them."""
    return sum(_BITS[name] for name in set(radios))


def from_rows(nodes: Sequence[Mapping[str, Any]], links: Sequence[Mapping[str, Any]], directed: bool) -> Infrastructure:
    """Of rows whose types are those of `fields`. Raises InputError as `Infrastructure` does, and for unknown ends."""
    ids = tuple(row["id"] for row in nodes)
    number = {name: i for i, name in enumerate(ids)}
    kinds = {kind: i for i, kind in enumerate(KINDS)}
    ends = np.empty((len(links), 2), np.int64)
    for column, end in enumerate(("source", "target")):
        try:
            ends[:, column] = [number[row[end]] for row in links]
        except KeyError:
            i, row = next((i, row) for i, row in enumerate(links) if row[end] not in number)
            raise InputError(f"links[{i}].{end}", row[end], "the id of a node") from None
    return Infrastructure(
        ids,
        np.array([kinds[row["kind"]] for row in nodes], np.int8),
        ends,
        _of_rows(nodes, NODE_NUMBERS),
        _of_rows(links, LINK_NUMBERS),
        np.array([radio_bits(row.get("radio", ())) for row in nodes], np.uint8),
        directed,
    )


def _of_rows(rows: Sequence[Mapping[str, Any]], numbers: Mapping[str, tuple[float, Any]]) -> dict[str, FloatArray]:
    columns = {}
    for name, (default, _) in numbers.items():
        values = [row.get(name, default) for row in rows]
        columns[name] = np.array([default if value is None else value for value in values], float)
    return columns


def _columns(
    where: str, given: Mapping[str, FloatArray], numbers: Mapping[str, tuple[float, Mapping[str, float]]], count: int
) -> dict[str, FloatArray]:
    for name in given:
        if name not in numbers:
            raise InputError(f"{where}.{name}", "a column", f"one of {', '.join(numbers)}")
    columns = {}
    for name, (default, limits) in numbers.items():
        column = given.get(name)
        columns[name] = array = _frozen(name, np.full(count, default) if column is None else column, float, (count,))
        without = (
            array == default if np.isfinite(default) else np.isnan(array) if np.isnan(default) else array == np.inf
        )
        good = without | np.isfinite(array)
        for key, limit in limits.items():
            good &= without | _LIMITS[key][0](array, limit)
        words = " and ".join(f"{_LIMITS[key][1]} {limit:g}" for key, limit in limits.items())
        _refuse(f"{where}[{{}}].{name}", array, good, f"a number {words}")
    return columns


def _frozen(name: str, given: Any, kind: Any, shape: tuple[int, ...]) -> Any:
    array = np.array(given, kind)
    if array.shape != shape:
        raise InputError(name, array.shape, f"an array of the shape {shape}")
    array.setflags(write=False)
    return array


def _refuse(field: str, given: Any, good: Any, allowed: str) -> None:
    """Raise InputError at the first that is not good."""
    if not good.all():
        i = int(np.argmin(good))
        raise InputError(field.format(i), given[i].tolist(), allowed)


def _told(columns: Mapping[str, FloatArray], numbers: Mapping[str, tuple[float, Any]]) -> dict[str, list[float | None]]:
    """Values that are not at their default, None elsewhere; columns without any left out."""
    told = {}
    for name, (default, _) in numbers.items():
        array = columns[name]
        at_default = np.isnan(array) if np.isnan(default) else array == default
        if not at_default.all():
            told[name] = [
                None if out else value for value, out in zip(array.tolist(), at_default.tolist(), strict=True)
            ]
    return told
