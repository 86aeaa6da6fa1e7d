"""Orders and the inventory as resources: read, moved through their states, each change with its events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from edgewright.core.errors import InputError
from edgewright.service.fulfilment.characteristics import (
    ADDRESS,
    CHOICES,
    FIELDS,
    INSTANCE,
    LOOP,
    SLICE,
    listed,
    runs_here,
    told,
    value_of,
)
from edgewright.service.packages import Package
from edgewright.service.refusals import Conflict, NotFound
from edgewright.service.resources.query import Condition, Query
from edgewright.service.slices import records
from edgewright.service.slices.records import PACKAGE, Json
from edgewright.service.tmf import catalogue, inventory, kinds, ordering
from edgewright.service.tmf.kinds import Api, Kind

if TYPE_CHECKING:
    from edgewright.service.runtime import Runtime

ORDER, SERVICE, SPECIFICATION = ordering.SERVICE_ORDER, inventory.SERVICE, catalogue.SERVICE_SPECIFICATION


# Reading


def order(session: Session, id: str) -> Json:
    """Raises NotFound."""
    return _known(session, ORDER, id)


def service(session: Session, id: str) -> Json:
    """Raises NotFound."""
    return _known(session, SERVICE, id)


def managed(session: Session, reference: Mapping[str, Any], states: tuple[str, ...] = ("active",)) -> Json:
    """A service that we run and that an order names. Raises InputError, NotFound, Conflict."""
    if not reference.get("id"):
        raise InputError("service.id", None, "the id of a service of the inventory")
    found = service(session, reference["id"])
    if not value_of(found, INSTANCE):
        raise Conflict(f"service {found['id']} is not run by this orchestrator")
    if found["state"] not in states:
        raise Conflict(f"service {found['id']} is {found['state']}, not {' or '.join(states)}")
    return found


def running(session: Session) -> list[Json]:
    """Services that we run."""
    found = SERVICE.of(session).find(Query((Condition("state", "eq", ("active", "inactive")),), limit=1_000_000))
    return [each for each in found.bodies if value_of(each, INSTANCE)]


def find_running(session: Session, id: str) -> Json | None:
    found = _get(session, SERVICE, id)
    return found if found is not None and value_of(found, INSTANCE) else None


def owner(session: Session, instance_id: str) -> Json | None:
    """The service that an instance of the Slice Manager is of. Raises NotFound."""
    found = _get(session, SERVICE, records.known(session, records.INSTANCE, instance_id)["name"])
    return found if found is not None and runs_here(found) else None


def package_run(session: Session, service: Mapping[str, Any]) -> Package:
    """Of a service that runs: whatever became of its specification. Raises NotFound."""
    return records.package(session, records.known(session, records.INSTANCE, value_of(service, INSTANCE))["package"])


def package_of(session: Session, described: Mapping[str, Any]) -> Package:
    """Of a service's specification. Raises InputError, NotFound."""
    reference = described.get("serviceSpecification") or {}
    if not reference.get("id"):
        raise InputError("service.serviceSpecification.id", None, "the id of a service specification")
    specification = _known(session, SPECIFICATION, reference["id"])
    if key := package_key(specification):
        return records.package(session, key)
    allowed = "one that a package was onboarded for: it has an attachment of the type `package`"
    raise InputError("service.serviceSpecification.id", reference["id"], allowed)


def package_key(specification: Mapping[str, Any]) -> str | None:
    """Of the package that a specification offers."""
    found = (each for each in specification.get("attachment") or () if each.get("attachmentType") == PACKAGE)
    return next((str(each.get("name")) for each in found), None)


def numbers(service: Mapping[str, Any]) -> dict[str, float]:
    """What it has of each CHOICES."""
    return {choice.name: value_of(service, choice.name) for choice in CHOICES}


# Orders


def accept(session: Session, order_id: str) -> None:
    """It is feasible: work begins, unless it is being cancelled meanwhile."""
    _save(session, ordering.API, ORDER, order_id, _begin)


def finish(session: Session, order_id: str, state: str, error: str) -> None:
    """The end of its workflow: `done`, or `failed` with everything undone that can be."""
    old = _get(session, ORDER, order_id)
    if old is None or old["state"] in ordering.ENDED:
        return
    cancelling = old["state"] in ("assessingCancellation", "pendingCancellation")
    # What was terminated cannot be brought back; what a service gave away, others may have now.
    items = old["serviceOrderItem"]
    kept = [each["id"] for each in items if each["state"] == "completed" and each["action"] != "add"]
    if state == "done":
        end, path = "completed", ["completed"]
    elif kept:
        end, path = "partial", ["inProgress", "partial"] if cancelling else ["partial"]
    elif cancelling:
        end, path = "cancelled", ["pendingCancellation", "cancelled"]
    elif old["state"] == "acknowledged":
        end, path = "rejected", ["rejected"]
    else:
        end, path = "failed", ["failed"]
    more: Json = {"completionDate": kinds.now()} if end in ("completed", "partial") else {}
    if end == "cancelled":
        more["cancellationDate"] = kinds.now()
    if end in ("partial", "rejected", "failed"):
        reason = "feasibility" if end == "rejected" else "fulfilment"
        more["errorMessage"] = [{"code": end, "reason": reason, "message": error}]
    left = {"state": "failed" if end == "partial" else end}
    more["serviceOrderItem"] = [each if each["id"] in kept else each | left for each in items]
    for step in path:
        new = old | {"state": step} | (more if step == end else {})
        kinds.save(session, ordering.API, ORDER, old, new)
        old = new
    if cancelling:
        _end_tasks(
            session, order_id, None if end == "cancelled" else f"the order is {end}: not all of it could be undone"
        )


def _end_tasks(session: Session, order_id: str, refusal: str | None) -> None:
    kind = ordering.CANCEL_SERVICE_ORDER
    wanted = Query((Condition("serviceOrder.id", "eq", (order_id,)), Condition("state", "eq", ("inProgress",))))
    for task in kind.of(session).find(wanted).bodies:
        ordering.end_task(session, task, refusal)


def _begin(body: Json) -> None:
    if body["state"] == "acknowledged":
        body |= {"state": "inProgress", "startDate": kinds.now()}
        for item in body["serviceOrderItem"]:
            item["state"] = "inProgress"


def _complete_item(item_id: str, **service: Any) -> Callable[[Json], None]:
    def change(body: Json) -> None:
        for item in body["serviceOrderItem"]:
            if item["id"] == item_id:
                item["state"] = "completed"
                item["service"] = item["service"] | service

    return change


# The inventory


def reserve(session: Session, order_id: str, item_id: str, id: str, own: list[Json]) -> None:
    """An ordered service, not yet running."""
    if _get(session, SERVICE, id) is not None:
        return
    item = next(each for each in order(session, order_id)["serviceOrderItem"] if each["id"] == item_id)
    given = {name: value for name, value in item["service"].items() if name not in ("id", "href", "@referredType")}
    body = given | {
        "state": "reserved",
        "serviceCharacteristic": own,
        "serviceOrderItem": [{"serviceOrderId": order_id, "itemId": item_id, "itemAction": "add"}],
        "isServiceEnabled": False,
        "hasStarted": False,
    }
    kinds.add(session, inventory.API, SERVICE, body, id)


def withdraw(session: Session, id: str) -> None:
    if (old := _get(session, SERVICE, id)) is not None:
        SERVICE.of(session).remove(id)
        kinds.tell(session, inventory.API, SERVICE, "Delete", old)


def hand_over(session: Session, order_id: str, item_id: str, id: str, own: Mapping[str, str | None]) -> None:
    def active(body: Json) -> None:
        kept = told(numbers(body), **{SLICE: value_of(body, SLICE)}, **own)
        now = kinds.now()
        body |= {"state": "active", "serviceCharacteristic": kept, "startDate": now}
        body |= {"isServiceEnabled": True, "hasStarted": True}

    _save(session, inventory.API, SERVICE, id, active)
    _save(session, ordering.API, ORDER, order_id, _complete_item(item_id, id=id, href=inventory.API.href(SERVICE, id)))


def complete(session: Session, order_id: str, item_id: str) -> None:
    """An item that is done, or cannot be undone."""
    _save(session, ordering.API, ORDER, order_id, _complete_item(item_id))


def terminated(service: Json) -> Json:
    kept = [each for each in service.get("serviceCharacteristic") or () if each["name"] in FIELDS]
    more = {"state": "terminated", "endDate": kinds.now(), "isServiceEnabled": False}
    return service | more | {"serviceCharacteristic": kept}


def terminate(session: Session, id: str, order_id: str = "", item_id: str = "") -> None:
    """It is gone; the inventory remembers it. The standard lets only what is active end."""
    state = (_get(session, SERVICE, id) or {"state": "terminated"})["state"]
    if state == "inactive":
        _save(session, inventory.API, SERVICE, id, lambda body: body.update(state="active"))
    if state != "terminated":
        _save(session, inventory.API, SERVICE, id, lambda body: body.update(terminated(body)))
    if order_id:
        complete(session, order_id, item_id)


def settle(session: Session, instance: Mapping[str, Any]) -> None:
    """After a crash between an effect and its commit, the inventory says what is in force."""
    in_force = {name: instance[field] for name, field in FIELDS.items()}
    of_it = Query((Condition("serviceCharacteristic.value", "eq", (instance["id"],)),))
    for each in SERVICE.of(session).find(of_it).bodies:
        have = (numbers(each), each["state"] == "active", value_of(each, ADDRESS))
        if have != (in_force, instance["active"], instance["address"]):
            kept = changed(each, in_force, instance["active"], instance["address"])
            kinds.save(session, inventory.API, SERVICE, each, kept)


def changed(service: Json, have: Mapping[str, float], active: bool, address: str | None = None) -> Json:
    """One that runs here, with other numbers, made active or inactive, or at another address."""
    own = {name: value_of(service, name) for name in (SLICE, ADDRESS, INSTANCE, LOOP)}
    own[ADDRESS] = address or own[ADDRESS]
    now = service | {"serviceCharacteristic": told(have, **own)}
    if active != (service["state"] == "active"):
        now |= {"state": "active" if active else "inactive", "isServiceEnabled": active}
    return now


def change_service(runtime: Runtime, id: str, wanted: Mapping[str, float], wait_s: float = -1) -> None:
    """By the same door as a PATCH of the inventory. Raises what it does."""
    kinds.change(runtime, inventory.API, SERVICE, id, {"serviceCharacteristic": listed(wanted)}, wait_s)


# Inside


def _known(session: Session, kind: Kind, id: str) -> Json:
    if (found := _get(session, kind, id)) is None:
        raise NotFound(kind.name, id)
    return found


def _get(session: Session, kind: Kind, id: str) -> Json | None:
    return kind.of(session).get(id, lock=True)


def _save(session: Session, api: Api, kind: Kind, id: str, change: Callable[[Json], None]) -> None:
    """What is deleted meanwhile is left so."""
    if (old := _get(session, kind, id)) is None:
        return
    new: Json = {**old}
    for name in ("serviceOrderItem", "serviceCharacteristic"):
        if name in new:
            new[name] = [dict(each) for each in new[name]]
    change(new)
    if new != old:
        kinds.save(session, api, kind, old, new)
