"""What is told of a node and of a link: each field with its unit, limits and default, defined here and nowhere else."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgewright.core.documents import Document, Part

Kind = Literal[
    "cell",
    "macro_cell",
    "micro_cell",
    "pico_cell",
    "femto_cell",
    "small_cell",
    "m1",
    "m2",
    "m3",
    "switch",
    "server",
    "fog",
    "endpoint",
]
Radio = Literal["CDMA", "GSM", "UMTS", "LTE", "NR", "WIFI"]

Id = Annotated[str, Field(min_length=1, max_length=200)]
Amount = Annotated[float, Field(ge=0)]
Reliability = Annotated[float, Field(gt=0, le=1)]


class Node(Part):
    id: Id
    kind: Kind
    """`cell` where its size is not known; m1, m2 and m3 are the switches of ITU-T GSTR-TN5G, `switch` any other."""
    lon: Annotated[float, Field(ge=-180, le=180)] | None = None
    """Degrees east (WGS 84); with `lat` or not at all."""
    lat: Annotated[float, Field(ge=-90, le=90)] | None = None
    """Degrees north."""
    radio: tuple[Radio, ...] = ()
    """Technologies of a cell."""
    coverage_m: Amount = 0.0
    """Radius that a cell covers, m; 0 where it is not known."""
    cpu: Amount = 0.0
    """vCPUs."""
    memory_gb: Amount = 0.0
    storage_gb: Amount = 0.0
    cpu_price: Amount = 0.0
    """Of one vCPU. Prices are per unit of time; one file has one currency and one such unit."""
    memory_price: Amount = 0.0
    """Of one GB of memory."""
    storage_price: Amount = 0.0
    """Of one GB of storage."""
    reliability: Reliability = 1.0
    """Probability that it works."""
    delay_s: Amount = 0.0
    """Of passing through it one way, s: of a cell, its radio."""
    lifetime_s: Annotated[float, Field(gt=0)] | None = None
    """How long it can be counted on, s; without, it stays. Fog nodes come and go."""


class Link(Part):
    source: Id
    target: Id
    capacity_mbps: Annotated[float, Field(gt=0)] | None = None
    """Mb/s, in each direction; without, it is not limited."""
    distance_m: Amount = 0.0
    delay_s: Amount = 0.0
    """One way, s."""
    price: Amount = 0.0
    """Of one Mb/s."""
    reliability: Reliability = 1.0
    """Probability that it works."""


class InfrastructureFile(Document):
    format: Literal["edgewright.infrastructure/1"]
    directed: bool = False
    """A link of an undirected infrastructure carries its capacity in both directions."""
    nodes: tuple[Node, ...]
    links: tuple[Link, ...] = ()
