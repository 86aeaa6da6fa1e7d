"""TMF641, service ordering: orders, and tasks that cancel them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from edgewright.service.refusals import Conflict
from edgewright.service.tmf import states
from edgewright.service.tmf.kinds import Api, Kind, now, save
from edgewright.service.tmf.models import tmf641

if TYPE_CHECKING:
    from edgewright.service.runtime import Runtime

Json = dict[str, Any]
ENDED = states.SERVICE_ORDER.final


def _order(body: Json) -> Json:
    items = [item | {"state": "acknowledged"} for item in body["serviceOrderItem"]]
    return {"@type": "ServiceOrder", **body, "orderDate": now(), "state": "acknowledged", "serviceOrderItem": items}


def _cancellation(body: Json) -> Json:
    return {"@type": "CancelServiceOrder", "requestedCancellationDate": now()} | body | {"state": "accepted"}


def _cancel(runtime: Runtime, session: Session, task: Json) -> None:
    """The order's workflow turns back; `fulfilment` ends the task with it."""
    order_id = task["serviceOrder"]["id"]
    order = SERVICE_ORDER.of(session).get(order_id, lock=True)
    try:
        if order is None:
            raise Conflict(f"no serviceOrder {order_id!r}")
        reason = {"cancellationReason": task["cancellationReason"]} if "cancellationReason" in task else {}
        runtime.fulfilment.cancel(session, order_id)
        save(session, API, SERVICE_ORDER, order, order | {"state": "assessingCancellation"} | reason)
    except Conflict as refusal:
        end_task(session, task, str(refusal))
    else:
        save(session, API, CANCEL_SERVICE_ORDER, task, task | {"state": "inProgress"})


def end_task(session: Session, task: Json, refusal: str | None = None) -> None:
    if refusal is None:
        ended: Json = {"state": "done", "effectiveCancellationDate": now()}
    else:
        wrong = {"code": "conflict", "reason": "Conflict", "message": refusal, "status": "409"}
        ended = {"state": "terminatedWithError", "completionMessage": refusal, "errorMessage": wrong}
    save(session, API, CANCEL_SERVICE_ORDER, task, task | ended)


@contextmanager
def _changing(_: Runtime, old: Json, new: Json, wait_s: float) -> Iterator[Json]:
    if new["state"] != old["state"]:
        raise Conflict("state: an order moves with its workflow; to cancel it, POST a cancelServiceOrder")
    if new["serviceOrderItem"] != old["serviceOrderItem"]:
        raise Conflict("serviceOrderItem: the workflow has begun with these; order the change as another order")
    yield new


def _removing(runtime: Runtime, session: Session, old: Json) -> None:
    if old["state"] not in ENDED:
        raise Conflict(f"state: the order is {old['state']}: cancel it first")
    runtime.fulfilment.workflows.forget(session, old["id"])


SERVICE_ORDER: Kind = Kind(
    "serviceOrder",
    tmf641.ServiceOrder,
    tmf641.ServiceOrderCreate,
    tmf641.ServiceOrderUpdate,
    events=(
        *("Create", "AttributeValueChange", "StateChange", "Delete"),
        *("InformationRequired", "Milestone", "Jeopardy"),
    ),
    machine=states.SERVICE_ORDER,
    complete=_order,
    created=lambda runtime, session, order: runtime.fulfilment.ordered(session, order),
    changing=_changing,
    removing=_removing,
)
CANCEL_SERVICE_ORDER: Kind = Kind(
    "cancelServiceOrder",
    tmf641.CancelServiceOrder,
    tmf641.CancelServiceOrderCreate,
    removable=False,
    events=("Create", "StateChange", "InformationRequired"),
    machine=states.CANCEL_SERVICE_ORDER,
    complete=_cancellation,
    created=_cancel,
)
API: Api = Api(
    "serviceOrdering",
    "/tmf-api/serviceOrdering/v4",
    (SERVICE_ORDER, CANCEL_SERVICE_ORDER),
    {"/tmf-api/service-order-management/v4": ()},
)
