"""One visitor's page of orders: built once, then changed in place each second by what the feed brings."""

from __future__ import annotations

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from nicegui import ui

from edgewright.service.ui import words
from edgewright.service.ui.access import Access
from edgewright.service.ui.client import Api
from edgewright.service.ui.elements import box, text
from edgewright.service.ui.live import Banner, Loops, pages, theme_button
from edgewright.service.ui.orders.events import Hubs, TmfEvents
from edgewright.service.ui.orders.feed import OrdersFeed, OrdersView
from edgewright.service.ui.orders.form import Catalogue
from edgewright.service.ui.orders.parts import Orders
from edgewright.service.ui.orders.policies import Policies
from edgewright.service.ui.orders.services import Services
from edgewright.service.ui.orders.slices import Slices
from edgewright.service.ui.orders.start import FirstSteps, Onboarding


class OrdersPage:
    def __init__(self, api: Api, feed: OrdersFeed, loops: Loops) -> None:
        self._feed = feed
        self._zone: tzinfo = UTC
        self._client = ui.context.client
        self._access = Access(feed.anew)
        ui.page_title("Orders · edgewright")
        with box("header", "bar"):
            text("span", "brand", "edgewright")
            pages("Orders", loops)
            self._live = text("span", "quiet number live")
            ui.space()
            self._access.button()
            theme_button()
        self._gone = Banner("bad", "cloud_off")
        onboarding = Onboarding(api, self._access)
        with box("main", "content orders-page") as self._main:
            text("h1", "spoken", "Orders")
            self._first = FirstSteps(api, self._access, onboarding)
            with box("div", "ordering"):
                self._catalogue = Catalogue(api, self._access, onboarding, self._placed)
                self._orders = Orders(api, self._access)
            self._services = Services(api, self._access, self._placed)
            self._slices = Slices()
            with box("div", "below-orders"):
                self._policies = Policies(api, self._access)
                self._events = TmfEvents()
                self._hubs = Hubs(api, self._access)
        ui.skip_link(target=self._main)
        self._show(feed.view)
        self._client.on_connect(self._connected)
        for left in (self._client.on_disconnect, self._client.on_delete):
            left(lambda: feed.leave(self._client.id))

    async def _connected(self) -> None:
        self._feed.listen(self._client.id, self._tick)
        name = await self._client.run_javascript("return Intl.DateTimeFormat().resolvedOptions().timeZone", timeout=5)
        try:
            self._zone = ZoneInfo(name or "UTC")
        except (ZoneInfoNotFoundError, ValueError):
            self._zone = UTC

    def _tick(self, view: OrdersView, _: str | None) -> None:
        with self._client:
            self._show(view)

    def _show(self, view: OrdersView) -> None:
        self._main.classes(**({"add": "stale"} if view.trouble else {"remove": "stale"}))
        self._gone.show(view.trouble and f"Nothing new from the API: {view.trouble}. Trying again every 2 seconds.")
        self._live.text = "not connected" if view.trouble else f"live, {words.clock(view.since, self._zone)}"
        self._first.show(view)
        self._catalogue.show(view)
        self._orders.show(view, self._zone)
        self._services.show(view)
        self._slices.show(view)
        self._policies.show(view)
        self._events.show(view, self._zone)
        self._hubs.show(view)

    def _placed(self, order: str) -> None:
        self._orders.open(order)
