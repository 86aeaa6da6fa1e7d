"""The backhaul problem: every flow takes one of its paths to a donor; what shares a link shares it max-min fairly.

A network file (`format: edgewright.backhaul/1`) holds nodes, donors, links in two bands, the candidate paths of every
flow, and traffic matrices. Source: NANCY D4.2, section 4.2.

Shapes: L links, F flows, P paths of all flows together, M links of all paths together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import Field, model_validator

from edgewright.core.contracts import BoolArray, FloatArray, IntArray, Violation
from edgewright.core.documents import Document, Part, read, unique
from edgewright.core.errors import InputError

Status = Literal["optimal", "feasible", "time_limit"]
Band = Literal["sub6", "mmwave"]
Kind = Literal["efficiency", "jain", "weighted", "alpha"]
Node = Annotated[int, Field(ge=0)]
NO_PATH = -1
TOLERANCE_MBPS = 1e-6
MOST_ALPHA = 16
LEAST_SHARE = 1e-6  # of alpha-fairness
GEOMETRIC = 1e-6  # of alpha from 1, within which powers lose all digits


class Link(Part):
    """Undirected; all flows that cross it in its band share its capacity."""

    u: Node
    v: Node
    band: Band
    capacity_mbps: Annotated[float, Field(gt=0)]

    @property
    def key(self) -> tuple[Band, int, int]:
        return link_key(self.band, self.u, self.v)


def link_key(band: Band, u: int, v: int) -> tuple[Band, int, int]:
    return band, min(u, v), max(u, v)


class Path(Part):
    """From the flow's source to a donor, in one band."""

    band: Band
    nodes: Annotated[tuple[Node, ...], Field(min_length=2)]

    @property
    def links(self) -> list[tuple[Band, int, int]]:
        return [link_key(self.band, u, v) for u, v in pairwise(self.nodes)]


class Flow(Part):
    source: Node
    paths: Annotated[tuple[Path, ...], Field(min_length=1)]


class Matrix(Part):
    """One traffic matrix: demand per flow, Mb/s; 0 for a flow that is not active."""

    id: int
    demand_mbps: tuple[Annotated[float, Field(ge=0)], ...]
    reference: dict[str, Any] | None = None
    """Results of other methods, for comparison."""


class Network(Document):
    """A backhaul network with the candidate paths of its flows, and traffic matrices."""

    format: Literal["edgewright.backhaul/1"] = "edgewright.backhaul/1"
    name: Annotated[str, Field(min_length=1)]
    nodes: Annotated[int, Field(ge=2)]
    donors: Annotated[tuple[Node, ...], Field(min_length=1)]
    """Nodes with a wired way out; numbered like all nodes from 0."""
    links: tuple[Link, ...]
    flows: Annotated[tuple[Flow, ...], Field(min_length=1)]
    matrices: tuple[Matrix, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Network:
        known = f"a node, 0 .. {self.nodes - 1}"
        for i, donor in enumerate(self.donors):
            _require(donor < self.nodes, f"donors.{i}", donor, known)
        unique(self.donors, "donors.{}", "a donor named once")
        for i, link in enumerate(self.links):
            _require(link.u != link.v, f"links.{i}", (link.u, link.v), "two different nodes")
            _require(max(link.u, link.v) < self.nodes, f"links.{i}", (link.u, link.v), known)
        unique((link.key for link in self.links), "links.{}", "one link per band between two nodes")
        unique((flow.source for flow in self.flows), "flows.{}", "one flow per source")
        links = {link.key for link in self.links}
        for i, flow in enumerate(self.flows):
            for j, path in enumerate(flow.paths):
                self._check_path(path, flow.source, links, f"flows.{i}.paths.{j}")
            unique(((p.band, p.nodes) for p in flow.paths), f"flows.{i}.paths.{{}}", "a path named once")
        unique((matrix.id for matrix in self.matrices), "matrices.{}", "an id used once")
        for i, matrix in enumerate(self.matrices):
            given, where = len(matrix.demand_mbps), f"matrices.{i}.demand_mbps"
            _require(given == len(self.flows), where, f"{given} numbers", f"{len(self.flows)}, one per flow")
        return self

    def _check_path(self, path: Path, source: int, links: set[tuple[Band, int, int]], where: str) -> None:
        _require(path.nodes[0] == source, f"{where}.nodes", path.nodes, f"a path from the flow's source, {source}")
        _require(path.nodes[-1] in self.donors, f"{where}.nodes", path.nodes, f"a path to a donor, {self.donors}")
        unique(path.nodes, f"{where}.nodes.{{}}", "a node crossed once")
        for band, u, v in path.links:
            _require((band, u, v) in links, f"{where}.nodes", (u, v), f"nodes that a {band} link joins")

    @cached_property
    def arrays(self) -> Arrays:
        index = {link.key: i for i, link in enumerate(self.links)}
        paths = [path for flow in self.flows for path in flow.paths]
        crossed = [[index[key] for key in path.links] for path in paths]
        return Arrays(
            np.array([link.capacity_mbps for link in self.links], dtype=np.float64),
            _starts(len(flow.paths) for flow in self.flows),
            _starts(map(len, crossed)),
            np.array([link for links in crossed for link in links], dtype=np.int64),
        )


def read_network(path: str | FilePath) -> Network:
    """Raises InputError naming the file and the field."""
    return read(Network, path)


@dataclass(frozen=True)
class Arrays:
    """What compiled code sees of a network."""

    capacity_mbps: FloatArray  # [L]
    flow_start: IntArray  # [F + 1]: paths of flow f are flow_start[f] .. flow_start[f + 1]
    path_start: IntArray  # [P + 1]: links of path p are path_links[path_start[p]] .. path_links[path_start[p + 1]]
    path_links: IntArray  # [M]

    def links_of(self, path: int) -> IntArray:
        return self.path_links[self.path_start[path] : self.path_start[path + 1]]

    def whole(self, up: BoolArray) -> BoolArray:
        """bool[P]: paths all of whose links are up, bool[L]."""
        return np.logical_and.reduceat(up[self.path_links], self.path_start[:-1])


@dataclass(frozen=True)
class Objective:
    """`efficiency`: carried over offered traffic. `jain`: Jain's index over flows with demand.

    `weighted`: ((1 + gamma) efficiency + (1 - gamma) jain) / 2, gamma in [-1, 1] (D4.2, eq. 3, halved so that it
    lies in 0..1). Jain's index alone is degenerate: it is perfect where everyone starves alike.

    `alpha`: alpha-fairness (Mo and Walrand 2000) of the shares s = rate / demand, weighted by demand and as a mean, so
    that it lies in 0..1: (sum w s^(1 - alpha))^(1 / (1 - alpha)). 0 is efficiency, 1 proportional fairness (geometric
    mean), 2 the harmonic mean; the larger, the more the worst served count. Nothing counts as a millionth.
    """

    kind: Kind = "efficiency"
    gamma: float = 0.0
    alpha: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise InputError("objective", self.kind, f"one of {get_args(Kind)}")
        if not -1 <= self.gamma <= 1:
            raise InputError("gamma", self.gamma, "-1 .. 1")
        if not 0 <= self.alpha <= MOST_ALPHA:
            raise InputError("alpha", self.alpha, f"0 .. {MOST_ALPHA}")

    @property
    def weights(self) -> tuple[float, float]:
        """Of the (alpha-fair) efficiency and of Jain's index; they sum to 1."""
        gamma = {"jain": -1.0, "weighted": self.gamma}.get(self.kind, 1.0)
        return (1 + gamma) / 2, (1 - gamma) / 2

    @property
    def exponent(self) -> float:
        """alpha, 0 for the other kinds; 1 where a mean of powers is that of its limit, the geometric one."""
        if self.kind != "alpha":
            return 0.0
        return 1.0 if abs(1 - self.alpha) < GEOMETRIC else self.alpha

    def of(self, efficiency: float, jain: float) -> float:
        """0..1; for `alpha` what it cannot exceed."""
        w, v = self.weights
        return max(w * efficiency + v * jain, LEAST_SHARE if self.exponent else 0.0)

    def value(self, demand_mbps: FloatArray, rates_mbps: FloatArray) -> float:
        """0..1; float[F] each."""
        active = demand_mbps > 0
        if self.exponent == 0.0 or not active.any():
            return self.of(*measures(demand_mbps, rates_mbps))
        demand = demand_mbps[active]
        shares = np.maximum(rates_mbps[active] / demand, LEAST_SHARE)
        if self.exponent == 1.0:
            return float(np.exp(np.average(np.log(shares), weights=demand)))
        return float(np.average(shares ** (1 - self.exponent), weights=demand) ** (1 / (1 - self.exponent)))


class WithObjective(Document):
    """A document that says what is maximised; see `Objective`."""

    objective: Kind = "efficiency"
    gamma: Annotated[float, Field(ge=-1, le=1)] = 0.0
    alpha: Annotated[float, Field(ge=0, le=MOST_ALPHA)] = 1.0

    @property
    def aim(self) -> Objective:
        return Objective(self.objective, self.gamma, self.alpha)


@dataclass(frozen=True)
class Problem:
    """One traffic matrix on one network. Links that are broken have capacity 0."""

    network: Network
    demand_mbps: FloatArray  # [F]
    objective: Objective = field(default_factory=Objective)
    broken: frozenset[int] = frozenset()  # indices of links

    def __post_init__(self) -> None:
        demand = np.asarray(self.demand_mbps, dtype=np.float64)
        flows = len(self.network.flows)
        if demand.shape != (flows,) or not np.isfinite(demand).all() or (demand < 0).any():
            raise InputError("demand_mbps", self.demand_mbps, f"{flows} numbers >= 0, one per flow")
        for link in self.broken:
            _require(0 <= link < len(self.network.links), "broken", link, f"0 .. {len(self.network.links) - 1}")
        object.__setattr__(self, "demand_mbps", demand)

    @cached_property
    def capacity_mbps(self) -> FloatArray:
        """float[L], 0 where broken"""
        capacity = self.network.arrays.capacity_mbps.copy()
        capacity[list(self.broken)] = 0.0
        return capacity

    @cached_property
    def active(self) -> IntArray:
        """Flows with demand."""
        return np.flatnonzero(self.demand_mbps > 0)


@dataclass(frozen=True)
class Solution:
    """`choice` int[F]: path of each flow, counted from its first; NO_PATH where there is no demand.

    `value` is the objective, `bound` what no solution can exceed (None: unproven); both in 0..1.
    """

    status: Status
    choice: IntArray
    rates_mbps: FloatArray
    efficiency: float
    jain: float
    value: float
    bound: float | None
    evaluations: int
    cpu_s: float
    reason: str = ""


def measures(demand_mbps: FloatArray, rates_mbps: FloatArray) -> tuple[float, float]:
    """-> efficiency and Jain's index over flows with demand, 0..1; both 1 where nobody asks, jain 0 where none gets."""
    active = demand_mbps > 0
    if not active.any():
        return 1.0, 1.0
    rates = rates_mbps[active]
    squares = float((rates**2).sum())
    jain = float(rates.sum()) ** 2 / (rates.size * squares) if squares > 0 else 0.0
    return float(rates.sum() / demand_mbps.sum()), jain


def check(problem: Problem, solution: Solution) -> list[Violation]:
    """What is wrong with a solution: choices, capacities, demands, max-min fairness, and its own figures.

    Independent of the code that computes rates: it tests the condition that defines them. A flow that gets less than it
    asks must cross a full link on which nobody gets more (Bertsekas and Gallager, Data Networks, 6.5.2).
    """
    found = []
    demand, rates, choice = problem.demand_mbps, np.asarray(solution.rates_mbps), np.asarray(solution.choice)
    arrays = problem.network.arrays
    load = np.zeros(arrays.capacity_mbps.size)
    largest = np.zeros(arrays.capacity_mbps.size)
    crossed: dict[int, IntArray] = {}
    for flow in range(demand.size):
        first, end = arrays.flow_start[flow], arrays.flow_start[flow + 1]
        if demand[flow] == 0:
            if choice[flow] != NO_PATH or rates[flow] != 0:
                found.append(Violation(f"choice.{flow}", float(choice[flow]), "no path and no rate without demand"))
            continue
        if not 0 <= choice[flow] < end - first:
            found.append(Violation(f"choice.{flow}", float(choice[flow]), f"0 .. {end - first - 1}"))
            continue
        path = first + choice[flow]
        crossed[flow] = arrays.links_of(path)
        load[crossed[flow]] += rates[flow]
        largest[crossed[flow]] = np.maximum(largest[crossed[flow]], rates[flow])
        if not -TOLERANCE_MBPS <= rates[flow] <= demand[flow] + _slack(demand[flow]):
            found.append(Violation(f"rates_mbps.{flow}", float(rates[flow]), f"0 .. {demand[flow]:g}"))
    capacity = problem.capacity_mbps
    for link in np.flatnonzero(load > capacity + _slack(capacity)):
        found.append(Violation(f"links.{link}", float(load[link]), f"at most {capacity[link]:g}"))
    full = load >= capacity - _slack(capacity)
    for flow, links in crossed.items():
        if rates[flow] >= demand[flow] - _slack(demand[flow]):
            continue
        if not (full[links] & (largest[links] <= rates[flow] + _slack(rates[flow]))).any():
            found.append(Violation(f"rates_mbps.{flow}", float(rates[flow]), "its max-min fair share"))
    told = zip(("efficiency", "jain"), measures(demand, rates), (solution.efficiency, solution.jain), strict=True)
    found += [Violation(name, given, f"{true:g}") for name, true, given in told if abs(true - given) > 1e-9]
    value = problem.objective.value(demand, rates)
    if abs(value - solution.value) > 1e-9:
        found.append(Violation("value", solution.value, f"{value:g}"))
    if solution.bound is not None and solution.value > solution.bound + 1e-9:
        found.append(Violation("value", solution.value, f"at most its bound, {solution.bound:g}"))
    return found


def _slack(value: Any) -> Any:
    return TOLERANCE_MBPS + 1e-9 * np.abs(value)


def _starts(counts: Iterable[int]) -> IntArray:
    return np.concatenate([[0], np.cumsum(list(counts), dtype=np.int64)]).astype(np.int64)


def _require(holds: bool, field: str, given: object, allowed: str) -> None:
    if not holds:
        raise InputError(field, given, allowed)
