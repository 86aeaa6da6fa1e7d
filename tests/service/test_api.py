"""The orchestrator's own API over HTTP, on simulated slices in real time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from edgewright.drivers.host import HostError
from edgewright.service.api.health import _Collector
from edgewright.service.loops.choice import make_slice
from edgewright.service.loops.orders import keep_loop
from edgewright.service.loops.slices import RunningSlice

from .conftest import PREFIX, Client, running, scenario, settings, until, write_scenario

LOOP = f"{PREFIX}/loops/demo"


def test_loop_shows_services_slice_and_decision(shared: Client) -> None:
    until(lambda: shared.loop()["services"][0]["rate_hz"])
    loop = shared.loop()
    assert [s["name"] for s in loop["services"]] == ["a", "b"]
    assert all(s["alive"] and s["limit_cpu"] > 0 for s in loop["services"])
    assert loop["slice"]["cpu_left"] == pytest.approx(1.0 - sum(s["limit_cpu"] for s in loop["services"]))
    assert loop["driver"] == {"kind": "simulated", "reason": "asked for by EDGEWRIGHT_DRIVER=simulated"}
    decision = loop["last_decision"]
    assert set(decision["observation"]) == set(decision["allowed"]) == set(decision["reasons"]) == {"a", "b"}
    assert loop["loop_stats"]["period_s"] == 0.2


def test_loops_host_policies(shared: Client) -> None:
    assert [loop["name"] for loop in shared.get(f"{PREFIX}/loops").json()] == ["demo"]
    host = shared.get(f"{PREFIX}/host").json()
    assert host["left"]["cpu"] == pytest.approx(host["capacity"]["cpu"] - 1.0)
    assert {c["name"] for c in host["capabilities"]} >= {"cgroup-cpu"}
    policies = {p["name"]: p for p in shared.get(f"{PREFIX}/policies").json()}
    assert policies["threshold"]["kind"] == "rule"
    assert policies["ppo"]["kind"] == "learned"


def test_series_has_a_value_per_time(shared: Client) -> None:
    until(lambda: len(shared.get(f"{LOOP}/series").json()["t"]) >= 3)
    series = shared.get(f"{LOOP}/series?seconds=60").json()
    count = len(series["t"])
    assert series["t"] == sorted(series["t"])
    for columns in [*series["services"].values(), series["slice"]]:
        assert all(len(column) == count for column in columns.values())
    assert len(shared.get(f"{LOOP}/series?seconds=1").json()["t"]) <= 6


def test_decisions_page_backwards(shared: Client) -> None:
    until(lambda: len(shared.get(f"{LOOP}/decisions?limit=4").json()) == 4)
    first = shared.get(f"{LOOP}/decisions?limit=2").json()
    then = shared.get(f"{LOOP}/decisions", params={"limit": 2, "before": first[-1]["seq"]}).json()
    assert [d["seq"] for d in first + then] == list(range(first[0]["seq"], first[0]["seq"] - 4, -1))
    changed = f"{LOOP}/decisions?changed_only=true"
    until(lambda: shared.get(changed).json())
    assert all(d["changed"] for d in shared.get(changed).json())


def test_openapi_describes_the_paths(shared: Client) -> None:
    paths = shared.get("/api/openapi.json").json()["paths"]
    assert f"{PREFIX}/loops/{{loop}}" in paths
    assert "/api/v1.0/compute_chunk/{compute_chunk_id}/cpus" in paths


def test_metrics_are_prometheus_text(shared: Client) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    families = {f.name: f for f in text_string_to_metric_families(shared.get("/metrics").text)}
    limits = {s.labels["service"]: s.value for s in families["edgewright_service_cpu_limit_cores"].samples}
    assert set(limits) == {"a", "b"}
    assert families["edgewright_decisions"].samples[0].value > 0
    assert "edgewright_loop_jitter_p99_seconds" in families


def test_metrics_while_a_loop_is_deleted(client: Client) -> None:
    assert client.made.runtime
    families = _Collector(client.made.runtime).collect()
    next(families)
    assert client.delete(LOOP).status_code == 204
    assert "edgewright_loop_overruns" in {family.name for family in families}


# Orders


def test_shadow_decides_and_changes_nothing(client: Client) -> None:
    assert client.patch(LOOP, json={"mode": "shadow", "policy": "hpa"}).status_code == 200
    before = {s["name"]: s["limit_cpu"] for s in client.loop()["services"]}
    client.put(f"{LOOP}/load", json={"a": 8.0, "b": 8.0})
    until(lambda: abs(sum(a["cpu"] for a in client.loop()["last_decision"]["allowed"].values()) - 0.6) > 0.05)
    assert {s["name"]: s["limit_cpu"] for s in client.loop()["services"]} == before
    assert client.loop()["last_decision"]["outcome"] == {"done": {}, "refused": {}}


def test_paused_observes_only(client: Client) -> None:
    client.patch(LOOP, json={"mode": "paused"})
    seq = client.loop()["last_decision"]["seq"]
    until(lambda: client.loop()["last_decision"]["seq"] > seq + 2)
    decision = client.loop()["last_decision"]
    assert decision["wanted"] == {}
    assert decision["observation"]["a"]["limit_cpu"] > 0


def test_pin_holds_until_unpinned(client: Client) -> None:
    assert client.put(f"{LOOP}/services/a/pin", json={"cpu": 0.7}).status_code == 200
    assert client.service("a")["limit_cpu"] == pytest.approx(0.7)  # at once
    seq = client.loop()["last_decision"]["seq"]
    until(lambda: client.loop()["last_decision"]["seq"] > seq + 3)
    loop = client.loop()
    assert loop["services"][0]["limit_cpu"] == pytest.approx(0.7)
    assert loop["slice"]["cpu_left"] >= -1e-6
    assert "pinned" in loop["last_decision"]["verdict"]["notes"]["a"]
    told = client.put(f"{LOOP}/services/b/pin", json={"cpu": 0.5})
    assert told.status_code == 400
    assert "at most 0.3" in told.json()["allowed"]
    assert client.delete(f"{LOOP}/services/a/pin").status_code == 204
    assert client.service("a")["pin"] is None


def test_rollback_brings_limits_back_and_pauses(client: Client) -> None:
    until(lambda: client.get(f"{LOOP}/decisions").json())
    wanted = client.get(f"{LOOP}/decisions?limit=1").json()[0]
    client.put(f"{LOOP}/services/a/pin", json={"cpu": 0.65})
    client.delete(f"{LOOP}/services/a/pin")
    answer = client.post(f"{LOOP}/rollback", json={"seq": wanted["seq"]})
    assert answer.status_code == 200
    assert answer.json()["mode"] == "paused"
    assert "paused" in answer.json()["message"]
    for service in client.loop()["services"]:
        assert service["limit_cpu"] == pytest.approx(wanted["limits"][service["name"]]["cpu"], abs=1e-3)
    until(lambda: any(d["by"] == "user" for d in client.get(f"{LOOP}/decisions?changed_only=true").json()))


def test_policy_that_does_not_fit_is_refused_and_the_old_one_goes_on(client: Client, tmp_path: Path) -> None:
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"PK\x03\x04 not a policy")
    answer = client.patch(LOOP, json={"policy": str(broken), "mode": "paused"})
    assert answer.status_code == 400
    loop = client.loop()
    assert (loop["policy"], loop["mode"]) == ("threshold", "act")
    assert client.patch(LOOP, json={"policy": "model"}).json()["policy"] == "model"
    until(lambda: client.events("policy"))


def test_load_factor_reaches_the_services(client: Client) -> None:
    assert client.put(f"{LOOP}/load", json={"a": 6.0}).json() == {"a": 6.0}
    until(lambda: (client.service("a")["rate_hz"] or 0) > 60)
    assert client.service("a")["load_factor"] == 6.0
    assert client.service("b")["rate_hz"] < 60


def test_second_loop_comes_and_goes(client: Client) -> None:
    other = scenario("other", ("c",))
    body = yaml.safe_dump(other)
    made = client.post(f"{PREFIX}/loops", content=body, headers={"Content-Type": "application/yaml"})
    assert made.status_code == 201, made.text
    assert made.headers["Location"] == f"{PREFIX}/loops/other"
    until(lambda: client.loop("other")["phase"] == "running")
    assert client.get(f"{PREFIX}/loops/other/scenario").json()["services"][0]["name"] == "c"
    assert client.delete(f"{PREFIX}/loops/other").status_code == 204
    assert client.get(f"{PREFIX}/loops/other").status_code == 404
    host = client.get(f"{PREFIX}/host").json()
    assert host["left"]["cpu"] == pytest.approx(host["capacity"]["cpu"] - 1.0)


def test_dead_service_is_told_and_started_again(client: Client) -> None:
    assert client.made.runtime
    client.made.runtime.loops["demo"].slice.host.machine.fail("a")
    until(lambda: client.events("service_died"))
    until(lambda: client.service("a")["alive"] and client.service("a")["restarts"] == 1)
    until(lambda: client.events("service_restarted"))
    assert client.post(f"{LOOP}/services/b/restart").status_code == 202
    until(lambda: client.service("b")["restarts"] == 1)


def test_orders_outlive_a_clean_restart(tmp_path: Path) -> None:
    given = settings(tmp_path)
    with running(given) as client:
        key = client.made.first_key
        client.put(f"{LOOP}/services/a/pin", json={"cpu": 0.45})
        client.patch(LOOP, json={"mode": "shadow", "policy": "hpa"})
        client.put(f"{LOOP}/load", json={"b": 2.0})
        until(lambda: client.service("a")["limit_cpu"] == pytest.approx(0.45))
        until(lambda: client.get(f"{LOOP}/series").json()["t"])
        began = client.get(f"{LOOP}/series").json()["t"][0]
        seq = client.loop()["last_decision"]["seq"]
    with running(given, key=key) as client:
        assert client.made.first_key is None
        loop = client.loop()
        assert (loop["mode"], loop["policy"]) == ("shadow", "hpa")
        assert loop["services"][0]["pin"] == pytest.approx(0.45)
        assert loop["services"][0]["limit_cpu"] == pytest.approx(0.45)
        assert loop["services"][1]["load_factor"] == 2.0
        assert loop["last_decision"]["seq"] > seq
        until(lambda: client.get(f"{LOOP}/series").json()["t"])
        assert client.get(f"{LOOP}/series").json()["t"][0] == began
        assert client.patch(LOOP, json={"mode": "act"}).status_code == 200  # the old key still opens


def test_loop_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    def make(*given: Any) -> RunningSlice:
        if given[2].name == "other":
            raise HostError("c", "no such program")
        return make_slice(*given)

    with running(settings(tmp_path), make=make) as client:
        before = client.get(f"{PREFIX}/host").json()["left"]
        for _ in range(2):  # the name stays free
            answer = client.post(f"{PREFIX}/loops", json=scenario("other", ("c",)))
            assert answer.status_code == 502
            assert "no such program" in answer.json()["message"]
        assert client.get(f"{PREFIX}/host").json()["left"] == before
        assert [chunk["loop"] for chunk in client.get("/api/v1.0/compute_chunk").json()] == ["demo"]


def test_policy_file_gone_at_the_next_start(tmp_path: Path) -> None:
    """The services come up all the same, under the limits they had, and it says why."""
    given = settings(tmp_path)
    with running(given) as client:
        key = client.made.first_key
        client.put(f"{LOOP}/services/a/pin", json={"cpu": 0.6})
        client.delete(f"{LOOP}/services/a/pin")
        client.patch(LOOP, json={"mode": "paused"})
        limits = {s["name"]: s["limit_cpu"] for s in client.loop()["services"]}
        assert client.made.runtime
        keep_loop(client.made.runtime.store, "demo", policy="/gone/policy.npz", mode="act")
    with running(given, key=key) as client:
        loop = client.loop()
        assert (loop["mode"], loop["policy"]) == ("paused", "fixed")
        assert {s["name"]: s["limit_cpu"] for s in loop["services"]} == limits
        until(lambda: client.events("policy_failed"))
        assert "/gone/policy.npz" in client.events("policy_failed")[0]["detail"]


def test_stored_loop_that_no_longer_fits_does_not_stop_the_others(tmp_path: Path) -> None:
    given = settings(tmp_path)
    with running(given) as client:
        key = client.made.first_key
        assert client.post(f"{PREFIX}/loops", json=scenario("other", ("c",))).status_code == 201
        assert client.made.runtime
        keep_loop(client.made.runtime.store, "other", scenario={"format": "edgewright.scaling/0"})
    with running(given, key=key) as client:
        assert client.loop()["phase"] == "running"
        health = client.get("/healthz").json()
        assert health["status"] == "degraded"
        assert "other" in health["reasons"][0]
        assert client.delete(f"{PREFIX}/loops/other").status_code == 204
        assert client.get("/healthz").json()["status"] == "ok"


def test_edited_scenario_is_taken_over(tmp_path: Path) -> None:
    given = settings(tmp_path)
    with running(given) as client:
        key = client.made.first_key
        client.put(f"{LOOP}/services/a/pin", json={"cpu": 0.6})
    write_scenario(tmp_path, scenario(services=("a", "c"), slice={"cpu": 1.2, "memory_mb": 1000.0}))
    with running(given, key=key) as client:
        loop = client.loop()
        assert [s["name"] for s in loop["services"]] == ["a", "c"]
        assert loop["slice"]["cpu"] == 1.2
        assert loop["services"][0]["pin"] == 0.6
        until(lambda: client.events("scenario"))
        assert client.get("/api/v1.0/compute_chunk").json()[0]["requirements"]["cpus"]["required"] == 1.2


def test_page_alone_serves_no_api(tmp_path: Path) -> None:
    with running(settings(tmp_path, role="ui", api_url="http://127.0.0.1:1")) as client:
        assert client.get("/", headers={"Host": "evil.example"}).status_code == 400
        assert client.get("/").status_code == 200
        assert client.get(f"{PREFIX}/loops").status_code == 404
        assert not (tmp_path / "data" / "edgewright.sqlite").exists()
