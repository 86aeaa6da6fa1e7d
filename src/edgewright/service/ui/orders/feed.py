"""What the page of orders shows, polled."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from edgewright.service.ui.client import Api
from edgewright.service.ui.orders import words
from edgewright.service.ui.orders.shapes import (
    ComputeChunk,
    Elasticity,
    Host,
    Hub,
    Instance,
    NetworkChunk,
    Order,
    RadioChunk,
    Service,
    Slice,
    Specification,
    Step,
    TmfEvent,
)
from edgewright.service.ui.polling import Polling, Seen
from edgewright.service.ui.shapes import LoopState

SHOWN_ORDERS, SHOWN_EVENTS = 20, 40
SELDOM_S = 4.0  # what changes by hand alone is asked for so often


@dataclass
class OrdersView(Seen):
    hosts: list[Host] = field(default_factory=list)
    specifications: list[Specification] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)  # newest first
    steps: dict[str, list[Step]] = field(default_factory=dict)  # by order
    services: list[Service] = field(default_factory=list)  # newest first, without those terminated
    instances: dict[str, Instance] = field(default_factory=dict)
    loops: dict[str, LoopState] = field(default_factory=dict)
    slices: list[Slice] = field(default_factory=list)
    compute: list[ComputeChunk] = field(default_factory=list)
    networks: list[NetworkChunk] = field(default_factory=list)
    radios: list[RadioChunk] = field(default_factory=list)
    events: list[TmfEvent] = field(default_factory=list)  # newest first
    hubs: list[Hub] = field(default_factory=list)
    elasticity: Elasticity = field(default_factory=Elasticity)

    @property
    def names(self) -> dict[str, str]:
        """Of services, by id."""
        return words.names_of(self.orders, self.services)

    @property
    def packages(self) -> dict[str, str]:
        """Names of specifications, by id."""
        return {each.id: each.name for each in self.specifications}


class OrdersFeed(Polling[OrdersView]):
    def __init__(self, api: Api) -> None:
        super().__init__(OrdersView(), "orders")
        self._api = api
        self._seldom_at = float("-inf")
        self._whole: set[str] = set()  # ended orders whose steps change no more

    async def anew(self) -> None:
        """After an action of a visitor: everything."""
        self._seldom_at = float("-inf")
        await self.refresh()

    async def _poll(self) -> str:
        api, view = self._api, self.view
        await asyncio.gather(self._orders(), self._services(), self._slices(), self._seldom())
        view.events, view.elasticity = await asyncio.gather(api.tmf_events(SHOWN_EVENTS), api.elasticity())
        view.trouble, view.since = None, time.time()
        return ""

    async def _orders(self) -> None:
        view = self.view
        found = await self._api.orders(SHOWN_ORDERS)
        wanted = [each for each in found if each.id not in self._whole]
        steps = await asyncio.gather(*(self._api.steps(each.id) for each in wanted))
        known = view.steps | {each.id: mine for each, mine in zip(wanted, steps, strict=True)}
        view.orders, view.steps = found, {each.id: known[each.id] for each in found}
        self._whole = {each.id for each in found if each.ended}

    async def _services(self) -> None:
        view = self.view
        services, instances, loops = await asyncio.gather(
            self._api.services(), self._api.instances(), self._api.loops()
        )
        view.services, view.instances = services, {each.id: each for each in instances}
        view.loops = {each.name: each for each in loops}

    async def _slices(self) -> None:
        view, api = self.view, self._api
        view.hosts, view.slices, view.compute, view.networks = await asyncio.gather(
            api.hosts(), api.slices(), api.compute_chunks(), api.network_chunks()
        )

    async def _seldom(self) -> None:
        if time.monotonic() - self._seldom_at < SELDOM_S:
            return
        view, api = self.view, self._api
        view.specifications, view.radios, view.hubs = await asyncio.gather(
            api.specifications(), api.radio_chunks(), api.hubs()
        )
        self._seldom_at = time.monotonic()
