"""The network that a backhaul loop routes: namespaces of this host with TCP senders, or the twin in real time."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from edgewright.backhaul.driver import layout, simulated
from edgewright.backhaul.model import Network
from edgewright.backhaul.scenario import LoopScenario
from edgewright.core.errors import InputError
from edgewright.drivers.capabilities import probe_one
from edgewright.drivers.forwarding import ForwardingPlane, Layout
from edgewright.drivers.linux.network import CORE, SINK, EmulatedNetwork
from edgewright.drivers.linux.traffic import Traffic
from edgewright.service.settings import Settings


class LivePlane(ForwardingPlane, Protocol):
    """A forwarding plane with traffic, whose links can be broken."""

    def offer(self, demand_mbps: Sequence[float]) -> None:
        """What each flow offers from now on, Mb/s. Said again, it starts senders that ended."""
        ...

    def set_link(self, link: int, *, up: bool) -> None: ...


@dataclass(frozen=True)
class PlaneChoice:
    """Which plane, and why."""

    kind: Literal["emulated", "simulated"]
    reason: str


def choose_plane(settings: Settings, scenario: LoopScenario) -> PlaneChoice:
    """By doing the smallest real thing. Raises InputError where an emulated one was asked for and cannot be."""
    if scenario.driver == "simulated":
        return PlaneChoice("simulated", "asked for by the scenario")
    if scenario.driver == "auto" and settings.driver == "simulated":
        return PlaneChoice("simulated", "asked for by EDGEWRIGHT_DRIVER=simulated")
    found = probe_one("network-emulation")
    if found.available:
        return PlaneChoice("emulated", "this host permits network namespaces")
    if scenario.driver == "emulated":
        raise InputError("driver", "emulated", f"a host that can emulate a network ({found.reason})")
    return PlaneChoice("simulated", f"this host can emulate no network: {found.reason}")


def make_plane(choice: PlaneChoice, network: Network) -> LivePlane:
    """Raises NetworkError, OSError, and nothing is left."""
    if choice.kind == "simulated":
        return simulated(network)
    return LiveEmulation(layout(network))


class LiveEmulation(EmulatedNetwork):
    """With a TCP sender for each flow."""

    def __init__(self, layout: Layout) -> None:
        self._traffic: Traffic | None = None
        super().__init__(layout)
        try:
            self._send()
        except BaseException:
            self.close()
            raise

    def offer(self, demand_mbps: Sequence[float]) -> None:
        assert self._traffic is not None
        try:
            self._traffic.offer(demand_mbps)
        except OSError:  # its process has ended
            with contextlib.suppress(OSError):
                self._traffic.close()
            self._send()
            self._traffic.offer(demand_mbps)

    def close(self) -> None:
        if self._traffic is not None:
            self._traffic.close()
        super().close()

    def _send(self) -> None:
        sources = [(self.namespace(node), self.address(flow)) for flow, node in enumerate(self.layout.sources)]
        self._traffic = Traffic(sources, (self.namespace(CORE), SINK))
