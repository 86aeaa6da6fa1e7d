"""Serves the page: the session's secret, the way to the API, the route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from typing import Any, Literal

import httpx
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import RedirectResponse, Response
from nicegui import app, ui
from nicegui.storage import Storage

from edgewright.service.ui import PageSettings
from edgewright.service.ui.access import KEY
from edgewright.service.ui.backhaul.feed import BackhaulFeed
from edgewright.service.ui.backhaul.page import BackhaulPage
from edgewright.service.ui.client import Api, ApiError, ApiGone
from edgewright.service.ui.elements import box, text
from edgewright.service.ui.feed import Feed
from edgewright.service.ui.live import Loops, pages, theme_button
from edgewright.service.ui.migration.feed import MigrationFeed
from edgewright.service.ui.migration.page import MigrationPage
from edgewright.service.ui.orders.feed import OrdersFeed
from edgewright.service.ui.orders.page import OrdersPage
from edgewright.service.ui.page import Page
from edgewright.service.ui.shapes import LiveLoop
from edgewright.service.ui.topology.page import TopologyFeed, TopologyPage

TIMEOUT_S = 5.0
Running = Callable[[], Awaitable[Sequence[LiveLoop]]]
ACCENT = "#1f5fbf"  # white text on it has a contrast of 6:1, in light and dark alike
FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#1f5fbf"/>'
    '<path d="M7 21h4l3-11 4 14 3-9h4" fill="none" stroke="#fff" stroke-width="2.6" stroke-linejoin="round"/></svg>'
)


def serve(parent: FastAPI, settings: PageSettings) -> None:
    """See `mount`."""
    folder = settings.data_dir / "page"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    Storage.path = folder
    api = Api(_http(parent, settings))
    feeds: dict[str, Feed] = {}
    backhaul_feeds: dict[str, BackhaulFeed] = {}
    migration_feeds: dict[str, MigrationFeed] = {}
    topology_feed, orders_feed = TopologyFeed(api), OrdersFeed(api)
    assets = files("edgewright.service.ui") / "assets"
    styles = ("page.css", "backhaul.css", "migration.css", "topology.css", "orders.css")
    for name in (*styles, "charts.js", "backhaul.js", "migration.js"):
        tag = "style" if name.endswith(".css") else "script"
        ui.add_head_html(f"<{tag}>{(assets / name).read_text()}</{tag}>", shared=True)

    async def visit(
        request: Request, title: str, asked: str | None, key: str | None, build: Callable[[Any, Loops], Awaitable[None]]
    ) -> Response | None:
        """Answer with the page of the loop asked for, or of the first."""
        ui.colors(primary=ACCENT)
        try:
            if key is not None:
                return await keep_key(request, key)
            kinds: dict[str, Running] = {"Scaling": api.loops, "Backhaul": api.backhauls, "Migration": api.migrations}
            loops = {kind: [each.name for each in await running()] for kind, running in kinds.items()}
            if title not in kinds:
                await build(asked, loops)
            elif asked in loops[title] or (asked is None and loops[title]):
                await build(asked or loops[title][0], loops)
            else:
                kind = f"{title.lower()} loop"
                missing = f"No {kind} is called {asked}" if asked else f"No {kind} is running"
                _waiting(missing, "It will show here once it starts.", title, loops)
        except (ApiGone, ApiError) as error:
            _waiting("Waiting for the API", str(error))
        return None

    @ui.page("/", response_timeout=2 * TIMEOUT_S)
    async def scaling(request: Request, loop: str | None = None, key: str | None = None) -> Response | None:
        async def build(name: str, loops: Loops) -> None:
            policies = await api.policies()
            feed = feeds.setdefault(name, Feed(api, name))
            await feed.refresh()
            Page(api, feed, name, loops, policies)

        return await visit(request, "Scaling", loop, key, build)

    @ui.page("/backhaul", response_timeout=2 * TIMEOUT_S)
    async def backhaul(request: Request, name: str | None = None, key: str | None = None) -> Response | None:
        async def build(name: str, loops: Loops) -> None:
            feed = backhaul_feeds.setdefault(name, BackhaulFeed(api, name))
            await feed.refresh()
            BackhaulPage(api, feed, name, loops)

        return await visit(request, "Backhaul", name, key, build)

    @ui.page("/migration", response_timeout=2 * TIMEOUT_S)
    async def migration(request: Request, name: str | None = None, key: str | None = None) -> Response | None:
        async def build(name: str, loops: Loops) -> None:
            feed = migration_feeds.setdefault(name, MigrationFeed(api, name))
            await feed.refresh()
            MigrationPage(api, feed, name, loops)

        return await visit(request, "Migration", name, key, build)

    @ui.page("/topology", response_timeout=2 * TIMEOUT_S)
    async def topology(request: Request, name: str | None = None, key: str | None = None) -> Response | None:
        async def build(name: str | None, loops: Loops) -> None:
            await topology_feed.refresh()
            TopologyPage(api, topology_feed, name, loops)

        return await visit(request, "Topology", name, key, build)

    @ui.page("/orders", response_timeout=2 * TIMEOUT_S)
    async def orders(request: Request, key: str | None = None) -> Response | None:
        async def build(_: str | None, loops: Loops) -> None:
            await orders_feed.refresh()
            OrdersPage(api, orders_feed, loops)

        return await visit(request, "Orders", None, key, build)

    @parent.get("/topology/{name}/{which}", include_in_schema=False)
    async def topology_file(name: str, which: Literal["map", "infrastructure"]) -> Response:
        """From here, as a browser may not reach the API."""
        if name in (".", ".."):  # which the client would take for a step in the address
            raise HTTPException(404, f"no topology {name!r}")
        try:
            answer = await api.topology_file(name, which)
        except (ApiGone, ApiError) as error:
            raise HTTPException(error.status if isinstance(error, ApiError) else 503, str(error)) from error
        # A map that is opened alone gets no more than in its frame.
        headers = {"Content-Security-Policy": "sandbox allow-scripts"}
        return Response(answer.content, media_type=answer.headers["content-type"], headers=headers)

    async def keep_key(request: Request, key: str) -> Response:
        """Out of the address bar and the history at once, into the visitor's session."""
        if await api.knows(key):  # or a foreign link could change what a visitor may do, and fill the disk
            app.storage.user[KEY] = key
        return RedirectResponse(str(request.url.remove_query_params("key").replace(scheme="", netloc="")), 303)

    ui.run_with(
        parent,
        title="edgewright",
        favicon=FAVICON,
        dark=None,
        language="en-US",
        tailwind=False,
        reconnect_timeout=10.0,
        storage_secret=settings.storage_secret,
        session_middleware_kwargs={"same_site": "strict", "session_cookie": "edgewright_page"},
        show_welcome_message=False,
    )


def _http(parent: FastAPI, settings: PageSettings) -> httpx.AsyncClient:
    if settings.api_url is not None:
        return httpx.AsyncClient(base_url=settings.api_url, timeout=TIMEOUT_S, trust_env=False)
    inside = httpx.ASGITransport(parent, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=inside, base_url="http://localhost", timeout=TIMEOUT_S)


def _waiting(title: str, reason: str, page: str = "", loops: Loops | None = None) -> None:
    """For when there is nothing to show yet; it looks again by itself."""
    with box("header", "bar"):
        text("span", "brand", "edgewright")
        if loops is not None:
            pages(page, loops)
        ui.space()
        theme_button()
    with box("main", "content"), box("div", "card waiting").props("role=status"):
        ui.spinner(size="24px").props("aria-hidden=true")
        text("h1", "", title)
        text("p", "quiet", reason)
    ui.timer(3.0, ui.navigate.reload, once=True)
