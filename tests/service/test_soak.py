"""Nothing is lost when the orchestrator is killed at any moment; what the first such runs found, one by one."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgewright.core.documents import read
from edgewright.drivers.balancer.control import BalancerFile, write_file
from edgewright.drivers.linux.cgroups import Group, find_place, remove_place
from edgewright.drivers.linux.services import LinuxHost
from edgewright.service.loops.choice import choose, instance
from edgewright.service.settings import Settings

from .conftest import Client, running
from .ordering import (
    MANAGER,
    ORDERING,
    Json,
    characteristics,
    chunk_of,
    ended,
    item,
    nothing_of,
    onboarded,
    ordered,
    package,
    post_order,
    service_now,
)
from .ordering import running as run_service
from .soak import checks
from .soak.forks import forking
from .soak.host import Host
from .soak.life import Life
from .soak.run import Soak

pytestmark = pytest.mark.real
KILLS = 20
START_TIMEOUT_S = 60.0  # that `package` gives its replicas


@pytest.mark.timeout(900)
def test_nothing_is_lost(real: Settings, tmp_path: Path) -> None:
    soak = Soak(KILLS, 1, tmp_path / "soak", real.database_url)
    soak.run()
    report = soak.report()
    print(report)
    assert report["violations"] == []
    assert report["kills"] == KILLS
    assert report["acknowledged_writes"] > KILLS
    assert report["delivered"] > 0


@pytest.fixture
def host(real: Settings) -> Iterator[Client]:
    with running(real.model_copy(update={"scenario": None})) as client:
        yield client
        nothing_of(client)


@contextlib.contextmanager
def at_step(client: Client, name: str, act: Callable[[str], Any]) -> Iterator[None]:
    """`act(order)` is called when that step has begun, before it does anything."""
    assert client.made.runtime
    workflows = client.made.runtime.fulfilment.workflows

    def told(order: str, step: str, state: str) -> None:
        if (step, state) == (name, "running"):
            act(order)

    workflows.on_step = told
    try:
        yield
    finally:
        workflows.on_step = None


def cancellation(client: Client, order: str) -> Json:
    found: Json = client.post(f"{ORDERING}/cancelServiceOrder", json={"serviceOrder": {"id": order}}).json()
    return found


def test_an_order_cancelled_while_it_is_accepted_ends_as_cancelled(host: Client) -> None:
    tasks: list[Json] = []
    specification = onboarded(host, package())
    with at_step(host, "acceptance", lambda order: tasks.append(cancellation(host, order))):
        order = ended(host, post_order(host, item("add", {"serviceSpecification": specification})))
    assert order["state"] == "cancelled"
    task = host.get(f"{ORDERING}/cancelServiceOrder/{tasks[0]['id']}").json()
    assert task["state"] == "done"


def test_a_termination_that_began_is_not_broken_off(host: Client) -> None:
    tasks: list[Json] = []
    id_ = run_service(host, onboarded(host, package()))
    with at_step(host, "1: termination", lambda order: tasks.append(cancellation(host, order))):
        ordered(host, item("delete", {"id": id_}))
    assert service_now(host, id_)["state"] == "terminated"
    assert tasks[0]["state"] == "terminatedWithError"
    assert "termination" in tasks[0]["completionMessage"]


def test_an_order_keeps_what_others_change_meanwhile(host: Client) -> None:
    id_ = run_service(host, onboarded(host, package()))
    patch = {"serviceCharacteristic": characteristics(cpu=0.3)}
    answers: list[int] = []

    def change(_: str) -> None:
        answers.append(host.patch(f"/tmf-api/serviceInventory/v4/service/{id_}", json=patch).status_code)

    with at_step(host, "modifications", change):
        ordered(host, item("modify", {"id": id_, "serviceCharacteristic": characteristics(replicas=2)}))
    assert answers == [200]
    now = service_now(host, id_)
    assert (now["cpu"], now["replicas"]) == (0.3, 2)
    ordered(host, item("delete", {"id": id_}))


def test_a_chunk_that_grew_before_a_crash_is_as_large_as_its_service_needs(real: Settings) -> None:
    bare = real.model_copy(update={"scenario": None})
    with running(bare) as client:
        key = client.made.first_key
        id_ = run_service(client, onboarded(client, package()))
        chunk = next(each["id"] for each in client.get(f"{MANAGER}/compute_chunk").json() if each["name"] == id_)
        assert client.put(f"{MANAGER}/compute_chunk/{chunk}/cpus", json=0.5).status_code == 204
    with running(bare, key=key) as client:
        assert chunk_of(client, id_)["cpus"] == pytest.approx(0.2)
        ordered(client, item("delete", {"id": id_}))
        nothing_of(client)


def test_the_group_of_a_probe_that_was_killed_goes(real: Settings) -> None:
    place = find_place(f"edgewright-probe-{instance(real, 'probe')}")
    try:
        Group(place, "probe-1").create()
        assert choose(real).kind == "linux"
        assert not any(path.exists() for path in place.parents)
    finally:
        Group(place, "probe-1").remove()
        remove_place(place)


def test_a_folder_is_free_once_its_host_is_closed(real: Settings, tmp_path: Path) -> None:
    """Whatever is being started meanwhile: a child has all files of ours open until it becomes its program."""
    host = LinuxHost(tmp_path, "soaked")
    child = os.fork()
    if child == 0:
        signal.pause()
    try:
        host.close()
        LinuxHost(tmp_path, "soaked").close()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_replica_that_was_about_to_go_when_a_crash_came_serves_again(real: Settings, tmp_path: Path) -> None:
    """It had gone from the balancer's file, not yet from the record: the change was not kept."""
    host = Host(tmp_path / "data")
    with forking(**({"EDGEWRIGHT_DATABASE_URL": real.database_url} if real.database_url else {})) as forks:
        life = Life(forks, host.data)
        try:
            life.begin()
            life.await_up()
            with life.client() as client:
                id_ = run_service(client, onboarded(client, package()), replicas=2)
            life.kill()
            file = next(host.data.glob("instances/*/balancer.json"))
            content = read(BalancerFile, file)
            write_file(file, content.model_copy(update={"backends": content.backends[:1]}))
            life.begin()
            life.await_up()
            assert life.starts_s[-1] < START_TIMEOUT_S
            with life.client() as client:
                assert service_now(client, id_)["replicas"] == 2
                assert list(checks.standing(client, host, life.pids)) == []
                ordered(client, item("delete", {"id": id_}))
            assert life.end() == 0
            assert host.left(life.pids) == []
        finally:
            life.abandon()
            host.sweep(life.pids)
