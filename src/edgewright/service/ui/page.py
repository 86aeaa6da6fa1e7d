"""One visitor's page of a scaling loop: built once, then changed in place each second by what the feed brings."""

from __future__ import annotations

import time

from edgewright.service.ui.client import Api
from edgewright.service.ui.elements import box
from edgewright.service.ui.feed import Feed, View
from edgewright.service.ui.history import Decisions, Events, Health
from edgewright.service.ui.live import LoopPage, Loops
from edgewright.service.ui.services import Services
from edgewright.service.ui.shapes import PolicyInfo
from edgewright.service.ui.summary import Headline, Slice


class Page(LoopPage):
    def __init__(self, api: Api, feed: Feed, loop: str, loops: Loops, policies: list[PolicyInfo]) -> None:
        super().__init__(feed, "Scaling", loop, loops)
        with self._main:
            self._headline = Headline(api, self._access, loop, policies)
            self._slice = Slice(self._charts)
            self._services = Services(api, self._access, self._charts)
            with box("div", "below"):
                self._decisions = Decisions(api, self._access, loop)
                with box("div", "side"):
                    self._events = Events()
                    self._health = Health()
        self._begin()

    def _draw(self, view: View, news: str | None) -> None:
        loop = view.loop
        assert loop is not None
        self._headline.show(loop, view, time.time())
        rebuilt = [self._slice.show(loop), self._services.show(loop)]
        self._decisions.show(view.decisions, self._zone)
        self._events.show(view.events, self._zone)
        self._health.show(loop)
        if any(rebuilt):
            self._charts.reset(self._feed.whole())
        elif news is not None:
            self._charts.push(news)
