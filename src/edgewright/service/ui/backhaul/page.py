"""One visitor's page of a backhaul loop."""

from __future__ import annotations

import time

from edgewright.service.ui.backhaul.feed import BackhaulFeed, BackhaulView
from edgewright.service.ui.backhaul.parts import Flows, Headline, Links, Picture, Plans
from edgewright.service.ui.client import Api
from edgewright.service.ui.elements import box
from edgewright.service.ui.history import Events, Health
from edgewright.service.ui.live import LoopPage, Loops


class BackhaulPage(LoopPage):
    def __init__(self, api: Api, feed: BackhaulFeed, loop: str, loops: Loops) -> None:
        super().__init__(feed, "Backhaul", loop, loops)
        with self._main:
            self._headline = Headline(api, self._access, loop)
            with box("div", "network"):
                self._picture = Picture(self._client)
                with box("div", "network-side"):
                    self._flows = Flows()
                    self._links = Links(api, self._access, loop)
            with box("section", "card traffic").props('aria-label="Traffic"'):
                self._charts.traffic()
                self._charts.shares()
            with box("div", "below"):
                self._plans = Plans()
                with box("div", "side"):
                    self._events = Events("No link has failed")
                    self._health = Health()
        self._begin()

    async def _connected(self) -> None:
        await super()._connected()
        if self._feed.view.loop is not None:  # a browser that comes back has nothing drawn
            self._picture.show(self._feed.view.loop, anew=True)

    def _draw(self, view: BackhaulView, news: str | None) -> None:
        loop = view.loop
        assert loop is not None
        self._headline.show(loop, view, time.time())
        self._picture.show(loop, anew=False)
        self._flows.show(loop.flows)
        self._links.show(loop.links)
        self._plans.show(view.plans, self._zone)
        self._events.show(view.events, self._zone)
        self._health.show(loop)
        if news is not None:
            self._charts.push(news)
