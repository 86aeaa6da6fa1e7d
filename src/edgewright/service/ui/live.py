"""What every live page has: its bar, its banners, and its way to a feed while a browser is connected."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from nicegui import app, ui

from edgewright.service.ui import words
from edgewright.service.ui.access import Access
from edgewright.service.ui.charts import Charts
from edgewright.service.ui.elements import box, text
from edgewright.service.ui.polling import Polling
from edgewright.service.ui.shapes import DriverInfo

THEMES: dict[str, tuple[bool | None, str]] = {
    "system": (None, "brightness_auto"),
    "light": (False, "light_mode"),
    "dark": (True, "dark_mode"),
}
PAGES = {
    "Orders": ("/orders", "name"),
    "Scaling": ("/", "loop"),
    "Backhaul": ("/backhaul", "name"),
    "Migration": ("/migration", "name"),
    "Topology": ("/topology", "name"),
}
"""Address, and the parameter that names a loop, or what else is shown."""
Loops = Mapping[str, list[str]]  # title of a page -> the loops that it can show


class LivePage:
    """Bar and banners. A page builds its parts into `_main` below them, calls `_begin`, and draws them in `_show`."""

    _main: ui.element

    def __init__(
        self, feed: Polling[Any], title: str, loops: Loops, after: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """`after`: what follows an action, other than a look at what is new."""
        self._feed = feed
        self._zone: tzinfo = UTC
        self._client = ui.context.client
        self._access = Access(after or feed.refresh)
        with box("header", "bar"):
            text("span", "brand", "edgewright")
            pages(title, loops)
            self._build_choice(title, loops)
            self._live = text("span", "quiet number live")
            ui.space()
            self._access.button()
            theme_button()
        self._gone = Banner("bad", "cloud_off")

    def _build_choice(self, title: str, loops: Loops) -> None:
        """In the bar, where a page is of one of several."""

    def _begin(self) -> None:
        ui.skip_link(target=self._main)
        self._show(self._feed.view, None)
        self._client.on_connect(self._connected)
        self._client.on_disconnect(self._leave)
        self._client.on_delete(self._leave)

    async def _connected(self) -> None:
        asked = "return Intl.DateTimeFormat().resolvedOptions().timeZone"
        try:
            self._zone = ZoneInfo(await self._client.run_javascript(asked, timeout=5) or "UTC")
        except (ZoneInfoNotFoundError, ValueError, TimeoutError):
            self._zone = UTC
        self._listen()

    def _listen(self) -> None:
        self._feed.listen(self._client.id, self._tick)

    def _leave(self) -> None:
        self._feed.leave(self._client.id)

    def _tick(self, view: Any, news: str | None) -> None:
        with self._client:
            self._show(view, news)

    def _show(self, view: Any, news: str | None) -> None:
        self._main.classes(**({"add": "stale"} if view.trouble else {"remove": "stale"}))
        self._gone.show(
            view.trouble
            and f"Nothing new from the API: {view.trouble}. "
            + (f"What you see is from {words.clock(view.since, self._zone)}. " if view.since else "")
            + "Trying again every 2 seconds."
        )
        self._live.text = "not connected" if view.trouble else f"live, {words.clock(view.since, self._zone)}"


class LoopPage(LivePage):
    """Of one loop, with charts. A kind of loop draws its parts in `_draw`, where something was seen of it."""

    def __init__(self, feed: Polling[Any], title: str, loop: str, loops: Loops) -> None:
        self._loop = loop
        super().__init__(feed, title, loops)
        self._charts = Charts(self._client)
        self._simulated = Banner("warn", "science")
        self._warnings = Banner("warn", "warning")
        self._main = box("main", "content")

    def _draw(self, view: Any, news: str | None) -> None:
        raise NotImplementedError

    def _build_choice(self, title: str, loops: Loops) -> None:
        if len(own := loops[title]) > 1:
            here, asked = PAGES[title]
            select = ui.select(
                own, value=self._loop, on_change=lambda event: ui.navigate.to(f"{here}?{asked}={event.value}")
            )
            select.props('outlined dense options-dense aria-label="Loop"')
        else:
            text("span", "loop-name", self._loop)

    def _listen(self) -> None:
        self._charts.reset(self._feed.whole())
        super()._listen()

    def _show(self, view: Any, news: str | None) -> None:
        super()._show(view, news)
        if view.loop is None:
            return
        driver: DriverInfo = view.loop.driver
        self._simulated.show(driver.kind == "simulated" and f"Simulated, not this host: {driver.reason or 'as asked'}")
        missing = [f"Decisions and events may be incomplete: {view.history_trouble}"] if view.history_trouble else []
        self._warnings.show("; ".join([*missing, *view.loop.warnings]))
        self._draw(view, news)


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


def pages(title: str, loops: Loops) -> None:
    """Links to the pages: those of loops where one runs, and those that need none."""
    with box("nav", "pages").props('aria-label="Pages"'):
        for name in (name for name in PAGES if name not in loops or loops[name]):
            current = "aria-current=page" if name == title else ""
            text("a", "", name).props(f"href={PAGES[name][0]} {current}")


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
