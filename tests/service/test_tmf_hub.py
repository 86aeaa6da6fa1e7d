"""Subscriptions to events over HTTP."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from edgewright.service.store.tables import DeliveryRow
from edgewright.service.tmf import catalogue, inventory
from edgewright.service.tmf.kinds import Api

from .conftest import Client
from .tmf import APIS, check_error, made

EACH = pytest.mark.parametrize("api", APIS, ids=[api.name for api in APIS])
CALLBACK = "http://127.0.0.1:1/events"


@EACH
def test_subscribed_and_no_more(shared: Client, api: Api) -> None:
    answer = shared.post(f"{api.base}/hub", json={"callback": CALLBACK, "query": "eventType=XEvent"})
    body = answer.json()
    assert answer.status_code == 201, answer.text
    assert body == {"id": body["id"], "callback": CALLBACK, "query": "eventType=XEvent"}
    assert answer.headers["Location"] == f"{api.base}/hub/{body['id']}"
    other = next(each for each in APIS if each != api)
    check_error(shared.delete(f"{other.base}/hub/{body['id']}"), 404)
    assert shared.delete(answer.headers["Location"]).status_code == 204
    check_error(shared.delete(answer.headers["Location"]), 404, body["id"])


@EACH
@pytest.mark.parametrize("alias", [True, False])
def test_under_every_base(shared: Client, api: Api, alias: bool) -> None:
    for base in api.aliases if alias else [api.base]:
        answer = shared.post(f"{base}/hub", json={"callback": CALLBACK})
        assert "query" not in answer.json()
        assert shared.delete(f"{base}/hub/{answer.json()['id']}").status_code == 204
        check_error(shared.get(f"{base}/hub"), 405)


@EACH
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "callback"),
        ({"callback": None}, "callback"),
        ({"callback": 7}, "callback"),
        ({"callback": ""}, "callback"),
        ({"callback": "/relative"}, "callback"),
        ({"callback": "ftp://127.0.0.1/x"}, "callback"),
        ({"callback": "file:///etc/passwd"}, "callback"),
        ({"callback": "http://"}, "callback"),
        ({"callback": "http://user:secret@127.0.0.1/x"}, "callback"),
        ({"callback": "http://127.0.0.1:99999/x"}, "callback"),
        ({"callback": "http://127.0.0.1/\r\nX: y"}, "callback"),
        ({"callback": CALLBACK, "query": "limit=3"}, "query"),
        ({"callback": CALLBACK, "query": "state.regex=("}, "query"),
        ({"callback": CALLBACK, "query": None}, "query"),
        ({"callback": CALLBACK, "wind": 1}, "wind"),
        ({"callback": CALLBACK, "id": "mine"}, "id"),
    ],
)
def test_refused(shared: Client, api: Api, body: object, field: str) -> None:
    answer = shared.post(f"{api.base}/hub", json=body)
    check_error(answer, 400, field)


@EACH
def test_needs_a_key(shared: Client, api: Api) -> None:
    nobody = {"Authorization": "Bearer wrong"}
    check_error(shared.post(f"{api.base}/hub", json={"callback": CALLBACK}, headers=nobody), 401)
    check_error(shared.delete(f"{api.base}/hub/x", headers=nobody), 401)


def test_only_what_was_asked_for_is_told(client: Client) -> None:
    api = inventory.API
    queries = {
        "": 3,
        "eventType=ServiceCreateEvent": 1,
        "eventType=ServiceStateChangeEvent,ServiceCreateEvent": 2,
        "event.service.state=active": 2,
        "event.service.state=active&eventType=ServiceStateChangeEvent": 1,
        "event.service.name=another": 0,
    }
    hubs = {
        query: client.post(f"{api.base}/hub", json={"callback": CALLBACK, "query": query}).json()["id"]
        for query in queries
    }
    href = made(client, api, inventory.SERVICE)["href"]
    assert client.patch(href, json={"state": "active", "description": "x"}).status_code == 200
    made(client, catalogue.API, catalogue.SERVICE_CATALOG)  # of another API
    assert client.made.runtime is not None
    with client.made.runtime.store.read() as session:
        for query, count in queries.items():
            told = session.scalars(select(DeliveryRow).where(DeliveryRow.hub == hubs[query])).all()
            assert len(told) == count, query
