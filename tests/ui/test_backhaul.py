"""The page of a backhaul loop: its words and its drawing, and the whole in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from edgewright.service.ui.backhaul import words
from edgewright.service.ui.backhaul.drawing import places
from edgewright.service.ui.backhaul.shapes import BackhaulState, Plan

from .conftest import PREFIX, Browse, Server, until, up

DEMO = Path(__file__).parents[2] / "src" / "edgewright" / "demo" / "backhaul.yaml"
PATH = {"index": 0, "band": "mmwave", "nodes": [4, 2, 0], "links": [1, 0]}


def state(rates: tuple[float, ...] = (8.0, 4.0), **more: Any) -> BackhaulState:
    flows = [{"index": i, "source": 4 + i, "demand_mbps": 8.0, "rate_mbps": rate} for i, rate in enumerate(rates)]
    return BackhaulState.model_validate(
        {
            "name": "x",
            "mode": "act",
            "planner": "replan",
            "driver": {"kind": "emulated"},
            "nodes": 3,
            "donors": [0],
            "demand": {"matrix": 0, "matrices": [0]},
            "links": [
                {"index": 0, "u": 2, "v": 0, "band": "mmwave", "capacity_mbps": 10.0},
                {"index": 1, "u": 4, "v": 2, "band": "sub6", "capacity_mbps": 10.0, **more.pop("second", {})},
            ],
            "flows": flows,
            "efficiency": sum(rates) / 16,
            "jain": 0.9,
            "carried_mbps": sum(rates),
            "offered_mbps": 16.0,
            **more,
        }
    )


def plan(**more: Any) -> Plan:
    move = {"flow": 0, "source": 4, "before": None, "after": PATH, "reason": "gets more", "done": True}
    given = {"seq": 1, "t": 100.0, "why": "link 2–0 mmWave broke", "moves": [move], "verdict": {"note": "allowed"}}
    value = {"before": 0.5, "wanted": 0.9, "after": 0.9}
    return Plan.model_validate(given | {"value": value} | more)


@pytest.mark.parametrize(
    ("given", "level", "text"),
    [
        (state((8.0, 8.0)), "ok", "16.0 of 16.0 Mb/s carried; all 2 links up"),
        (state(), "warn", "12.0 of 16.0 Mb/s carried; all 2 links up"),
        (state((8.0, 8.0), second={"up": False}), "warn", "16.0 of 16.0 Mb/s carried; 4–2 Sub-6 broken"),
        (state((8.0, 0.0)), "bad", "8.0 of 16.0 Mb/s carried; all 2 links up; nothing from node 5"),
        (state(phase="starting"), "quiet", "Starting the network"),
        (state(phase="failed"), "bad", "The network does not start"),
    ],
)
def test_verdict(given: BackhaulState, level: str, text: str) -> None:
    found, said = words.verdict(given)
    assert (found, said.replace("\u2060", "")) == (level, text)


def test_what_came_of_a_plan() -> None:
    refused = {"flow": 0, "source": 4, "after": PATH, "refused": "not now"}
    assert words.result(plan()) == ("ok", "1 flow moved")
    assert words.result(plan(moves=[refused])) == ("bad", "1 of 1 refused")
    assert words.result(plan(moves=[], verdict={"note": "no gain"})) == ("quiet", "Kept: no gain")
    assert words.result(plan(mode="shadow")) == ("quiet", "1 flow, not applied (shadow)")


def test_last_change_names_the_path_and_the_reason() -> None:
    kept = plan(seq=2, moves=[])
    said = words.last_change([kept, plan()], 105.0)
    assert said == "Last change 5 s ago, as link 2–0 mmWave broke: from node 4 by 4 → 2 → 0, mmWave (gets more)"
    assert words.last_change([kept], 105.0) == "The loop has not moved a flow yet"


def test_nodes_stand_by_hops_and_lines_do_not_cross_needlessly() -> None:
    links = [(2, 1), (3, 0), (4, 3), (5, 2), (4, 5)]
    spots = places(7, [0, 1], links)
    assert [layer for _, layer in spots] == [0, 0, 1, 1, 2, 2, 3]  # node 6 has no way
    x = [at for at, _ in spots]
    assert (x[3] < x[2]) == (x[0] < x[1]) == (x[4] < x[5])


# In a browser

pytest.importorskip("selenium")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

from .visitor import attribute, choose, click, cut_off, locked, press, send, too_small  # noqa: E402
from .visitor import words as shown  # noqa: E402


@pytest.fixture(scope="module")
def backhaul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("backhaul")
    content = yaml.safe_load(DEMO.read_text()) | {"driver": "simulated", "hold_s": None}
    (folder / "backhaul.yaml").write_text(yaml.safe_dump(content))
    with up(folder, EDGEWRIGHT_BACKHAUL=str(folder / "backhaul.yaml"), EDGEWRIGHT_DRIVER="simulated") as server:
        until(lambda: now(server)["last_decision"])
        yield server


def now(server: Server) -> dict[str, Any]:
    answer = httpx.get(f"{server.address}{PREFIX}/backhauls/backhaul", trust_env=False)
    return dict(answer.json()) if answer.is_success else {"last_decision": None}


def order(server: Server, method: str, path: str, body: object = None) -> None:
    url, headers = f"{server.address}{PREFIX}/backhauls/backhaul{path}", {"Authorization": f"Bearer {server.key}"}
    httpx.request(method, url, json=body, headers=headers, trust_env=False).raise_for_status()


def page(server: Server) -> str:
    return f"{server.address}/backhaul?name=backhaul&key={server.key}"


def classes(chrome: Any, selector: str) -> str:
    return attribute(chrome, f".network-picture {selector}", "class") or ""


@pytest.mark.browser
def test_a_link_is_broken_and_repaired_by_a_click(backhaul: Server, browse: Browse) -> None:
    chrome = browse(page(backhaul))
    until(lambda: "live" in shown(chrome, ".live"))
    assert chrome.current_url == f"{backhaul.address}/backhaul?name=backhaul"
    until(lambda: "all 9 links up" in shown(chrome, "h1"))
    until(lambda: "full" in classes(chrome, '[data-link="0"]') or "busy" in classes(chrome, '[data-link="0"]'))
    before = shown(chrome, ".live")
    press(chrome, "Break 2–0 mmWave")
    until(lambda: "broken" in classes(chrome, '[data-link="0"]'))
    assert not now(backhaul)["links"][0]["up"]
    until(lambda: "broken" in shown(chrome, "h1"))
    until(lambda: "ink 2–0 mmWave broke" in shown(chrome, ".plans"))
    until(lambda: "From node 4: 4 → 2 → 0, mmWave ⇒ 4 → 3 → 1, mmWave" in " ".join(shown(chrome, ".plans").split()))
    until(lambda: "4 → 3 → 1, mmWave" in shown(chrome, ".flows"))
    until(lambda: "Link failed" in shown(chrome, ".events"))
    press(chrome, "Repair 2–0 mmWave")
    until(lambda: "broken" not in classes(chrome, '[data-link="0"]'))
    until(lambda: shown(chrome, ".live") != before)


@pytest.mark.browser
def test_the_path_of_a_flow_lights_up(backhaul: Server, browse: Browse) -> None:
    chrome = browse(page(backhaul))
    until(lambda: "live" in shown(chrome, ".live"))
    row = chrome.find_element(By.CSS_SELECTOR, '.flow-row[data-flow="3"]')
    row.send_keys(Keys.ENTER)
    until(lambda: " on" in classes(chrome, '[data-link="5"]'))
    lit = chrome.find_elements(By.CSS_SELECTOR, ".network-picture .link.on")
    assert len(lit) == len(now(backhaul)["flows"][3]["path"]["links"])
    row.send_keys(Keys.ESCAPE)
    until(lambda: " on" not in classes(chrome, '[data-link="5"]'))


@pytest.mark.browser
def test_mode_and_demand_are_set(backhaul: Server, browse: Browse) -> None:
    chrome = browse(page(backhaul))
    press(chrome, "Mode of the loop", "Shadow")
    until(lambda: now(backhaul)["mode"] == "shadow")
    send(chrome, "Demand factor", Keys.ARROW_RIGHT)
    until(lambda: now(backhaul)["demand"]["factor"] == 1.1)
    choose(chrome, "Traffic matrix", "Matrix 1")
    until(lambda: now(backhaul)["demand"]["matrix"] == 1)
    choose(chrome, "Planner", "search")
    until(lambda: now(backhaul)["planner"] == "search")
    order(backhaul, "PUT", "/demand", {"matrix": 0, "factor": 1.0})
    order(backhaul, "PATCH", "", {"mode": "act", "planner": "replan"})
    until(lambda: "Plans are put in force" in shown(chrome))


@pytest.mark.browser
def test_without_a_key_it_is_read_only_and_the_pages_lead_to_each_other(backhaul: Server, browse: Browse) -> None:
    chrome = browse(f"{backhaul.address}/")
    click(chrome, "//nav//a[contains(., 'Backhaul')]")
    until(lambda: "carried" in shown(chrome, "h1"))
    assert locked(chrome, "Break 3–1 mmWave")
    click(chrome, "//nav//a[contains(., 'Scaling')]")
    until(lambda: "loc-a" in shown(chrome, "main"))
    chrome.get(f"{backhaul.address}/backhaul?name=none")
    until(lambda: "No backhaul loop is called none" in shown(chrome))


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_looks(backhaul: Server, browse: Browse, width: int, theme: str) -> None:
    chrome = browse(page(backhaul), width=width, theme=theme)
    until(lambda: chrome.find_elements(By.CSS_SELECTOR, ".network-picture .link"))
    assert not cut_off(chrome)
    assert not too_small(chrome)
