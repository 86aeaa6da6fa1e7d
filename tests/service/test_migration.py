"""A migration loop over HTTP: on the twin in real time, at the end on edge nodes of this host."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgewright.drivers.linux.criu import CriuMissing, obtain
from edgewright.drivers.linux.leftovers import FOLDERS
from edgewright.drivers.linux.namespaces import FOLDER
from edgewright.drivers.migration import Migration
from edgewright.migration.model import SHIPPED
from edgewright.migration.policies.learned import shipped
from edgewright.migration.sites import Moved, SimulatedSite
from edgewright.service.settings import Settings

from .conftest import PREFIX, Client, running, settings, until
from .test_crash import Up, up

ROOT = f"{PREFIX}/migrations"
Json = dict[str, Any]


def scenario(name: str = "follow", **more: Any) -> Json:
    """The highway, quickly, on the twin."""
    base = {
        "format": "edgewright.migration-loop/1",
        "name": name,
        "policy": "nearest",
        "driver": "simulated",
        "pace": 20,
    }
    return base | more


def with_migration(folder: Path, content: Json | None = None) -> Settings:
    folder.mkdir(exist_ok=True)
    file = folder / "migration.yaml"
    file.write_text(yaml.safe_dump(content or scenario()))
    return settings(folder, migration=file)


def get(client: Client, path: str = "", name: str = "follow") -> Any:
    answer = client.get(f"{ROOT}/{name}{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def order(client: Client, method: str, path: str, body: object = None, name: str = "follow") -> Any:
    answer = client.request(method, f"{ROOT}/{name}{path}", json=body)
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


def serving(client: Client) -> str:
    (node,) = [node["name"] for node in get(client)["nodes"] if node["serves"]]
    return str(node)


def events(client: Client, kind: str) -> list[str]:
    return [event["detail"] for event in get(client, "/events") if event["kind"] == kind]


@contextmanager
def following(given: Settings, **more: Any) -> Iterator[Client]:
    with running(given, **more) as client:
        until(lambda: get(client)["last_decision"])
        yield client


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with following(with_migration(tmp_path)) as client:
        yield client


def test_the_service_follows_and_all_of_it_is_told(client: Client) -> None:
    until(lambda: len(get(client)["migrations"]) >= 2)
    seen = get(client)
    assert seen["driver"] == {"kind": "simulated", "reason": "asked for by the scenario"}
    assert seen["client"] is None
    later, earlier = seen["migrations"][:2]
    assert later["source"] == earlier["target"]
    assert (later["status"], later["by"], later["frozen_ms"]) == ("done", "policy", 300.0)
    x, y = seen["drive"]["user_m"]
    assert 0 <= x <= 2000
    assert y == 0
    assert 75 < seen["drive"]["speed_kmh"] < 110
    until(lambda: len(get(client, "/decisions?changed_only=true")) >= 2)
    decision = get(client, "/decisions?changed_only=true")[0]
    assert decision["wanted"] == decision["allowed"] != decision["node"]
    assert decision["reason"]
    assert min(decision["rtt_ms"]) == decision["rtt_ms"][["edge-1", "edge-2", "edge-3"].index(decision["wanted"])]
    series = get(client, "/series?seconds=60")
    assert {len(column) for column in (series["t"], series["node"], series["reward"])} == {len(series["t"])}
    assert list(series["rtt_ms"]) == list(series["load"]) == ["edge-1", "edge-2", "edge-3"]
    until(lambda: events(client, "migrated"))
    text = client.get("/metrics").text
    for metric in ("loop_jitter_p99_seconds", "migration_round_trip_seconds", "migration_frozen_seconds"):
        assert f'edgewright_{metric}{{loop="follow"}}' in text
    assert client.get("/healthz").json() == {"status": "ok", "reasons": []}


def test_drives_follow_each_other_and_the_next_can_be_had(client: Client) -> None:
    number = get(client)["drive"]["number"]
    assert order(client, "PUT", "/drive", {"again": True})["number"] == number + 1
    until(lambda: get(client)["drive"]["number"] > number + 1)
    until(lambda: events(client, "drive_ended"))


def test_shadow_records_and_users_move_it(client: Client) -> None:
    order(client, "PATCH", "", {"mode": "shadow"})
    until(lambda: get(client)["under_way"] is None)
    before = serving(client)
    until(lambda: get(client)["last_decision"]["mode"] == "shadow" and get(client)["last_decision"]["wanted"] != before)
    assert serving(client) == before
    assert not get(client)["last_decision"]["changed"]
    order(client, "PATCH", "", {"mode": "paused"})
    target = next(node["name"] for node in get(client)["nodes"] if not node["serves"])
    order(client, "POST", "/migrate", {"target": target})
    until(lambda: serving(client) == target)
    assert get(client)["migrations"][0]["by"] == "user"
    for body, status in (({"target": target}, 400), ({"target": "edge-9"}, 400), ({}, 400)):
        assert client.post(f"{ROOT}/follow/migrate", json=body).status_code == status


def test_what_is_wrong_is_refused_and_changes_nothing(client: Client) -> None:
    for method, path, body in (
        ("PATCH", "", {"policy": "best"}),
        ("PATCH", "", {"mode": "on"}),
        ("PATCH", "", {}),
        ("PUT", "/drive", {"pace": 0.01}),
        ("PUT", "/drive", {}),
    ):
        assert client.request(method, f"{ROOT}/follow{path}", json=body).status_code == 400, (path, body)
    seen = get(client)
    assert (seen["policy"], seen["mode"], seen["drive"]["pace"]) == ("nearest", "act", 20)
    bad = scenario("other", scenario={"format": "edgewright.migration/1", "name": "x", "nodes": [], "road_m": [[0, 0]]})
    answer = client.post(ROOT, json=bad)
    assert answer.status_code == 400
    assert answer.json()["field"].startswith("scenario.")
    assert client.post(ROOT, json=scenario()).status_code == 400  # the name is taken
    assert client.patch(f"{ROOT}/nobody", json={"mode": "act"}).status_code == 404
    client.headers.pop("Authorization")
    assert client.patch(f"{ROOT}/follow", json={"mode": "paused"}).status_code == 401


def test_a_loop_that_cannot_be_made_leaves_its_name_free(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgewright.migration.loads.PACKAGE", "no_such_package")
    place = yaml.safe_load((SHIPPED / "highway.yaml").read_text())
    absent = scenario("other", scenario=place | {"load": {"kind": "published", "trace": "google-2019"}})
    for _ in range(2):
        refused = client.post(ROOT, json=absent)
        assert (refused.status_code, refused.json()["field"]) == (400, "load.trace")
    files = scenario("other", scenario=place | {"load": {"kind": "trace", "file": "/etc/passwd"}})
    assert client.post(ROOT, json=files).json()["field"] == "scenario.load.kind"
    assert client.post(ROOT, json=scenario("other")).status_code == 201


def test_a_policy_is_a_file_that_is_found_again(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in shipped("dqn").parent.glob("dqn.*"):
        (tmp_path / f"mine{file.suffix}").write_bytes(file.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert order(client, "PATCH", "", {"policy": "mine.npz"})["policy"] == str(tmp_path / "mine.npz")
    assert client.patch(f"{ROOT}/follow", json={"policy": "x" * 300 + ".npz"}).status_code == 400


def test_a_policy_that_is_gone_at_the_restart_pauses(tmp_path: Path) -> None:
    for file in shipped("dqn").parent.glob("dqn.*"):
        (tmp_path / f"mine{file.suffix}").write_bytes(file.read_bytes())
    given = with_migration(tmp_path)
    with following(given) as client:
        key = client.made.first_key
        order(client, "PATCH", "", {"policy": str(tmp_path / "mine.npz")})
    (tmp_path / "mine.npz").unlink()
    with running(given, key=key) as client:
        until(lambda: get(client)["phase"] == "running")
        assert (get(client)["mode"], get(client)["policy"]) == ("paused", "nearest")
        until(lambda: events(client, "policy_failed"))


def test_a_migration_that_fails_leaves_the_source_and_is_told(client: Client) -> None:
    class Broken(SimulatedSite):
        def migrate(self, target: int, on_phase: Any = None) -> Moved:
            names = self._scenario.names
            source = names[self._node]
            return Moved(
                Migration("counter", source, names[target], "rolled_back", "no room", 0.0, 0.1, 0.0, 0, {}), None
            )

    assert client.made.runtime is not None
    client.made.runtime.migrations.make = lambda _, scenario, node, step_s: Broken(
        scenario.scenario, node, step_s=step_s
    )
    assert client.post(ROOT, json=scenario("broken")).status_code == 201
    until(lambda: get(client, name="broken")["migrations"])
    seen = get(client, name="broken")
    assert seen["migrations"][0]["status"] == "rolled_back"
    (node,) = [node["name"] for node in seen["nodes"] if node["serves"]]
    assert node == seen["migrations"][0]["source"]
    assert any("rolled back, no room" in warning for warning in seen["warnings"])
    until(lambda: any(event["kind"] == "migration_undone" for event in get(client, "/events", "broken")))
    assert client.get("/healthz").json()["status"] == "degraded"
    assert client.delete(f"{ROOT}/broken").status_code == 204
    assert get(client, "/events", "broken")  # stay until they are old


def test_a_restart_restores_orders_and_the_node(tmp_path: Path) -> None:
    given = with_migration(tmp_path)
    with following(given) as client:
        key = client.made.first_key
        order(client, "PATCH", "", {"mode": "paused", "policy": "hysteresis"})
        order(client, "PUT", "/drive", {"pace": 10})
        until(lambda: get(client)["under_way"] is None)
        target = next(node["name"] for node in get(client)["nodes"] if not node["serves"])
        order(client, "POST", "/migrate", {"target": target})
        until(lambda: serving(client) == target)
    with running(given, key=key) as client:
        until(lambda: get(client)["phase"] == "running")
        seen = get(client)
        assert (seen["mode"], seen["policy"], seen["drive"]["pace"]) == ("paused", "hysteresis", 10)
        assert serving(client) == target


# On this host

SHORT = {
    "format": "edgewright.migration/1",
    "name": "short",
    "nodes": [{"name": "a", "at_m": [0, 50]}, {"name": "b", "at_m": [150, 50]}],
    "road_m": [[0, 0], [150, 0]],
    "rtt": {"kind": "distance", "base_ms": 1.0, "per_km_ms": 100.0, "noise_ms": 0.0},
}


@pytest.mark.real
def test_a_real_service_follows_and_outlives_a_kill(tmp_path: Path, require: Callable[..., None]) -> None:
    with contextlib.suppress(CriuMissing):  # the capability says why
        obtain()
    require("criu")
    given = with_migration(tmp_path, scenario(scenario=SHORT, driver="linux", pace=2))
    environment = {"EDGEWRIGHT_DRIVER": "simulated", "EDGEWRIGHT_MIGRATION": str(given.migration)}

    def seen(process: Up) -> Json:
        answer = process.get(f"{ROOT}/follow")
        return dict(answer.json()) if answer.is_success else {"migrations": [], "phase": ""}

    def taken_over(process: Up) -> list[str]:
        told = process.get(f"{ROOT}/follow/events").json()
        return [event["detail"] for event in told if event["kind"] == "taken_over"]

    def migrates(process: Up, times: int) -> None:
        until(lambda: len(seen(process)["migrations"]) >= times)
        told = seen(process)
        assert [move["status"] for move in told["migrations"]] == ["done"] * len(told["migrations"])
        assert all(0 < move["client_gap_ms"] < 5000 for move in told["migrations"])
        assert (told["client"]["connections_lost"], told["client"]["answers_lost"]) == (0, 0)
        assert told["client"]["answers"] > 100

    def own(process: Up) -> list[Path]:
        ours = f"edgewright-{process.process.pid}-*"
        return [*FOLDER.glob(ours), *FOLDERS.glob(ours)]

    with up(given, **environment) as first:
        key = first.key
        migrates(first, 2)
        left = own(first)
        assert left
        first.end(signal.SIGKILL)
    with up(given, key, **environment) as second:
        until(lambda: seen(second)["phase"] == "running")
        until(lambda: taken_over(second))
        assert "the service ran on at" in taken_over(second)[0]
        assert all(entry.exists() for entry in left)
        assert not own(second)
        migrates(second, 1)
        second.end(signal.SIGKILL)
    assert all(entry.exists() for entry in left)
    other = with_migration(tmp_path / "other", scenario(scenario=SHORT, driver="linux"))
    with up(other, **environment | {"EDGEWRIGHT_MIGRATION": str(other.migration)}) as third:  # another's store
        until(lambda: seen(third)["phase"] == "running")
        assert not any(entry.exists() for entry in left)
        assert own(third)
        assert third.end(signal.SIGTERM) == 0
    assert not own(third)
