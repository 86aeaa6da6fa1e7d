"""What dies in instances, or did not start with the orchestrator, is started again: each instance in its own turn."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgewright.core.documents import validate
from edgewright.drivers.host import HostError, Limits
from edgewright.service.loops.instance_slice import InstanceSlice
from edgewright.service.loops.supervisor import Supervisor
from edgewright.service.packages import Package, scenario_of
from edgewright.service.runtime import Runtime
from edgewright.service.slices import compute, instances
from edgewright.service.slices.mender import Mender

from . import standins
from .conftest import settings, until
from .ordering import package
from .standins import World, deployed

PACKAGE = validate(Package, package(), source="test").model_dump(mode="json")
Start = Callable[[], Runtime]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return standins.patched(monkeypatch)


@pytest.fixture
def start(tmp_path: Path, world: World) -> Iterator[Start]:
    """Starts an orchestrator, and closes the one before: a reboot, where the world says so."""
    begun: list[Runtime] = []

    def go() -> Runtime:
        end()
        begun.append(standins.made(settings(tmp_path, scenario=None)))
        begun[-1].start()
        return begun[-1]

    def end() -> None:
        world.chunk_goes_on.set()
        for runtime in begun:
            runtime.close()
            runtime.store.close()
        begun.clear()

    yield go
    end()


def names(id: str, *numbers: int) -> list[str]:
    return [f"{id[:8]}-{number}" for number in numbers]


# After a start


def test_instances_start_at_once_and_what_fails_is_tried_again(start: Start, world: World) -> None:
    runtime = start()
    ids = [deployed(runtime, name, PACKAGE, replicas=2) for name in "abcd"]
    bad = names(ids[1], 1)[0]
    runtime.close()
    world.reboot()
    world.broken, world.start_s, world.most = {bad}, 0.3, 0
    runtime = start()
    assert world.most > 3  # one instance has three processes
    assert set(world.pids) == {name for id in ids for name in (*names(id, 0, 1), f"{id[:8]}-balancer")} - {bad}
    assert [line for line in runtime.trouble if "ended while starting" in line] == [
        f"instance b: {bad}: ended while starting"
    ]
    instances.change(runtime, ids[1], cpus=0.1)  # what runs is limited, what does not will be
    world.broken = set()
    until(lambda: bad in world.pids and not runtime.trouble)
    assert {world.limits[name] for name in names(ids[1], 0, 1)} == {Limits(0.1, 64_000_000)}


def test_a_balancer_that_did_not_start_is_tried_again(start: Start, world: World) -> None:
    runtime = start()
    id = deployed(runtime, "a", PACKAGE)
    runtime.close()
    world.reboot()
    world.broken = {f"{id[:8]}-balancer"}
    runtime = start()
    assert any("instance a" in line for line in runtime.trouble)
    world.broken = set()
    until(lambda: not runtime.trouble)
    assert world.broken | world.pids.keys() == {*names(id, 0), f"{id[:8]}-balancer"}


# While it runs


def test_a_sick_instance_holds_up_no_other(start: Start, world: World) -> None:
    runtime = start()
    sick, well = (deployed(runtime, name, PACKAGE) for name in "ab")
    name = names(sick, 0)[0]
    world.held, world.broken = {name: threading.Event()}, {name}
    del world.pids[name]
    until(lambda: world.starting == 1)
    del world.pids[f"{well[:8]}-balancer"]
    until(lambda: f"{well[:8]}-balancer" in world.pids)
    assert world.starting == 1  # the sick one is still at it
    world.held[name].set()
    until(lambda: any(name in line for line in runtime.trouble))
    world.broken = set()
    until(lambda: name in world.pids and not runtime.trouble)


def test_turns_become_rarer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgewright.service.slices.mender.LOOK_S", 0.002)
    monkeypatch.setattr("edgewright.service.slices.mender.FIRST_WAIT_S", 0.05)
    monkeypatch.setattr("edgewright.service.slices.mender.LONGEST_WAIT_S", 0.1)
    turns: list[float] = []

    def mend(_: str) -> bool:
        turns.append(time.monotonic())
        raise HostError("x", "no")

    mender = Mender(lambda: ["x"], mend)
    until(lambda: len(turns) >= 5)
    mender.close()
    waits = [b - a for a, b in itertools.pairwise(turns)]
    assert waits[0] >= 0.05
    assert all(wait >= 0.1 for wait in waits[1:])


def test_one_that_is_being_changed_is_left_alone_and_mended_after(
    start: Start, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgewright.service.slices.mender.FIRST_WAIT_S", 60.0)  # being left alone is no turn
    runtime = start()
    id = deployed(runtime, "a", PACKAGE)
    running, name = runtime.slices.running[id], names(id, 0)[0]
    with running.lock:
        del world.pids[name]
        time.sleep(0.2)
        assert name not in world.pids
    until(lambda: name in world.pids)


def test_limits_are_set_of_all_replicas_or_none(start: Start, world: World) -> None:
    runtime = start()
    id = deployed(runtime, "a", PACKAGE, replicas=2)
    before = dict(world.limits)
    world.refuses = {names(id, 1)[0]: RuntimeError("a fault")}
    with pytest.raises(RuntimeError):
        instances.change(runtime, id, cpus=0.1)
    assert world.limits == before
    assert runtime.slices.running[id].cpus == 0.2


def test_a_loop_leaves_the_dead_to_the_mender_and_restarts_at_a_wish(start: Start, world: World) -> None:
    runtime = start()
    id = deployed(runtime, "a", PACKAGE, replicas=2)
    running, events = runtime.slices.running[id], list[str]()
    slice_ = InstanceSlice(scenario_of(running.package, running.name), running, lambda cpu, memory: None)
    watch = Supervisor(slice_, slice_.left_dead, lambda kind, *_: events.append(kind), 0.01)
    with running.lock:  # no mender
        for name in running.replicas:
            del world.pids[name]
        world.tried.clear()
        for _ in range(10):
            assert watch.check(slice_.lives(), time.monotonic())
            time.sleep(0.01)
        watch.join(10)
        assert (world.tried, events) == ([], ["service_died"])
        assert watch.restart(running.name)
        time.sleep(0.05)
        assert world.tried == []  # who changes the instance has its lock
    watch.join(10)
    assert events == ["service_died", "service_restarted"]
    slice_.close()


# After it is gone


def test_trouble_and_logs_go_with_an_instance(start: Start, world: World) -> None:
    runtime = start()
    id = deployed(runtime, "a", PACKAGE)
    world.broken = set(names(id, 0))
    for name in names(id, 0):
        del world.pids[name]
    until(lambda: any("instance a" in line for line in runtime.trouble))
    assert world.forgotten == []
    world.broken = set()
    instances.remove(runtime, id)
    assert runtime.trouble == []
    assert {f"{id[:8]}-balancer", *names(id, 0, 1, 2)} <= set(world.forgotten)
    world.tried.clear()
    time.sleep(0.1)
    assert world.tried == []


def test_one_that_is_not_wholly_removed_does_not_come_back(start: Start, world: World) -> None:
    runtime = start()
    id = deployed(runtime, "a", PACKAGE, replicas=2)
    world.stuck = set(names(id, 1))
    with pytest.raises(HostError, match="does not end"):
        instances.remove(runtime, id)
    time.sleep(0.2)
    assert list(world.pids) == names(id, 1)
    world.stuck = set()
    instances.remove(runtime, id)
    assert (world.pids, runtime.slices.running) == ({}, {})


def test_one_that_does_not_start_is_not_mended_and_its_logs_stay(start: Start, world: World) -> None:
    runtime = start()

    class Broken(set[str]):
        def __contains__(self, name: object) -> bool:
            return str(name).endswith("-0")

    world.broken = Broken()
    with pytest.raises(HostError, match="ended while starting"):
        deployed(runtime, "a", PACKAGE)
    time.sleep(0.1)
    assert (world.pids, world.forgotten, runtime.slices.running) == ({}, [], {})


def test_trouble_goes_with_a_chunk(start: Start, world: World) -> None:
    chunk = compute.create(start(), {"name": "a"}, 0.5, 100.0)
    world.chunk_fails = "no such device"
    runtime = start()
    assert runtime.trouble == [f"chunk a: {chunk['id']}: no such device"]
    compute.remove(runtime, chunk["id"])
    assert runtime.trouble == []


def test_the_end_does_not_wait_for_those_whose_turn_has_not_come(start: Start, world: World) -> None:
    runtime = start()
    ids = [deployed(runtime, name, PACKAGE) for name in "abcd"]
    world.start_s = 0.3
    with runtime.slices.running[ids[0]].lock:
        for id in ids:
            del world.pids[f"{id[:8]}-balancer"]
        until(lambda: world.starting == 3)
        closing = threading.Thread(target=runtime.close)
        closing.start()
        closing.join(10)
        assert not closing.is_alive()
    assert world.pids == {}
