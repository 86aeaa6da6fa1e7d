"""What the standard APIs do not tell of an order: the steps of its workflow; and of events: who was not reached."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Query
from sqlalchemy import func, select

from edgewright.service.api.keys import MORE_WITH_KEY, HasKey, Running, WithKey
from edgewright.service.fulfilment import book
from edgewright.service.refusals import NotFound
from edgewright.service.resources.deliveries import redeliver
from edgewright.service.store.tables import DeliveryRow, HubRow, OutboxRow

router = APIRouter(prefix="/api/edgewright/v1", tags=["order"])
Json = dict[str, Any]


@router.get("/orders/{order}/steps")
def get_steps(runtime: Running, order: str) -> list[Json]:
    """Done, under way and to come: name, state, attempts, when, and the error of one that failed."""
    found = runtime.fulfilment.steps(order)
    if not found:
        with runtime.store.read() as session:
            book.order(session, order)
    return [asdict(step) for step in found]


@router.get("/tmf-events")
def get_events(
    runtime: Running,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
) -> list[Json]:
    """Events of the standard APIs, newest first. `before`: a seq."""
    wanted = select(OutboxRow).order_by(OutboxRow.seq.desc()).limit(limit)
    if before is not None:
        wanted = wanted.where(OutboxRow.seq < before)
    with runtime.store.read() as session:
        return [
            {"seq": row.seq, "t": row.t, "api": row.api, "type": row.type, "subject": row.subject}
            for row in session.scalars(wanted)
        ]


@router.get("/hubs", openapi_extra=MORE_WITH_KEY)
def get_hubs(runtime: Running, known: HasKey) -> list[Json]:
    """Who is told of events, how many were delivered, wait, or were given up (`dead`). Without a key, a `callback` has
    no path: it may hold a token.
    """
    counts = select(DeliveryRow.hub, DeliveryRow.state, func.count()).group_by(DeliveryRow.hub, DeliveryRow.state)
    with runtime.store.read() as session:
        hubs = session.scalars(select(HubRow).order_by(HubRow.created)).all()
        states = {(hub, state): number for hub, state, number in session.execute(counts)}
    return [
        {"id": hub.id, "api": hub.api, "callback": hub.callback if known else _origin(hub.callback), "query": hub.query}
        | {state: states.get((hub.id, state), 0) for state in ("waiting", "delivered", "dead")}
        for hub in hubs
    ]


@router.post("/hubs/{hub}/redeliver", dependencies=[WithKey])
def post_redeliver(runtime: Running, hub: str) -> Json:
    """Try again what was given up -> how many events."""
    with runtime.store.read() as session:
        if session.get(HubRow, hub) is None:
            raise NotFound("hub", hub)
    return {"events": redeliver(runtime.store, hub)}


def _origin(address: str) -> str:
    """Scheme, host and port (RFC 6454)."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"
