"""Orders over TMF641, before anybody works on them; the work itself is in test_fulfilment.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from edgewright.service.tmf import ordering

from .conftest import Client
from .tmf import ITEM, check_error, end, events, idle, made

Json = dict[str, Any]
PARTY = {"id": "p", "role": "owner", "@type": "RelatedParty", "@referredType": "Individual"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with idle(tmp_path_factory.mktemp("shared")) as client:
        yield client


def order(client: Client, **more: Any) -> Json:
    return made(client, ordering.API, ordering.SERVICE_ORDER, **more)


def cancel(client: Client, id: str, **more: Any) -> Json:
    return made(client, ordering.API, ordering.CANCEL_SERVICE_ORDER, serviceOrder={"id": id}, **more)


def test_a_new_order_is_acknowledged_with_its_items(shared: Client) -> None:
    body = order(shared, serviceOrderItem=[ITEM, ITEM | {"id": "2", "state": "held"}])
    assert (body["state"], body["@type"]) == ("acknowledged", "ServiceOrder")
    assert [item["state"] for item in body["serviceOrderItem"]] == ["acknowledged"] * 2
    assert body["orderDate"].endswith("Z")


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"serviceOrderItem": []}, "serviceOrderItem"),
        ({"serviceOrderItem": [{"id": "1"}]}, "serviceOrderItem.0"),
        ({"serviceOrderItem": [ITEM | {"action": "paint"}]}, "serviceOrderItem.0.action"),
        ({"serviceOrderItem": [ITEM | {"wind": 1}]}, "serviceOrderItem.0.wind"),
        ({"state": "completed"}, "state"),
        ({"orderDate": "2026-01-01T00:00:00Z"}, "orderDate"),
        ({"requestedStartDate": "tomorrow"}, "requestedStartDate"),
        ({"requestedStartDate": "2026-02-30T00:00:00Z"}, "requestedStartDate"),
        ({"requestedStartDate": "2026-01-01"}, "requestedStartDate"),
        ({"relatedParty": [PARTY | {"id": 7}]}, "relatedParty.0.id"),
        ({"relatedParty": [PARTY | {"href": "not a uri"}]}, "relatedParty.0.href"),
        ({"relatedParty": [{"id": "p"}]}, "relatedParty.0.@"),
    ],
)
def test_orders_that_are_none(shared: Client, more: Json, field: str) -> None:
    body = {"serviceOrderItem": [ITEM]} | more
    check_error(shared.post("/tmf-api/serviceOrdering/v4/serviceOrder", json=body), 400, field)


def test_attributes_of_the_server_cannot_be_patched(shared: Client) -> None:
    body = order(shared)
    for name in ("orderDate", "startDate", "completionDate", "@type", "category", "milestone", "jeopardyAlert"):
        check_error(shared.patch(body["href"], json={name: body.get(name, "x")}), 400, name)
    check_error(shared.patch(body["href"], json={"state": "completed"}), 409, "state")
    assert shared.get(body["href"]).json() == body


def test_a_cancellation_moves_the_order(shared: Client) -> None:
    body = order(shared)
    task = cancel(shared, body["id"], cancellationReason="changed my mind")
    assert task["state"] == "inProgress"
    shown = shared.get(body["href"]).json()
    assert (shown["state"], shown["cancellationReason"]) == ("assessingCancellation", "changed my mind")
    assert "ServiceOrderStateChangeEvent" in [type_ for type_, _ in events(shared, body["id"])]
    assert [(type_, told["cancelServiceOrder"]["state"]) for type_, told in events(shared, task["id"])] == [
        ("CancelServiceOrderCreateEvent", "accepted"),
        ("CancelServiceOrderStateChangeEvent", "inProgress"),
    ]


def test_a_cancellation_that_is_refused_says_why_and_the_order_stays(shared: Client) -> None:
    body = order(shared)
    end(shared, ordering.API, ordering.SERVICE_ORDER, body)
    ended = shared.get(body["href"]).json()
    for id, said in ((body["id"], "rejected"), ("none", "none")):
        task = cancel(shared, id)
        assert (task["state"], task["errorMessage"]["code"]) == ("terminatedWithError", "conflict")
        assert said in task["completionMessage"]
        assert shared.get(task["href"]).json() == task
    assert shared.get(body["href"]).json() == ended


def test_an_order_that_is_worked_on_cannot_be_deleted(shared: Client) -> None:
    body = order(shared)
    check_error(shared.delete(body["href"]), 409, "acknowledged")
    assert shared.get(body["href"]).json() == body
