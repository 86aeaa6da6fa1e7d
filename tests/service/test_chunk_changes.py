"""What is done to a chunk's storage may take an hour: nothing else waits for it, and it is whole or not at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from edgewright.core.errors import CapacityError
from edgewright.drivers.host import HostError
from edgewright.service.refusals import Conflict
from edgewright.service.runtime import Runtime
from edgewright.service.slices import compute, records, slices
from edgewright.service.slices.records import COMPUTE_CHUNK, MAKING
from edgewright.service.store import StoreError
from edgewright.service.store.tables import ChunkRow

from . import standins
from .conftest import running, settings
from .standins import World

Later = Callable[..., Future[Any]]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return standins.patched(monkeypatch)


@pytest.fixture
def runtime(tmp_path: Path, world: World) -> Iterator[Runtime]:
    made = standins.made(settings(tmp_path, scenario=None))
    made.start()
    yield made
    made.close()
    made.store.close()


@pytest.fixture
def later(world: World) -> Iterator[Later]:
    """Calls in a thread, and returns once it is at the storage."""
    with ThreadPoolExecutor(1) as pool:

        def go(*call: Any) -> Future[Any]:
            world.chunk_goes_on.clear()
            world.chunk_busy.clear()
            future = pool.submit(*call)
            assert world.chunk_busy.wait(10)
            return future

        yield go
        world.chunk_goes_on.set()


def only(runtime: Runtime) -> dict[str, Any]:
    with runtime.store.read() as session:
        (found,) = records.listed(session, COMPUTE_CHUNK)
    return found


def everything(runtime: Runtime) -> dict[str, float]:
    return {name: runtime.ledger.left(name) for name in runtime.ledger.capacity}


def free(runtime: Runtime) -> bool:
    """Whether others may change loops and chunks: nobody holds the lock."""
    took = []

    def take() -> None:
        took.append(runtime.changing.acquire(timeout=5))
        runtime.changing.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return took == [True]


def test_a_chunk_is_made_while_others_go_on(runtime: Runtime, world: World, later: Later) -> None:
    before = everything(runtime)
    making = later(compute.create, runtime, {"name": "a"}, 0.5, 100.0, 2.0)
    assert free(runtime)
    chunk = only(runtime)
    assert chunk["status"] == MAKING
    for refused in (
        lambda: compute.remove(runtime, chunk["id"]),
        lambda: compute.resize(runtime, chunk["id"], cpus=1.0),
        lambda: compute.resize_storage(runtime, chunk["id"], 1.0),
        lambda: slices.create(runtime, {"name": "s", "chunk_ids": [chunk["id"]]}),
        lambda: compute.create(runtime, {"name": "a"}, 0.5, 100.0),
    ):
        with pytest.raises(Conflict):
            refused()
    world.chunk_goes_on.set()
    assert making.result(10) == only(runtime) == chunk | {"status": "ready"}
    compute.remove(runtime, chunk["id"])
    assert everything(runtime) == before


def test_one_that_cannot_be_made_leaves_nothing(runtime: Runtime, world: World, later: Later) -> None:
    before = everything(runtime)
    making = later(compute.create, runtime, {"name": "a"}, 0.5, 100.0, 2.0)
    world.chunk_fails = "no space"
    world.chunk_goes_on.set()
    with pytest.raises(HostError, match="no space"):
        making.result(10)
    assert everything(runtime) == before
    with runtime.store.read() as session:
        assert records.listed(session, COMPUTE_CHUNK) == []


@pytest.mark.parametrize("size", [1.0, 4.0])
@pytest.mark.parametrize("failure", ["", "driver", "store"])
def test_storage_is_changed_while_others_go_on(
    runtime: Runtime, world: World, later: Later, monkeypatch: pytest.MonkeyPatch, size: float, failure: str
) -> None:
    id = compute.create(runtime, {"name": "a"}, 0.5, 100.0, 2.0)["id"]
    chunk, before = only(runtime), everything(runtime)
    changing = later(compute.resize_storage, runtime, id, size)
    assert free(runtime)
    assert only(runtime) == chunk
    for refused in (
        lambda: compute.remove(runtime, id),
        lambda: compute.resize(runtime, id, ram_mb=50.0),
        lambda: compute.resize_storage(runtime, id, 3.0),
    ):
        with pytest.raises(Conflict):
            refused()
    with pytest.raises(CapacityError):  # what it has or will have is nobody else's meanwhile
        compute.create(runtime, {"name": "b"}, 0.5, 100.0, 99.0)
    with monkeypatch.context() as patch:
        if failure == "driver":
            world.chunk_fails = "no space"
        elif failure == "store":
            patch.setattr(runtime.store, "write", _fail)
        world.chunk_goes_on.set()
        if failure:
            with pytest.raises((HostError, StoreError)):
                changing.result(10)
        else:
            changing.result(10)
    world.chunk_fails = None
    whole = runtime.slices.hosting.chunks[id].quota.storage_bytes / 1e9
    assert whole == only(runtime)["requirements"]["storage"]["required"] == (2.0 if failure else size)
    assert everything(runtime)["storage_bytes"] == before["storage_bytes"] + (0 if failure else (2.0 - size) * 1e9)
    compute.resize(runtime, id, ram_mb=50.0)


def test_the_end_breaks_it_off_and_the_next_start_removes_what_is_half_made(
    runtime: Runtime, world: World, later: Later, tmp_path: Path
) -> None:
    making = later(compute.create, runtime, {"name": "a"}, 0.5, 100.0, 2.0)
    closing = threading.Thread(target=runtime.close)
    closing.start()
    closing.join(10)
    assert not closing.is_alive()
    with pytest.raises(HostError, match="given up"):
        making.result(10)
    row = {"cpus": 0.5, "ram_mb": 100.0, "loop": "", "created": 0.0}
    with runtime.store.write() as session:
        session.add(ChunkRow(id="cut", name="cut", body={"storage_gb": 1.0, "status": MAKING}, **row))
    world.chunk_fails = None
    again = standins.made(settings(tmp_path, scenario=None))
    again.start()
    with again.store.read() as session:
        assert records.listed(session, COMPUTE_CHUNK) == []
    assert everything(again) == again.ledger.capacity
    again.close()
    again.store.close()


def test_a_request_under_way_does_not_hold_up_the_end(tmp_path: Path, world: World) -> None:
    world.chunk_goes_on.clear()
    needs = {"cpus": {"required": 0.5}, "ram": {"required": 100}, "storage": {"required": 2}}
    with ThreadPoolExecutor(1) as pool:
        with running(settings(tmp_path, scenario=None)) as client:
            asked = pool.submit(client.post, "/api/v1.0/compute_chunk", json={"name": "a", "requirements": needs})
            assert world.chunk_busy.wait(10)
            began = time.monotonic()
        assert time.monotonic() - began < 20  # it would take 30
        asked.exception(10)


def _fail() -> None:
    raise StoreError("database: gone")
