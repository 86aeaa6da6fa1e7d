"""The backhaul driver: the paths of a choice as calls of a forwarding plane, its counters as one Observation."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from edgewright.backhaul.model import NO_PATH, Network, Problem
from edgewright.backhaul.rates import expected_rates
from edgewright.core.contracts import BoolArray, FloatArray, IntArray, Outcome
from edgewright.core.errors import InputError
from edgewright.drivers.forwarding import ForwardingPlane, Layout, LinkSpec, RouteError
from edgewright.drivers.simulated_network import SimulatedNetwork


@dataclass(frozen=True)
class Observation:
    """Links now; means over the interval since the observation before."""

    broken: frozenset[int]
    load_mbps: FloatArray  # [L], both ways
    rates_mbps: FloatArray  # [F], received
    seconds: float


class BackhaulDriver:
    """Observes and routes the flows of a network on one forwarding plane, which stays its owner's to close."""

    def __init__(self, network: Network, plane: ForwardingPlane) -> None:
        if plane.layout != layout(network):
            raise InputError("plane", plane.layout, f"the nodes, links and sources of network {network.name}")
        self.network, self.plane = network, plane
        self.running: IntArray = np.full(len(network.flows), NO_PATH)  # path in force of each flow
        self._last = plane.counters()

    def observe(self) -> Observation:
        """One interval: since the last call, the first since the start."""
        last, self._last = self._last, self.plane.counters()
        now, seconds = self._last, self._last.t_s - last.t_s

        def mbps(after: Sequence[int], before: Sequence[int]) -> FloatArray:
            return np.subtract(after, before) * (8e-6 / seconds if seconds > 0 else 0.0)

        return Observation(
            frozenset(link for link, up in enumerate(now.up) if not up),
            mbps(now.link_bytes, last.link_bytes),
            mbps(now.flow_bytes, last.flow_bytes),
            seconds,
        )

    def apply(self, action: IntArray) -> Outcome:
        """Put the path of each flow, int[F], in force; a flow with NO_PATH keeps what it has.

        Keys of the outcome: `flows.<index>`. A path that is in force is put there again: a link that was broken in
        between has lost its flows.
        """
        choice, arrays = np.asarray(action), self.network.arrays
        counts = np.diff(arrays.flow_start)
        if (
            choice.dtype.kind not in "iu"
            or choice.shape != counts.shape
            or (choice < NO_PATH).any()
            or (choice >= counts).any()
        ):
            raise InputError("choice", choice.tolist(), f"a path of each of {counts.size} flows, or {NO_PATH}")
        done: dict[str, int] = {}
        refused: dict[str, str] = {}
        for flow in np.flatnonzero(choice != NO_PATH).tolist():
            try:
                self.plane.route(flow, arrays.links_of(arrays.flow_start[flow] + choice[flow]).tolist())
            except RouteError as error:
                refused[f"flows.{flow}"] = error.reason
                continue
            self.running[flow] = choice[flow]
            done[f"flows.{flow}"] = int(choice[flow])
        return Outcome(done, refused)


def layout(network: Network) -> Layout:
    """What a forwarding plane must know of a network."""
    links = tuple(LinkSpec(link.u, link.v, link.capacity_mbps) for link in network.links)
    return Layout(network.nodes, network.donors, links, tuple(flow.source for flow in network.flows))


def simulated(network: Network, *, clock: Callable[[], float] = time.monotonic) -> SimulatedNetwork:
    """A plane whose flows share links as the twin says: max-min fairly."""
    arrays = network.arrays
    starts = arrays.flow_start
    index = [
        {tuple(arrays.links_of(path)): path - first for path in range(first, end)} for first, end in pairwise(starts)
    ]

    def rates(paths: Sequence[Sequence[int]], up: BoolArray, demand_mbps: FloatArray) -> FloatArray:
        choice = np.array([known[tuple(path)] if path else NO_PATH for known, path in zip(index, paths, strict=True)])
        broken = frozenset(np.flatnonzero(~up).tolist())
        return expected_rates(Problem(network, demand_mbps, broken=broken), choice)

    return SimulatedNetwork(layout(network), rates, index, clock=clock)
