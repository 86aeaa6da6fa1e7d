"""A host whose chunks and services have no processes: what starts, dies and fails is what a test says."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import pytest

from edgewright.core.contracts import Outcome
from edgewright.core.documents import read
from edgewright.drivers.balancer.control import Backend, BackendState, BalancerFile, Balancing, write_file
from edgewright.drivers.chunks import ComputeCapacity, Quota
from edgewright.drivers.host import Action, Capacity, HostError, Limits, ServiceSpec, Usage, unknown_service
from edgewright.service.loops.leases import Leases
from edgewright.service.runtime import Runtime
from edgewright.service.settings import Settings
from edgewright.service.slices import compute, instances, records, slices
from edgewright.service.slices.hosting import Hosting
from edgewright.service.store import Store

GIB = 2**30
PIDS = itertools.count(1000)


class World:
    """What a test says of services, by name, on all hosts; their processes, until a reboot."""

    def __init__(self) -> None:
        self.broken: set[str] = set()  # do not start
        self.start_s = 0.0
        self.held: dict[str, threading.Event] = {}  # start once it is set
        self.starting = self.most = 0  # at once, now and so far
        self.tried: list[str] = []
        self.forgotten: list[str] = []
        self.stuck: set[str] = set()  # do not end
        self.refuses: dict[str, BaseException] = {}  # the limits of a service
        self.chunk_fails: str | None = None  # why
        self.chunk_goes_on = threading.Event()  # cleared: what is done to a chunk's storage takes long
        self.chunk_goes_on.set()
        self.chunk_busy = threading.Event()
        self.lock = threading.Lock()
        self.reboot()

    def reboot(self) -> None:
        self.pids: dict[str, int] = {}
        self.limits: dict[str, Limits] = {}

    def start(self, name: str) -> int:
        with self.lock:
            self.tried.append(name)
            self.starting += 1
            self.most = max(self.most, self.starting)
        time.sleep(self.start_s)
        if event := self.held.get(name):
            assert event.wait(30)
        with self.lock:
            self.starting -= 1
            if name in self.broken:
                self.pids.pop(name, None)
                raise HostError(name, "ended while starting")
            self.pids[name] = next(PIDS)
            return self.pids[name]


class StandInHost:
    def __init__(self, world: World) -> None:
        self.world, self.table, self.capacity = world, dict[str, ServiceSpec](), Capacity(4.0, 8 * GIB)

    @property
    def services(self) -> tuple[str, ...]:
        return tuple(self.table)

    def start(self, spec: ServiceSpec, limits: Limits) -> int:
        assert spec.name not in self.table
        pid = self.world.start(spec.name)
        self.table[spec.name], self.world.limits[spec.name] = spec, limits
        return pid

    def restart(self, name: str) -> int:
        self._check(name)
        return self.world.start(name)

    def stop(self, name: str) -> None:
        self._check(name)
        if name in self.world.stuck:
            raise HostError(name, "does not end")
        del self.table[name]
        self.world.pids.pop(name, None)

    def forget(self, name: str) -> None:
        self.world.forgotten.append(name)

    def adopt(self, spec: ServiceSpec, limits: Limits | None = None) -> bool:
        if spec.name in self.world.pids:
            self.table[spec.name] = spec
        return spec.name in self.table

    def reconcile(self, specs: Iterable[ServiceSpec]) -> list[Action]:
        return [Action("adopted", spec.name, "") for spec in specs if self.adopt(spec)]

    def usage(self, name: str) -> Usage:
        self._check(name)
        pid = self.world.pids.get(name)
        return Usage(0.0, 0.0, 0.0, 0, 0, 0, 0, pid is not None, pid, 0, self.world.limits[name])

    def set_limits(self, name: str, limits: Limits) -> Outcome:
        self._check(name)
        if error := self.world.refuses.get(name):
            raise error
        self.world.limits[name] = limits
        return Outcome({"cpu": limits.cpu, "memory_bytes": limits.memory_bytes}, {})

    def close(self) -> None:
        for name in self.services:
            self.stop(name)

    def _check(self, name: str) -> None:
        if name not in self.table:
            raise unknown_service(name, self.table)


class StandInChunk:
    def __init__(self, id: str, quota: Quota, world: World) -> None:
        self.id, self.quota, self.world = id, quota, world
        self.host, self.folder = StandInHost(world), None

    def resize(self, quota: Quota) -> None:
        if quota.storage_bytes != self.quota.storage_bytes:
            long(self.world)
        self.quota = quota

    def close(self) -> None:
        self.host.close()


class StandInChunks:
    capacity = ComputeCapacity(4.0, 8 * GIB, 100_000_000_000)

    def __init__(self, world: World) -> None:
        self.world, self.chunks = world, dict[str, StandInChunk]()

    def make(self, id: str, quota: Quota) -> StandInChunk:
        if quota.storage_bytes:
            long(self.world)
        if self.world.chunk_fails:
            raise HostError(id, self.world.chunk_fails)
        return self.chunks.setdefault(id, StandInChunk(id, quota, self.world))

    def reconcile(self, wanted: Collection[str]) -> list[str]:
        return []

    def give_up(self) -> None:
        if not self.world.chunk_goes_on.is_set():
            self.world.chunk_fails = "given up"
            self.world.chunk_goes_on.set()

    def close_all(self) -> None:
        self.give_up()
        for chunk in self.chunks.values():
            chunk.close()


def long(world: World) -> None:
    world.chunk_busy.set()
    assert world.chunk_goes_on.wait(30)
    if world.chunk_fails:
        raise HostError("storage", world.chunk_fails)


class StandInBalancing(Balancing):
    """All backends are up at once."""

    def set_backends(self, backends: Iterable[Backend]) -> None:
        write_file(self.file, read(BalancerFile, self.file).model_copy(update={"backends": tuple(backends)}))

    def backends(self) -> dict[str, BackendState]:
        found = read(BalancerFile, self.file).backends
        none = {"outstanding": 0, "requests": 0, "failures": 0, "reason": ""}
        return {each.name: BackendState(name=each.name, state="up", **none) for each in found}

    def await_drained(self, names: Collection[str], timeout_s: float) -> None:
        """At once."""


def patched(monkeypatch: pytest.MonkeyPatch) -> World:
    """Every orchestrator from here on has such a host."""
    world = World()

    def hosting(folder: Path, owner: str, choice: Any) -> Hosting:
        made: Any = StandInChunks(world)
        ingress: Any = StandInHost(world)
        return Hosting(made, None, ingress, reasons={"network": "none in this test"})

    monkeypatch.setattr("edgewright.service.slices.live.open_hosting", hosting)
    monkeypatch.setattr("edgewright.service.slices.instance.Balancing", StandInBalancing)
    monkeypatch.setattr("edgewright.service.slices.mender.LOOK_S", 0.02)
    monkeypatch.setattr("edgewright.service.slices.mender.FIRST_WAIT_S", 0.05)
    return world


def made(given: Settings, holder: str = "here:1:1") -> Runtime:
    store = Store(given.url)
    return Runtime(given, store, Leases(store, holder, "http://127.0.0.1:1"))


def deployed(runtime: Runtime, name: str, package: dict[str, Any], replicas: int = 1) -> str:
    """-> the id of an instance in a chunk and a slice of its own."""
    with runtime.store.write() as session:
        kept = records.collection(session, records.PACKAGE)
        if kept.get("quick:1.0") is None:
            kept.add("quick:1.0", {"id": "quick:1.0", "descriptor": package})
        service = records.add(session, records.SERVICE, {"name": f"service of {name}", "package": "quick:1.0"})
    chunk = compute.create(runtime, {"name": name}, 0.6, 300.0)
    slice_ = slices.create(runtime, {"name": name, "chunk_ids": [chunk["id"]]})
    slices.activate(runtime, slice_["id"])
    body = {"name": name, "slic3_id": slice_["id"], "network_service_id": service["id"], "elastic": False}
    return str(instances.create(runtime, {**body, "replicas": replicas})["id"])
