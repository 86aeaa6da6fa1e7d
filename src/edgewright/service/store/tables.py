"""The tables. Times are seconds since the epoch."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Float, Index, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Table(DeclarativeBase):
    type_annotation_map = {float: Float, dict[str, Any]: JSON, list[Any]: JSON}


class ApiKey(Table):
    __tablename__ = "api_keys"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)  # SHA-256 of the key, hexadecimal
    created: Mapped[float]


class LoopRow(Table):
    """What a loop is to do, and the limits it last put in force."""

    __tablename__ = "loops"
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    scenario: Mapped[dict[str, Any]]
    folder: Mapped[str] = mapped_column(Text)  # where the scenario's relative paths start
    mode: Mapped[str] = mapped_column(String(16))
    policy: Mapped[str] = mapped_column(Text)
    pins: Mapped[dict[str, Any]]  # service -> cores
    limits: Mapped[dict[str, Any]]  # service -> {cpu, memory_bytes}
    load: Mapped[dict[str, Any]]  # service -> factor
    ports: Mapped[dict[str, Any]]  # of the processes on this host, so that a crash does not move them
    chunk_id: Mapped[str] = mapped_column(String(36))
    created: Mapped[float]


class BackhaulRow(Table):
    """What a backhaul loop is to do, and the paths it last put in force."""

    __tablename__ = "backhauls"
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    scenario: Mapped[dict[str, Any]]  # with its network
    mode: Mapped[str] = mapped_column(String(16))
    planner: Mapped[str] = mapped_column(String(40))
    demand: Mapped[dict[str, Any]]  # matrix: id, None where they take turns; factor
    choice: Mapped[list[Any]]  # path of each flow; empty before the first
    created: Mapped[float]


class MigrationRow(Table):
    """What a migration loop is to do, and the node that serves."""

    __tablename__ = "migrations"
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    scenario: Mapped[dict[str, Any]]  # with the road and the nodes
    mode: Mapped[str] = mapped_column(String(16))
    policy: Mapped[str] = mapped_column(Text)
    pace: Mapped[float]
    node: Mapped[str] = mapped_column(String(63))  # "" before the first
    created: Mapped[float]


class DecisionRow(Table):
    __tablename__ = "decisions"
    loop: Mapped[str] = mapped_column(String(63), primary_key=True)  # a name is of one loop, whatever its kind
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    t: Mapped[float]
    by: Mapped[str] = mapped_column(String(16))  # policy | user
    mode: Mapped[str] = mapped_column(String(16))
    policy: Mapped[str] = mapped_column(Text)  # or planner
    changed: Mapped[bool]  # limits, paths or the node were changed, or a change was refused
    body: Mapped[dict[str, Any]]  # what was seen, wanted, allowed, done
    __table_args__ = (
        Index("decisions_by_time", "t"),
        Index("decisions_changed", "loop", "changed", "seq"),
    )


class EventRow(Table):
    __tablename__ = "events"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    loop: Mapped[str] = mapped_column(String(63))  # "" for the orchestrator itself
    t: Mapped[float]
    kind: Mapped[str] = mapped_column(String(40))
    service: Mapped[str] = mapped_column(String(63))  # "" for the loop itself
    detail: Mapped[str] = mapped_column(Text)
    __table_args__ = (Index("events_by_time", "t"), Index("events_of_loop", "loop", "t"))


class ChunkRow(Table):
    __tablename__ = "compute_chunks"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    cpus: Mapped[float]  # cores
    ram_mb: Mapped[float]
    loop: Mapped[str] = mapped_column(String(63))  # "" where none runs in it
    body: Mapped[dict[str, Any]]  # as posted: user_id, description, compute_id
    created: Mapped[float]


class LeaseRow(Table):
    """Which process runs a loop, until when, and where its API is."""

    __tablename__ = "leases"
    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    holder: Mapped[str] = mapped_column(String(200))
    address: Mapped[str] = mapped_column(Text)
    expires: Mapped[float]
