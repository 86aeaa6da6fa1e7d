"""Orders, patches and the Slice Manager at the same service: nothing gets stuck, nothing is lost between the doors."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgewright.service.fulfilment import loops
from edgewright.service.fulfilment import steps as work
from edgewright.service.refusals import Conflict
from edgewright.service.settings import Settings
from edgewright.service.slices import compute, instances
from edgewright.service.store import StoreError

from .conftest import Client, running, until
from .ordering import (
    CATALOGUE,
    INVENTORY,
    MANAGER,
    ORDERING,
    OWN,
    Json,
    characteristics,
    chunk_of,
    ended,
    instance_of,
    item,
    nothing_of,
    onboarded,
    ordered,
    package,
    post_order,
    service_now,
)
from .ordering import running as run_service
from .tmf import check_error, events


def failing(name: str, flag: Path) -> Json:
    """A package whose process ends while it starts, once the file is there."""
    code = f"import os, time\nwhile not os.path.exists({str(flag)!r}): time.sleep(0.05)\nraise SystemExit('no')"
    run = {"command": ["python", "-I", "-S", "-c", code], "start_timeout_s": 120.0}
    return package(name, run=run, cpu={"min": 0.05, "max": 64.0, "initial": 0.05})


def at_deployment(client: Client, order: str) -> bool:
    found = client.get(f"{OWN}/orders/{order}/steps").json()
    return any(step["name"].endswith("deployment") and step["state"] == "running" for step in found)


@pytest.mark.parametrize("action", ["add", "modify", "delete"])
def test_items_begin_as_the_server_says(host: Client, action: str) -> None:
    done = item(action, {"id": "nope", "serviceSpecification": {"id": "nope"}}) | {"state": "completed"}
    assert ended(host, post_order(host, done))["state"] == "rejected"


@pytest.mark.parametrize(
    ("items", "field"),
    [
        ([item("add", {}), item("add", {})], "serviceOrderItem.1.id"),
        ([item("add", {}, "x" * 61)], "serviceOrderItem.0.id"),
        ([item("modify", {"id": "a"}), item("delete", {"id": "a"}, "2")], "serviceOrderItem.1.service.id"),
    ],
)
def test_items_that_cannot_be_told_apart(host: Client, items: list[Json], field: str) -> None:
    check_error(host.post(f"{ORDERING}/serviceOrder", json={"serviceOrderItem": items}), 400, field)
    assert host.get(f"{ORDERING}/serviceOrder").json() == []


def test_items_are_judged_together(host: Client) -> None:
    most = round(0.6 * host.get(f"{OWN}/host").json()["capacity"]["cpu"], 3)
    specification = onboarded(host, package(cpu={"min": 0.05, "max": 64.0, "initial": most}))
    both = [item("add", {"serviceSpecification": specification}, str(n)) for n in range(2)]
    order = ended(host, post_order(host, *both))
    assert order["state"] == "rejected"
    assert f"{most:g} of cpu wanted" in order["errorMessage"][0]["message"]


def test_what_ended_meanwhile_is_not_changed_back(host: Client, tmp_path: Path) -> None:
    id = run_service(host, onboarded(host, package()))
    broken = item("add", {"serviceSpecification": onboarded(host, failing("broken", tmp_path / "now"))}, "2")
    order = post_order(host, item("modify", {"id": id, "serviceCharacteristic": characteristics(cpu=0.3)}), broken)
    until(lambda: at_deployment(host, order))
    assert host.patch(f"{INVENTORY}/service/{id}", json={"state": "terminated"}).status_code == 200
    (tmp_path / "now").touch()
    assert ended(host, order)["state"] == "failed"
    assert service_now(host, id) == {"state": "terminated", "cpu": 0.3, "memory": 64.0, "replicas": 1}
    nothing_of(host)


def test_what_was_given_away_and_taken_by_others_is_not_got_back(host: Client, tmp_path: Path) -> None:
    capacity = host.get(f"{OWN}/host").json()["capacity"]["cpu"]
    wide = {"min": 0.05, "max": 64.0, "initial": 0.1}
    specification = onboarded(host, package(cpu=wide))
    id = run_service(host, specification, cpu=capacity - 0.3)
    broken = item("add", {"serviceSpecification": onboarded(host, failing("broken", tmp_path / "now"))}, "2")
    order = post_order(host, item("modify", {"id": id, "serviceCharacteristic": characteristics(cpu=0.1)}), broken)
    until(lambda: at_deployment(host, order))
    other = run_service(host, specification, "other", cpu=capacity - 0.4)
    (tmp_path / "now").touch()
    partial = ended(host, order)
    assert (partial["state"], {each["id"]: each["state"] for each in partial["serviceOrderItem"]}) == (
        "partial",
        {"1": "completed", "2": "failed"},
    )
    assert (service_now(host, id)["cpu"], service_now(host, other)["cpu"]) == (0.1, capacity - 0.4)
    ordered(host, item("delete", {"id": id}), item("delete", {"id": other}, "2"))
    nothing_of(host)


def test_what_is_being_set_up_is_left_alone(host: Client, tmp_path: Path) -> None:
    order = post_order(
        host, item("add", {"serviceSpecification": onboarded(host, failing("broken", tmp_path / "now"))})
    )
    until(lambda: host.get(f"{INVENTORY}/service").json())
    path = host.get(f"{INVENTORY}/service").json()[0]["href"]
    check_error(host.delete(path), 409, "runs here")
    check_error(host.patch(path, json={"state": "active"}), 409, "being set up")
    (tmp_path / "now").touch()
    assert ended(host, order)["state"] == "failed"
    assert host.get(f"{INVENTORY}/service").json() == []


def test_one_that_others_run_cannot_be_recorded_as_ours(host: Client) -> None:
    body = {"state": "active", "serviceSpecification": {"id": "s"}}
    made = host.post(f"{INVENTORY}/service", json=body).json()
    for name in ("instance", "slice"):
        ours: Json = {"serviceCharacteristic": [{"name": name, "value": "x"}]}
        check_error(host.post(f"{INVENTORY}/service", json=body | ours), 409, name)
        check_error(host.patch(made["href"], json=ours), 409, name)
    assert host.delete(made["href"]).status_code == 204


def test_the_slice_manager_changes_the_service_with_its_instance(host: Client) -> None:
    id = run_service(host, onboarded(host, package()))
    path = f"{MANAGER}/network_service_instance/{service_now(host, id)['instance']}"
    scaled = host.post(f"{path}/scale", json={"replicas": 2})
    assert (scaled.status_code, scaled.json()["replicas"], len(scaled.json()["replica_states"])) == (200, 2, 2)
    assert (service_now(host, id)["replicas"], service_now(host, id)["cpu"]) == (2, 0.2)
    refused = host.post(f"{path}/scale", json={"replicas": 9})
    assert (refused.status_code, refused.json()["field"]) == (400, "replicas")
    assert host.delete(path).status_code == 409
    assert service_now(host, id)["state"] == "active"


def test_a_service_outlives_its_place_in_the_catalogue(host: Client) -> None:
    specification = onboarded(host, package())
    id = run_service(host, specification)
    path = f"{CATALOGUE}/serviceSpecification/{specification['id']}"
    check_error(host.delete(path), 409, "quick")
    assert host.patch(path, json={"attachment": None}).status_code == 200
    ordered(host, item("modify", {"id": id, "serviceCharacteristic": characteristics(cpu=0.3)}))
    assert service_now(host, id)["cpu"] == 0.3


def test_the_package_that_was_ordered_runs(host: Client, tmp_path: Path) -> None:
    specification = onboarded(host, package())
    onboarded(host, failing("other", tmp_path))
    name = host.get(f"{OWN}/packages").json()[0]["id"]
    misleading = {"name": name, "package": host.get(f"{OWN}/packages").json()[1]["id"]}
    assert {name, misleading["package"]} == {"quick:1.0", "other:1.0"}
    if name != "quick:1.0":
        misleading = {"name": "quick:1.0", "package": name}
    assert host.post(f"{MANAGER}/network_service", json=misleading).status_code == 200
    run_service(host, specification)


def test_one_that_is_not_active_can_be_terminated(host: Client) -> None:
    id = run_service(host, onboarded(host, package()))
    assert host.patch(f"{INVENTORY}/service/{id}", json={"state": "inactive"}).status_code == 200
    ordered(host, item("delete", {"id": id}))
    told = [body["service"]["state"] for type_, body in events(host, id) if type_ == "ServiceStateChangeEvent"]
    assert told == ["active", "inactive", "active", "terminated"]  # the standard ends only what is active
    nothing_of(host)


@pytest.mark.parametrize("cut", ["begun", "half", "not told"])
def test_a_termination_outlives_a_crash(bare: Settings, monkeypatch: pytest.MonkeyPatch, cut: str) -> None:
    with running(bare) as client:
        key, id = client.made.first_key, run_service(client, onboarded(client, package()))
        runtime = client.made.runtime
        assert runtime is not None
        if cut == "begun":
            instances.doom(runtime, service_now(client, id)["instance"])
        else:
            if cut == "half":
                monkeypatch.setattr(work.slices, "deactivate", broken(KeyError))
            with pytest.raises(KeyError) if cut == "half" else contextlib.nullcontext():
                work.take_down(runtime, id)
            monkeypatch.undo()
        assert service_now(client, id)["state"] == "active"
    with running(bare, key=key) as client:
        assert service_now(client, id)["state"] == "terminated"
        nothing_of(client)


def broken(error: type[Exception]) -> Callable[..., Any]:
    def fails(*_: Any, **__: Any) -> None:
        raise error("not now")

    return fails


def test_a_chunk_that_cannot_shrink_now_does_so_later(host: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    id = run_service(host, onboarded(host, package()), cpu=0.4)
    path = f"{INVENTORY}/service/{id}"
    monkeypatch.setattr(compute, "resize", broken(StoreError))
    assert host.patch(path, json={"serviceCharacteristic": characteristics(cpu=0.2)}).status_code == 200
    assert (service_now(host, id)["cpu"], instance_of(host, id)["cpus"], chunk_of(host, id)["cpus"]) == (0.2, 0.2, 0.4)
    assert "not now" in host.get("/healthz").text
    monkeypatch.undo()
    until(lambda: chunk_of(host, id)["cpus"] == pytest.approx(0.2))
    until(lambda: "not now" not in host.get("/healthz").text)


def test_a_chunk_keeps_what_a_change_under_way_needs(host: Client) -> None:
    id = run_service(host, onboarded(host, package()))
    runtime, record = host.made.runtime, instance_of(host, id)
    assert runtime is not None
    instance = runtime.slices.running[record["id"]]
    assert compute.needed(runtime, record["compute_chunk_id"]) == (pytest.approx(0.2), 64.0)
    instance.needs = record | {"replicas": 3}
    assert compute.needed(runtime, record["compute_chunk_id"]) == (pytest.approx(0.6), 192.0)
    instance.needs = None


def test_a_loop_does_not_wait_for_a_change_under_way(host: Client) -> None:
    id = run_service(host, onboarded(host, package()))
    runtime = host.made.runtime
    assert runtime is not None
    with runtime.slices.running[service_now(host, id)["instance"]].lock:
        answers: list[object] = []

        def scale() -> None:
            try:
                runtime.fulfilment.scale(id, {"cpu": 0.3})
            except Exception as error:
                answers.append(error)

        thread = threading.Thread(target=scale)
        thread.start()
        thread.join(10.0)
        assert not thread.is_alive()
    assert [type(each) for each in answers] == [Conflict]
    assert service_now(host, id)["cpu"] == 0.2


def test_a_service_with_guests_in_its_slice_is_not_half_ended(host: Client) -> None:
    id = run_service(host, onboarded(host, package()))
    mine = instance_of(host, id)
    guest = {name: mine[name] for name in ("network_service_id", "slic3_id")} | {"name": "guest", "elastic": True}
    made = host.post(f"{MANAGER}/network_service_instance", json=guest)
    assert made.status_code == 200, made.text
    assert chunk_of(host, id)["cpus"] == pytest.approx(0.4)
    check_error(host.patch(f"{INVENTORY}/service/{id}", json={"state": "terminated"}), 409, "guest")
    assert (service_now(host, id)["state"], instance_of(host, id)["status"]) == ("active", "ready")
    assert [loop["mode"] for loop in host.get(f"{OWN}/loops").json()] == ["paused"]
    with pytest.MonkeyPatch.context() as patch:  # the chunk cannot shrink with it, and does so a moment later
        patch.setattr(compute, "resize", broken(StoreError))
        assert host.delete(f"{MANAGER}/network_service_instance/{made.json()['id']}").status_code == 204
        assert chunk_of(host, id)["cpus"] == pytest.approx(0.4)
    until(lambda: chunk_of(host, id)["cpus"] == pytest.approx(0.2))
    assert host.patch(f"{INVENTORY}/service/{id}", json={"state": "terminated"}).status_code == 200
    nothing_of(host)


def test_what_others_changed_since_is_not_changed_back(host: Client, tmp_path: Path) -> None:
    id = run_service(host, onboarded(host, package()))
    steps = item("modify", {"id": id, "serviceCharacteristic": characteristics(cpu=0.3, memory=96)})
    broken = item("add", {"serviceSpecification": onboarded(host, failing("broken", tmp_path / "now"))}, "2")
    order = post_order(host, steps, broken)
    until(lambda: at_deployment(host, order))
    patch = {"serviceCharacteristic": characteristics(cpu=0.5)}
    assert host.patch(f"{INVENTORY}/service/{id}", json=patch).status_code == 200
    (tmp_path / "now").touch()
    assert ended(host, order)["state"] == "failed"
    assert (service_now(host, id)["cpu"], service_now(host, id)["memory"]) == (0.5, 64.0)


def test_a_loop_that_ended_while_it_rested_does_not_come_back(host: Client) -> None:
    id = run_service(host, onboarded(host, package(policy="threshold")))
    runtime = host.made.runtime
    assert runtime is not None
    name = service_now(host, id)["loop"]
    with loops.resting(runtime, id):
        assert name not in runtime.loops
        loops.end(runtime, id)
    assert (name in runtime.loops, name in runtime.broken) == (False, False)


def test_the_inventory_follows_an_address_that_changed(bare: Settings) -> None:
    with running(bare) as client:
        key, id = client.made.first_key, run_service(client, onboarded(client, package()))
        port = int(service_now(client, id)["address"].rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)), running(bare, key=key) as client:
        now = service_now(client, id)
        assert now["address"] != f"http://127.0.0.1:{port}"
        assert now["address"] == instance_of(client, id)["address"]
        assert httpx.get(f"{now['address']}/", trust_env=False).status_code == 200
