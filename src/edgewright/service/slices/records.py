"""What the Slice Manager keeps: records of one kind each, named once, that stay while another one refers to them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from edgewright.core.documents import validate
from edgewright.service.packages import Package
from edgewright.service.refusals import Conflict, NotFound
from edgewright.service.resources.collection import Collection
from edgewright.service.resources.query import Condition, Query
from edgewright.service.store.tables import ChunkRow

Json = dict[str, Any]
USER, COMPUTE, NETWORK, RAN = "user", "compute", "physical_network", "ran_infrastructure"
COMPUTE_CHUNK, NETWORK_CHUNK, RADIO_CHUNK = "compute_chunk", "network_chunk", "radio_chunk"
PACKAGE, SLICE, SERVICE, INSTANCE = "package", "slic3", "network_service", "network_service_instance"
TELEMETRY, TARGET = "telemetry", "telemetry_target"
CHUNKS = (COMPUTE_CHUNK, NETWORK_CHUNK, RADIO_CHUNK)

_USER = {"user_id": (USER,)}
REFERS: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        USER: {},
        COMPUTE: _USER,
        NETWORK: _USER,
        RAN: _USER,
        COMPUTE_CHUNK: {**_USER, "compute_id": (COMPUTE,)},
        NETWORK_CHUNK: {**_USER, "physical_network_id": (NETWORK,), "compute_chunk_id": (COMPUTE_CHUNK,)},
        RADIO_CHUNK: {**_USER, "ran_infrastructure_id": (RAN,)},
        SLICE: {**_USER, "chunk_ids": CHUNKS},
        SERVICE: _USER,
        INSTANCE: {**_USER, "network_service_id": (SERVICE,), "slic3_id": (SLICE,)},
        TELEMETRY: {**_USER, "compute_id": (COMPUTE,)},
        TARGET: {"telemetry_id": (TELEMETRY,), "network_service_instance_id": (INSTANCE,)},
    }
)
"""Kind -> field -> the kinds of record that it may name."""


MAKING, READY, GOING = "creating", "ready", "deleting"
ALL = Query(limit=1_000_000)


def collection(session: Session, kind: str) -> Collection:
    return Collection(session, f"slices.{kind}")


def listed(session: Session, kind: str) -> list[Json]:
    """All of a kind, the oldest first."""
    if kind == COMPUTE_CHUNK:
        return [chunk_view(row) for row in session.scalars(select(ChunkRow).order_by(ChunkRow.created))]
    return collection(session, kind).find(ALL).bodies


def known(session: Session, kind: str, id_: str, field: str | None = None) -> Json:
    """Raises NotFound."""
    if kind == COMPUTE_CHUNK:
        row = session.get(ChunkRow, id_)
        found = None if row is None else chunk_view(row)
    else:
        found = collection(session, kind).get(id_)
    if found is None:
        raise NotFound(kind, id_, field)
    return found


def package(session: Session, key: str) -> Package:
    """One that was onboarded. Raises NotFound."""
    return as_package(known(session, PACKAGE, key))


def as_package(kept: Mapping[str, Any]) -> Package:
    return validate(Package, kept["descriptor"], source=f"package {kept['id']}")


def named(session: Session, kind: str, name: str) -> Json | None:
    """The one of that name."""
    return next(iter(_with(session, kind, "name", name)), None)


def add(session: Session, kind: str, body: Mapping[str, Any]) -> Json:
    """A new record with an id of its own. Raises NotFound for what it refers to, Conflict for a name in use."""
    check_references(session, kind, body)
    name = str(body["name"])
    if _with(session, kind, "name", name):
        raise Conflict(f"name: there is a {kind} named {name!r}")
    record = {"id": str(uuid.uuid4()), **body, "created": time.time()}
    collection(session, kind).add(record["id"], record)
    return record


def change(session: Session, kind: str, id_: str, **values: Any) -> Json:
    """Raises NotFound."""
    record = {**known(session, kind, id_), **values}
    collection(session, kind).put(id_, record)
    return record


def remove(session: Session, kind: str, id_: str) -> None:
    """Raises NotFound, Conflict while others refer to it."""
    check_unused(session, kind, id_)
    collection(session, kind).remove(id_)


def check_unused(session: Session, kind: str, id_: str) -> None:
    """Raises NotFound, Conflict."""
    found = known(session, kind, id_)
    if user := next(users(session, kind, id_), None):
        raise Conflict(f"{kind} {found['name']!r} is used by {user}: delete that first")


def users(session: Session, kind: str, id_: str) -> Iterator[str]:
    """Records that refer to one."""
    for other, fields in REFERS.items():
        for field in (name for name, kinds in fields.items() if kind in kinds):
            for found in _with(session, other, field, id_):
                yield f"{other} {found['name']!r}"


def check_references(session: Session, kind: str, body: Mapping[str, Any]) -> None:
    """Raises NotFound naming the field, Conflict for what is not ready."""
    for field, kinds in REFERS[kind].items():
        named = body.get(field)
        for id_ in named if isinstance(named, list | tuple) else [] if named is None else [named]:
            usable(session, id_, kinds, field)


def usable(session: Session, id_: str, kinds: tuple[str, ...], field: str) -> Json:
    """The record of that id and of one of these kinds. Raises NotFound, Conflict while it is made or removed."""
    kind = kind_of(session, id_, kinds, field)
    found = known(session, kind, id_)
    if (status := found.get("status", READY)) != READY:
        raise Conflict(f"{field}: {kind} {found['name']!r} is {status}")
    return found


def kind_of(session: Session, id_: str, kinds: tuple[str, ...], field: str | None = None) -> str:
    """Which of these kinds the record of that id is. Raises NotFound."""
    for kind in kinds:
        try:
            known(session, kind, id_)
        except NotFound:
            continue
        return kind
    raise NotFound(" or ".join(kinds), id_, field)


def chunk_view(row: ChunkRow) -> Json:
    """A compute chunk as the API shows it."""
    return {
        "id": row.id,
        "name": row.name,
        "user_id": row.body.get("user_id"),
        "description": row.body.get("description", ""),
        "compute_id": row.body.get("compute_id"),
        "requirements": {
            "cpus": {"required": row.cpus},
            "ram": {"required": row.ram_mb, "units": "MB"},
            "storage": {"required": row.body.get("storage_gb", 0.0), "units": "GB"},
        },
        "loop": row.loop or None,
        "status": row.body.get("status", READY),
    }


def _with(session: Session, kind: str, field: str, value: str) -> list[Json]:
    if kind == COMPUTE_CHUNK:
        return [body for body in listed(session, kind) if body.get(field) == value]
    return collection(session, kind).find(Query((Condition(field, "eq", (value,)),))).bodies
