"""What the page draws follows the slice and the services that the newest state has."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from nicegui import Client, ui

from edgewright.service.ui.charts import Charts
from edgewright.service.ui.client import Api
from edgewright.service.ui.feed import Feed
from edgewright.service.ui.services import Services
from edgewright.service.ui.shapes import DriverInfo, LoopState, ServiceState, SliceState, Slo
from edgewright.service.ui.summary import Slice


def loop(cpu: float, *names: str) -> LoopState:
    return LoopState(
        name="demo",
        mode="act",
        policy="model",
        driver=DriverInfo(kind="simulated"),
        slo=Slo(response_ms=50.0),
        slice=SliceState(cpu=cpu, cpu_left=0.5, memory_bytes=2e9, memory_left_bytes=1e9),
        services=[ServiceState(name=name, limit_cpu=0.5, usage_cpu=0.25) for name in names],
    )


class Browser:
    """Notes which charts it was told of."""

    charts: list[dict[str, Any]]

    def run_javascript(self, code: str) -> None:
        self.charts = json.loads(code.removeprefix("edgewright.reset(").rpartition(", [])")[0])


class Access:
    key = "k"

    def needs_key(self, control: Any) -> Any:
        return control


@pytest.fixture
def drawn() -> Iterator[SimpleNamespace]:
    async def nothing() -> None:
        pass

    client = Client(ui.page("/"))
    with client:
        browser = Browser()
        charts = Charts(browser)  # type: ignore[arg-type]
        yield SimpleNamespace(
            client=client,
            browser=browser,
            charts=charts,
            slice=Slice(charts),
            services=Services(None, Access(), charts),  # type: ignore[arg-type]
        )
    client.delete()


def show(drawn: SimpleNamespace, state: LoopState) -> bool:
    rebuilt = [drawn.slice.show(state), drawn.services.show(state)]
    drawn.charts.reset("[]")
    return any(rebuilt)


def meters(drawn: SimpleNamespace) -> set[str]:
    return {e.style["width"] for e in drawn.client.elements.values() if "meter-limit" in e.classes}


def test_resized_slice(drawn: SimpleNamespace) -> None:
    assert show(drawn, loop(1.0, "a"))
    assert [chart["top"] for chart in drawn.browser.charts if "top" in chart] == [1.0]
    assert meters(drawn) == {"50.0%"}
    assert not show(drawn, loop(1.0, "a"))
    assert show(drawn, loop(2.0, "a"))
    assert [chart["top"] for chart in drawn.browser.charts if "top" in chart] == [2.0]
    assert meters(drawn) == {"25.0%"}


def test_loop_made_anew_leaves_no_charts_behind(drawn: SimpleNamespace) -> None:
    show(drawn, loop(1.0, "a", "b"))
    assert len(drawn.browser.charts) == 5
    show(drawn, loop(1.0, "c"))
    assert len(drawn.browser.charts) == 3
    assert {chart["id"] for chart in drawn.browser.charts} <= set(drawn.client.elements)


def test_rows_of_other_services_are_dropped() -> None:
    state, times = loop(1.0, "a", "b"), [1.0]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/series"):
            return httpx.Response(200, json={"t": times, "slice": {"cpu_left": [0.5] * len(times)}})
        body: Any = [] if request.url.path.endswith(("/events", "/decisions")) else state.model_dump(by_alias=True)
        return httpx.Response(200, json=body)

    async def poll() -> list[list[float]]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://localhost") as http:
            nonlocal state, times
            feed = Feed(Api(http), "demo")
            await feed.refresh()
            state, times = loop(1.0, "c"), [2.0]
            await feed.refresh()
            assert feed.view.trouble is None
            rows: list[list[float]] = json.loads(feed.whole())
            return rows

    assert asyncio.run(poll()) == [[2000, 0.5, None, None, None, None]]
