"""The map of an infrastructure: one file that needs nothing else, and what a visitor sees and does in a browser."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewright.core.errors import InputError
from edgewright.core.infrastructure.model import KINDS, Infrastructure, from_rows
from edgewright.topology.map import map_html, write_map
from ui import conftest
from ui.conftest import Browse, until

browse = conftest.browse
HOSTILE = "</script><img src=x onerror=alert(1)>\"'`${1}{{data}}\u2028😀"
REGION = [[(2.0, 41.0), (2.4, 41.0), (2.4, 41.4), (2.0, 41.4)]]
ORANGE, BLUE, RED = "#e69f00", "#0072b2", "#d55e00"


def small() -> Infrastructure:
    """Four cells under an M1 switch that an M2 switch joins to an M3 switch; a server beside the M2 switch."""
    places = {"m1-a": (2.1, 41.3), "m2-a": (2.2, 41.2), "m3-a": (2.3, 41.3), HOSTILE: (2.3, 41.1)}
    kinds = {"m1-a": "m1", "m2-a": "m2", "m3-a": "m3", HOSTILE: "server"}
    nodes: list[dict[str, Any]] = [
        {"id": name, "kind": kinds[name], "lon": lon, "lat": lat} for name, (lon, lat) in places.items()
    ]
    nodes[3] |= {"cpu": 64.0, "memory_gb": 256.5, "reliability": 0.999}
    nodes += [
        {"id": f"cell-{i}", "kind": kind, "lon": 2.05 + i / 100, "lat": 41.35, "radio": ["LTE", "NR"], "delay_s": 5e-4}
        for i, kind in enumerate(("cell", "cell", "cell", "macro_cell"))
    ]
    nodes += [{"id": f"lost-{i}", "kind": "cell"} for i in range(3)]
    pairs = [*((f"cell-{i}", "m1-a") for i in range(4)), ("m1-a", "m2-a"), ("m2-a", "m3-a"), (HOSTILE, "m2-a")]
    pairs += [("lost-0", "m1-a"), ("m1-a", "m2-a")]
    return from_rows(nodes, [{"source": one, "target": other} for one, other in pairs], False)


def town(cells: int) -> Infrastructure:
    """Cells under one switch for every twelve, and these in one ring."""
    rng = np.random.default_rng(1)
    switches = -(-cells // 12)
    ids = [f"cell-{i}" for i in range(cells)] + [f"m1-{i}" for i in range(switches)]
    kind = np.repeat([KINDS.index("cell"), KINDS.index("m1")], [cells, switches]).astype(np.int8)
    ring = cells + np.arange(switches)
    ends = np.vstack(
        [
            np.column_stack([np.arange(cells), cells + np.arange(cells) // 12]),
            np.column_stack([ring, np.roll(ring, -1)]),
        ]
    )
    lon, lat = 2.1 + rng.uniform(-0.1, 0.1, (2, len(ids)))
    return Infrastructure(tuple(ids), kind, ends, {"lon": lon, "lat": 39.3 + lat, "coverage_m": (kind == 0) * 500.0})


def test_the_same_infrastructure_gives_the_same_bytes(tmp_path: Path) -> None:
    one, other = (
        write_map(small(), tmp_path / name, title="A town", region=REGION).read_bytes() for name in ("a.html", "b.html")
    )
    assert one == other
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_what_has_no_place_is_said() -> None:
    said = "3 nodes without a place are not shown, nor their 1 link."
    counts = "3 cells, 1 macro cell, 1 M1 switch, 1 M2 switch, 1 M3 switch, 1 server, 8 links."
    assert f"{counts} {said}" in map_html(small(), title="")
    alone = from_rows([{"id": "a", "kind": "m1", "lon": 1.0, "lat": 1.0}, {"id": "b", "kind": "fog"}], [], False)
    assert "1 M1 switch, 0 links. 1 node without a place is not shown." in map_html(alone, title="")


def test_an_infrastructure_without_places_is_refused(tmp_path: Path) -> None:
    nowhere = from_rows([{"id": "a", "kind": "cell"}], [], False)
    (tmp_path / "map.html").write_text("old")
    with pytest.raises(InputError, match="1 without a place"):
        write_map(nowhere, tmp_path / "map.html", title="")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_ten_thousand_cells_take_a_megabyte_beside_leaflet() -> None:
    bare, whole = (len(map_html(town(cells), title="")) for cells in (24, 10_000))
    assert whole - bare < 1.1e6


def test_names_from_a_file_end_no_script() -> None:
    page = map_html(small(), title=HOSTILE)
    assert "<img" not in page
    assert page.count("</script>") == 3
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert found
    assert HOSTILE in json.loads(found[1])["ids"]


def test_links_are_told_apart_by_what_they_join() -> None:
    kinds = ("cell", "m1", "m1", "m2", "m2", "m3", "m3", "server", "fog", "endpoint", "switch")
    nodes = [{"id": f"{i}", "kind": kind, "lon": 1.0, "lat": 1.0} for i, kind in enumerate(kinds)]
    pairs = ["01", "12", "23", "34", "45", "56", "70", "87", "98", "05", "19"]
    links = [{"source": pair[0], "target": pair[1]} for pair in [*pairs, "31"]]
    page = map_html(from_rows(nodes, [*links, {"source": "10", "target": "1"}], False), title="")
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert {row[0]: len(row[-1]) // 2 for row in data["links"]} == {
        "cells to M1": 1,
        "of endpoints": 2,
        "of fog nodes": 1,
        "of servers": 1,
        "others": 2,
        "in access rings": 3,
        "in aggregation rings": 2,
        "between M3": 1,
    }


def layers(chrome: Any) -> dict[str, tuple[str, bool]]:
    """Count, and whether it is shown, of each layer in the legend."""
    rows = chrome.execute_script(
        "return [...document.querySelectorAll('label')].map(row => "
        "[row.querySelector('span').textContent, row.querySelector('small').textContent,"
        " row.querySelector('input').checked])"
    )
    return {name: (count, on) for name, count, on in rows}


def seen(chrome: Any, colour: str) -> list[list[float]]:
    """Where in the view the map has px of this colour with their like around."""
    found: list[list[float]] = chrome.execute_script(
        """
        const canvas = document.querySelector('#map canvas'), at = canvas.getBoundingClientRect();
        const {data, width, height} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        const room = document.getElementById('map').getBoundingClientRect(), found = [];
        const wanted = [...[1, 3, 5].map(i => parseInt(arguments[0].slice(i, i + 2), 16)), 255];
        const is = (x, y) => wanted.every((part, i) => data[4 * (y * width + x) + i] === part);
        for (let y = 2; y < height - 2; y++) for (let x = 2; x < width - 2; x++) {
          if (![[0, 0], [2, 0], [-2, 0], [0, 2], [0, -2]].every(([a, b]) => is(x + a, y + b))) continue;
          const place = [at.left + x, at.top + y];
          if (place[0] < room.right && place[1] < room.bottom && place[0] > room.left && place[1] > room.top)
            found.push(place);
        }
        return found;
        """,
        colour,
    )
    return found


def point(chrome: Any, colour: str, *, press: bool) -> None:
    places = seen(chrome, colour)
    x, y = places[len(places) // 2]
    for kind in ("mouseMoved", "mousePressed", "mouseReleased")[: 3 if press else 1]:
        event = {"type": kind, "x": x, "y": y, "button": "left" if press else "none", "clickCount": int(press)}
        chrome.execute_cdp_cmd("Input.dispatchMouseEvent", event)


def text(chrome: Any, selector: str) -> str:
    found = chrome.execute_script("return document.querySelector(arguments[0])?.innerText ?? ''", selector)
    return str(found)


def search(chrome: Any, words: str) -> None:
    # A driver types no character beyond the basic plane.
    chrome.execute_script(
        "const box = document.querySelector('input[type=search]'); box.value = arguments[0]; box.form.requestSubmit();",
        words,
    )


def open_map(browse: Browse, path: Path, infrastructure: Infrastructure, **how: Any) -> Any:
    chrome = browse(write_map(infrastructure, path / "map.html", title="A town", region=REGION).as_uri(), **how)
    until(lambda: chrome.find_elements("css selector", "#map canvas"))
    return chrome


@pytest.mark.browser
def test_layers_are_counted_switched_and_zoomed_without_a_network(browse: Browse, tmp_path: Path) -> None:
    chrome = open_map(browse, tmp_path, small())
    chrome.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    chrome.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    chrome.refresh()
    until(lambda: chrome.find_elements("css selector", "#map canvas"))
    assert layers(chrome) == {
        "servers": ("1", True),
        "M3 switches": ("1", True),
        "M2 switches": ("1", True),
        "M1 switches": ("1", True),
        "macro cells": ("1", True),
        "cells": ("3", True),
        "in aggregation rings": ("1", True),
        "in access rings": ("2", True),
        "of servers": ("1", True),
        "cells to M1": ("4", True),
        "outline": ("", True),
    }
    assert "3 nodes without a place are not shown" in text(chrome, "header")
    assert seen(chrome, ORANGE)
    box = chrome.find_element("xpath", "//label[contains(., 'M2 switches')]/input")
    box.send_keys(" ")
    until(lambda: not seen(chrome, ORANGE))
    assert seen(chrome, BLUE)
    box.send_keys(" ")
    until(lambda: seen(chrome, ORANGE))
    before = text(chrome, ".leaflet-control-scale-line")
    assert before.endswith("km")
    chrome.find_element("css selector", "#map").send_keys("+")
    until(lambda: text(chrome, ".leaflet-control-scale-line") != before)
    asked = chrome.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in asked if not name.startswith("data:")] == []


@pytest.mark.browser
def test_a_node_tells_what_is_known_of_it(browse: Browse, tmp_path: Path) -> None:
    chrome = open_map(browse, tmp_path, small())
    point(chrome, BLUE, press=False)
    until(lambda: "m1-a" in text(chrome, ".leaflet-tooltip"))
    point(chrome, BLUE, press=True)
    until(lambda: "41.300000, 2.100000" in text(chrome, ".leaflet-popup"))
    until(lambda: not text(chrome, ".leaflet-tooltip"))
    told = text(chrome, ".leaflet-popup").split()
    assert {"m1-a", "M1", "cell-0", "cell-3", "m2-a", "lost-0"} <= set(told)
    assert "Linked to 6" in " ".join(told)
    # What it is linked to leads on; what has no place cannot.
    assert "lost-0" not in [button.text for button in chrome.find_elements("css selector", ".leaflet-popup button")]
    chrome.find_element("xpath", "//*[contains(@class, 'card')]//button[.='cell-0']").click()
    until(lambda: "LTE, NR" in text(chrome, ".leaflet-popup"))
    assert "0.0005 s" in text(chrome, ".leaflet-popup")
    chrome.find_element("css selector", "#map").send_keys("\ue00c")  # Escape
    until(lambda: not text(chrome, ".leaflet-popup"))


@pytest.mark.browser
def test_a_search_flies_there_and_hostile_names_are_only_text(browse: Browse, tmp_path: Path) -> None:
    chrome = open_map(browse, tmp_path, small())
    chrome.find_element("xpath", "//label[contains(., 'servers')]/input").click()
    chrome.find_element("css selector", "input[type=search]").send_keys("M3-", "\ue007")  # Enter
    until(lambda: "m3-a" in text(chrome, ".leaflet-popup"))
    before = text(chrome, ".leaflet-control-scale-line")
    assert before.endswith(" m")
    search(chrome, HOSTILE)
    until(lambda: "64 vCPUs" in text(chrome, ".leaflet-popup"))
    assert chrome.execute_script("return document.querySelector('.card h2').textContent") == HOSTILE
    assert {"256.5 GB", "0.999"} <= set(text(chrome, ".card").splitlines())
    assert seen(chrome, RED), "the layer of what was searched for is shown again"
    search(chrome, "lost-1")
    assert text(chrome, "[role=status]") == "lost-1 has no place, and is not shown."
    search(chrome, HOSTILE * 2)
    assert chrome.execute_script("return document.querySelector('[role=status]').textContent") == (
        f"No id contains “{HOSTILE * 2}”."
    )
    assert not chrome.execute_script("return document.querySelectorAll('img, #map script').length")
    search(chrome, "m2-a")
    until(lambda: "M2 switch" in text(chrome, ".leaflet-popup"))
    assert chrome.execute_script("return [...document.querySelectorAll('.card button')].map(e => e.textContent)") == [
        HOSTILE,
        "m1-a",
        "m3-a",
    ]


@pytest.mark.browser
def test_many_links_to_cells_are_shown_from_closer_up(browse: Browse, tmp_path: Path) -> None:
    chrome = open_map(browse, tmp_path, town(4_000))
    assert layers(chrome)["cells to M1"] == ("4,000", False)
    search(chrome, "m1-100")
    until(lambda: "Linked to 14" in text(chrome, ".card"))
    assert text(chrome, ".card").endswith("and 4 more")
    assert layers(chrome)["cells to M1"] == ("4,000", True)
    chrome.find_element("xpath", "//button[.='Whole map']").click()
    until(lambda: not layers(chrome)["cells to M1"][1])
    # What a visitor has switched stays.
    chrome.find_element("xpath", "//label[contains(., 'ells to M1')]/input").click()
    search(chrome, "m1-101")
    until(lambda: "m1-101" in text(chrome, ".card h2"))
    chrome.find_element("xpath", "//button[.='Whole map']").click()
    until(lambda: text(chrome, ".leaflet-control-scale-line").endswith("km"))
    assert layers(chrome)["cells to M1"][1]


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_looks(browse: Browse, tmp_path: Path, width: int, theme: str) -> None:
    chrome = open_map(browse, tmp_path, small(), width=width, theme=theme)
    assert bool(text(chrome, "fieldset")) is (width > 720)
    if width == 390:
        chrome.find_element("css selector", "summary").click()
    until(lambda: "M2 switches" in text(chrome, "details"))
    assert not chrome.execute_script(
        "const seen = document.documentElement.clientWidth, tall = document.documentElement.clientHeight;"
        "return [...document.querySelectorAll('header *, main, #map, fieldset, label *')]"
        ".filter(e => e.getBoundingClientRect().right > seen + 1).map(e => e.outerHTML.slice(0, 100))"
    )
    assert chrome.execute_script("return document.getElementById('map').clientHeight") > 300
    # M3 switches are black on a light ground and white on a dark one.
    assert seen(chrome, "#000000" if theme == "light" else "#ffffff")
