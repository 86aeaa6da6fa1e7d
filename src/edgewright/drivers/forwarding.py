"""The contract of a network whose flows take the paths they are told; shared by the emulated and the simulated one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from edgewright.core.errors import InputError


class RouteError(Exception):
    """A path that could not be put in force; the old one stays. Names the flow and the exact reason."""

    def __init__(self, flow: int, reason: str) -> None:
        self.flow, self.reason = flow, reason
        super().__init__(f"flow {flow}: {reason}")


@dataclass(frozen=True)
class LinkSpec:
    """All flows that cross it, either way, share its capacity."""

    u: int
    v: int
    capacity_mbps: float

    def __post_init__(self) -> None:
        if self.u == self.v:
            raise InputError("link", (self.u, self.v), "two different nodes")
        if not (math.isfinite(self.capacity_mbps) and self.capacity_mbps > 0):
            raise InputError("capacity_mbps", self.capacity_mbps, "a finite number > 0")


@dataclass(frozen=True)
class Layout:
    """What there is. Nodes are numbered from 0, links and flows by their place."""

    nodes: int
    donors: tuple[int, ...]  # nodes wired to the core
    links: tuple[LinkSpec, ...]
    sources: tuple[int, ...]  # node of each flow

    def __post_init__(self) -> None:
        for node in (*self.donors, *self.sources, *(end for link in self.links for end in (link.u, link.v))):
            if not 0 <= node < self.nodes:
                raise InputError("layout", node, f"a node, 0 .. {self.nodes - 1}")

    def walk(self, flow: int, path: Sequence[int]) -> list[int]:
        """Nodes of a path given by its links; an InputError where it does not lead from the source to a donor."""
        if not 0 <= flow < len(self.sources):
            raise InputError("flow", flow, f"0 .. {len(self.sources) - 1}")
        nodes = [self.sources[flow]]
        for link in path:
            ends = {self.links[link].u, self.links[link].v} if 0 <= link < len(self.links) else set()
            if nodes[-1] not in ends:
                raise InputError("path", list(path), f"links from node {nodes[0]} on; {link} is not at {nodes[-1]}")
            nodes.append((ends - {nodes[-1]}).pop())
        if nodes[-1] not in self.donors or len(set(nodes)) < len(nodes):
            raise InputError("path", list(path), f"links that lead to a donor, {self.donors}, and cross no node twice")
        return nodes


@dataclass(frozen=True)
class Counters:
    """Since the start. Bytes are those of applications: headers, acknowledgements and what was lost do not count."""

    t_s: float  # monotonic clock
    up: tuple[bool, ...]  # each link
    link_bytes: tuple[int, ...]  # carried by each link, both ways
    flow_bytes: tuple[int, ...]  # of each flow, received behind the donors


class ForwardingPlane(Protocol):
    """Thread-safe."""

    @property
    def layout(self) -> Layout: ...

    def route(self, flow: int, path: Sequence[int]) -> None:
        """Put a path, its links from the source to a donor, in force. Raises RouteError; the old path stays then.

        The path in force may be given again: what a broken link took away is put back.
        """
        ...

    def counters(self) -> Counters: ...

    def close(self) -> None:
        """Leave nothing behind. May be called twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...
