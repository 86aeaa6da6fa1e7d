"""The page in a real browser, on a real `edgewright up`."""

from __future__ import annotations

import signal
from typing import Any

import httpx
import pytest

pytest.importorskip("selenium")
from selenium.webdriver.common.keys import Keys

from .conftest import PREFIX, Browse, Server, until
from .visitor import attribute, choose, click, locked, press, send, words

pytestmark = pytest.mark.browser


def type_pin(chrome: Any, service: str, cpu: str) -> None:
    field = f"CPU limit to pin {service} at"
    send(chrome, field, Keys.CONTROL, "a")
    send(chrome, field, cpu)
    press(chrome, f"Pin {service}")


def test_key_leaves_the_address_and_values_move(server: Server, browse: Browse) -> None:
    chrome = browse(server.page)
    until(lambda: "live" in words(chrome, ".live"))
    assert chrome.current_url == f"{server.address}/"
    assert server.key not in chrome.page_source
    assert "You can make changes" in words(chrome, "header")
    assert "SLO" in words(chrome, "h1") or "outside" in words(chrome, "h1")
    assert "loc-a" in words(chrome, ".services")
    before = words(chrome, ".services"), words(chrome, ".live")
    until(lambda: words(chrome, ".services") != before[0] and words(chrome, ".live") != before[1])


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", f"{PREFIX}/nothing", None),
        ("GET", f"{PREFIX}/loops/", None),
        ("PUT", f"{PREFIX}/loops", "GET, POST"),
        ("TRACE", f"{PREFIX}/loops/x", "DELETE, GET, PATCH"),
        ("GET", "/tmf-api/nothing", None),
        ("PUT", "/tmf-api/serviceInventory/v4/service/x", "DELETE, GET, PATCH"),
    ],
)
def test_what_the_api_does_not_have_is_answered_by_the_api(
    server: Server, method: str, path: str, allowed: str | None
) -> None:
    answer = httpx.request(method, f"{server.address}{path}", trust_env=False)
    assert (answer.status_code, answer.headers.get("Allow")) == (405 if allowed else 404, allowed)
    assert answer.json()["message"].startswith(f"no {method} {path}")


def test_charts_grow_by_rows(server: Server, browse: Browse) -> None:
    chrome = browse(server.page)
    count = (
        "const chart = [...document.querySelectorAll('.nicegui-echart')].at(1);"
        "return getElement(+chart.id.slice(1))?.chart?.getOption().series.map(s => s.data.length)"
    )
    until(lambda: min(chrome.execute_script(count) or [0]) > 1)
    first = chrome.execute_script(count)
    until(lambda: min(chrome.execute_script(count)) > max(first))


def test_policy_is_switched(server: Server, browse: Browse) -> None:
    chrome = browse(server.page)
    assert server.loop()["policy"] == "threshold"
    choose(chrome, "Policy", "hpa")
    until(lambda: server.loop()["policy"] == "hpa")
    until(lambda: "Policy: hpa" in words(chrome, "body"))
    server.order("PATCH", "", {"policy": "threshold"})
    until(lambda: "threshold" in words(chrome, ".policy"))


def test_mode_is_switched(server: Server, browse: Browse) -> None:
    chrome = browse(server.page)
    for word, mode in (("Paused", "paused"), ("Shadow", "shadow"), ("Act", "act")):
        press(chrome, "Mode of the loop", word)
        until(lambda mode=mode: server.loop()["mode"] == mode)
    until(lambda: "Decisions are put in force" in words(chrome))


def test_service_is_pinned_and_unpinned(server: Server, browse: Browse) -> None:
    chrome = browse(server.page)
    type_pin(chrome, "loc-a", "0.45")
    until(lambda: server.service("loc-a")["pin"] == 0.45)
    press(chrome, "Unpin loc-a")
    until(lambda: server.service("loc-a")["pin"] is None)


def test_refusal_is_shown_as_the_api_says_it(server: Server, browse: Browse) -> None:
    chrome = browse(server.page)
    type_pin(chrome, "loc-a", "7")
    until(lambda: "allowed: 0.1 .. 0.6 cores" in words(chrome, "body"))
    assert server.service("loc-a")["pin"] is None


def test_load_is_changed_with_the_keyboard(server: Server, browse: Browse) -> None:
    chrome = browse(server.page)
    send(chrome, "Load factor of loc-b", Keys.ARROW_RIGHT)
    until(lambda: server.service("loc-b")["load_factor"] == 1.1)
    server.order("PUT", "/load", {"loc-b": 1.0})
    until(lambda: "× 1.0" in words(chrome, "[aria-label='Service loc-b']"))


def test_restart_asks_first(server: Server, browse: Browse) -> None:
    chrome = browse(server.page)
    restarts = server.service("loc-b")["restarts"]
    press(chrome, "Restart loc-b")
    until(lambda: "Requests in progress will fail" in words(chrome, ".q-dialog"))
    click(chrome, "//*[contains(@class, 'q-dialog')]//button[contains(., 'Restart')]")
    until(lambda: server.service("loc-b")["restarts"] > restarts and server.service("loc-b")["alive"])
    until(lambda: "restarted" in words(chrome, ".events"))


def test_roll_back_pauses(server: Server, browse: Browse) -> None:
    chrome = browse(server.page)
    server.order("PUT", "/services/loc-a/pin", {"cpu": 0.233})
    server.order("PUT", "/services/loc-a/pin", {"cpu": 0.517})
    server.order("DELETE", "/services/loc-a/pin")
    try:
        until(lambda: "pinned at 0.517" in words(chrome, ".decisions"))
        until(lambda: "pinned at 0.233" in words(chrome, ".decisions"))
        row = "//*[contains(@class, 'decision') and @role='listitem'][contains(., 'pinned at 0.233')]"
        click(chrome, f"{row}//button")
        until(lambda: server.loop()["mode"] == "paused")
        assert server.service("loc-a")["limit_cpu"] == pytest.approx(0.233)
        until(lambda: "No decisions are made" in words(chrome))
    finally:
        server.order("PATCH", "", {"mode": "act"})


def test_without_a_key_the_page_is_read_only(server: Server, browse: Browse) -> None:
    chrome = browse(f"{server.address}/")
    until(lambda: "Read only" in words(chrome, "header"))
    assert locked(chrome, "Restart loc-a")
    click(chrome, "//header//button[contains(., 'Enter key')]")
    send(chrome, "API key", "not the key")
    click(chrome, "//button[contains(., 'Keep for this session')]")
    until(lambda: not locked(chrome, "Restart loc-a"))
    press(chrome, "Mode of the loop", "Paused")
    until(lambda: "needs an API key" in words(chrome, ".q-dialog"))
    assert server.loop()["mode"] == "act"
    assert locked(chrome, "Restart loc-a")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_looks(server: Server, browse: Browse, width: int, theme: str) -> None:
    chrome = browse(server.page, width=width, theme=theme)
    until(lambda: "live" in (attribute(chrome, ".live", "textContent") or ""))
    assert not chrome.execute_script(
        "const seen = document.documentElement.clientWidth;"
        "return [...document.querySelectorAll('#app *')].filter(e => e.getBoundingClientRect().right > seen + 1)"
        ".map(e => e.outerHTML.slice(0, 100))"
    )
    ground = chrome.execute_script("return getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in ground.removeprefix("rgb(").removesuffix(")").split(","))
    assert (brightness < 150) == (theme == "dark")


def test_page_alone_survives_the_api(server: Server, alone: Server, browse: Browse) -> None:
    chrome = browse(f"{alone.address}/?key={server.key}")
    type_pin(chrome, "loc-b", "0.4")
    until(lambda: server.service("loc-b")["pin"] == 0.4)
    server.order("DELETE", "/services/loc-b/pin")
    server.process.send_signal(signal.SIGSTOP)
    try:
        until(lambda: "Nothing new from the API" in words(chrome, "body"))
    finally:
        server.process.send_signal(signal.SIGCONT)
    until(lambda: "live" in words(chrome, ".live"))
    until(lambda: "Nothing new from the API" not in words(chrome, "body"))
