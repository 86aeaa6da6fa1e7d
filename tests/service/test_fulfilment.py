"""Orders of the service ordering API, with real processes in real chunks of this host."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgewright.service.settings import Settings
from edgewright.service.tmf import catalogue, inventory, ordering

from .conftest import Client, running, settings, until
from .ordering import (
    INVENTORY,
    MANAGER,
    ORDERING,
    OWN,
    QUICK,
    Json,
    characteristics,
    chunk_of,
    ended,
    instance_of,
    item,
    loaded,
    nothing_of,
    onboarded,
    order_now,
    ordered,
    package,
    post_order,
    service_now,
    steps,
)
from .ordering import running as run_service


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_a_service_is_ordered_changed_and_terminated(host: Client) -> None:
    specification = onboarded(host, package())
    order = ordered(host, item("add", {"name": "a", "serviceSpecification": specification}))
    assert {state for _, state in steps(host, order["id"])} == {"done"}
    assert [each["state"] for each in order["serviceOrderItem"]] == ["completed"]
    id = order["serviceOrderItem"][0]["service"]["id"]
    now = service_now(host, id)
    assert (now["state"], now["cpu"], now["replicas"]) == ("active", 0.2, 1)
    answer = httpx.get(f"{now['address']}/", trust_env=False)
    replicas = instance_of(host, id)["replica_states"]
    assert [answer.text] == [str(replica["pid"]) for replica in replicas]
    assert chunk_of(host, id)["cpus"] == pytest.approx(0.2)

    changed = item("modify", {"id": id, "serviceCharacteristic": characteristics(cpu=0.3, replicas=2)})
    ordered(host, changed)
    now = service_now(host, id)
    assert (now["cpu"], now["replicas"], now["memory"]) == (0.3, 2, 64.0)
    assert chunk_of(host, id) == {"cpus": pytest.approx(0.6), "ram": pytest.approx(128), "storage": 0}
    replicas = instance_of(host, id)["replica_states"]
    assert [replica["cpus"] for replica in replicas] == [pytest.approx(0.3)] * 2

    patched = host.patch(f"{INVENTORY}/service/{id}", json={"serviceCharacteristic": characteristics(cpu=0.15)})
    assert patched.status_code == 200, patched.text
    assert service_now(host, id) == now | {"cpu": 0.15}
    assert chunk_of(host, id)["cpus"] == pytest.approx(0.3)

    pids = [replica["pid"] for replica in instance_of(host, id)["replica_states"]]
    assert all(map(alive, pids))
    assert host.delete(f"{INVENTORY}/service/{id}").status_code == 409
    ordered(host, item("delete", {"id": id}))
    assert service_now(host, id)["state"] == "terminated"
    for api in (catalogue.API, ordering.API, inventory.API):
        for kind in api.kinds:
            for body in host.get(f"{api.base}/{kind.name}").json():
                kind.resource.model_validate(body)  # what we write is what the specification says
    assert not any(map(alive, pids))
    nothing_of(host)
    assert list((host.made.settings.data_dir / "services").glob("*-balancer.log*")) == []
    assert host.delete(f"{INVENTORY}/service/{id}").status_code == 204
    assert host.delete(f"{ORDERING}/serviceOrder/{order['id']}").status_code == 204
    assert host.get(f"{OWN}/orders/{order['id']}/steps").status_code == 404  # its workflow went with it


@pytest.mark.parametrize(
    ("service", "reason"),
    [
        ({}, "serviceSpecification"),
        ({"serviceSpecification": {"id": "none"}}, "none"),
        ({"serviceCharacteristic": characteristics(cpu=7)}, "0.05 .. 0.6"),
        ({"serviceCharacteristic": characteristics(replicas=1.5)}, "whole number"),
        ({"serviceCharacteristic": characteristics(colour=1)}, "colour"),
        ({"serviceCharacteristic": [{"name": "cpu", "value": "much"}]}, "much"),
    ],
)
def test_what_cannot_be_is_rejected_with_the_reason(host: Client, service: Json, reason: str) -> None:
    whole = {"serviceSpecification": onboarded(host, package())} | service if service else service
    order = ended(host, post_order(host, item("add", whole)))
    assert order["state"] == "rejected"
    assert reason in order["errorMessage"][0]["message"]
    assert {each["state"] for each in order["serviceOrderItem"]} == {"rejected"}
    nothing_of(host)


def test_a_slo_that_cannot_hold_is_rejected(host: Client) -> None:
    slow = package(rate_hz=300.0, behaviour={"cpu_ms": 20.0})
    order = ended(host, post_order(host, item("add", {"serviceSpecification": onboarded(host, slow)})))
    assert order["state"] == "rejected"
    assert "300 requests/s on 1 replicas" in order["errorMessage"][0]["message"]


def test_a_full_host_rejects_and_says_what_is_left(host: Client) -> None:
    specification = onboarded(host, package(cpu={"min": 0.1, "max": 64.0, "initial": 0.5}))
    run_service(host, specification)
    capacity = host.get(f"{MANAGER}/compute").json()[0]["capacity"]["cpu"]
    wanted = {"serviceSpecification": specification, "serviceCharacteristic": characteristics(cpu=capacity)}
    order = ended(host, post_order(host, item("add", wanted)))
    assert order["state"] == "rejected"
    assert f"{capacity - 0.5:g} left" in order["errorMessage"][0]["message"]


def test_what_fails_is_undone_whole(host: Client) -> None:
    broken = package(run={"command": ["python", "-c", "raise SystemExit('no')"], "start_timeout_s": 10.0})
    order = ended(host, post_order(host, item("add", {"serviceSpecification": onboarded(host, broken)})))
    assert order["state"] == "failed"
    assert "ended while starting" in order["errorMessage"][0]["message"]
    states = dict(steps(host, order["id"]))
    assert states["1: deployment"] == "failed"
    assert states["1: compute chunk"] == "undone"
    assert host.get(f"{INVENTORY}/service").json() == []
    nothing_of(host)


def test_an_order_under_way_is_cancelled_and_undone(host: Client) -> None:
    slow = onboarded(host, package(starts_s=4.0))
    id = post_order(host, item("add", {"serviceSpecification": slow}))
    until(lambda: ("1: deployment", "running") in steps(host, id))
    task = host.post(f"{ORDERING}/cancelServiceOrder", json={"serviceOrder": {"id": id}}).json()
    assert order_now(host, id)["state"] == "assessingCancellation"
    assert ended(host, id)["state"] == "cancelled"
    assert host.get(f"{ORDERING}/cancelServiceOrder/{task['id']}").json()["state"] == "done"
    nothing_of(host)
    late = host.post(f"{ORDERING}/cancelServiceOrder", json={"serviceOrder": {"id": id}}).json()
    assert late["state"] == "terminatedWithError"


def test_a_refused_change_leaves_all_as_it_was(host: Client) -> None:
    id = run_service(host, onboarded(host, package(cpu={"min": 0.05, "max": 64.0, "initial": 0.2})))
    before, chunk = service_now(host, id), chunk_of(host, id)
    for values, status in (({"cpu": 60}, 409), ({"replicas": 9}, 400), ({"cpu": -1}, 400), ({"memory": 1e9}, 400)):
        answer = host.patch(f"{INVENTORY}/service/{id}", json={"serviceCharacteristic": characteristics(**values)})
        assert answer.status_code == status, answer.text
        assert {"code", "reason", "message", "status"} <= answer.json().keys()
        assert (service_now(host, id), chunk_of(host, id)) == (before, chunk)
    assert host.patch(f"{INVENTORY}/service/{id}", json={"state": "designed"}).status_code == 409
    answer = host.put(f"{MANAGER}/compute_chunk/{_chunk_id(host, id)}/cpus", json=0.1)
    assert answer.status_code == 409
    assert chunk_of(host, id) == chunk


def test_services_run_again_after_a_restart(bare: Settings) -> None:
    with running(bare) as client:
        key = client.made.first_key
        id = run_service(client, onboarded(client, package()), replicas=2)
        before = service_now(client, id)
    with running(bare, key=key) as client:
        until(lambda: len([r for r in instance_of(client, id)["replica_states"] if r["alive"]]) == 2)
        assert service_now(client, id) == before
        assert httpx.get(f"{before['address']}/", trust_env=False).status_code == 200
        ordered(client, item("delete", {"id": id}))
        nothing_of(client)


def test_a_replica_that_dies_is_started_again(host: Client) -> None:
    id = run_service(host, onboarded(host, package()), replicas=2)
    pid = instance_of(host, id)["replica_states"][0]["pid"]
    with loaded(service_now(host, id)["address"], threads=2, pause_s=0.02) as load:
        os.kill(pid, 9)
        until(lambda: instance_of(host, id)["replica_states"][0].get("state") == "up" and not alive(pid))
        until(lambda: instance_of(host, id)["replica_states"][0]["pid"] not in (None, pid))
        until(lambda: load.answered > 20)
    assert load.failed == []


def test_replicas_come_and_go_without_a_failed_request(host: Client) -> None:
    id = run_service(host, onboarded(host, package(busy_s=0.002)))
    address = service_now(host, id)["address"]
    with loaded(address, threads=6) as load:
        for replicas in (3, 1, 2, 1):
            answer = host.patch(
                f"{INVENTORY}/service/{id}", json={"serviceCharacteristic": characteristics(replicas=replicas)}
            )
            assert answer.status_code == 200, answer.text
            assert len(instance_of(host, id)["replica_states"]) == replicas
        until(lambda: load.answered > 30)
    assert load.failed == []
    assert len(load.pids) == 4  # the first, two more, and one more


def test_an_order_moves_cpu_between_two_slices(host: Client) -> None:
    capacity = host.get(f"{OWN}/host").json()["capacity"]["cpu"]
    most = round(capacity / 2, 3)
    specification = onboarded(host, package(cpu={"min": 0.05, "max": 64.0, "initial": 0.2}))
    idle, starved = (run_service(host, specification, name, cpu=most) for name in ("idle", "starved"))
    alone = item("modify", {"id": starved, "serviceCharacteristic": characteristics(cpu=most + 0.2)})
    refused = ended(host, post_order(host, alone))
    assert refused["state"] == "rejected"
    assert (service_now(host, idle)["cpu"], service_now(host, starved)["cpu"]) == (most, most)
    less = item("modify", {"id": idle, "serviceCharacteristic": characteristics(cpu=most - 0.2)}, "2")
    ordered(host, alone, less)
    assert (service_now(host, idle)["cpu"], service_now(host, starved)["cpu"]) == (most - 0.2, most + 0.2)
    assert chunk_of(host, idle)["cpus"] == pytest.approx(most - 0.2)
    assert chunk_of(host, starved)["cpus"] == pytest.approx(most + 0.2)


def test_simulated_host_says_that_nothing_can_run(tmp_path: Path) -> None:
    with running(settings(tmp_path, scenario=None)) as client:
        order = ended(client, post_order(client, item("add", {"serviceSpecification": onboarded(client, package())})))
    assert order["state"] == "rejected"
    assert "simulated" in order["errorMessage"][0]["message"]


def _chunk_id(client: Client, id: str) -> Any:
    return next(chunk["id"] for chunk in client.get(f"{MANAGER}/compute_chunk").json() if chunk["name"] == id)


def test_a_state_of_terminated_ends_it_while_its_loop_acts(host: Client) -> None:
    id = run_service(host, onboarded(host, package(policy="threshold", busy_s=0.01)))
    loop = service_now(host, id)["loop"]
    with loaded(service_now(host, id)["address"], threads=2, pause_s=0.02):
        until(lambda: any(d["changed"] for d in host.get(f"{OWN}/loops/{loop}/decisions").json()))
    answer = host.patch(f"{INVENTORY}/service/{id}", json={"state": "terminated"})
    assert answer.status_code == 200, answer.text
    assert {each["name"] for each in answer.json()["serviceCharacteristic"]} == {"cpu", "memory", "replicas"}
    assert host.get(f"{OWN}/loops").json() == []
    nothing_of(host)


def test_a_service_is_made_inactive_and_active_again(bare: Settings) -> None:
    with running(bare) as client:
        key = client.made.first_key
        id = run_service(client, onboarded(client, package(policy="threshold")), replicas=2)
        path, before, chunk = f"{INVENTORY}/service/{id}", service_now(client, id), chunk_of(client, id)
        pids = [replica["pid"] for replica in instance_of(client, id)["replica_states"]]
        answer = client.patch(path, json={"state": "inactive"})
        assert (answer.status_code, answer.json()["isServiceEnabled"]) == (200, False), answer.text
        assert service_now(client, id) == before | {"state": "inactive"}
        assert not any(map(alive, pids))
        assert instance_of(client, id)["replica_states"] == []
        assert chunk_of(client, id) == chunk  # what it was promised stays its own
        assert client.get(f"{OWN}/loops").json() == []
        assert httpx.get(f"{before['address']}/", trust_env=False).status_code == 503
        for refused in ({"state": "terminated"}, {"state": "designed"}):
            assert client.patch(path, json=refused).status_code == 409
        order = ended(client, post_order(client, item("modify", {"id": id})))
        assert (order["state"], "is inactive" in order["errorMessage"][0]["message"]) == ("rejected", True)
        changed = {"serviceCharacteristic": characteristics(cpu=0.3)}
        assert client.patch(path, json=changed).status_code == 200
        assert chunk_of(client, id)["cpus"] == pytest.approx(0.6)
    with running(bare, key=key) as client:
        assert service_now(client, id) == before | {"state": "inactive", "cpu": 0.3}
        assert instance_of(client, id)["replica_states"] == []
        assert client.get(f"{OWN}/loops").json() == []
        answer = client.patch(path, json={"state": "active"})
        assert (answer.status_code, answer.json()["isServiceEnabled"]) == (200, True), answer.text
        assert [loop["name"] for loop in client.get(f"{OWN}/loops").json()] == [before["loop"]]
        replicas = instance_of(client, id)["replica_states"]
        assert [(replica["alive"], replica["cpus"]) for replica in replicas] == [(True, pytest.approx(0.3))] * 2
        assert httpx.get(f"{before['address']}/", trust_env=False).status_code == 200
        ordered(client, item("delete", {"id": id}))
        nothing_of(client)


def test_one_that_cannot_be_made_active_stays_inactive(host: Client, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    quick = package(policy="threshold")
    quick["run"]["command"][4] = f"import os, sys\nif os.path.exists({str(broken)!r}): sys.exit(3)\n{QUICK}"
    id = run_service(host, onboarded(host, quick))
    path = f"{INVENTORY}/service/{id}"
    assert host.patch(path, json={"state": "inactive"}).status_code == 200
    broken.touch()
    answer = host.patch(path, json={"state": "active"})
    assert (answer.status_code, "ended while starting" in answer.text) == (502, True), answer.text
    assert service_now(host, id)["state"] == "inactive"
    assert instance_of(host, id)["replica_states"] == []
    assert host.get(f"{OWN}/loops").json() == []
    broken.unlink()
    assert host.patch(path, json={"state": "active"}).status_code == 200
    assert [loop["mode"] for loop in host.get(f"{OWN}/loops").json()] == ["act"]
