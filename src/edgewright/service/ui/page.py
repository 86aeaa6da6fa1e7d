"""One visitor's page: built once, then changed in place each second by what the feed brings."""

from __future__ import annotations

import time
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from nicegui import app, ui

from edgewright.service.ui import words
from edgewright.service.ui.access import Access
from edgewright.service.ui.charts import Charts
from edgewright.service.ui.client import Api
from edgewright.service.ui.elements import box, text
from edgewright.service.ui.feed import Feed, View
from edgewright.service.ui.history import Decisions, Events, Health
from edgewright.service.ui.services import Services
from edgewright.service.ui.shapes import PolicyInfo
from edgewright.service.ui.summary import Headline, Slice

THEMES: dict[str, tuple[bool | None, str]] = {
    "system": (None, "brightness_auto"),
    "light": (False, "light_mode"),
    "dark": (True, "dark_mode"),
}


class Page:
    """The page of one loop. Listens to the feed while its browser is connected."""

    def __init__(self, api: Api, feed: Feed, loop: str, loops: list[str], policies: list[PolicyInfo]) -> None:
        self._feed, self._loop = feed, loop
        self._zone: tzinfo = UTC
        self._client = ui.context.client
        self._charts = Charts(self._client)
        self._access = Access(feed.refresh)
        self._build_bar(loops)
        self._gone = Banner("bad", "cloud_off")
        self._simulated = Banner("warn", "science")
        self._warnings = Banner("warn", "warning")
        with box("main", "content") as self._main:
            self._headline = Headline(api, self._access, loop, policies)
            self._slice = Slice(self._charts)
            self._services = Services(api, self._access, self._charts)
            with box("div", "below"):
                self._decisions = Decisions(api, self._access, loop)
                with box("div", "side"):
                    self._events = Events()
                    self._health = Health()
        ui.skip_link(target=self._main)
        self._show(feed.view, None)
        self._client.on_connect(self._connected)
        self._client.on_disconnect(self._leave)
        self._client.on_delete(self._leave)

    def _build_bar(self, loops: list[str]) -> None:
        with box("header", "bar"):
            text("span", "brand", "edgewright")
            if len(loops) > 1:
                select = ui.select(
                    loops, value=self._loop, on_change=lambda event: ui.navigate.to(f"/?loop={event.value}")
                )
                select.props('outlined dense options-dense aria-label="Loop"')
            else:
                text("span", "loop-name", self._loop)
            self._live = text("span", "quiet number live")
            ui.space()
            self._access.button()
            theme_button()

    async def _connected(self) -> None:
        name = await self._client.run_javascript("return Intl.DateTimeFormat().resolvedOptions().timeZone", timeout=5)
        try:
            self._zone = ZoneInfo(name or "UTC")
        except (ZoneInfoNotFoundError, ValueError):
            self._zone = UTC
        self._charts.reset(self._feed.whole())
        self._feed.listen(self._client.id, self._tick)

    def _leave(self) -> None:
        self._feed.leave(self._client.id)

    def _tick(self, view: View, news: str | None) -> None:
        with self._client:
            self._show(view, news)

    def _show(self, view: View, news: str | None) -> None:
        loop, now = view.loop, time.time()
        self._main.classes(**({"add": "stale"} if view.trouble else {"remove": "stale"}))
        self._gone.show(
            view.trouble
            and f"Nothing new from the API: {view.trouble}. "
            + (f"What you see is from {words.clock(view.since, self._zone)}. " if loop else "")
            + "Trying again every 2 seconds."
        )
        self._live.text = "not connected" if view.trouble else f"live, {words.clock(view.since, self._zone)}"
        if loop is None:
            return
        simulated = loop.driver.kind == "simulated"
        self._simulated.show(simulated and f"Simulated, not this host: {loop.driver.reason or 'as asked'}")
        missing = [f"Decisions and events may be incomplete: {view.history_trouble}"] if view.history_trouble else []
        self._warnings.show("; ".join([*missing, *loop.warnings]))
        self._headline.show(loop, view, now)
        rebuilt = [self._slice.show(loop), self._services.show(loop)]
        self._decisions.show(view.decisions, self._zone)
        self._events.show(view.events, self._zone)
        self._health.show(loop)
        if any(rebuilt):
            self._charts.reset(self._feed.whole())
        elif news is not None:
            self._charts.push(news)


class Banner:
    """A line across the page that is there only while it says something."""

    def __init__(self, level: str, icon: str) -> None:
        with box("div", f"banner level-{level}").props("role=alert") as self._box:
            ui.icon(icon).props("aria-hidden=true")
            self._words = text("span")
        self._box.visible = False

    def show(self, words: str | bool | None) -> None:
        self._box.visible = bool(words)
        self._words.text = str(words) if words else ""


def theme_button() -> None:
    """Follow the system, light, dark; kept with the visitor's session."""
    chosen = app.storage.user.get("theme", "system")
    dark = ui.dark_mode(THEMES[chosen][0])

    def turn() -> None:
        names = list(THEMES)
        name = names[(names.index(app.storage.user.get("theme", "system")) + 1) % len(names)]
        app.storage.user["theme"] = name
        dark.value, icon = THEMES[name]
        button.props(f'icon={icon} aria-label="Colours: {name}"')
        ui.notify(f"Colours: {name}", timeout=1200)

    button = ui.button(icon=THEMES[chosen][1], on_click=turn, color=None)
    button.props(f'flat dense round aria-label="Colours: {chosen}"').classes("plain")
