"""Compute chunks on this Linux host: a control group with a quota in which services run, and a file system of its own.

`<state>/<id>/` holds one: it is made first and removed last, so that nothing of a killed orchestrator is missed.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
import shutil
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import structlog

from edgewright.core.errors import InputError
from edgewright.core.locks import NamedLocks
from edgewright.drivers.chunks import ComputeCapacity, Quota
from edgewright.drivers.host import NAME_PATTERN, HostError
from edgewright.drivers.linux.cgroups import (
    Group,
    Refused,
    Unavailable,
    count_in_parents,
    find_place,
    groups_of,
    inside,
    remove_place,
)
from edgewright.drivers.linux.services import LinuxHost, capacity_of
from edgewright.drivers.linux.storage import SMALLEST_BYTES, Storage, free_bytes, why_not

log = structlog.get_logger("edgewright.chunks")
LEAST_CPU = 0.01  # what the kernel enforces in a group of the default period
RESERVE = 0.1  # of the data folder's file system, promised to nobody
LOCK_S = 10.0  # so long may a program of a killed orchestrator take to end


class LinuxComputeChunk:
    """See ComputeChunk; made by LinuxComputeChunks."""

    def __init__(
        self,
        host: LinuxHost,
        group: Group,
        storage: Storage,
        quota: Quota,
        locks: NamedLocks,
        remove: Callable[[str], None],
    ) -> None:
        self.id, self.host, self.quota = group.name, host, quota
        self._group, self._storage, self._locks, self._remove = group, storage, locks, remove
        self.closed = self._gone = False

    @property
    def folder(self) -> Path | None:
        return self._storage.path if self.quota.storage_bytes else None

    def resize(self, quota: Quota) -> None:
        """`cpu` at least LEAST_CPU, `storage_bytes` 0 or at least storage.SMALLEST_BYTES."""
        _check(quota)
        with self._locks.hold(self.id):
            if self.closed:
                raise HostError(self.id, "the chunk is closed")
            old = self.quota
            try:
                self._check_services(quota)
                # What may be refused comes first, so that taking it back is a rise, which is never refused.
                self._limit(min(old.cpu, quota.cpu), min(old.memory_bytes, quota.memory_bytes))
                self._storage.resize(quota.storage_bytes)
                self._limit(quota.cpu, quota.memory_bytes)
            except BaseException as error:
                self._limit(old.cpu, old.memory_bytes)
                if isinstance(error, OSError):
                    raise HostError(self.id, str(error)) from error
                raise
            self.quota = quota

    def close(self) -> None:
        with self._locks.hold(self.id):
            if not self._gone:  # another one may have its id by now
                self._remove(self.id)
                self._gone = True

    def _limit(self, cpu: float, memory_bytes: int) -> None:
        try:
            self._group.set_cpu_limit(cpu)
            self._group.set_memory_limit(memory_bytes)
        except Refused as refusal:
            raise HostError(self.id, str(refusal)) from None

    def _check_services(self, quota: Quota) -> None:
        running = []
        for service in services_in(self._group):
            limit = service.cpu_limit()
            if limit is not None and limit > quota.cpu * (1 + 1e-6):  # cgroup v1 refuses it without a word of why
                raise HostError(self.id, f"cpu: service {service.name!r} has a limit of {limit:g} cores")
            if service.pids():
                running.append(service.name)
        if running and self._storage.copies(quota.storage_bytes):
            reason = f"it can be copied to another size only once no service runs: {', '.join(running)}"
            raise HostError(self.id, f"storage: {reason}")


class LinuxComputeChunks:
    """See ComputeChunks. `state` is a folder of ours, `instance` names our parent group, `edgewright-<instance>`.

    One orchestrator at a time holds them. Raises cgroups.Unavailable where the host lets us make no groups.
    """

    def __init__(self, state: Path, instance: str) -> None:
        if not re.fullmatch(NAME_PATTERN, instance):
            raise InputError("instance", instance, f"a name like {NAME_PATTERN}")
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._state, self._name = state.resolve(), f"edgewright-{instance}"
        self._lock = threading.Lock()  # guards `_closed`; each chunk's own lock guards what is done to it
        self._locks = NamedLocks()
        self._given_up = threading.Event()
        self._chunks: dict[str, LinuxComputeChunk] = {}
        self._closed = False
        self._held = (state / ".lock").open("w")
        try:
            self._hold()
            self._place = find_place(self._name)
            count_in_parents(self._place)
        except BaseException:
            self._held.close()
            raise

    @property
    def capacity(self) -> ComputeCapacity:
        here = capacity_of(self._place)
        free, whole = free_bytes(self._state)
        held = 0
        for image in self._state.glob("*/image"):
            with contextlib.suppress(FileNotFoundError):
                held += image.stat().st_blocks * 512
        storage = 0 if self.storage_reason() else held + max(0, int(free - RESERVE * whole))
        return ComputeCapacity(here.cpu, here.memory_bytes, storage)

    def storage_reason(self) -> str | None:
        return self._why_no_storage

    def make(self, id: str, quota: Quota) -> LinuxComputeChunk:
        _check(quota)
        if not re.fullmatch(NAME_PATTERN, id):
            raise InputError("id", id, f"a name like {NAME_PATTERN}")
        with self._locks.hold(id):
            self._check_open(id)
            group, storage = Group(self._place, id), self._storage(id)
            kept = id in self._chunks or storage.image.exists() or any(one.pids() for one in services_in(group))
            try:
                chunk = self._chunks[id] = self._chunks.get(id) or self._find(group, storage, quota)
                try:
                    chunk.resize(quota)
                except HostError as error:
                    if not kept:
                        raise
                    log.warning("quota_refused", chunk=id, detail=error.reason)
                return chunk
            except BaseException as error:
                if not kept:
                    self._remove(id)
                if isinstance(error, OSError | Unavailable):
                    raise HostError(id, str(error)) from error
                raise

    def reconcile(self, wanted: Collection[str]) -> list[str]:
        self._check_open("chunks")
        for folder in self._state.glob(".probe-*"):
            Storage(folder).remove()
            shutil.rmtree(folder)
        unwanted = sorted(self._ids() - set(wanted))
        self._each(unwanted, self._remove)
        return unwanted

    def give_up(self) -> None:
        self._given_up.set()

    def close_all(self) -> None:
        self.give_up()
        with self._lock:
            if self._closed:
                return
            self._closed = True
        for id in self._locks.names:  # one that is being made sees that we close, and gives up
            with self._locks.hold(id):
                pass
        try:
            self._each(sorted(self._ids()), self._end)
        finally:
            remove_place(self._place)
            self._held.close()

    # Inside

    @cached_property
    def _why_no_storage(self) -> str | None:
        return why_not(self._state)

    def _find(self, group: Group, storage: Storage, quota: Quota) -> LinuxComputeChunk:
        """A chunk with what there is of it, its limits unset where there is nothing."""
        host = self._host(group.name)
        try:
            storage.open()
            cpu, memory_bytes = group.cpu_limit() or quota.cpu, group.memory_limit() or quota.memory_bytes
            in_force = Quota(cpu, memory_bytes, storage.size_bytes)
            return LinuxComputeChunk(host, group, storage, in_force, self._locks, self._remove)
        except BaseException:
            host.close()
            raise

    def _end(self, id: str) -> None:
        """Its services, adopted or not; the data stays."""
        if chunk := self._chunks.pop(id, None):
            chunk.closed = True
            chunk.host.close()
        with self._host(id) as host:
            host.reconcile([])
        self._storage(id).close()

    def _remove(self, id: str) -> None:
        """What there is of it."""
        if (self._state / id).exists() or id in groups_of(self._place):
            self._end(id)
            self._storage(id).remove()
            shutil.rmtree(self._state / id)

    def _each(self, ids: Collection[str], do: Callable[[str], None]) -> None:
        """At once, so that the graces of services do not add up."""

        def attempt(id: str) -> str | None:
            try:
                with self._locks.hold(id):
                    do(id)
            except (HostError, InputError, OSError, Unavailable) as error:  # the others must go all the same
                return str(error)
            return None

        with ThreadPoolExecutor(8) as pool:
            if errors := [error for error in pool.map(attempt, ids) if error]:
                raise HostError("chunks", "; ".join(errors))

    def _ids(self) -> set[str]:
        return {folder.name for folder in self._state.glob("[!.]*")} | groups_of(self._place)

    def _host(self, id: str) -> LinuxHost:
        return LinuxHost(self._state / id / "services", id, group=f"{self._name}/{id}")

    def _storage(self, id: str) -> Storage:
        return Storage(self._state / id, (self._held.fileno(),), self._given_up)

    def _check_open(self, subject: str) -> None:
        if self._closed:
            raise HostError(subject, "the chunks are closed")

    def _hold(self) -> None:
        deadline = time.monotonic() + LOCK_S
        while True:
            try:
                return fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    allowed = "a folder that no other orchestrator holds"
                    raise InputError("state", str(self._state), allowed) from None
                time.sleep(0.01)


def services_in(group: Group) -> list[Group]:
    place = inside(group.place, group.name)
    return [Group(place, name) for name in sorted(groups_of(place))]


def _check(quota: Quota) -> None:
    if quota.cpu < LEAST_CPU:
        raise InputError("cpu", quota.cpu, f"at least {LEAST_CPU:g} cores")
    if 0 < quota.storage_bytes < SMALLEST_BYTES:
        raise InputError("storage_bytes", quota.storage_bytes, f"0 or at least {SMALLEST_BYTES}")
