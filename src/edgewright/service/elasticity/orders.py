"""What policies do is ordered, like what users do: the orders that they place, those that are open, the old ones."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from edgewright.core.errors import CapacityError
from edgewright.core.ledger import TOLERANCE
from edgewright.service.fulfilment import book
from edgewright.service.fulfilment.characteristics import booked, listed, ranges
from edgewright.service.refusals import NotFound
from edgewright.service.resources.query import Condition, Query
from edgewright.service.slices import records
from edgewright.service.slices.records import Json
from edgewright.service.tmf import kinds, ordering, states

if TYPE_CHECKING:
    from edgewright.service.runtime import Runtime

CATEGORY = "elasticity"  # of orders that policies place
OPEN = tuple(states.SERVICE_ORDER.moves.keys() - states.SERVICE_ORDER.final)
LEAST_CORES = 1e-4  # less is not worth an order
PRUNE_BATCH = 20  # each is a transaction
Changes = dict[str, dict[str, float]]
"""Service's id -> characteristic -> its new value."""


def place(runtime: Runtime, policy: str, changes: Changes) -> str:
    """-> the order's id. Raises InputError, StoreError."""
    items = []
    for n, (id, numbers) in enumerate(changes.items(), 1):
        service = {"id": id, "serviceCharacteristic": listed(numbers)}
        items.append({"id": str(n), "action": "modify", "service": service})
    body = {"description": f"policy {policy}", "category": CATEGORY, "serviceOrderItem": items}
    return str(kinds.create(runtime, ordering.API, ordering.SERVICE_ORDER, body)["id"])


def changing(session: Session) -> set[str]:
    """Ids of the services that orders are to change which have not ended, whoever placed them."""
    wanted = Query((Condition("state", "eq", OPEN),), limit=10_000)
    found = ordering.SERVICE_ORDER.of(session).find(wanted).bodies
    return {id for order in found for item in order["serviceOrderItem"] if (id := item["service"].get("id"))}


def replicas(runtime: Runtime, service: Json, more: int) -> int:
    """How many it may have; as many as it has where that is all. Raises CapacityError where the host has no room."""
    with runtime.store.read() as session:
        least, most, _ = ranges(book.package_run(session, service))["replicas"]
        chunk = records.named(session, records.COMPUTE_CHUNK, service["id"])
    have = book.numbers(service)
    wanted = int(min(max(have["replicas"] + more, least), most))
    if chunk is not None and wanted > have["replicas"]:  # an order that must fail would be placed again and again
        has = runtime.ledger.booked(chunk["id"])
        for name, amount in booked(have | {"replicas": wanted}).items():
            room = has.get(name, 0.0) + runtime.ledger.left(name)
            if amount > room + TOLERANCE:
                raise CapacityError(name, amount, room, owner=service["id"])
    return wanted


def moved(runtime: Runtime, giver: Json, taker: Json, cores: float) -> tuple[float, Changes]:
    """-> cores that may be moved in sum, as both ranges allow, and what the two have then; nothing where it is less
    than LEAST_CORES.
    """
    with runtime.store.read() as session:
        least = ranges(book.package_run(session, giver))["cpu"][0]
        most = ranges(book.package_run(session, taker))["cpu"][1]
    gives, gets = book.numbers(giver), book.numbers(taker)
    cores = min(cores, (gives["cpu"] - least) * gives["replicas"], (most - gets["cpu"]) * gets["replicas"])
    if cores < LEAST_CORES:
        return 0.0, {}
    # Not rounded so far that the ledger sees another sum than before.
    less, more = gives["cpu"] - cores / gives["replicas"], gets["cpu"] + cores / gets["replicas"]
    return cores, {giver["id"]: {"cpu": round(less, 12)}, taker["id"]: {"cpu": round(more, 12)}}


def prune(runtime: Runtime, retention_s: float) -> int:
    """Delete one batch of those that ended longer ago, as a user would -> how many. Raises StoreError."""
    conditions = Condition("category", "eq", (CATEGORY,)), Condition("state", "eq", tuple(ordering.ENDED))
    with runtime.store.read() as session:
        old = ordering.SERVICE_ORDER.of(session).ids(conditions, time.time() - retention_s, PRUNE_BATCH)
    for id in old:
        with contextlib.suppress(NotFound):  # somebody else was faster
            kinds.remove(runtime, ordering.API, ordering.SERVICE_ORDER, id)
    return len(old)
