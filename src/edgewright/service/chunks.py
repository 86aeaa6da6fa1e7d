"""Compute chunks: shares of this host, admitted through the ledger, kept in the store, felt by the loop in them."""

from __future__ import annotations

import contextlib
import time
import uuid
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from edgewright.core.errors import InputError
from edgewright.scaling.model import MB
from edgewright.service.loops.orders import Conflict, check_capacity, set_capacity
from edgewright.service.runtime import Runtime
from edgewright.service.store.tables import ChunkRow


class NoChunk(Exception):
    """There is no chunk of that id."""


def chunks(runtime: Runtime) -> list[ChunkRow]:
    with runtime.store.read() as session:
        return list(session.scalars(select(ChunkRow).order_by(ChunkRow.created)))


def chunk(runtime: Runtime, chunk_id: str) -> ChunkRow:
    """Raises NoChunk."""
    with runtime.store.read() as session:
        row = session.get(ChunkRow, chunk_id)
    if row is None:
        raise NoChunk(f"no compute_chunk {chunk_id!r}")
    return row


def create(runtime: Runtime, name: str, cpus: float, ram_mb: float, body: dict[str, Any]) -> ChunkRow:
    """Book and keep a chunk, or neither. Raises CapacityError, InputError for a name in use, StoreError."""
    row = ChunkRow(id=str(uuid.uuid4()), name=name, cpus=cpus, ram_mb=ram_mb, loop="", body=body, created=time.time())
    with runtime.changing:
        runtime.ledger.book(row.id, {"cpu": cpus, "memory_bytes": ram_mb * MB})
        try:
            with runtime.store.write() as session:
                session.add(row)
        except IntegrityError:
            runtime.ledger.release(row.id)
            raise InputError("name", name, "a name that no chunk has yet") from None
        except BaseException:
            runtime.ledger.release(row.id)
            raise
    runtime.recorder.event("chunk_created", f"{name}: {cpus:g} CPU, {ram_mb:g} MB")
    return row


def remove(runtime: Runtime, chunk_id: str) -> None:
    """Raises NoChunk, Conflict while a loop runs in it."""
    with runtime.changing:
        row = chunk(runtime, chunk_id)
        if row.loop:
            raise Conflict(f"loop {row.loop!r} runs in this chunk: delete the loop first")
        with runtime.store.write() as session:
            session.execute(delete(ChunkRow).where(ChunkRow.id == chunk_id))
        runtime.ledger.release(chunk_id)
    runtime.recorder.event("chunk_deleted", row.name)


def resize(runtime: Runtime, chunk_id: str, *, cpus: float | None = None, ram_mb: float | None = None) -> None:
    """Change a quota: booked, felt by the loop in it and kept, or none of these.

    Raises NoChunk, CapacityError (the host has no room), Conflict (its services need more), StoreError.
    """
    with runtime.changing:
        row = chunk(runtime, chunk_id)
        loop = runtime.loops.get(row.loop)
        old = runtime.ledger.booked(chunk_id)
        runtime.ledger.book(chunk_id, {"cpu": cpus} if cpus is not None else {"memory_bytes": (ram_mb or 0.0) * MB})
        with loop.ordering if loop is not None else contextlib.nullcontext():
            try:
                if loop is not None:
                    check_capacity(loop, cpus, ram_mb)
                with runtime.store.write() as session:
                    values = {"cpus": cpus} if cpus is not None else {"ram_mb": ram_mb}
                    session.execute(update(ChunkRow).where(ChunkRow.id == chunk_id).values(**values))
            except BaseException:
                runtime.ledger.book(chunk_id, old)
                raise
            if loop is not None:
                set_capacity(loop, cpus, ram_mb)
    detail = f"{row.name}: {cpus:g} CPU" if cpus is not None else f"{row.name}: {ram_mb:g} MB"
    runtime.recorder.event("chunk_resized", detail, loop=row.loop)
