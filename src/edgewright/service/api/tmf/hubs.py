"""Subscriptions to an API's events: POST and DELETE of `/hub` (TMF630, part 1)."""

from __future__ import annotations

import time
import uuid

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy import delete

from edgewright.service.api.keys import Running, WithKey
from edgewright.service.refusals import NotFound
from edgewright.service.resources.outbox import check_hub
from edgewright.service.store.tables import HubRow
from edgewright.service.tmf.kinds import Api
from edgewright.service.tmf.models.part import Part, absent


class EventSubscriptionInput(Part):
    callback: str
    """An absolute http or https address; events go to its `/listener/<eventName>`."""
    query: str = absent()
    """Which events: conditions on their attributes, `eventType=A,B&event.serviceOrder.state=completed`."""


class EventSubscription(EventSubscriptionInput):
    id: str


def add_hub(router: APIRouter, api: Api) -> None:
    """Its routes."""

    @router.post("/hub", status_code=201, dependencies=[WithKey], responses={201: {"model": EventSubscription}})
    def post_hub(runtime: Running, body: EventSubscriptionInput) -> JSONResponse:
        """Be told of events."""
        made = body.model_dump(exclude_unset=True)
        check_hub(body.callback, made.get("query", ""))
        made["id"] = str(uuid.uuid4())
        with runtime.store.write() as session:
            session.add(HubRow(api=api.name, created=time.time(), **({"query": ""} | made)))
        return JSONResponse(made, 201, {"Location": f"{api.base}/hub/{made['id']}"})

    @router.delete("/hub/{id}", status_code=204, dependencies=[WithKey])
    def delete_hub(runtime: Running, id: str) -> None:
        """Be told no more."""
        with runtime.store.write() as session:
            gone = delete(HubRow).where(HubRow.api == api.name, HubRow.id == id).returning(HubRow.id)
            if session.scalar(gone) is None:
                raise NotFound("hub", id)
