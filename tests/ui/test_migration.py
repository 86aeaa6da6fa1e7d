"""The page of a migration loop: its words, and the whole in a real browser."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml

from edgewright.service.ui.client import Api
from edgewright.service.ui.migration import words
from edgewright.service.ui.migration.feed import MigrationFeed
from edgewright.service.ui.migration.shapes import Decision, Migration, MigrationState

from .conftest import PREFIX, Browse, Server, until, up

NAMES = ("edge-1", "edge-2")


def state(rtt_ms: float | None = 4.1, load: float | None = 5.2, **more: Any) -> MigrationState:
    """The second of two nodes serves."""
    nodes = [
        {"name": name, "at_m": [1000 * i, 50], "rtt_ms": rtt_ms, "load": load, "serves": i == 1}
        for i, name in enumerate(NAMES)
    ]
    nodes[1]["in_breach"] = (rtt_ms or 0) > 20 or (load or 0) > 12
    return MigrationState.model_validate(
        {
            "name": "x",
            "mode": "act",
            "policy": "nearest",
            "driver": {"kind": "simulated"},
            "road": {"corners_m": [[0, 0], [1000, 0]]},
            "objective": {"rtt_max_ms": 20.0, "load_max": 12.0},
            "drive": {
                "number": 3,
                "time_s": 41.0,
                "length_s": 161.0,
                "speed_kmh": 88.2,
                "reward": 12.34,
                "breaches": 1,
            },
            "nodes": nodes,
            **more,
        }
    )


def migration(**more: Any) -> Migration:
    given = {"t": 100.0, "source": "edge-1", "target": "edge-2", "total_ms": 340.0, "frozen_ms": 98.2}
    return Migration.model_validate(given | {"client_gap_ms": 104.0, "image_mb": 28.0} | more)


def decision(**more: Any) -> Decision:
    given = {"seq": 1, "t": 100.0, "policy": "nearest", "node": "edge-1", "wanted": "edge-2", "allowed": "edge-2"}
    seen = {"rtt_ms": [14.25, 6.0], "load": [5.1, 4.0], "drive": 3, "time_s": 41.0, "note": "allowed"}
    return Decision.model_validate(given | seen | more)


@pytest.mark.parametrize(
    ("given", "level", "text"),
    [
        (state(), "ok", "edge-2 serves within its SLA: 4.1 ms, load 5.2"),
        (state(22.4), "bad", "edge-2 breaches its SLA: 22.4 ms, 2.4 over the limit"),
        (state(4.0, 313.0), "bad", "edge-2 breaches its SLA: load 313, 301.0 over the limit"),
        (state(None, None), "quiet", "edge-2 serves; nothing is measured yet"),
        (
            state(under_way={"target": "edge-1", "phase": "pre_copy"}),
            "quiet",
            "Migrating edge-2 → edge-1: pre copy",
        ),
        (state(25.0, under_way={"target": "edge-1", "phase": "copy"}), "bad", "Migrating edge-2 → edge-1: copy"),
        (state(phase="starting"), "quiet", "Starting the service"),
        (state(phase="failed"), "bad", "The service does not run"),
    ],
)
def test_verdict(given: MigrationState, level: str, text: str) -> None:
    assert words.verdict(given) == (level, text)


def test_last_migration_tells_what_it_cost() -> None:
    said = words.last_migration([migration()], 112.0)
    assert said == "Last migration: edge-1 → edge-2, 12 s ago, 98 ms frozen, client waited 104 ms"
    said = words.last_migration([migration(client_gap_ms=None)], 112.0)
    assert said == "Last migration: edge-1 → edge-2, 12 s ago, 98 ms frozen"
    said = words.last_migration([migration(status="rolled_back", reason="no room")], 112.0)
    assert said == "Last migration: edge-1 → edge-2 rolled back 12 s ago: no room"
    assert words.last_migration([], 112.0) == "The service has not been migrated yet"


def test_what_came_of_a_decision() -> None:
    assert words.result(decision(changed=True)) == ("ok", "Migrates")
    assert words.result(decision(allowed="edge-1", note="one is under way")) == ("warn", "Kept: one is under way")
    assert words.result(decision(mode="shadow")) == ("quiet", "Not applied (shadow)")
    assert words.result(decision(wanted="edge-1", allowed="edge-1")) == ("quiet", "Stays")
    told = "edge-1 14.2 ms, load 5.1; edge-2 6.0 ms, load 4.0; drive 3, 41 s; nearest"
    assert words.seen(decision(), NAMES) == told


def test_drive_and_client_in_words() -> None:
    assert words.drive(state()) == "Drive 3: 41 of 161 s at 88 km/h, reward 12.3, 1 step in breach"
    seen = state(client={"answers": 1234, "connections_lost": 0, "answers_lost": 2}).client
    assert seen is not None
    assert words.client(seen) == "Client: 1,234 answers, 2 lost, no connection lost"


def test_rows_lie_apart_but_none_in_which_another_node_serves_is_left_out() -> None:
    times = [10.0, 10.1, 10.2, 10.3, 10.6]
    series = {
        "t": times,
        "node": [0, 0, 1, 0, 0],
        "rtt_ms": {name: [i + 1.0] * 5 for i, name in enumerate(NAMES)},
        "load": {name: [i + 3.0] * 5 for i, name in enumerate(NAMES)},
    }

    def answer(request: httpx.Request) -> httpx.Response:
        last = request.url.path.rpartition("/")[2]
        found: dict[str, Any] = {"series": series, "events": [], "decisions": []}
        return httpx.Response(200, json=found.get(last, state().model_dump(mode="json")))

    async def poll() -> list[list[float]]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://localhost") as http:
            feed = MigrationFeed(Api(http), "x")
            await feed.refresh()
            assert feed.view.trouble is None
            rows: list[list[float]] = json.loads(feed.whole())
            return rows

    serves_first, serves_second = [0, 1.0, 3.0, 1.0, 2.0, 3.0, 4.0], [1, 2.0, 4.0, 1.0, 2.0, 3.0, 4.0]
    assert asyncio.run(poll()) == [[10_000, *serves_first], [10_200, *serves_second], [10_300, *serves_first]]


# In a browser

pytest.importorskip("selenium")
from selenium.webdriver.common.by import By  # noqa: E402

from .visitor import attribute, choose, click, cut_off, locked, press, too_small  # noqa: E402
from .visitor import words as shown  # noqa: E402


def loop(name: str, **more: Any) -> str:
    head = {"format": "edgewright.migration-loop/1", "name": name, "driver": "simulated", "pace": 10}
    return yaml.safe_dump(head | more)


def crowded() -> dict[str, Any]:
    """Twelve nodes close to each other, on both sides of a road with a corner."""
    nodes = [{"name": f"edge-{i + 1}", "at_m": [120 * i, 60 if i % 2 else -60]} for i in range(12)]
    road = [[0, 0], [1300, 0], [1300, 600]]
    return {"format": "edgewright.migration/1", "name": "crowded", "nodes": nodes, "road_m": road}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("migration")
    (folder / "loop.yaml").write_text(loop("follow", policy="nearest"))
    with up(folder, EDGEWRIGHT_MIGRATION=str(folder / "loop.yaml"), EDGEWRIGHT_DRIVER="simulated") as server:
        until(lambda: now(server)["migrations"])
        yield server


def now(server: Server) -> dict[str, Any]:
    answer = httpx.get(f"{server.address}{PREFIX}/migrations/follow", trust_env=False)
    return dict(answer.json()) if answer.is_success else {"migrations": None}


def serving(server: Server) -> str:
    return next(str(node["name"]) for node in now(server)["nodes"] if node["serves"])


def order(server: Server, method: str, path: str, body: str, kind: str = "json") -> None:
    headers = {"Authorization": f"Bearer {server.key}", "Content-Type": f"application/{kind}"}
    url = f"{server.address}{PREFIX}/migrations{path}"
    httpx.request(method, url, content=body, headers=headers, trust_env=False).raise_for_status()


def page(server: Server, name: str = "follow") -> str:
    return f"{server.address}/migration?name={name}&key={server.key}"


def drawn(chrome: Any, selector: str, name: str) -> str:
    return attribute(chrome, f".road-picture {selector}", name) or ""


@pytest.mark.browser
def test_the_car_drives_and_what_happens_is_told(server: Server, browse: Browse) -> None:
    chrome = browse(page(server))
    until(lambda: "live" in shown(chrome, ".live"))
    assert chrome.current_url == f"{server.address}/migration?name=follow"
    first = drawn(chrome, ".car", "transform")
    until(lambda: drawn(chrome, ".car", "transform") != first)
    until(lambda: "load" in drawn(chrome, ".edge.serves", "textContent"))
    until(lambda: "Last migration: edge-" in shown(chrome, ".last"))
    until(lambda: "owest round-trip time" in shown(chrome, ".plans"))
    until(lambda: "300 ms" in shown(chrome, ".migrations"))
    count = (
        "return [...document.querySelectorAll('.courses .nicegui-echart')]"
        ".map(e => getElement(+e.id.slice(1))?.chart?.getOption().series.map(s => s.data.length))"
    )
    until(lambda: all(lines and min(lines) > 5 for lines in chrome.execute_script(count)))
    assert [len(lines) for lines in chrome.execute_script(count)] == [4, 4, 1]


@pytest.mark.browser
def test_a_user_has_the_service_moved(server: Server, browse: Browse) -> None:
    chrome = browse(page(server))
    order(server, "PATCH", "/follow", '{"mode": "paused"}')
    try:
        until(lambda: now(server)["under_way"] is None)
        target = next(node["name"] for node in now(server)["nodes"] if not node["serves"])
        press(chrome, f"Move here, to {target}")
        until(lambda: serving(server) == target)
        until(lambda: f"{target} serves" in shown(chrome, "h1") or f"{target} breaches" in shown(chrome, "h1"))
        until(lambda: target in drawn(chrome, ".edge.serves", "textContent"))
        until(lambda: "a user" in shown(chrome, ".migrations summary"))
        assert "Copy" not in shown(chrome, ".migrations")
        click(chrome, "//*[contains(@class, 'migrations')]//summary")
        until(lambda: "Copy" in shown(chrome, ".migrations"))
    finally:
        order(server, "PATCH", "/follow", '{"mode": "act"}')


@pytest.mark.browser
def test_mode_policy_pace_and_drive_are_set(server: Server, browse: Browse) -> None:
    chrome = browse(page(server))
    until(lambda: "The lowest round-trip time" in shown(chrome, ".headline"))
    press(chrome, "Mode of the loop", "Shadow")
    until(lambda: now(server)["mode"] == "shadow")
    until(lambda: "not applied (shadow)" in shown(chrome, ".plans").lower())
    choose(chrome, "Policy", "greedy")
    until(lambda: now(server)["policy"] == "greedy")
    choose(chrome, "Pace of the drive", "× 5")
    until(lambda: now(server)["drive"]["pace"] == 5)
    number = now(server)["drive"]["number"]
    click(chrome, "//button[contains(., 'Next drive')]")
    until(lambda: now(server)["drive"]["number"] > number)
    order(server, "PATCH", "/follow", '{"mode": "act", "policy": "nearest"}')
    order(server, "PUT", "/follow/drive", '{"pace": 10}')
    until(lambda: "The service is migrated as the policy decides" in shown(chrome))


@pytest.mark.browser
def test_without_a_key_it_is_read_only_and_the_pages_lead_to_each_other(server: Server, browse: Browse) -> None:
    chrome = browse(f"{server.address}/")
    links = [link.text for link in chrome.find_elements(By.CSS_SELECTOR, "nav a")]
    assert links == ["Orders", "Scaling", "Migration", "Topology"]
    click(chrome, "//nav//a[contains(., 'Migration')]")
    until(lambda: "edge-" in shown(chrome, "h1"))
    assert locked(chrome, "Move here, to edge-3")
    click(chrome, "//nav//a[contains(., 'Scaling')]")
    until(lambda: "loc-a" in shown(chrome, "main"))
    chrome.get(f"{server.address}/migration?name=none")
    until(lambda: "No migration loop is called none" in shown(chrome))


@pytest.fixture(scope="module")
def full(server: Server) -> Server:
    order(server, "POST", "", loop("crowded", scenario=crowded(), policy="nearest"), "yaml")
    return server


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_looks(full: Server, browse: Browse, width: int, theme: str) -> None:
    chrome = browse(page(full, "crowded"), width=width, theme=theme)
    until(lambda: len(chrome.find_elements(By.CSS_SELECTOR, ".road-picture .plate")) == 12)
    until(lambda: chrome.find_elements(By.CSS_SELECTOR, ".move"))
    # Once a scroll bar has come, the picture is drawn anew.
    until(
        lambda: chrome.execute_script(
            "const holder = document.querySelector('.road-picture');"
            "return holder.clientWidth === holder.firstChild.width.baseVal.value"
        )
    )
    assert not cut_off(chrome)
    assert not too_small(chrome)
    # No node's box hides another, or another's place, or is cut off.
    assert not chrome.execute_script(
        "const rooms = (of) => [...document.querySelectorAll(of)].map(e => e.getBoundingClientRect());"
        "const plates = rooms('.road-picture .plate'), dots = rooms('.road-picture .dot');"
        "const all = rooms('.road-picture svg')[0];"
        "const meet = (a, b) => a.left < b.right && a.right > b.left && a.top < b.bottom && a.bottom > b.top;"
        "return plates.filter((a, i) => a.left < all.left || a.right > all.right || a.top < all.top"
        " || a.bottom > all.bottom || [...plates.slice(i + 1), ...dots].some(b => meet(a, b))).length"
    )
