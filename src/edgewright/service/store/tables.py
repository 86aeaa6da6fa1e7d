"""The tables. Times are seconds since the epoch."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Float, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Table(DeclarativeBase):
    type_annotation_map = {float: Float, dict[str, Any]: JSON, list[Any]: JSON}


Counted = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up INTEGER keys alone
Sorted = Text().with_variant(Text(collation="C"), "postgresql")  # by code points, as SQLite does


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
    chunk_id: Mapped[str] = mapped_column(String(36))  # "" where an ordered service's replicas have it
    service: Mapped[str] = mapped_column(String(64), server_default="")  # of the inventory, "" for a loop of its own
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


class ResourceRow(Table):
    """A resource of an API, as it answers it."""

    __tablename__ = "resources"
    seq: Mapped[int] = mapped_column(Counted, primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(40))
    id: Mapped[str] = mapped_column(String(64))
    body: Mapped[dict[str, Any]]
    created: Mapped[float]
    updated: Mapped[float]
    __table_args__ = (UniqueConstraint("kind", "id"),)


class AttributeRow(Table):
    """A scalar of a resource's body, to find and sort by: `path` without indices, text or number."""

    __tablename__ = "attributes"
    resource: Mapped[int] = mapped_column(Counted, ForeignKey("resources.seq", ondelete="CASCADE"), primary_key=True)
    n: Mapped[int] = mapped_column(primary_key=True)  # in the order of the body
    path: Mapped[str] = mapped_column(String(200))
    text: Mapped[str] = mapped_column(Sorted)  # as JSON shows it, text without quotes
    head: Mapped[str] = mapped_column(String(100))  # of text: an index holds no long ones
    number: Mapped[float | None]
    __table_args__ = (
        Index("attributes_by_text", "path", "head"),
        Index("attributes_by_number", "path", "number"),
        {"sqlite_with_rowid": False},
    )


class HubRow(Table):
    """Who is told of an API's events."""

    __tablename__ = "hubs"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    api: Mapped[str] = mapped_column(String(40))
    callback: Mapped[str] = mapped_column(Text)
    query: Mapped[str] = mapped_column(Text)  # "" for all events
    created: Mapped[float]


class OutboxRow(Table):
    """An event, written with the change that it tells of."""

    __tablename__ = "outbox"
    seq: Mapped[int] = mapped_column(Counted, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(36), unique=True)
    api: Mapped[str] = mapped_column(String(40))
    type: Mapped[str] = mapped_column(String(80))
    subject: Mapped[str] = mapped_column(String(64))  # id of the resource
    t: Mapped[float]
    body: Mapped[dict[str, Any]]  # as it is delivered
    __table_args__ = (Index("outbox_by_time", "t"),)


class DeliveryRow(Table):
    """An event on its way to one hub."""

    __tablename__ = "deliveries"
    hub: Mapped[str] = mapped_column(String(36), ForeignKey("hubs.id", ondelete="CASCADE"), primary_key=True)
    event: Mapped[int] = mapped_column(Counted, ForeignKey("outbox.seq", ondelete="CASCADE"), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))  # waiting | delivered | dead
    attempts: Mapped[int]
    since: Mapped[float]  # published, or given again
    due: Mapped[float]  # of the next attempt
    error: Mapped[str] = mapped_column(Text)  # of the last attempt
    __table_args__ = (Index("deliveries_waiting", "hub", "state", "event"), Index("deliveries_of_event", "event"))


class WorkflowRow(Table):
    """A piece of work of many steps that goes on after a crash."""

    __tablename__ = "workflows"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))
    input: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16))  # running | undoing | done | failed
    error: Mapped[str] = mapped_column(Text)
    created: Mapped[float]
    updated: Mapped[float]
    __table_args__ = (Index("workflows_by_state", "state"),)


class StepRow(Table):
    """A step of a workflow: what came of it is not done again."""

    __tablename__ = "steps"
    workflow: Mapped[str] = mapped_column(String(64), ForeignKey("workflows.id", ondelete="CASCADE"), primary_key=True)
    n: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    state: Mapped[str] = mapped_column(String(16))  # running | done | failed | undone
    attempts: Mapped[int]
    output: Mapped[dict[str, Any]]
    error: Mapped[str] = mapped_column(Text)
    began: Mapped[float]
    ended: Mapped[float | None]
