"""A map of an infrastructure in one file that a browser opens without the Internet."""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode
from collections.abc import Sequence
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.core.contracts import BoolArray, IntArray
from edgewright.core.errors import InputError
from edgewright.core.files import replacing
from edgewright.core.infrastructure.fields import Kind
from edgewright.core.infrastructure.model import CELLS, KINDS, NODE_NUMBERS, RADIOS, Infrastructure
from edgewright.studies.figures import COLOURS

_BLUE, _ORANGE, _GREEN, _PINK, _RED, _SKY, _BLACK, _OLIVE = COLOURS
_GREY = "#9aa0a6"

# What a node is called, its level in the picture, colour, shape, and radius: of a cell's, and px at least.
# Where marks meet, a click is for the last of them.
_NODES: dict[Kind, tuple[str, int, str, str, float, float]] = {
    "cell": ("cell", 1, _GREY, "circle", 1, 1.4),
    "macro_cell": ("macro cell", 1, _GREEN, "circle", 1.2, 1.6),
    "micro_cell": ("micro cell", 1, _SKY, "circle", 1, 1.4),
    "pico_cell": ("pico cell", 1, _PINK, "circle", 1, 1.4),
    "femto_cell": ("femto cell", 1, _OLIVE, "circle", 1, 1.4),
    "small_cell": ("small cell", 1, _RED, "circle", 1, 1.4),
    "endpoint": ("endpoint", 3, _GREEN, "plus", 1.5, 3.5),
    "m1": ("M1 switch", 3, _BLUE, "circle", 1.4, 2.2),
    "switch": ("other switch", 3, _GREY, "square", 1.4, 3.5),
    "m2": ("M2 switch", 5, _ORANGE, "square", 1.8, 4.5),
    "m3": ("M3 switch", 7, _BLACK, "triangle", 2.4, 7),
    "fog": ("fog node", 8, _PINK, "down", 1.5, 4),
    "server": ("server", 8, _RED, "diamond", 1.5, 4),
}
# What links are called by what they join, their level, colour and width, px.
_LINKS: dict[str, tuple[int, str, float]] = {
    "cells to M1": (0, _GREY, 0.7),
    "of endpoints": (2, _GREEN, 0.8),
    "of fog nodes": (2, _PINK, 1),
    "of servers": (2, _RED, 1),
    "others": (2, _GREY, 1),
    "in access rings": (2, _BLUE, 1.2),
    "in aggregation rings": (4, _ORANGE, 1.8),
    "between M3": (4, _BLACK, 2.2),
}
_FIELDS = {
    "coverage_m": ("Coverage radius", "m"),
    "cpu": ("CPU", "vCPUs"),
    "memory_gb": ("Memory", "GB"),
    "storage_gb": ("Storage", "GB"),
    "cpu_price": ("Price of CPU", "a vCPU"),
    "memory_price": ("Price of memory", "a GB"),
    "storage_price": ("Price of storage", "a GB"),
    "reliability": ("Reliability", ""),
    "delay_s": ("Delay", "s"),
    "lifetime_s": ("Lifetime", "s"),
}

Outline = Sequence[Sequence[tuple[float, float]]]


def write_map(infrastructure: Infrastructure, path: Path, *, title: str, region: Outline = ()) -> Path:
    """`map_html` as a file, whole or not at all."""
    text = map_html(infrastructure, title=title, region=region)
    with replacing(path) as new:
        new.write_text(text, encoding="utf-8", newline="\n")
    return path


def map_html(infrastructure: Infrastructure, *, title: str, region: Outline = ()) -> str:
    """A page that asks no other file of anyone: nodes and links in layers, to zoom, search and click; the outline of
    a region as rings of (lon, lat). Raises InputError where no node has a place.
    """
    placed = ~np.isnan(infrastructure.nodes["lon"])
    if not placed.any():
        raise InputError("nodes", f"{len(infrastructure)} without a place", "one or more with lon and lat")
    leaflet = Path(str(distribution("nicegui").locate_file("nicegui/elements/leaflet/dist")))
    assets = files("edgewright.topology") / "assets"
    # Its icons are not used, and would be asked for.
    style = re.sub(r"[\w-]+:\s*url\([^;]*;", "", (leaflet / "leaflet" / "leaflet.css").read_text("utf-8"))
    # `<` could end the script; all that is not ASCII is escaped by itself.
    data = json.dumps(_data(infrastructure, placed, region), separators=(",", ":"), allow_nan=False)
    parts = {
        "title": html.escape(title),
        "summary": html.escape(_summary(infrastructure, placed)),
        "leaflet_css": style,
        "leaflet_js": b64encode((leaflet / "index.js").read_bytes()).decode(),
        "css": (assets / "map.css").read_text("utf-8"),
        "js": (assets / "map.js").read_text("utf-8"),
        "data": data.replace("<", "\\u003c"),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], (assets / "map.html").read_text("utf-8"))


def _data(infrastructure: Infrastructure, placed: BoolArray, region: Outline) -> Any:
    """Nodes in the order of `_NODES`, so that those of a kind need no more than their count."""
    rank = np.array([list(_NODES).index(kind) for kind in KINDS])[infrastructure.kind]
    order = np.argsort(rank, kind="stable")
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    many = np.bincount(rank, minlength=len(_NODES)).tolist()
    ends, joins = number[infrastructure.ends], _joins(infrastructure)
    return {
        "ids": [infrastructure.ids[i] for i in order],
        **{
            name: _without(np.round(infrastructure.nodes[name][order], 6), placed[order].tolist())
            for name in ("lon", "lat")
        },
        "fields": _fields(infrastructure, order),
        "nodes": [
            [_plural(word), word, *how, many] for (word, *how), many in zip(_NODES.values(), many, strict=True) if many
        ],
        "links": [
            [name, *how, ends[joins == i].ravel().tolist()]
            for i, (name, how) in enumerate(_LINKS.items())
            if (joins == i).any()
        ],
        "region": [[list(map(float, corner)) for corner in ring] for ring in region],
    }


def _fields(infrastructure: Infrastructure, order: IntArray) -> list[tuple[str, str, list[Any]]]:
    """Name, unit and values of each field that is not everywhere at its default; None where it is."""
    fields: list[tuple[str, str, list[Any]]] = []
    radio = infrastructure.radio
    assert radio is not None
    if radio.any():
        words = {
            bits: ", ".join(name for bit, name in enumerate(RADIOS) if bits >> bit & 1)
            for bits in np.unique(radio).tolist()
        }
        fields.append(("Radio", "", [words[bits] or None for bits in radio[order].tolist()]))
    for name, (default, _) in NODE_NUMBERS.items():
        told = infrastructure.nodes[name] != default
        if name not in ("lon", "lat") and told.any():
            values = _without(infrastructure.nodes[name][order], told[order].tolist())
            fields.append((*_FIELDS.get(name, (name, "")), values))
    return fields


def _without(values: Any, told: list[bool]) -> list[float | None]:
    return [value if there else None for value, there in zip(values.tolist(), told, strict=True)]


def _joins(infrastructure: Infrastructure) -> IntArray:
    """Of each link, which of `_LINKS`."""
    names = list(_LINKS)
    table = np.array([[names.index(_join({one, other})) for other in KINDS] for one in KINDS])
    kinds = infrastructure.kind[infrastructure.ends]
    found: IntArray = table[kinds[:, 0], kinds[:, 1]]
    return found


def _join(kinds: set[Kind]) -> str:
    for kind in ("endpoint", "fog", "server"):
        if kind in kinds:
            return f"of {_plural(_NODES[kind][0])}"
    if "m1" in kinds and kinds & set(CELLS):
        return "cells to M1"
    names = {"m1": "in access rings", "m2": "in aggregation rings", "m3": "between M3"}
    levels = sorted(kinds)
    # A ring closes through one switch of the level above.
    return names[levels[0]] if levels in (["m1"], ["m1", "m2"], ["m2"], ["m2", "m3"], ["m3"]) else "others"


def _summary(infrastructure: Infrastructure, placed: BoolArray) -> str:
    """How many of what are shown, and how many are not."""
    shown = [(kind, int(placed[infrastructure.of(kind)].sum())) for kind in _NODES]
    joined = placed[infrastructure.ends].all(axis=1)
    words = [_many(many, _NODES[kind][0]) for kind, many in shown if many] + [_many(int(joined.sum()), "link")]
    hidden, lost = int((~placed).sum()), int((~joined).sum())
    if not hidden:
        return f"{', '.join(words)}."
    verb, whose = ("is", "its") if hidden == 1 else ("are", "their")
    links = f", nor {whose} {_many(lost, 'link')}" if lost else ""
    return f"{', '.join(words)}. {_many(hidden, 'node')} without a place {verb} not shown{links}."


def _many(many: int, word: str) -> str:
    return f"{many:,} {word if many == 1 else _plural(word)}"


def _plural(word: str) -> str:
    return word + ("es" if word.endswith("switch") else "s")
