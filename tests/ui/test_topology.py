"""The page of topologies: its words, and the whole in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import httpx
import pytest

from edgewright.service.generation import Asked, Step
from edgewright.service.ui.shapes import Refusal
from edgewright.service.ui.topology import words
from edgewright.service.ui.topology.form import MARKS, Form
from edgewright.service.ui.topology.shapes import TopologyState
from edgewright.topology.layers import OF_AREAS, PROCESSES
from edgewright.topology.processes import Marks, Ties

from .conftest import PREFIX, Browse, Server, until


def state(**more: Any) -> TopologyState:
    given = {"name": "x", "phase": "ready", "area_km2": 651.4, "per_km2": 12.06, "seconds": 19.7}
    cells = {"cells": {"macro_cell": 7856, "small_cell": 12}, "switches": {"m1": 1317, "m2": 56}}
    return TopologyState.model_validate(given | cells | {"rings": {"access": 221, "aggregation": 10}} | more)


def test_numbers() -> None:
    assert words.numbers(state()) == [
        "7,856 macro and 12 small cells",
        "1,317 M1, 56 M2 switches",
        "221 access, 10 aggregation rings",
        "651 km², 12.06 macro cells per km²",
        "made in 20 s",
    ]
    assert words.cells(state(cells={})) == ""


def test_standing() -> None:
    assert words.standing(state(phase="waiting")) == "Waits for the one before it"
    assert words.standing(state(phase="generating", seconds=None)) == "Starting"
    assert words.standing(state(phase="generating", step="rings")) == "Group them under switches and rings, 20 s"


def test_names_are_made_of_what_was_given() -> None:
    assert words.name_for("Madrid,ES", []) == "madrid"
    assert words.name_for("São Paulo", ["sao-paulo", "sao-paulo-2"]) == "sao-paulo-3"
    assert words.name_for("東京", []) == "topology"


def test_areas_are_read_line_by_line() -> None:
    assert words.places("-3.7, 40.4, 1e6\n\n 2,41,5,300,0.5") == [
        {"lon": -3.7, "lat": 40.4, "population": 1e6},
        {"lon": 2.0, "lat": 41.0, "population": 5.0, "radius_m": 300.0, "dispersion": 0.5},
    ]
    for wrong in ("1,2", "1,2,3,4,5,6", "a,b,c"):
        with pytest.raises(ValueError, match="Line 2"):
            words.places(f"1,2,3\n{wrong}")


def test_what_is_wrong_with_a_number() -> None:
    assert words.number(5, 0, 10) is None
    assert words.number(None, 0, 10) == "A number, please."
    assert words.number(5.5, 0, 10, whole=True) == "A whole number, please."
    assert words.number(11, 0, 1000, whole=True) is None
    assert words.number(-1, 0, 1000) == "A number from 0 to 1,000."


@pytest.mark.parametrize(
    ("refusal", "field", "said"),
    [
        ({"field": "city", "given": "Madird", "allowed": "NAME ..., as Madrid or Madiran"}, "city", "mean Madrid or"),
        ({"field": "city", "given": "Xx", "allowed": "NAME or NAME,COUNTRY"}, "city", "No city called Xx is known."),
        ({"field": "cities", "given": "no", "allowed": "areas"}, "city", "edgewright[data]"),
        ({"field": "areas", "given": 0, "allowed": "one at least"}, "areas", "No town is known there"),
        ({"field": "areas.1.lat", "given": 91, "allowed": "at most 90"}, "areas", "Not possible: 91."),
        ({"field": "name", "given": "x", "allowed": "a name that no topology has yet"}, "name", "called x already"),
        ({"field": "name", "given": "X", "allowed": "a string of pattern"}, "name", "Lower-case letters"),
        ({"field": "micro", "given": "5 within 9 m", "allowed": "fewer"}, "micro", "find no room"),
        ({"field": "density", "given": "7 points", "allowed": "up to 5"}, "per_km2", "do not fit: up to 5"),
        ({"field": "region.lon", "given": "x", "allowed": "less"}, "region", "Allowed: less."),
        ({"field": None}, None, "its own words"),
    ],
)
def test_refusals_stand_beside_their_field(refusal: dict[str, Any], field: str | None, said: str) -> None:
    given = Refusal.model_validate({"message": "its own words"} | refusal)
    assert words.field_of(given, Asked.model_fields) == field
    assert said in words.problem(given)


def test_the_page_knows_what_the_api_knows() -> None:
    assert set(words.PROCESSES) == set(PROCESSES)
    assert set(words.OF_AREAS) == set(OF_AREAS)
    assert tuple(words.STEPS) == get_args(Step)


def test_the_form_has_a_field_for_all_that_can_be_asked() -> None:
    from nicegui import Client, ui

    with Client(ui.page("/")):
        form = Form(lambda: None)
        asked = form.read([])
    assert form._fields.keys() == Asked.model_fields.keys() - {"ties"}  # told with the marks
    assert asked is not None
    assert Asked.model_validate(asked).name == "madrid"
    every = {tuple(each.split()) for each in MARKS}
    assert {marks for marks, _ in every} == set(get_args(Marks))
    assert {ties for _, ties in every} == set(get_args(Ties))


# In a browser

pytest.importorskip("selenium")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

from .visitor import attribute, click, cut_off, press, send, too_small  # noqa: E402
from .visitor import words as shown  # noqa: E402

FRAME = ".frame iframe"
GENERATE = "//button[contains(., 'Generate')]"


def kept(server: Server) -> dict[str, Any]:
    answer = httpx.get(f"{server.address}{PREFIX}/topologies", trust_env=False).json()
    return {each["name"]: each for each in answer}


def change(server: Server, method: str, path: str = "", body: object = None) -> None:
    url, headers = f"{server.address}{PREFIX}/topologies{path}", {"Authorization": f"Bearer {server.key}"}
    httpx.request(method, url, json=body, headers=headers, trust_env=False).raise_for_status()


def generate(server: Server, name: str) -> None:
    box = [2.10, 41.38, 2.12, 41.40]
    change(server, "POST", "", {"name": name, "region": box, "process": "poisson", "per_km2": 15.0})
    until(lambda: kept(server)[name]["phase"] == "ready")


@pytest.fixture
def empty(server: Server) -> Iterator[Server]:
    """Nothing is kept, before and after."""
    for name in kept(server):
        change(server, "DELETE", f"/{name}")
    yield server
    for name in kept(server):
        change(server, "DELETE", f"/{name}")


def page(server: Server) -> str:
    return f"{server.address}/topology?key={server.key}"


def type_in(chrome: Any, label: str, value: str) -> None:
    send(chrome, label, Keys.CONTROL, "a")
    send(chrome, label, value or Keys.DELETE)


def choose_process(chrome: Any, option: str) -> None:
    press(chrome, "Macro cells stand")
    click(chrome, f"//*[@role='option'][normalize-space()='{option}']")


def in_frame(chrome: Any, script: str) -> Any:
    chrome.switch_to.frame(chrome.find_element(By.CSS_SELECTOR, FRAME))
    try:
        return chrome.execute_script(script)
    finally:
        chrome.switch_to.default_content()


@pytest.mark.browser
def test_from_the_form_to_the_map_and_gone(empty: Server, browse: Browse) -> None:
    chrome = browse(page(empty))
    until(lambda: "No topology yet" in shown(chrome, ".topology-map"))
    assert "press Generate" in shown(chrome, ".topology-map")
    press(chrome, "Where", "In a box")
    for side, value in (("West", "2.10"), ("South", "41.38"), ("East", "2.12"), ("North", "41.40")):
        type_in(chrome, side, value)
    press(chrome, "How many", "By number")
    type_in(chrome, "Macro cells", "60")
    choose_process(chrome, "Where people live")
    click(chrome, "//*[contains(@class, 'advanced')]//*[contains(@class, 'q-item')]")
    type_in(chrome, "Areas with people", "2.105, 41.385, 1000, 200\n2.115, 41.395, 500, 200")
    click(chrome, GENERATE)
    until(lambda: "Generating box" in shown(chrome, ".topology-map"))
    assert "Group them under switches and rings" in shown(chrome, ".steps")
    until(lambda: chrome.find_elements(By.CSS_SELECTOR, FRAME), 60)
    made = kept(empty)["box"]
    assert made["areas"] == 2
    many = f"{made['cells']['macro_cell']} macro cells"
    assert many in shown(chrome, ".kept")
    until(lambda: many in in_frame(chrome, "return document.body.innerText"))
    until(lambda: in_frame(chrome, "return document.querySelectorAll('#map canvas').length"))
    foreign = (
        "return performance.getEntriesByType('resource').map(e => e.name)"
        f".filter(name => !name.startsWith('{empty.address}') && !name.startsWith('data:'))"
    )
    assert not chrome.execute_script(foreign)
    assert not in_frame(chrome, foreign)
    until(lambda: chrome.current_url.endswith("/topology?name=box"))
    press(chrome, "Delete box")
    until(lambda: "will be gone" in shown(chrome, ".q-dialog"))
    click(chrome, "//*[contains(@class, 'q-dialog')]//button[contains(., 'Delete')]")
    until(lambda: "No topology yet" in shown(chrome, ".topology-map"))
    assert kept(empty) == {}


@pytest.mark.browser
def test_what_is_wrong_stands_beside_its_field(empty: Server, browse: Browse) -> None:
    chrome = browse(page(empty))
    press(chrome, "Where", "In a box")
    type_in(chrome, "East", "-10")
    type_in(chrome, "Seed", "")
    type_in(chrome, "Micro", "2000")
    click(chrome, GENERATE)
    until(lambda: "West must be less than east" in shown(chrome, ".topology-form"))
    for field, said in (("Seed", "A whole number, please."), ("Micro", "A number from 0 to 1,000.")):
        ids = (attribute(chrome, f'[aria-label="{field}"]', "aria-describedby") or "").split()
        assert said in " ".join(shown(chrome, f"#{each}") for each in ids)
    for label, value in (("East", "-3.65"), ("Seed", "0"), ("Micro", "0"), ("Macro cells per km²", "90000")):
        type_in(chrome, label, value)
    click(chrome, GENERATE)
    until(lambda: "at most 200,000 expected cells" in shown(chrome, ".topology-form"))  # as the API says at once
    assert "West must" not in shown(chrome, ".topology-form")
    type_in(chrome, "Macro cells per km²", "200")
    choose_process(chrome, "Anywhere, spaced apart")
    click(chrome, GENERATE)
    until(lambda: kept(empty).get("box", {}).get("phase") == "failed", 60)  # as it says once it has tried
    until(lambda: "Not possible" in shown(chrome, ".topology-form"))
    assert "box failed" in shown(chrome, ".topology-map")


@pytest.mark.browser
def test_without_a_key_it_asks_for_one(empty: Server, browse: Browse) -> None:
    chrome = browse(f"{empty.address}/topology")
    click(chrome, GENERATE)
    until(lambda: "Changes need the key" in shown(chrome, ".q-dialog"))
    assert kept(empty) == {}


@pytest.mark.browser
def test_pages_lead_to_each_other_and_one_is_shown_by_its_name(empty: Server, browse: Browse) -> None:
    for name in ("first", "second"):
        generate(empty, name)
    chrome = browse(f"{empty.address}/")
    click(chrome, "//nav//a[contains(., 'Topology')]")
    until(lambda: (attribute(chrome, FRAME, "title") or "") == "Map of second")
    press(chrome, "Show first")
    until(lambda: (attribute(chrome, FRAME, "title") or "") == "Map of first")
    chrome.refresh()
    until(lambda: (attribute(chrome, FRAME, "title") or "") == "Map of first")
    link = attribute(chrome, '[aria-label="Download JSON: first"]', "href") or ""
    assert httpx.get(link, trust_env=False).json()["format"] == "edgewright.infrastructure/1"
    alone = attribute(chrome, '[aria-label="Open the map alone: first"]', "href") or ""
    answer = httpx.get(alone, trust_env=False)
    assert answer.headers["content-security-policy"] == "sandbox allow-scripts"
    assert "<title>first</title>" in answer.text
    assert httpx.get(f"{empty.address}/topology/none/map", trust_env=False).status_code == 404


@pytest.mark.browser
def test_page_in_a_process_of_its_own_brings_the_map(empty: Server, alone: Server, browse: Browse) -> None:
    generate(empty, "far")
    chrome = browse(f"{alone.address}/topology?key={empty.key}")
    source = attribute(chrome, FRAME, "src") or ""
    assert source.startswith(f"{alone.address}/topology/far/map")
    until(lambda: "macro cells" in in_frame(chrome, "return document.body.innerText"))


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_looks(empty: Server, browse: Browse, width: int, theme: str) -> None:
    generate(empty, "seen")
    chrome = browse(page(empty), width=width, theme=theme)
    until(lambda: "macro cells" in in_frame(chrome, "return document.body.innerText"))
    click(chrome, "//*[contains(@class, 'advanced')]//*[contains(@class, 'q-item')]")
    press(chrome, "Where", "In a box")
    until(lambda: "West, south, east" in shown(chrome))
    assert not cut_off(chrome)
    assert not too_small(chrome)
    controls = chrome.find_elements(By.CSS_SELECTOR, "main input, main textarea, main button, main a, main iframe")
    assert not [
        each.get_attribute("outerHTML") for each in controls if each.is_displayed() and not each.accessible_name
    ]
    ground = in_frame(chrome, "return getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if theme == "light" else "rgb(22, 26, 33)")
    if width == 1280:  # the colours that a visitor chose go before the system's, in the map too
        for _ in range(1 if theme == "dark" else 2):
            click(chrome, "//*[starts-with(@aria-label, 'Colours')]")
        until(lambda: in_frame(chrome, "return getComputedStyle(document.body).backgroundColor") != ground)
