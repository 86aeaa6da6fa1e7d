"""What others call the fields of nodes and links, and in which units: read as ours, each assumption said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from edgewright.core import documents
from edgewright.core.contracts import FloatArray
from edgewright.core.documents import Part
from edgewright.core.errors import InputError
from edgewright.core.infrastructure.fields import Link, Node
from edgewright.core.infrastructure.model import CELLS, KINDS, RADIOS, Infrastructure, from_rows

DelayUnit = Literal["s", "ms", "us", "ns"]
PER_SECOND: Mapping[DelayUnit, float] = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}

_BITS = {
    f"{prefix}{per}": bits for prefix, bits in zip("kmgt", (1e3, 1e6, 1e9, 1e12), strict=True) for per in ("b/s", "bps")
}
_BITS["mpbs"] = 1e6  # a typo in use
_METRES = {"m": 1.0, "meter": 1.0, "meters": 1.0, "metre": 1.0, "metres": 1.0, "km": 1e3}
_UNITS = {f"{name}Units": name for name in ("bandwidth", "capacity", "distance")}
_TYPES: dict[str, str] = (
    {kind: kind for kind in KINDS} | {f"m{i}_server": "server" for i in (1, 2, 3)} | {"fogNode": "fog"}
)
_SIZES: dict[str, tuple[str, tuple[str, ...]]] = {"": ("cell", ())}
_SIZES |= {kind.removesuffix("_cell"): (kind, ()) for kind in CELLS if kind != "cell"}
_SIZES |= {radio.lower(): ("cell", (radio,)) for radio in RADIOS}

# What others call a field: what we do, and what their number is assumed to mean where that is an assumption.
_NODE_WORDS = {
    "mem": ("memory_gb", "GB"),
    "disk": ("storage_gb", "GB"),
    "cost": ("cpu_price", "the price of one vCPU"),
    "coverageRadius": ("coverage_m", "m"),
    "Longitude": ("lon", ""),
    "longitude": ("lon", ""),
    "Latitude": ("lat", ""),
    "latitude": ("lat", ""),
}
_LINK_WORDS = {"cost": ("price", "the price of one Mb/s")}

_LIGHT = np.array([[5.0], [10 / 3]])
"""Of light in a fibre and in a vacuum, ns a metre, as they are rounded by those who compute delays from distances."""
_ENOUGH_LINKS, _CLEARLY, _AGREES = 3, 0.9, 1e-3
_KINDS: dict[str, str] = {kind: kind for kind in KINDS}
_RADIOS: dict[str, str] = {radio: radio for radio in RADIOS}


def gml_word(name: str) -> str:
    """Keys of GML have no underscore."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _words(part: type[Part], others: Mapping[str, tuple[str, str]], apart: set[str]) -> dict[str, tuple[str, str]]:
    ours = part.model_fields.keys() - apart
    return {**others, **{gml_word(name): (name, "") for name in ours}, **{name: (name, "") for name in ours}}


NODE_WORDS = _words(Node, _NODE_WORDS, {"id", "kind", "radio"})
LINK_WORDS = _words(Link, _LINK_WORDS, {"source", "target"})


@dataclass
class Found:
    """A graph as a file has it, its fields not yet understood. Links name their nodes by key."""

    nodes: Sequence[tuple[Hashable, dict[str, Any]]]
    links: Sequence[tuple[Hashable, Hashable, dict[str, Any]]]
    directed: bool
    said: list[str] = field(default_factory=list)
    """What was left out already."""


@dataclass
class _Row:
    """One node or link in the making."""

    where: str
    source: str
    said: Counter[str]
    values: dict[str, Any] = field(default_factory=dict)
    theirs: dict[str, str] = field(default_factory=dict)
    """What the file calls each of our fields."""

    def put(self, name: str, value: Any, theirs: str) -> None:
        if name in self.values and self.values[name] != value:
            raise self.error(theirs, value, f"{self.values[name]!r}, as {self.theirs[name]} says")
        self.values[name], self.theirs[name] = value, theirs

    def error(self, theirs: str, given: object, allowed: str) -> InputError:
        return InputError(f"{self.where}: {theirs}", given, allowed, source=self.source)

    def one_of(self, known: Mapping[str, Any], given: Any, theirs: str) -> Any:
        if not isinstance(given, str) or given not in known:
            raise self.error(theirs, given, "one of " + ", ".join(map(repr, known)))
        return known[given]

    def unknown(self, theirs: str) -> None:
        self.said[f"field {theirs} is not known, left out"] += 1

    def check(self, part: type[Part]) -> None:
        try:
            part.model_validate(self.values)
        except ValidationError as error:
            found = documents.input_error(error, None)
            raise self.error(self.theirs.get(found.field, found.field), found.given, found.allowed) from None


def understood(found: Found, source: str, delay_unit: DelayUnit | None) -> tuple[Infrastructure, list[str]]:
    """The infrastructure, and a sentence for each assumption and each thing left out.

    Raises InputError naming the file, the node or link and the field.
    """
    if delay_unit is not None and delay_unit not in PER_SECOND:
        raise InputError("delay_unit", delay_unit, "one of " + ", ".join(PER_SECOND))
    of_nodes: Counter[str] = Counter()
    of_links: Counter[str] = Counter()
    typed = any(isinstance(attrs.get("type"), str) and attrs["type"] in _TYPES for _, attrs in found.nodes)
    names = _names(found, source, of_nodes)
    nodes = []
    for key, attrs in found.nodes:
        row = _Row(f"node {names[key]}", source, of_nodes, {"id": names[key]})
        _node(row, attrs, typed)
        nodes.append(row)
    links = []
    for begin, end, attrs in found.links:
        row = _Row(f"link {names.get(begin, begin)} -> {names.get(end, end)}", source, of_links)
        for field_name, key in (("source", begin), ("target", end)):
            if key not in names:
                raise row.error(field_name, key, "the id of a node")
            row.values[field_name] = names[key]
        if begin == end:
            of_links["from a node to itself, left out"] += 1
            continue
        _link(row, attrs)
        links.append(row)
    said = _delays(nodes, links, delay_unit)
    for rows, part in ((nodes, Node), (links, Link)):
        for row in rows:
            row.check(part)
    try:
        infrastructure = from_rows([row.values for row in nodes], [row.values for row in links], found.directed)
    except InputError as error:
        raise error.at(source) from None
    for counts, word in ((of_nodes, "node"), (of_links, "link")):
        said += [f"{_count(count, word)}: {sentence}" for sentence, count in counts.items()]
    return infrastructure, found.said + said


def _count(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _names(found: Found, source: str, said: Counter[str]) -> dict[Hashable, str]:
    """Of each key: the name of its node, else its label, else the key itself."""
    names: dict[Hashable, str] = {}
    for key, attrs in found.nodes:
        if key in names:
            raise InputError(f"node {key}: id", key, "an id used once", source=source)
        told = [attrs[word] for word in ("name", "label") if attrs.get(word) not in (None, "")]
        if not all(isinstance(value, str | int | float) for value in told):
            raise InputError(f"node {key}: name", told, "text", source=source)
        if len(told) == 2 and str(told[0]) != str(told[1]):
            said["has a name, its other label left out"] += 1
        names[key] = str(told[0] if told else key)
    often = Counter(names.values())
    for key, name in names.items():
        if often[name] > 1:
            names[key] = f"{name} ({key})"
            said["name used more than once, the id added to it"] += 1
    return names


def _node(row: _Row, attrs: Mapping[str, Any], typed: bool) -> None:
    for name, value in attrs.items():
        if value is None or name in {"name", "label"}:
            continue
        elif name in NODE_WORDS:
            ours, meaning = NODE_WORDS[name]
            row.put(ours, value, name)
            if meaning and name != "cost":
                row.said[f"{name} read as {meaning}"] += 1
        elif name == "kind":
            row.put("kind", row.one_of(_KINDS, value, name), name)
        elif name == "type" and typed:
            _type(row, value, attrs.get("size"))
        elif name == "radio":
            radios = value.split(",") if isinstance(value, str) and value else value or []
            if not isinstance(radios, list):
                raise row.error(name, value, "names of radio technologies")
            row.put("radio", tuple(row.one_of(_RADIOS, radio, name) for radio in radios), name)
        elif name in {"pos", "coordinates"}:
            if not isinstance(value, list) or len(value) != 2:
                raise row.error(name, value, "longitude and latitude")
            row.put("lon", value[0], name)
            row.put("lat", value[1], name)
        elif name == "delay":
            row.put("delay", value, name)
        elif name != "size" or (value and attrs.get("type") != "cell"):
            row.unknown(name)
    if "kind" not in row.values:
        row.values["kind"] = "switch"
        row.said["no type that is known, read as switch"] += 1
    if attrs.get("cost") is not None:
        of_radio = row.values["kind"] in CELLS and not row.values.get("cpu") and attrs["cost"]
        meaning = "what the radio costs, kept as cpu_price" if of_radio else NODE_WORDS["cost"][1]
        row.said[f"cost read as {meaning}"] += 1
    if ("lon" in row.values) != ("lat" in row.values):
        missing = "lat" if "lon" in row.values else "lon"
        raise row.error(missing, None, "longitude and latitude, or neither")


def _type(row: _Row, given: Any, size: Any) -> None:
    kind, radio = row.one_of(_TYPES, given, "type"), ()
    if given == "cell" and size is not None:
        kind, radio = row.one_of(_SIZES, size, "size")
        if size:
            row.said[f"type cell of size {size} read as {' '.join((kind, *radio))}"] += 1
    elif kind != given:
        row.said[f"type {given} read as {kind}"] += 1
    row.put("kind", kind, "type")
    if radio:
        row.put("radio", radio, "size")


def _link(row: _Row, attrs: Mapping[str, Any]) -> None:
    for name, value in attrs.items():
        if value is None:
            continue
        elif name in LINK_WORDS:
            ours, meaning = LINK_WORDS[name]
            row.put(ours, value, name)
            if meaning:
                row.said[f"{name} read as {meaning}"] += 1
        elif name in {"bandwidth", "capacity"}:
            row.put("capacity_mbps", _in(row, attrs, name, _BITS, "Mb/s"), name)
        elif name == "bw":
            if "bandwidth" not in attrs:
                row.put("capacity_mbps", value, name)
                row.said["bw read as Mb/s"] += 1
            elif value != attrs["bandwidth"]:
                raise row.error(name, value, f"{attrs['bandwidth']!r}, as bandwidth says")
        elif name == "LinkSpeedRaw":
            row.put("capacity_mbps", _scaled(value, 1.0, 1e6), name)
            row.said["LinkSpeedRaw read as bit/s"] += 1
        elif name == "distance":
            row.put("distance_m", _in(row, attrs, name, _METRES, "m"), name)
        elif name == "dist":
            row.put("distance_m", _scaled(value, 1e3), name)
            row.said["dist read as km"] += 1
        elif name == "delay":
            row.put("delay", value, name)
        elif _UNITS.get(name) not in attrs:  # a unit without its number is not known either
            row.unknown(name)


def _in(row: _Row, attrs: Mapping[str, Any], name: str, known: Mapping[str, float], ours: str) -> Any:
    """The value of a field in our unit, from the one that `<name>Units` tells."""
    given, our = attrs.get(f"{name}Units"), known[ours.lower()]
    if given is None:
        row.said[f"{name} without a unit read as {ours}"] += 1
        return _scaled(attrs[name], our, our)
    word = str(given).lower()
    factor = row.one_of(known, word if word in known else given, f"{name}Units")
    if given != ours and known is _BITS:
        row.said[f"{name} in {given} read as {'' if factor == our else f'{factor / our:,.10g} '}{ours}"] += 1
    return _scaled(attrs[name], factor, our)


def _scaled(value: Any, factor: float, per: float = 1.0) -> Any:
    """What is no number, or none that a float holds, stays as it is, to be refused with its field."""
    try:
        return value * factor / per if type(value) in (int, float) else value
    except OverflowError:
        return value


def _delays(nodes: Sequence[_Row], links: Sequence[_Row], unit: DelayUnit | None) -> list[str]:
    """Turn delays without a unit into `delay_s`, in the unit that makes links as fast as light, else seconds."""
    told = [row for rows in (nodes, links) for row in rows if "delay" in row.values]
    if not told:
        return []
    said = []
    if unit is None:
        rates = _rates(links)
        off = {key: abs(rates / per * 1e9 / _LIGHT - 1) for key, per in PER_SECOND.items()}
        fast = {key: int((far < _AGREES).any(axis=0).sum()) for key, far in off.items()}
        best = max(PER_SECOND, key=lambda key: fast[key])
        clear = fast[best] >= max(1, min(_ENOUGH_LINKS, rates.size)) and fast[best] > _CLEARLY * sum(fast.values())
        unit = best if clear else "s"
        how_many = f"{fast[unit]} of {_count(rates.size, 'link')} with a distance and a delay have 5 or 3.33 ns a metre"
        said = [f"delays of {_among(nodes, links)} read as {unit}: {how_many}{'' if clear else ', so it is a guess'}"]
    for row in told:
        row.put("delay_s", _scaled(row.values.pop("delay"), 1.0, PER_SECOND[unit]), "delay")
    return said


def _among(*kinds: Sequence[_Row]) -> str:
    counts = [sum("delay" in row.values for row in rows) for rows in kinds]
    return " and ".join(_count(count, word) for count, word in zip(counts, ("node", "link"), strict=True) if count)


def _rates(links: Sequence[_Row]) -> FloatArray:
    """Delay a metre of the links that have both."""
    pairs = [(_scaled(row.values.get("delay"), 1.0), _scaled(row.values.get("distance_m"), 1.0)) for row in links]
    rates = [delay / metres for delay, metres in pairs if type(delay) is type(metres) is float and delay and metres]
    return np.array(rates, float)
