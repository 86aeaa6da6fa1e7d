"""One visitor's page of orders: built once, then changed in place each second by what the feed brings."""

from __future__ import annotations

from nicegui import ui

from edgewright.service.ui.client import Api
from edgewright.service.ui.elements import box, text
from edgewright.service.ui.live import LivePage, Loops
from edgewright.service.ui.orders.events import Hubs, TmfEvents
from edgewright.service.ui.orders.feed import OrdersFeed, OrdersView
from edgewright.service.ui.orders.form import Catalogue
from edgewright.service.ui.orders.parts import Orders
from edgewright.service.ui.orders.policies import Policies
from edgewright.service.ui.orders.services import Services
from edgewright.service.ui.orders.slices import Slices
from edgewright.service.ui.orders.start import FirstSteps, Onboarding


class OrdersPage(LivePage):
    def __init__(self, api: Api, feed: OrdersFeed, loops: Loops) -> None:
        super().__init__(feed, "Orders", loops, after=feed.anew)
        ui.page_title("Orders · edgewright")
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
        self._begin()

    def _show(self, view: OrdersView, news: str | None) -> None:
        super()._show(view, news)
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
