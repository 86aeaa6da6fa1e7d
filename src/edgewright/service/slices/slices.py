"""Slices: chunks put together; activation makes them work, and services run in an active slice alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgewright.service.refusals import Conflict
from edgewright.service.slices import radio, records
from edgewright.service.slices.records import CHUNKS, RADIO_CHUNK, READY, SLICE, Json

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from edgewright.service.runtime import Runtime

PENDING, CONFIGURED, NOT_NEEDED = "pending", "configured", "not-needed"


def create(runtime: Runtime, body: Mapping[str, Any]) -> Json:
    """Raises NotFound, Conflict (a name, a chunk in another slice)."""
    with runtime.changing, runtime.store.write() as session:
        _check_free(session, body["chunk_ids"], None)
        record = {**body, "chunk_ids": list(dict.fromkeys(body["chunk_ids"])), "active": False}
        return records.add(session, SLICE, record | {"activation_status": PENDING})


def change_chunks(
    runtime: Runtime, slice_id: str, *, add: list[str] | None = None, drop: list[str] | None = None
) -> Json:
    """Raises NotFound, Conflict (active; a chunk in another slice; a chunk that it does not have)."""
    with runtime.changing, runtime.store.write() as session:
        record = records.known(session, SLICE, slice_id)
        if record["active"]:
            raise Conflict(f"slic3 {record['name']!r} is active: deactivate it first")
        _check_free(session, add or [], slice_id)
        for id_ in drop or []:
            if id_ not in record["chunk_ids"]:
                raise Conflict(f"chunk_ids: {id_!r} is no chunk of slic3 {record['name']!r}")
        ids = [id_ for id_ in dict.fromkeys([*record["chunk_ids"], *(add or [])]) if id_ not in (drop or [])]
        return records.change(session, SLICE, slice_id, chunk_ids=ids)


def activate(runtime: Runtime, slice_id: str) -> Json:
    """Configure its radio chunks; once active it may run services. Active already is fine.

    Raises NotFound, Conflict (a chunk is not ready), HostError (the RAN controller; what was configured is taken back).
    """
    with runtime.changing:
        with runtime.store.read() as session:
            record = records.known(session, SLICE, slice_id)
            chunks = _chunks(session, record)
        if record["active"]:
            return record
        for kind, chunk in chunks:
            if chunk.get("status", READY) != READY:
                raise Conflict(f"{kind} {chunk['name']!r} is not ready")
        carriers = [chunk for kind, chunk in chunks if kind == RADIO_CHUNK]
        radio.configure(runtime, carriers)
        try:
            with runtime.store.write() as session:
                status = CONFIGURED if carriers else NOT_NEEDED
                return records.change(session, SLICE, slice_id, active=True, activation_status=status)
        except BaseException:
            radio.unconfigure(runtime, carriers)
            raise


def deactivate(runtime: Runtime, slice_id: str) -> Json:
    """Raises NotFound, Conflict while services run in it, HostError (it stays active)."""
    with runtime.changing:
        with runtime.store.read() as session:
            record = records.known(session, SLICE, slice_id)
            chunks = _chunks(session, record)
            if user := next(records.users(session, SLICE, slice_id), None):
                raise Conflict(f"{user} runs in slic3 {record['name']!r}: delete that first")
        if not record["active"]:
            return record
        radio.unconfigure(runtime, [chunk for kind, chunk in chunks if kind == RADIO_CHUNK])
        with runtime.store.write() as session:
            return records.change(session, SLICE, slice_id, active=False, activation_status=PENDING)


def remove(runtime: Runtime, slice_id: str) -> None:
    """Its chunks stay. Raises NotFound, Conflict while it is active."""
    with runtime.changing, runtime.store.write() as session:
        record = records.known(session, SLICE, slice_id)
        if record["active"]:
            raise Conflict(f"slic3 {record['name']!r} is active: deactivate it first")
        records.remove(session, SLICE, slice_id)


def chunks_of(session: Session, record: Json) -> dict[str, list[Json]]:
    """By kind."""
    found: dict[str, list[Json]] = {kind: [] for kind in CHUNKS}
    for kind, chunk in _chunks(session, record):
        found[kind].append(chunk)
    return found


def _chunks(session: Session, record: Json) -> list[tuple[str, Json]]:
    found = []
    for id_ in record["chunk_ids"]:
        kind = records.kind_of(session, id_, CHUNKS)
        found.append((kind, records.known(session, kind, id_)))
    return found


def _check_free(session: Session, ids: list[str], slice_id: str | None) -> None:
    """A chunk is of one slice; a loop's own chunk is of none."""
    for id_ in ids:
        if records.usable(session, id_, CHUNKS, "chunk_ids").get("loop"):
            raise Conflict(f"chunk_ids: {id_!r} is the chunk of a loop")
        for other in records.listed(session, SLICE):
            if other["id"] != slice_id and id_ in other["chunk_ids"]:
                raise Conflict(f"chunk_ids: {id_!r} is in slic3 {other['name']!r}")
