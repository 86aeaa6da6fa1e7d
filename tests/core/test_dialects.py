"""What others call fields and how they measure: the numbers that are read, and what is said to be assumed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewright.core.infrastructure import CELLS, KINDS
from edgewright.core.infrastructure.exchange import load

from .test_exchange import gml, written

DATA = Path(__file__).parents[3] / "shared/data/placement"
sample = pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is not here")


@sample
def test_a_directed_infrastructure_with_prices_of_links() -> None:
    read, said = load(DATA / "large-infra.gml")
    assert said == [
        "delays of 172 links read as s: 72 of 128 links with a distance and a delay have 5 or 3.33 ns a metre",
        "57 nodes: mem read as GB",
        "57 nodes: disk read as GB",
        "57 nodes: cost read as the price of one vCPU",
        "6 nodes: type m1_server read as server",
        "6 nodes: type m2_server read as server",
        "1 node: type m3_server read as server",
        "172 links: bandwidth in Mbps read as Mb/s",
        "172 links: cost read as the price of one Mb/s",
    ]
    assert (len(read), len(read.ends), read.directed) == (57, 172, True)
    kinds = {kind: len(read.of(kind)) for kind in KINDS if len(read.of(kind))}
    expected = {
        "pico_cell": 9,
        "micro_cell": 9,
        "macro_cell": 3,
        "m1": 6,
        "m2": 6,
        "m3": 2,
        "server": 13,
        "endpoint": 9,
    }
    assert kinds == {kind: expected[kind] for kind in kinds}
    assert kinds.keys() == expected.keys()
    servers = read.of("server")
    assert read.nodes["cpu_price"][servers].tolist() == [10.47] * 6 + [5.23] * 6 + [2.23]
    assert (
        read.nodes["cpu"][servers].sum()
        == 140 + 160 + 220 + 166 + 180 + 200 + 1200 + 780 + 900 + 1092 + 1026 + 1313.4 + 1e4
    )
    assert set(read.nodes["memory_gb"][servers]) == {20}
    assert set(read.nodes["storage_gb"][servers]) == {100}
    up = np.isin(read.ends[:, 0], read.of("endpoint"))
    down = np.isin(read.ends[:, 1], read.of("endpoint"))
    assert set(read.links["capacity_mbps"][up]) == {75}
    assert set(read.links["capacity_mbps"][down]) == {300}
    for kind, price, delay, reliability in (
        ("pico_cell", 1.01475, 0.001, 0.99920016),
        ("micro_cell", 2.3125, 0.003, 0.9999400009),
        ("macro_cell", 4.7125, 0.008, 0.999998000001),
    ):
        radio = up & np.isin(read.ends[:, 1], read.of(kind))
        assert set(read.links["price"][radio]) == {price}
        assert set(read.links["delay_s"][radio]) == {delay}
        assert set(read.links["reliability"][radio]) == {reliability}
    fibre = ~up & ~down & (read.links["distance_m"] > 0)
    assert set(read.links["price"][fibre]) == {0.00388}
    np.testing.assert_allclose(read.links["delay_s"][fibre], 5e-9 * read.links["distance_m"][fibre], rtol=1e-9)


@sample
@pytest.mark.parametrize(
    ("name", "radio_delays", "longest", "prices", "cells"),
    [
        ("cobo-calleja-ref-1", {0.0025, 0.005}, 9.65514191653674e-3, {1.6, 34.6}, {"pico_cell": 39, "micro_cell": 6}),
        ("valencia-haven-1", {0.00075, 0.005}, None, {5.5, 11}, {"cell": 39}),
    ],
)
def test_infrastructures_whose_delays_are_milliseconds(
    name: str, radio_delays: set[float], longest: float | None, prices: set[float], cells: dict[Any, int]
) -> None:
    read, said = load(DATA / f"{name}.gml")
    assert any(" read as ms: " in sentence for sentence in said)
    assert f"{sum(cells.values())} nodes: cost read as what the radio costs, kept as cpu_price" in said
    radio = read.of(*CELLS)
    assert set(read.nodes["delay_s"][radio]) == radio_delays
    assert set(read.nodes["cpu_price"][radio]) == prices
    assert {kind: len(read.of(kind)) for kind in cells} == cells
    assert len(read.of("fog")) == 10
    assert {12, 1e4, 3e5, 6e6} == set(read.links["capacity_mbps"])
    if longest:
        assert read.links["delay_s"].max() <= longest
    in_seconds, _ = load(DATA / f"{name}.gml", delay_unit="s")
    np.testing.assert_allclose(in_seconds.links["delay_s"], 1e3 * read.links["delay_s"])


@sample
def test_radio_technologies_that_are_told_as_sizes() -> None:
    read, _ = load(DATA / "valencia-haven-1.gml")
    radios = [row.get("radio") for row in read.node_rows()]
    assert (radios.count(["NR"]), radios.count(["LTE"]), radios.count(None)) == (36, 3, 38)


@sample
def test_a_graph_of_something_else_says_what_is_left_out() -> None:
    read, said = load(DATA / "robot.gml")
    assert read.of("switch").tolist() == [0, 1, 2, 3]
    assert "4 nodes: field demand is not known, left out" in said
    assert "2 nodes: field vnfTime is not known, left out" in said
    assert "4 nodes: no type that is known, read as switch" in said


ZOO = """Creator "Topology Zoo"
graph [
  Network "Té"
  node [ id 0 label "Paris" Longitude 2.34 Latitude 48.85 Internal 1 type "Green Dot" ]
  node [ id 1 label "Paris" Longitude 2.35 Latitude 48.86 ]
  node [
    id 2
    label "Rome"
    hyperedge 1e2
  ]
  edge [ source 0 target 1 LinkSpeedRaw 10000000000.0 LinkType "OC-192" ]
  edge [ source 0 target 1 LinkSpeedRaw 155000000.0 ]
  edge [ source 1 target 2 ]
  edge [ source 2 target 2 ]
]
"""


def test_topology_zoo(tmp_path: Path) -> None:
    read, said = load(written(tmp_path, ".gml", ZOO))
    assert read.ids == ("Paris (0)", "Paris (1)", "Rome")
    assert read.ends.tolist() == [[0, 1], [0, 1], [1, 2]]
    assert read.links["capacity_mbps"].tolist() == [10_000, 155, np.inf]
    assert read.nodes["lat"].tolist()[:2] == [48.85, 48.86]
    assert said == [
        "field Network of the whole is not known, left out",
        "2 nodes: name used more than once, the id added to it",
        "1 node: field Internal is not known, left out",
        "1 node: field type is not known, left out",
        "3 nodes: no type that is known, read as switch",
        "1 node: field hyperedge is not known, left out",
        "2 links: LinkSpeedRaw read as bit/s",
        "1 link: field LinkType is not known, left out",
        "1 link: from a node to itself, left out",
    ]


def test_topohub(tmp_path: Path) -> None:
    topohub = pytest.importorskip("topohub")
    read, said = load(written(tmp_path, ".json", topohub.get("topozoo/Abilene")))
    assert read.ids[:2] == ("New York", "Chicago")
    assert (read.nodes["lon"][0], read.nodes["lat"][0]) == (-74.01, 40.71)
    assert read.links["distance_m"][0] == 1_146_160
    assert "14 links: dist read as km" in said
    assert "14 links: field ecmp_fwd is not known, left out" in said
    assert "field demands of the whole is not known, left out" in said


@pytest.mark.parametrize(
    ("told", "mbps"),
    [("Mbps", 12), ("Mpbs", 12), ("Mb/s", 12), ("GB/S", 12_000), ("Gbps", 12_000), ("tb/s", 12e6), ("kb/s", 0.012)],
)
def test_units_of_bandwidth(tmp_path: Path, told: str, mbps: float) -> None:
    read, said = load(written(tmp_path, ".gml", gml(edge=f'bandwidth 12 bw 12 bandwidthUnits "{told}"')))
    assert read.links["capacity_mbps"].tolist() == [mbps]
    assert any(sentence.startswith(f"1 link: bandwidth in {told} read as ") for sentence in said) == (told != "Mb/s")


@pytest.mark.parametrize(
    ("edge", "unit", "seconds", "said"),
    [
        ("distance 200 delay 1.0", None, 1e-6, "delays of 1 link read as us: 1 of 1 link with"),
        ("distance 200 delay 1.0", "ms", 1e-3, None),
        ("distance 200 delay 0.7", None, 0.7, "read as s: 0 of 1 link with .*, so it is a guess"),
        ("delay 2", None, 2, "read as s: 0 of 0 links with .*, so it is a guess"),
        ("delay 2", "ns", 2e-9, None),
    ],
)
def test_units_of_delay(tmp_path: Path, edge: str, unit: Any, seconds: float, said: str | None) -> None:
    read, told = load(written(tmp_path, ".gml", gml(edge=edge)), delay_unit=unit)
    assert read.links["delay_s"].tolist() == [seconds]
    delays = [sentence for sentence in told if "delays" in sentence]
    if said is None:
        assert delays == []
    else:
        assert len(delays) == 1
        assert re.search(said, delays[0])
