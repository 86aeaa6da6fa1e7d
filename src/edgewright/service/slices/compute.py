"""Compute chunks: shares of this host, admitted through the ledger, kept in the store, real as control groups."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError

from edgewright.service.loops.orders import check_capacity, set_capacity
from edgewright.service.refusals import Conflict, NotSupported
from edgewright.service.slices import records
from edgewright.service.slices.hosting import amounts, quota
from edgewright.service.slices.records import COMPUTE_CHUNK, GOING, INSTANCE, MAKING, READY, Json
from edgewright.service.store.tables import ChunkRow

if TYPE_CHECKING:
    from edgewright.service.runtime import Runtime


def create(runtime: Runtime, body: Mapping[str, Any], cpus: float, ram_mb: float, storage_gb: float = 0.0) -> Json:
    """Book, keep and make a chunk, or none of these.

    Raises CapacityError, Conflict (a name in use), NotFound (user or compute), NotSupported (storage), HostError,
    StoreError.
    """
    hosting = runtime.slices.hosting
    if storage_gb > 0 and (why := hosting.reasons.get("storage")):
        raise NotSupported(f"requirements.storage: {why}")
    name, more = str(body["name"]), {k: v for k, v in body.items() if k not in ("name", "requirements")}
    row = ChunkRow(
        id=str(uuid.uuid4()),
        name=name,
        cpus=cpus,
        ram_mb=ram_mb,
        loop="",
        body={**more, "storage_gb": storage_gb, "status": MAKING},
        created=time.time(),
    )
    with runtime.changing:
        ledger, busy = runtime.ledger, runtime.slices.busy  # of this worker's time with the lease
        ledger.book(row.id, amounts(cpus=cpus, ram_mb=ram_mb, storage_gb=storage_gb))
        try:
            with runtime.store.write() as session:
                records.check_references(session, COMPUTE_CHUNK, body)
                session.add(row)
        except BaseException as error:
            ledger.release(row.id)
            if isinstance(error, IntegrityError):
                raise Conflict(f"name: there is a chunk named {name!r}") from None
            raise
        busy.add(row.id)
    try:  # without `changing`: a file system may take long to make
        if hosting.compute is not None:
            hosting.chunks[row.id] = hosting.compute.make(row.id, quota(cpus, ram_mb, storage_gb))
        view = _mark(runtime, row.id, READY)
    except BaseException:
        _drop(runtime, row.id, name)
        raise
    finally:
        busy.discard(row.id)
    runtime.recorder.event("chunk_created", f"{name}: {cpus:g} CPU, {ram_mb:g} MB, {storage_gb:g} GB")
    return view


def remove(runtime: Runtime, chunk_id: str) -> None:
    """Raises NotFound, Conflict (a loop or a slice uses it, it is being made or changed), HostError (it stays as
    `deleting`).
    """
    with runtime.changing:
        busy = runtime.slices.busy
        with runtime.store.read() as session:
            view = records.known(session, COMPUTE_CHUNK, chunk_id)
            user = next(records.users(session, COMPUTE_CHUNK, chunk_id), None)
        if view["loop"]:
            raise Conflict(f"loop {view['loop']!r} runs in this chunk: delete the loop first")
        if user:
            raise Conflict(f"{user} uses this chunk: delete that first")
        check_idle(runtime, view)
        _mark(runtime, chunk_id, GOING)
        busy.add(chunk_id)
    try:
        _drop(runtime, chunk_id, view["name"])
    finally:
        busy.discard(chunk_id)
    runtime.recorder.event("chunk_deleted", view["name"])


def resize(runtime: Runtime, chunk_id: str, *, cpus: float | None = None, ram_mb: float | None = None) -> None:
    """Change quotas: booked, felt by what runs in it and kept, or none of these.

    Raises NotFound, CapacityError (the host has no room), Conflict (what runs in it needs more; it is being made or
    changed), HostError, StoreError.
    """
    given = {name: value for name, value in (("cpus", cpus), ("ram_mb", ram_mb)) if value is not None}
    with runtime.changing:
        view, old = _quotas(runtime, chunk_id)
        new, loop = old | given, runtime.loops.get(view["loop"] or "")
        _check_fits(runtime, chunk_id, new["cpus"], new["ram_mb"])
        runtime.ledger.book(chunk_id, amounts(**given))
        with loop.ordering if loop is not None else contextlib.nullcontext():
            try:
                if loop is not None:
                    check_capacity(loop, cpus, ram_mb)
                _enforce(runtime, chunk_id, old, new)
            except BaseException:
                runtime.ledger.book(chunk_id, amounts(**old))
                raise
            if loop is not None:
                set_capacity(loop, cpus, ram_mb)
    detail = ", ".join(f"{value:g} {_WORDS[name]}" for name, value in given.items())
    runtime.recorder.event("chunk_resized", f"{view['name']}: {detail}", loop=view["loop"] or "")


def resize_storage(runtime: Runtime, chunk_id: str, storage_gb: float) -> None:
    """As `resize`. Raises NotSupported, too. Without `changing` where it may take long: data may be copied."""
    ledger, slices = runtime.ledger, runtime.slices
    with runtime.changing:
        view, old = _quotas(runtime, chunk_id)
        new = old | {"storage_gb": storage_gb}
        if storage_gb > 0 and (why := slices.hosting.reasons.get("storage")):
            raise NotSupported(f"storage: {why}")
        if storage_gb > 0 and view["loop"]:
            raise NotSupported("storage: a loop's own chunk has none")
        ledger.book(chunk_id, amounts(storage_gb=max(old["storage_gb"], storage_gb)))  # so that there is a way back
        busy = slices.busy
        busy.add(chunk_id)
    try:
        _enforce(runtime, chunk_id, old, new)
        ledger.book(chunk_id, amounts(**new))
    except BaseException:
        ledger.book(chunk_id, amounts(**old))
        raise
    finally:
        busy.discard(chunk_id)
    runtime.recorder.event("chunk_resized", f"{view['name']}: {storage_gb:g} GB of storage")


def restore(runtime: Runtime) -> None:
    """Make the chunks that the store has, remove what a crash cut short. They are booked already.

    One that cannot be made is told as trouble, and the others are made. Raises StoreError.
    """
    hosting = runtime.slices.hosting
    with runtime.store.read() as session:
        views = [view for view in records.listed(session, COMPUTE_CHUNK) if not view["loop"]]
    ready = [view for view in views if view["status"] == READY]
    if hosting.compute is not None:
        with runtime.slices.watching("chunks"):
            for id_ in hosting.compute.reconcile([view["id"] for view in ready]):
                runtime.recorder.event("removed", f"what was left of compute chunk {id_}")
    for view in views:
        if view["status"] != READY:
            _drop(runtime, view["id"], view["name"])
    for view in ready if hosting.compute is not None else ():
        needs = view["requirements"]
        wanted = quota(needs["cpus"]["required"], needs["ram"]["required"], needs["storage"]["required"])
        with runtime.slices.watching(f"chunk {view['name']}"):
            assert hosting.compute is not None
            hosting.chunks[view["id"]] = hosting.compute.make(view["id"], wanted)


_WORDS = {"cpus": "CPU", "ram_mb": "MB"}


def _quotas(runtime: Runtime, chunk_id: str) -> tuple[Json, dict[str, float]]:
    """-> the chunk and its quotas. Raises NotFound, Conflict."""
    view = chunk_of(runtime, chunk_id)
    check_idle(runtime, view)
    if view["status"] != READY:
        raise Conflict(f"{COMPUTE_CHUNK} {view['name']!r} is {view['status']}")
    needs = view["requirements"]
    names = {"cpus": "cpus", "ram_mb": "ram", "storage_gb": "storage"}
    return view, {name: needs[key]["required"] for name, key in names.items()}


def check_idle(runtime: Runtime, view: Json) -> None:
    """Raises Conflict: who holds `changing` must not wait for the chunk."""
    if view["id"] in runtime.slices.busy:
        raise Conflict(f"{COMPUTE_CHUNK} {view['name']!r} is being made, changed or removed")


def _enforce(runtime: Runtime, chunk_id: str, old: Mapping[str, float], new: Mapping[str, float]) -> None:
    """In force and kept, or neither. Raises HostError, StoreError."""
    chunk = runtime.slices.hosting.chunks.get(chunk_id)
    if chunk is not None:
        chunk.resize(quota(**new))
    try:
        with runtime.store.write() as session:
            row = session.get_one(ChunkRow, chunk_id, with_for_update=True)
            row.cpus, row.ram_mb = new["cpus"], new["ram_mb"]
            row.body = {**row.body, "storage_gb": new["storage_gb"]}
    except BaseException:
        if chunk is not None:
            chunk.resize(quota(**old))
        raise


def _mark(runtime: Runtime, chunk_id: str, status: str) -> Json:
    with runtime.store.write() as session:
        row = session.get_one(ChunkRow, chunk_id, with_for_update=True)
        row.body = {**row.body, "status": status}
        return records.chunk_view(row)


def _drop(runtime: Runtime, chunk_id: str, name: str) -> None:
    """What there is of a chunk. Raises HostError or StoreError where something stays: the next start removes it."""
    if chunk := runtime.slices.hosting.chunks.get(chunk_id):
        chunk.close()
    runtime.slices.hosting.chunks.pop(chunk_id, None)
    with runtime.store.write() as session:
        session.execute(delete(ChunkRow).where(ChunkRow.id == chunk_id))
    runtime.ledger.release(chunk_id)
    runtime.slices.forget(f"chunk {name}", f"services of chunk {chunk_id}")


def chunk_of(runtime: Runtime, chunk_id: str) -> Json:
    """Raises NotFound."""
    with runtime.store.read() as session:
        return records.known(session, COMPUTE_CHUNK, chunk_id)


def needed(runtime: Runtime, chunk_id: str, instead: Mapping[str, Any] | None = None) -> tuple[float, float]:
    """CPU (cores) and RAM (MB) that a chunk's instances have together; `instead` of the record of its id."""
    with runtime.store.read() as session:
        found = [each for each in records.listed(session, INSTANCE) if each["compute_chunk_id"] == chunk_id]
    running = list(runtime.slices.running.values())
    wanted: dict[str, Mapping[str, Any]] = {each.id: each.needs for each in running if each.needs is not None}
    if instead is not None:
        wanted[instead["id"]] = instead
    here = [wanted.get(each["id"], each) for each in found]
    return sum(e["replicas"] * e["cpus"] for e in here), sum(e["replicas"] * e["ram_mb"] for e in here)


def _check_fits(runtime: Runtime, chunk_id: str, cpus: float, ram_mb: float) -> None:
    """Raises Conflict where the instances in a chunk need more than that."""
    need_cpu, need_mb = needed(runtime, chunk_id)
    if need_cpu > cpus + 1e-9:
        raise Conflict(f"cpus: {cpus:g} is less than the {need_cpu:g} that the services in this chunk have")
    if need_mb > ram_mb + 1e-9:
        raise Conflict(f"ram: {ram_mb:g} MB is less than the {need_mb:g} MB that the services in this chunk have")
