"""Cells, and the switches and links above them, as an infrastructure.

Links: cell to M1 switch 10 Gb/s, access ring 300 Gb/s, aggregation ring 6 Tb/s, between M3 switches 36 Tb/s; light
takes 5 us a kilometre of fibre. Source: ITU-T GSTR-TN5G as the generator 5GEN has it. A ring is a tour of its members
that closes through the switch above them; M3 switches stand in a ring, too. Fibre is as long as the straight line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewright.core.contracts import FloatArray, IntArray
from edgewright.core.errors import InputError
from edgewright.core.infrastructure import CELLS, KINDS, Infrastructure, Kind
from edgewright.core.infrastructure.model import LINK_NUMBERS, NODE_NUMBERS, radio_bits
from edgewright.topology.layers import Layer
from edgewright.topology.places import Plane
from edgewright.topology.rings import Level, Rings, around, tours

FIBRE_S_PER_M = 5e-9
CELL_MBPS, ACCESS_MBPS, AGGREGATION_MBPS, M3_MBPS = 10e3, 300e3, 6e6, 36e6
SERVER = ("cpu", "memory_gb", "storage_gb", "cpu_price")
SWITCHES: tuple[Kind, ...] = ("m1", "m2", "m3")
_OURS = re.compile("m[123]-[0-9]+")


@dataclass(frozen=True)
class Cells:
    """N cells on a plane."""

    ids: tuple[str, ...]
    kind: NDArray[np.int8]  # [N], which of KINDS
    radio: NDArray[np.uint8]  # [N], bits of RADIOS
    xy: FloatArray  # float64[N, 2], metres
    plane: Plane
    columns: Mapping[str, FloatArray] = field(default_factory=dict)
    """What else is told of each, by field of `Node`, float64[N]."""

    def __len__(self) -> int:
        return len(self.ids)

    @staticmethod
    def of_layers(layers: Sequence[Layer], plane: Plane) -> Cells:
        many = [len(layer.xy) for layer in layers]
        return Cells(
            tuple(f"{layer.name}-{i}" for layer in layers for i in range(len(layer.xy))),
            np.repeat([KINDS.index(layer.kind) for layer in layers], many).astype(np.int8),
            np.repeat([radio_bits(layer.radio) for layer in layers], many).astype(np.uint8),
            np.concatenate([layer.xy for layer in layers]),
            plane,
        )

    @staticmethod
    def of_infrastructure(infrastructure: Infrastructure) -> Cells:
        """Its cells, with all that is told of them. Raises InputError where there is none, or one without a place."""
        chosen = infrastructure.of(*CELLS)
        lon, lat = placed(infrastructure, chosen, "cells")
        plane = Plane.around(lon, lat)
        assert infrastructure.radio is not None
        ids = tuple(infrastructure.ids[i] for i in chosen)
        kind, radio, xy = infrastructure.kind[chosen], infrastructure.radio[chosen], plane.to_metres(lon, lat)
        told = {name: column[chosen] for name, column in infrastructure.nodes.items() if name not in ("lon", "lat")}
        return Cells(ids, kind, radio, xy, plane, told)

    def check_ids(self) -> None:
        """Raises InputError for one that a switch above them will have."""
        for name in filter(_OURS.fullmatch, self.ids):
            raise InputError("id", name, f"another name: {name[:2]}-0 and so on are switches above the cells")


def left_out(infrastructure: Infrastructure) -> str:
    """What `Cells.of_infrastructure` leaves, counted, in words; empty where that is nothing."""
    words = {kind: (f"{kind.upper()} switch", f"{kind.upper()} switches") for kind in SWITCHES}
    words |= {"switch": ("switch", "switches"), "fog": ("fog node", "fog nodes")}
    counts = {
        words.get(kind, (kind, f"{kind}s")): len(infrastructure.of(kind)) for kind in KINDS if kind not in CELLS
    } | {("link", "links"): len(infrastructure.ends)}
    return ", ".join(f"{many:,} {plural if many > 1 else one}" for (one, plural), many in counts.items() if many)


def placed(
    infrastructure: Infrastructure, chosen: IntArray, what: str = "of a kind that is asked for"
) -> tuple[FloatArray, FloatArray]:
    """Longitude and latitude of these nodes. Raises InputError where there is none, or one without a place."""
    lon, lat = infrastructure.nodes["lon"][chosen], infrastructure.nodes["lat"][chosen]
    if not len(chosen):
        raise InputError("nodes", 0, f"one or more {what}")
    if np.isnan(lon).any():
        i = int(chosen[np.isnan(lon)][0])
        raise InputError(f"nodes[{i}].lon", None, f"a place: {infrastructure.ids[i]} has none")
    return lon, lat


def with_rings(cells: Cells, rings: Rings) -> Infrastructure:
    """The cells, the switches m1-0.., m2-0.., m3-0.. and all links."""
    m1, access, m2, aggregation, m3 = rings.levels.values()
    first = np.cumsum([len(cells), len(m1), len(m2)])
    places = np.concatenate([cells.xy, m1.xy, m2.xy, m3.xy])
    to_m1 = np.column_stack([np.arange(len(cells)), first[0] + m1.group])
    between_m3 = _between(m3.xy) + first[2]
    parts = (
        (to_m1, CELL_MBPS),
        (_closed(m1, access, m2, first[0], first[1]), ACCESS_MBPS),
        (_closed(m2, aggregation, m3, first[1], first[2]), AGGREGATION_MBPS),
        (between_m3, M3_MBPS),
    )
    ends = np.concatenate([part for part, _ in parts])
    distance = np.hypot(*(places[ends[:, 0]] - places[ends[:, 1]]).T)
    switches = [len(m1), len(m2), len(m3)]
    lon, lat = cells.plane.to_degrees(places)
    return Infrastructure(
        cells.ids + tuple(f"{kind}-{i}" for kind, many in zip(SWITCHES, switches, strict=True) for i in range(many)),
        np.concatenate([cells.kind, np.repeat([KINDS.index(kind) for kind in SWITCHES], switches).astype(np.int8)]),
        ends,
        {"lon": lon, "lat": lat} | _longer(cells.columns, NODE_NUMBERS, sum(switches)),
        {
            "capacity_mbps": np.repeat([mbps for _, mbps in parts], [len(part) for part, _ in parts]),
            "distance_m": distance,
            "delay_s": distance * FIBRE_S_PER_M,
        },
        np.concatenate([cells.radio, np.zeros(sum(switches), np.uint8)]),
    )


def alone(cells: Cells) -> Infrastructure:
    """The cells without anything above them."""
    lon, lat = cells.plane.to_degrees(cells.xy)
    return Infrastructure(cells.ids, cells.kind, nodes={"lon": lon, "lat": lat, **cells.columns}, radio=cells.radio)


def _longer(columns: Mapping[str, FloatArray], numbers: Mapping[str, Any], many: int) -> dict[str, FloatArray]:
    """With so many more entries, of which nothing is told."""
    return {name: np.append(values, np.full(many, numbers[name][0])) for name, values in columns.items()}


def sites_of(infrastructure: Infrastructure) -> list[str]:
    """Ids of the m1 and m2 switches that a server is linked to."""
    is_server = np.isin(np.arange(len(infrastructure)), infrastructure.of("server"))
    is_switch = np.isin(np.arange(len(infrastructure)), infrastructure.of("m1", "m2"))
    first, second = infrastructure.ends.T
    found = np.concatenate([first[is_switch[first] & is_server[second]], second[is_switch[second] & is_server[first]]])
    return [infrastructure.ids[i] for i in np.unique(found)]


def with_sites(
    infrastructure: Infrastructure, switches: Sequence[str], servers: Mapping[str, Sequence[float]]
) -> Infrastructure:
    """The same with a server `site-<switch>` at each of these that has none; `servers` tells by kind of switch the
    vCPUs, memory and storage in GB and the price of a vCPU that one has.
    """
    there = set(sites_of(infrastructure))
    at = np.array([infrastructure.number[name] for name in switches if name not in there], np.int64)
    many = len(at)
    columns = _longer(infrastructure.nodes, NODE_NUMBERS, many)
    for name in ("lon", "lat"):
        columns[name][len(infrastructure) :] = infrastructure.nodes[name][at]
    for i, kind in enumerate(KINDS[k] for k in infrastructure.kind[at]):
        for name, value in zip(SERVER, servers.get(kind, ()), strict=False):
            columns[name][len(infrastructure) + i] = value
    new = np.column_stack([at, len(infrastructure) + np.arange(many)])
    if infrastructure.directed:
        new = np.concatenate([new, new[:, ::-1]])
    names = [f"site-{infrastructure.ids[i]}" for i in at]
    assert infrastructure.radio is not None
    return Infrastructure(
        infrastructure.ids + tuple(f"{name}-site" if name in infrastructure.number else name for name in names),
        np.concatenate([infrastructure.kind, np.full(many, KINDS.index("server"), np.int8)]),
        np.concatenate([infrastructure.ends, new]),
        columns,
        _longer(infrastructure.links, LINK_NUMBERS, len(new)),
        np.concatenate([infrastructure.radio, np.zeros(many, np.uint8)]),
        infrastructure.directed,
    )


def _closed(below: Level, ring: Level, above: Level, first_below: int, first_above: int) -> IntArray:
    """int64[L, 2], the links of each ring."""
    return np.concatenate(
        [
            _circle(np.where(tour < 0, first_above + switch, first_below + tour))
            for tour, switch in zip(tours(below, ring, above), above.group.tolist(), strict=True)
        ]
    )


def _between(xy: FloatArray) -> IntArray:
    """int64[L, 2], a ring through all of these."""
    return _circle(around(xy)) if len(xy) > 1 else np.empty((0, 2), np.int64)


def _circle(tour: IntArray) -> IntArray:
    """int64[L, 2], its links; one where there are two members."""
    return np.column_stack([tour, np.roll(tour, -1)])[: len(tour) if len(tour) > 2 else 1]
