"""One visitor's page of a migration loop."""

from __future__ import annotations

import time

from edgewright.service.ui.client import Api
from edgewright.service.ui.elements import box
from edgewright.service.ui.history import Events, Health
from edgewright.service.ui.live import LoopPage, Loops
from edgewright.service.ui.migration.feed import MigrationFeed, MigrationView
from edgewright.service.ui.migration.history import Decisions, Migrations
from edgewright.service.ui.migration.parts import Courses, Headline, Nodes, Picture


class MigrationPage(LoopPage):
    def __init__(self, api: Api, feed: MigrationFeed, loop: str, loops: Loops) -> None:
        super().__init__(feed, "Migration", loop, loops)
        with self._main:
            self._headline = Headline(api, self._access, loop)
            with box("div", "network"):
                self._picture = Picture(self._client)
                self._nodes = Nodes(api, self._access, loop)
            self._courses = Courses(self._charts)
            with box("div", "below"):
                with box("div", "side"):
                    self._migrations = Migrations()
                    self._decisions = Decisions()
                with box("div", "side"):
                    self._events = Events("Nothing has failed")
                    self._health = Health()
        self._begin()

    async def _connected(self) -> None:
        await super()._connected()
        if self._feed.view.loop is not None:  # a browser that comes back has nothing drawn
            self._picture.show(self._feed.view.loop, anew=True)

    def _draw(self, view: MigrationView, news: str | None) -> None:
        loop = view.loop
        assert loop is not None
        self._headline.show(loop, time.time())
        self._picture.show(loop, anew=False)
        self._nodes.show(loop)
        rebuilt = self._courses.show(loop)
        self._migrations.show(loop.migrations, self._zone)
        self._decisions.show(view.decisions, loop.names, self._zone)
        self._events.show([event for event in view.events if event.kind != "migrated"], self._zone)
        self._health.show(loop)
        if rebuilt:
            self._charts.reset(self._feed.whole())
        elif news is not None:
            self._charts.push(news)
