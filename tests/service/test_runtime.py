"""Loops that come and go, and who runs them: without HTTP, on simulated slices."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgewright.core.documents import validate
from edgewright.core.errors import CapacityError, InputError
from edgewright.scaling.model import Scenario
from edgewright.service.fulfilment.live import Fulfilment
from edgewright.service.loops.choice import instance, make_slice
from edgewright.service.loops.leases import LEASE, Leases
from edgewright.service.loops.loop import Loop
from edgewright.service.loops.orders import keep_loop, pin
from edgewright.service.refusals import Conflict
from edgewright.service.runtime import Runtime
from edgewright.service.settings import Settings
from edgewright.service.slices import compute, records
from edgewright.service.store import Store, StoreError
from edgewright.service.store.tables import LeaseRow

from .conftest import scenario, settings, until, write_scenario

Start = Callable[..., Runtime]


def made(given: Settings, holder: str = "here:1:1", **more: Any) -> Runtime:
    store = Store(given.url)
    return Runtime(given, store, Leases(store, holder, "http://127.0.0.1:1"), **more)


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts runtimes, and closes them at the end."""
    begun: list[Runtime] = []

    def go(given: Settings, holder: str = "here:1:1", **more: Any) -> Runtime:
        begun.append(made(given, holder, **more))
        begun[-1].start()
        return begun[-1]

    yield go
    for runtime in begun:
        runtime.close()
        runtime.store.close()


def other(name: str = "other", **more: Any) -> Scenario:
    return validate(Scenario, scenario(name, ("c",), **more), source="test")


def running(runtime: Runtime, name: str = "demo") -> None:
    until(lambda: runtime.loops[name].phase == "running" and runtime.loops[name].last_step)


# Create and delete


def test_a_chunk_that_has_the_name_of_a_slice(tmp_path: Path, start: Start) -> None:
    runtime = start(settings(tmp_path))
    chunk = compute.create(runtime, {"name": "slice of other"}, 0.1, 10.0)
    left = runtime.ledger.left("cpu")
    with pytest.raises(Conflict, match="slice of other"):
        runtime.create(other(), tmp_path)
    assert runtime.ledger.left("cpu") == left
    compute.remove(runtime, chunk["id"])
    assert runtime.create(other(), tmp_path).name == "other"


@pytest.mark.parametrize("mb", [1e300, 1e305])
def test_memory_beyond_all_bounds(tmp_path: Path, start: Start, mb: float) -> None:
    runtime = start(settings(tmp_path))
    huge = scenario("other", ("c",), slice={"cpu": 1.0, "memory_mb": mb})
    huge["services"][0]["memory"] = {"min_mb": 1.0, "initial_mb": mb, "max_mb": mb}
    with pytest.raises((InputError, CapacityError)):
        runtime.create(validate(Scenario, huge, source="test"), tmp_path)


def test_a_policy_that_can_be_no_path_is_refused(tmp_path: Path, start: Start) -> None:
    runtime = start(settings(tmp_path))
    with pytest.raises(InputError, match="policy"):
        runtime.create(other(control={"policy": "x" * 300 + ".npz"}), tmp_path)


def test_a_loop_that_does_not_begin_leaves_nothing(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = start(settings(tmp_path))
    left = runtime.ledger.left("cpu")

    def fail(_: Loop) -> None:
        raise StoreError("database: gone")

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "start", fail)
        with pytest.raises(StoreError):
            runtime.create(other(), tmp_path)
    assert not runtime.knows("other")
    assert runtime.ledger.left("cpu") == left
    assert runtime.broken == {}
    assert runtime.create(other(), tmp_path).name == "other"


def test_deleting_does_not_hold_the_database(tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = start(settings(tmp_path))
    running(runtime)
    closing, leave, close = threading.Event(), threading.Event(), Loop.close

    def slow(loop: Loop) -> None:
        closing.set()
        leave.wait(20)
        close(loop)

    monkeypatch.setattr(Loop, "close", slow)
    deleting = threading.Thread(target=runtime.delete, args=("demo",))
    deleting.start()
    assert closing.wait(10)
    runtime.store.make_key()  # a write of someone else
    leave.set()
    deleting.join(20)
    assert not runtime.knows("demo")
    assert runtime.broken == {}


def test_a_locked_database_refuses_a_deletion_before_anything_ends(
    sqlite_file: Path, tmp_path: Path, start: Start
) -> None:
    runtime = start(settings(tmp_path))
    running(runtime)
    lock = sqlite3.connect(sqlite_file, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError):
        runtime.delete("demo")
    lock.execute("ROLLBACK")
    lock.close()
    assert runtime.loops["demo"].phase == "running"


def test_a_deletion_that_stops_half_way_goes_on(tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop has ended, the database fails: it is told, and neither another try nor the next start brings it back."""
    runtime = start(settings(tmp_path))
    runtime.create(other(), tmp_path)
    running(runtime, "other")

    def fail(*_: object) -> None:
        raise StoreError("database: gone")

    with monkeypatch.context() as patch:
        patch.setattr("edgewright.service.runtime.delete", fail)
        with pytest.raises(StoreError):
            runtime.delete("other")
    assert "other" not in runtime.loops
    assert any("other" in reason for reason in runtime.trouble)
    runtime.close()
    again = start(settings(tmp_path))
    assert sorted(again.loops) == ["demo"]
    assert not again.knows("other")
    assert again.trouble == []


def test_a_start_under_way_is_given_up_by_a_deletion(tmp_path: Path, start: Start) -> None:
    """Services may take a minute to start."""
    closed = threading.Event()

    def make(*given: Any) -> Any:
        slice_ = make_slice(*given)
        if given[2].name == "other":
            host, close = slice_.host, slice_.host.close

            def wait(*_: object) -> int:
                closed.wait(30)
                raise RuntimeError("the host is closed")

            def end() -> None:
                closed.set()
                close()

            host.start, host.close = wait, end
        return slice_

    runtime = start(settings(tmp_path), make=make)
    runtime.create(other(), tmp_path)
    began = time.monotonic()
    runtime.delete("other")
    assert time.monotonic() - began < 10


def test_files_of_a_deleted_loop_go(tmp_path: Path, start: Start) -> None:
    runtime = start(settings(tmp_path))
    folder = runtime.settings.data_dir / "services"
    folder.mkdir(parents=True, exist_ok=True)
    runtime.create(other(), tmp_path)
    own, its = instance(runtime.settings, "other"), instance(runtime.settings, "demo")
    files = [f"{own}.c.log", f"{own}.c.log.1", f"{own}.json", f"{own}-load-abc.json", f"{its}.a.log"]
    for file in files:
        (folder / file).touch()
    runtime.delete("other")
    assert [path.name for path in folder.iterdir()] == [f"{its}.a.log"]


def test_instances_of_long_names_differ(tmp_path: Path) -> None:
    given = settings(tmp_path)
    names = [f"{'x' * 40}-{number}" for number in range(2)]
    assert instance(given, names[0]) != instance(given, names[1])


# An edited scenario


def test_a_pin_that_no_longer_fits_an_edited_slice_is_dropped(tmp_path: Path, start: Start) -> None:
    runtime = start(settings(tmp_path))
    running(runtime)
    pin(runtime.loops["demo"], "a", 0.8)
    runtime.close()
    write_scenario(tmp_path, scenario(slice={"cpu": 0.7, "memory_mb": 600.0}))
    again = start(settings(tmp_path))
    loop = again.loops["demo"]
    running(again)
    assert loop.orders.pins == {}
    assert sum(limit.cpu for limit in loop.limits.values()) <= 0.7 + 1e-9
    assert sum(limit.memory_bytes or 0 for limit in loop.limits.values()) <= 600_000_000
    assert again.ledger.left("cpu") == pytest.approx(3.3)


def test_minimums_above_a_resized_chunk_are_refused_and_the_old_scenario_runs(tmp_path: Path, start: Start) -> None:
    runtime = start(settings(tmp_path))
    running(runtime)
    with runtime.store.read() as session:
        chunk = records.named(session, records.COMPUTE_CHUNK, "slice of demo")
    assert chunk
    compute.resize(runtime, chunk["id"], cpus=0.3)
    runtime.close()
    edited = scenario()
    for service in edited["services"]:
        service["cpu"] = {"min": 0.2, "max": 0.8, "initial": 0.3}
    write_scenario(tmp_path, edited)
    again = start(settings(tmp_path))
    running(again)
    assert again.loops["demo"].scenario.services[0].cpu.min == 0.1
    assert any("cpu.min" in reason for reason in again.trouble)


def test_what_an_older_version_kept_is_replaced_or_told(tmp_path: Path, start: Start) -> None:
    runtime = start(settings(tmp_path))
    runtime.create(other(), tmp_path)
    runtime.close()
    keep_loop(runtime.store, "demo", scenario={"format": "edgewright.scaling/0"})
    keep_loop(runtime.store, "other", limits={"x": None})
    again = start(settings(tmp_path))
    running(again)
    assert list(again.broken) == ["other"]


# Who runs them


@pytest.mark.parametrize("content", [None, "format: edgewright.scaling/0"])
def test_a_standby_reads_its_scenario_at_its_start(tmp_path: Path, start: Start, content: str | None) -> None:
    start(settings(tmp_path))
    bad = tmp_path / "bad.yaml"
    if content is not None:
        bad.write_text(content)
    with pytest.raises(InputError, match=r"bad\.yaml"):
        start(settings(tmp_path, scenario=bad), "there:1:1")


def test_a_standby_takes_over_with_what_it_read_before(tmp_path: Path, start: Start) -> None:
    first = start(settings(tmp_path))
    running(first)
    second = start(settings(tmp_path), "there:1:1")
    (tmp_path / "scenario.yaml").unlink()
    first.close()
    until(lambda: second.active and "demo" in second.loops)
    running(second)


def test_a_take_over_that_fails_gives_the_lease_back(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, runtime = settings(tmp_path), made(settings(tmp_path))

    def fail(*_: object) -> None:
        raise RuntimeError("no such driver")

    with monkeypatch.context() as patch:
        patch.setattr("edgewright.service.runtime.choose", fail)
        with pytest.raises(RuntimeError):
            runtime.start()
    assert runtime.leases.address_of(LEASE) is None
    running(start(given, "there:1:1"))
    runtime.close()


def test_the_lease_outlives_any_error(tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgewright.service.runtime.RENEW_S", 0.05)
    first = start(settings(tmp_path))
    second = start(settings(tmp_path), "there:1:1")
    failures = [RuntimeError("once"), CapacityError("cpu", 1.0, 0.0, owner="x")]
    restore = Runtime._restore_all

    def fail(runtime: Runtime) -> None:
        if failures:
            raise failures.pop()
        restore(runtime)

    monkeypatch.setattr(Runtime, "_restore_all", fail)
    first.close()
    until(lambda: second.active and "demo" in second.loops)


def test_the_lease_is_kept_however_long_it_takes_to_start_and_to_end(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgewright.service.loops.leases.LEASE_S", 1.0)
    monkeypatch.setattr("edgewright.service.loops.leases.RENEW_S", 0.05)
    restore, close = Runtime._restore_all, Fulfilment.close
    slowly, refused = threading.Event(), list[bool]()
    monkeypatch.setattr(Runtime, "_restore_all", lambda runtime: (slowly.set(), time.sleep(1.6), restore(runtime)))
    monkeypatch.setattr(Fulfilment, "close", lambda part: (slowly.set(), time.sleep(1.6), close(part)))
    runtime, standby = made(settings(tmp_path)), made(settings(tmp_path), "there:1:1")
    for change in (runtime.start, runtime.close):
        changing = threading.Thread(target=change)
        changing.start()
        assert slowly.wait(10)
        while changing.is_alive() and runtime._hold is not None:
            refused.append(not standby.leases.take(LEASE))
            time.sleep(0.05)
        changing.join()
        slowly.clear()
    assert len(refused) > 20
    assert all(refused[:-1])  # at last it may have been released
    assert standby.leases.take(LEASE)
    runtime.store.close()
    standby.store.close()


def test_a_lease_that_is_lost_during_a_take_over_is_let_go(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgewright.service.loops.leases.RENEW_S", 0.05)
    restore = Runtime._restore_all
    thief = LeaseRow(name=LEASE, holder="there:1:1", address="http://127.0.0.1:2", expires=time.time() + 1000)

    def lose(runtime: Runtime) -> None:
        with runtime.store.write() as session:
            session.merge(thief)
        until(lambda: runtime._hold is not None and runtime._hold.lost)
        restore(runtime)
        assert runtime.active

    monkeypatch.setattr(Runtime, "_restore_all", lose)
    runtime = start(settings(tmp_path))
    until(lambda: not runtime.active and runtime._hold is None)
    assert runtime.loops == {}
    assert runtime.leases.address_of(LEASE) == thief.address


def test_a_scenario_without_room_leaves_the_stored_loops_running(tmp_path: Path, start: Start) -> None:
    runtime = start(settings(tmp_path))
    running(runtime)
    runtime.close()
    content = scenario("large", slice={"cpu": 400.0, "memory_mb": 1000.0})
    write_scenario(tmp_path, content)
    again = start(settings(tmp_path))
    running(again)
    assert "large" in again.broken
    again._let_go()
    write_scenario(tmp_path, content | {"slice": {"cpu": 1.5, "memory_mb": 1000.0}})
    again._take_over()
    assert again.broken == {}
    assert sorted(again.loops) == ["demo", "large"]


def test_a_first_scenario_without_room_is_told_at_once(tmp_path: Path, start: Start) -> None:
    write_scenario(tmp_path, scenario(slice={"cpu": 400.0, "memory_mb": 1000.0}))
    with pytest.raises(CapacityError):
        start(settings(tmp_path))


def test_limits_are_kept_while_a_loop_waits_to_start(tmp_path: Path, start: Start) -> None:
    """The store has what was ordered, so that a crash does not lose it."""
    runtime = start(settings(tmp_path))
    loop = runtime.loops["demo"]
    running(runtime)
    with loop.lock:
        loop.phase = "failed"
        pin(loop, "a", 0.6)
        loop.phase = "running"
    runtime.close()
    keep_loop(runtime.store, "demo", pins={})
    again = start(settings(tmp_path))
    assert again.loops["demo"].limits["a"].cpu == pytest.approx(0.6)
