"""What the tests of the TM Forum APIs share: a body for each kind of resource, and the events that were published."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import select

from edgewright.service.store.tables import OutboxRow
from edgewright.service.tmf import catalogue, inventory, kinds, ordering
from edgewright.service.tmf.kinds import Api, Kind

from .conftest import Client, running, settings

Json = dict[str, Any]
APIS = (catalogue.API, ordering.API, inventory.API)
KINDS = [(api, kind) for api in APIS for kind in api.kinds]
ITEM = {"id": "1", "action": "add", "service": {"name": "s", "serviceSpecification": {"id": "none"}}}
BODIES: dict[str, Json] = {
    "serviceCatalog": {"name": "c"},
    "serviceCategory": {"name": "c"},
    "serviceCandidate": {"name": "c", "serviceSpecification": {"id": "s"}},
    "serviceSpecification": {"name": "s", "specCharacteristic": [{"name": "cpu", "valueType": "number"}]},
    "importJob": {"url": "file:none.json"},
    "exportJob": {"url": "file:all.json"},
    "serviceOrder": {"externalId": "o", "serviceOrderItem": [ITEM]},
    "cancelServiceOrder": {"serviceOrder": {"id": "none"}},
    "service": {"name": "s", "state": "designed", "serviceSpecification": {"id": "s"}},
}


@contextmanager
def idle(folder: Path) -> Iterator[Client]:
    """An orchestrator where nobody works on orders: they stay as they were posted."""
    with running(settings(folder)) as client:
        assert client.made.runtime is not None
        client.made.runtime.fulfilment.workflows.close()
        yield client


def path(api: Api, kind: Kind) -> str:
    return f"{api.base}/{kind.name}"


def made(client: Client, api: Api, kind: Kind, **more: Any) -> Json:
    """A new resource."""
    answer = client.post(path(api, kind), json=BODIES[kind.name] | more)
    assert answer.status_code == 201, answer.text
    body: Json = answer.json()
    return body


def end(client: Client, api: Api, kind: Kind, body: Json) -> None:
    """As its workflow does, so that it may be deleted."""
    if kind.name == "serviceOrder":
        assert client.made.runtime is not None
        with kinds.writing(client.made.runtime) as session:
            kinds.save(session, api, kind, body, body | {"state": "rejected"})


def events(client: Client, subject: str) -> list[tuple[str, Json]]:
    """Type and payload of those about a resource, oldest first."""
    assert client.made.runtime is not None
    with client.made.runtime.store.read() as session:
        rows = session.scalars(select(OutboxRow).where(OutboxRow.subject == subject).order_by(OutboxRow.seq)).all()
    return [(row.type, row.body["event"]) for row in rows]


def check_error(answer: Any, status: int, *said: str) -> None:
    """The one form of refusals under /tmf-api/."""
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert told.keys() == {"code", "reason", "message", "status"}
    assert told["status"] == str(status)
    assert told["code"]
    assert all(each in told["message"] for each in said), told
