"""Compute chunks over HTTP, as NANCY D4.2, Figures 1 and 2, have them."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from .conftest import PREFIX, Client, running, settings, until

CHUNKS = "/api/v1.0/compute_chunk"


def chunk(name: str = "one", cpus: float = 1.0, ram: float = 512.0, **more: Any) -> dict[str, Any]:
    needs = {"cpus": {"required": cpus}, "ram": {"required": ram, "units": "MB"}}
    return {"name": name, "requirements": needs, **more}


def left(client: Client) -> float:
    found: float = client.get(f"{PREFIX}/host").json()["left"]["cpu"]
    return found


def of_demo(client: Client) -> str:
    found = [c for c in client.get(CHUNKS).json() if c["loop"] == "demo"]
    assert len(found) == 1
    identity: str = found[0]["id"]
    return identity


def test_create_read_resize_delete(client: Client) -> None:
    before = left(client)
    made = client.post(CHUNKS, json=chunk(description="d"))
    assert made.status_code == 200
    identity = made.json()["id"]
    assert client.get(f"{CHUNKS}/{identity}").json() == made.json()
    assert left(client) == pytest.approx(before - 1)
    assert client.put(f"{CHUNKS}/{identity}/cpus", json={"cpus": {"required": 2}}).status_code == 204
    assert client.put(f"{CHUNKS}/{identity}/ram", json=256).status_code == 204
    needs = client.get(f"{CHUNKS}/{identity}").json()["requirements"]
    assert (needs["cpus"]["required"], needs["ram"]["required"]) == (2.0, 256.0)
    assert client.put(f"{CHUNKS}/{identity}/cpus", json=1.5).status_code == 204
    assert left(client) == pytest.approx(before - 1.5)
    assert client.delete(f"{CHUNKS}/{identity}").status_code == 204
    assert client.get(f"{CHUNKS}/{identity}").status_code == 404
    assert left(client) == pytest.approx(before)


def test_no_room_says_what_is_left(client: Client) -> None:
    before = left(client)
    answer = client.post(CHUNKS, json=chunk(cpus=before + 0.5))
    assert answer.status_code == 409
    assert f"{before:g} left" in answer.json()["message"]
    assert left(client) == before
    assert len(client.get(CHUNKS).json()) == 1
    identity = of_demo(client)
    assert client.put(f"{CHUNKS}/{identity}/cpus", json=1.0 + before + 0.1).status_code == 409
    assert client.put(f"{CHUNKS}/{identity}/ram", json=10_000_000).status_code == 409
    assert left(client) == before


@pytest.mark.parametrize("mode", ["act", "shadow", "paused"])
def test_smaller_slice_shrinks_limits_at_once(client: Client, mode: str) -> None:
    identity = of_demo(client)
    client.patch(f"{PREFIX}/loops/demo", json={"mode": mode})
    assert client.put(f"{CHUNKS}/{identity}/cpus", json={"cpus": {"required": 0.4}}).status_code == 204
    loop = client.loop()
    assert loop["slice"]["cpu"] == pytest.approx(0.4)
    assert sum(s["limit_cpu"] for s in loop["services"]) <= 0.4 + 1e-6
    seq = loop["last_decision"]["seq"]
    until(lambda: client.loop()["last_decision"]["seq"] > seq + 3)
    assert client.loop()["slice"]["cpu_left"] >= -1e-6


def test_slice_cannot_shrink_below_what_it_must_hold(client: Client) -> None:
    identity = of_demo(client)
    assert client.put(f"{CHUNKS}/{identity}/cpus", json=0.1).status_code == 409  # two services, 0.1 each at least
    client.put(f"{PREFIX}/loops/demo/services/a/pin", json={"cpu": 0.8})
    told = client.put(f"{CHUNKS}/{identity}/cpus", json=0.85)
    assert told.status_code == 409
    assert "0.9" in told.json()["message"]
    assert client.put(f"{CHUNKS}/{identity}/ram", json=10).status_code == 409
    assert client.loop()["slice"]["cpu"] == 1.0
    assert client.get(f"{CHUNKS}/{identity}").json()["requirements"]["cpus"]["required"] == 1.0


def test_chunk_of_a_loop_stays_while_it_runs(client: Client) -> None:
    assert client.delete(f"{CHUNKS}/{of_demo(client)}").status_code == 409


def test_storage_is_not_pretended(client: Client) -> None:
    needs = {**chunk()["requirements"], "storage": {"required": 10, "units": "GB"}}
    assert client.post(CHUNKS, json=chunk(requirements=needs)).status_code == 501
    identity = of_demo(client)
    assert client.put(f"{CHUNKS}/{identity}/storage", json={"storage": {"required": 10}}).status_code == 501
    assert client.put(f"{CHUNKS}/none/storage", json=10).status_code == 404
    assert len(client.get(CHUNKS).json()) == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "", {}, 400),
        ("POST", "", chunk(cpus=-1), 400),
        ("POST", "", chunk(cpus=float("nan")), 400),
        ("POST", "", chunk(name=""), 400),
        ("POST", "", chunk(color="red"), 400),
        ("POST", "", chunk(user_id="nobody"), 404),
        ("POST", "", chunk(compute_id="nowhere"), 404),
        ("POST", "", chunk(cpus=0), 400),
        ("POST", "", chunk(ram=0.5), 400),
        ("POST", "", chunk(cpus=1e300), 400),
        ("POST", "", chunk(cpus=1e5), 409),
        ("POST", "", chunk(requirements={"cpus": 1, "ram": 1}), 400),
        ("PUT", "/none/cpus", {"cpus": {"required": 1}}, 404),
        ("PUT", "/none/ram", 5, 404),
        ("PUT", "/none/cpus", {"cpus": {"required": "8"}}, 400),
        ("PUT", "/none/cpus", {"ram": {"required": 8}}, 400),
        ("PUT", "/none/cpus", "8", 400),
        ("PUT", "/none/cpus", -2, 400),
        ("PUT", "/none/cpus", None, 400),
        ("DELETE", "/none", None, 404),
        ("GET", "/none", None, 404),
    ],
)
def test_refused(shared: Client, method: str, path: str, body: object, status: int) -> None:
    answer = shared.request(
        method, CHUNKS + path, content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == status, answer.text
    assert answer.json()["message"]


def test_name_used_once(client: Client) -> None:
    before = left(client)
    assert client.post(CHUNKS, json=chunk(cpus=0.5)).status_code == 200
    assert client.post(CHUNKS, json=chunk(cpus=0.5)).status_code == 409
    assert left(client) == pytest.approx(before - 0.5)


def test_chunks_outlive_a_restart(tmp_path: Path) -> None:
    given = settings(tmp_path)
    with running(given) as client:
        key = client.made.first_key
        client.post(CHUNKS, json=chunk(cpus=0.7))
        assert client.put(f"{CHUNKS}/{of_demo(client)}/cpus", json=0.5).status_code == 204
        was = (client.get(CHUNKS).json(), left(client))
    with running(given, key=key) as client:
        assert (client.get(CHUNKS).json(), left(client)) == was
        assert client.loop()["slice"]["cpu"] == 0.5
        assert sum(s["limit_cpu"] for s in client.loop()["services"]) <= 0.5 + 1e-6


def test_locked_database_refuses_orders_whole_and_the_loop_goes_on(sqlite_file: Path, client: Client) -> None:
    identity, before = of_demo(client), left(client)
    other = sqlite3.connect(sqlite_file, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        seq = client.loop()["last_decision"]["seq"]
        refused = [
            client.post(CHUNKS, json=chunk()),
            client.put(f"{CHUNKS}/{identity}/cpus", json=0.5),
            client.put(f"{PREFIX}/loops/demo/services/a/pin", json={"cpu": 0.5}),
            client.patch(f"{PREFIX}/loops/demo", json={"mode": "paused"}),
        ]
        assert [answer.status_code for answer in refused] == [503] * 4
        assert "locked" in refused[0].json()["message"]
        loop = client.loop()
        assert (loop["mode"], loop["slice"]["cpu"], left(client)) == ("act", 1.0, before)
        assert loop["services"][0]["pin"] is None
        assert loop["last_decision"]["seq"] > seq + 5  # it went on deciding
        until(lambda: client.get("/healthz").json()["status"] == "degraded")
        assert any("locked" in warning for warning in client.loop()["warnings"])
    finally:
        other.execute("ROLLBACK")
        other.close()
    until(lambda: client.get("/healthz").json() == {"status": "ok", "reasons": []})
    seqs = [d["seq"] for d in client.get(f"{PREFIX}/loops/demo/decisions?limit=1000").json()]
    assert seqs == list(range(max(seqs), 0, -1))  # none is missing
