"""Random networks and traffic as D4.2, 4.2.2 draws them: integrated access and backhaul in layers below the donors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgewright.backhaul.model import Band, Link, Matrix, Network
from edgewright.backhaul.paths import Heuristic, candidate_paths
from edgewright.core.errors import InputError


@dataclass(frozen=True)
class Recipe:
    """What a network is drawn from; the defaults are the document's."""

    nodes: int = 20
    donors: int = 3
    children: tuple[int, int] = (1, 3)  # of each node, until there are enough
    extra_sub6: float = 0.6  # probability of a link to each neighbour of the parent
    extra_mmwave: float = 0.4
    sub6_mbps: tuple[int, int] = (200, 300)
    mmwave_mbps: tuple[int, int] = (800, 1000)
    paths: int = 3  # per flow and band
    heuristic: Heuristic = "common-links"

    def __post_init__(self) -> None:
        if not 1 <= self.donors < self.nodes:
            raise InputError("donors", self.donors, f"1 .. {self.nodes - 1}")
        for name in ("extra_sub6", "extra_mmwave"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(name, getattr(self, name), "0 .. 1")
        for name in ("children", "sub6_mbps", "mmwave_mbps"):
            low, high = getattr(self, name)
            if not 1 <= low <= high:
                raise InputError(name, (low, high), "1 <= lowest <= highest")


def generate(recipe: Recipe, *, seed: int = 0) -> Network:
    """Nodes are numbered from the donors down, so that every link leads from a node to a lower one."""
    rng = np.random.default_rng(seed)
    parents = _parents(recipe, rng)
    links: list[Link] = []
    bands: list[tuple[Band, float, tuple[int, int]]] = [
        ("sub6", recipe.extra_sub6, recipe.sub6_mbps),
        ("mmwave", recipe.extra_mmwave, recipe.mmwave_mbps),
    ]
    for band, extra, (low, high) in bands:
        for node, parent in parents.items():
            beside = [other for other in (parent - 1, parent + 1) if 0 <= other < node]
            joined = [parent, *(other for other in beside if rng.random() < extra)]
            links += [Link(u=node, v=v, band=band, capacity_mbps=float(rng.integers(low, high + 1))) for v in joined]
    donors = tuple(range(recipe.donors))
    flows = candidate_paths(links, donors, parents, k=recipe.paths, heuristic=recipe.heuristic)
    name = f"n{recipe.nodes}-k{recipe.paths}-s{seed}"
    return Network(name=name, nodes=recipe.nodes, donors=donors, links=tuple(links), flows=flows)


def traffic(
    flows: int, count: int, *, active: float = 0.4, demand_mbps: tuple[int, int] = (500, 750), seed: int = 0
) -> tuple[Matrix, ...]:
    """`count` matrices; a flow asks with probability `active`, for a whole number of Mb/s in the range."""
    low, high = demand_mbps
    if not 0 <= active <= 1:
        raise InputError("active", active, "0 .. 1")
    if not 0 < low <= high:
        raise InputError("demand_mbps", demand_mbps, "0 < lowest <= highest")
    rng = np.random.default_rng(seed)
    on: Any = rng.random((count, flows)) < active
    demand = np.where(on, rng.integers(low, high + 1, (count, flows)), 0)
    return tuple(Matrix(id=i, demand_mbps=tuple(map(float, row))) for i, row in enumerate(demand))


def _parents(recipe: Recipe, rng: np.random.Generator) -> dict[int, int]:
    """Parent of each node below the donors, breadth first."""
    parents: dict[int, int] = {}
    node, parent = recipe.donors, 0
    while node < recipe.nodes:
        low, high = recipe.children
        for _ in range(int(rng.integers(low, high + 1))):
            if node < recipe.nodes:
                parents[node] = parent
                node += 1
        parent += 1
    return parents
