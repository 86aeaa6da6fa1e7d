"""The orders that policies of elasticity place, evaluated by hand over services of the inventory."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from edgewright.core.documents import validate
from edgewright.service.elasticity.keeper import Elasticity
from edgewright.service.elasticity.rules import Policies
from edgewright.service.fulfilment import book
from edgewright.service.slices import records
from edgewright.service.store.tables import ResourceRow, WorkflowRow
from edgewright.service.tmf import inventory, ordering

from .conftest import Client, until
from .ordering import INVENTORY, MANAGER, ORDERING, Json, characteristics, onboarded, package
from .tmf import ITEM, end, events, idle

CPU = {"min": 0.05, "max": 1.0, "initial": 0.3}
BUSY = {"metric": "rate_hz", "condition": {"above": 1.0, "for_s": 0.0}, "cooldown_s": 3.0}
OUT = BUSY | {"name": "out", "action": {"replicas": 1}}
FIRED, REFUSED = "policy_fired", "policy_refused"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """Nobody works on orders, and policies are evaluated when a test says so."""
    with idle(tmp_path) as client:
        keeper(client).close()
        until(lambda: seen_by(client) > 1)
        yield client


def seen_by(client: Client) -> float:
    """Requests a second that the loop of the demo sees; 0 before its first step."""
    assert client.made.runtime is not None
    seen = client.made.runtime.loops["demo"].observation
    return 0.0 if seen is None else float(seen.arrived_hz[0])


def keeper(client: Client) -> Elasticity:
    assert client.made.runtime is not None
    return client.made.runtime.elasticity


def policies(*given: Json) -> Policies:
    return validate(Policies, {"format": "edgewright.policies/1", "policies": list(given)}, source="test")


def moving(cores: float, **scope: str) -> Json:
    move = {"cores": cores, "from_service": "giver", "idle_below": 1.0}
    return BUSY | {"name": "move", "action": {"move_cpu": move}, "scope": scope}


def recorded(client: Client, name: str, **numbers: float) -> str:
    """An active service that the loop of the demo, with its 20 requests a second, is to be of -> its id."""
    own = [{"name": "loop", "value": "demo"}]
    numbers = {"cpu": 0.3, "memory": 64, "replicas": 1} | numbers
    body = {
        "name": name,
        "state": "active",
        "serviceSpecification": onboarded(client, package(cpu=CPU)),
        "serviceCharacteristic": characteristics(**numbers) + own,
    }
    answer = client.post(f"{INVENTORY}/service", json=body)
    assert answer.status_code == 201, answer.text
    id: str = answer.json()["id"]
    assert client.made.runtime is not None
    with client.made.runtime.store.write() as session:  # as if an order had deployed it
        instance = {"id": f"instance of {name}", "name": id, "package": "quick:1.0"}
        records.collection(session, records.INSTANCE).add(instance["id"], instance)
        listed = [*answer.json()["serviceCharacteristic"], {"name": "instance", "value": instance["id"]}]
        inventory.SERVICE.of(session).put(id, answer.json() | {"serviceCharacteristic": listed})
    return id


def placed(client: Client) -> list[Json]:
    found: list[Json] = client.get(f"{ORDERING}/serviceOrder?category=elasticity").json()
    return found


def wanted(order: Json) -> dict[str, dict[str, Any]]:
    """By service, what an order changes."""
    services = [item["service"] for item in order["serviceOrderItem"]]
    return {each["id"]: {c["name"]: c["value"] for c in each["serviceCharacteristic"]} for each in services}


def told(client: Client, kind: str) -> list[str]:
    assert client.made.runtime is not None
    client.made.runtime.recorder.flush()
    return [event["detail"] for event in client.events(kind)]


def test_replicas_come_by_an_order_and_no_other_follows_before_it_has_ended(client: Client) -> None:
    id = recorded(client, "a")
    keeper(client).replace(policies(OUT))
    for t in (0.0, 100.0, 200.0):
        keeper(client).evaluate(t)
    [order] = placed(client)
    assert wanted(order) == {id: {"replicas": 2}}
    assert (order["description"], order["state"]) == ("policy out", "acknowledged")
    assert order["id"] in told(client, FIRED)[0]
    end(client, ordering.API, ordering.SERVICE_ORDER, order)
    keeper(client).evaluate(200.1)
    assert len(placed(client)) == 2


def test_policies_rest_while_any_order_changes_the_service(client: Client) -> None:
    id = recorded(client, "a")
    item = {"id": "1", "action": "modify", "service": {"id": id, "serviceCharacteristic": characteristics(cpu=0.2)}}
    order = client.post(f"{ORDERING}/serviceOrder", json={"serviceOrderItem": [item]}).json()
    keeper(client).replace(policies(OUT, OUT | {"name": "again"}))
    keeper(client).evaluate(0.0)
    assert placed(client) == []
    end(client, ordering.API, ordering.SERVICE_ORDER, order)
    keeper(client).evaluate(1.0)
    assert len(placed(client)) == 1  # the other policy waits, too


def test_replicas_for_which_the_host_has_no_room_are_not_ordered(client: Client) -> None:
    id = recorded(client, "a", cpu=0.9)
    assert client.made.runtime is not None
    rest = client.made.runtime.ledger.left("cpu") - 0.9 - 0.5
    for name, cpus in ((id, 0.9), ("rest", rest)):  # half a core is left
        needs = {"cpus": {"required": cpus}, "ram": {"required": 64.0}}
        assert client.post(f"{MANAGER}/compute_chunk", json={"name": name, "requirements": needs}).status_code == 200
    keeper(client).replace(policies(OUT))
    keeper(client).evaluate(0.0)
    assert placed(client) == []
    assert "1.4" in told(client, REFUSED)[0]


@pytest.mark.parametrize(
    ("cores", "gives", "gets", "moved"),
    [
        (0.3, (0.6, 1), (0.1, 3), 0.3),
        (0.2, (0.3, 3), (0.1, 1), 0.2),
        (0.2, (0.1, 3), (0.1, 1), 0.15),  # the giver keeps 0.05 a replica
        (2.0, (1.0, 3), (0.9, 2), 0.2),  # the taker's replicas may have 1.0
    ],
)
def test_cores_that_move_are_a_sum(
    client: Client, cores: float, gives: tuple[float, int], gets: tuple[float, int], moved: float
) -> None:
    """Whatever the numbers of replicas: a full host has room for no more than was taken."""
    giver = recorded(client, "giver", cpu=gives[0], replicas=gives[1])
    taker = recorded(client, "taker", cpu=gets[0], replicas=gets[1])
    keeper(client).replace(policies(moving(cores, service="taker")))
    times = itertools.count(step=100)
    until(lambda: keeper(client).evaluate(next(times)) or placed(client))  # the giver may be busy for a moment
    [order] = placed(client)
    now = {id: numbers["cpu"] for id, numbers in wanted(order).items()}
    assert now[giver] == pytest.approx(gives[0] - moved / gives[1])
    assert now[taker] == pytest.approx(gets[0] + moved / gets[1])
    assert CPU["min"] <= min(now.values()) <= max(now.values()) <= CPU["max"]
    total = gives[0] * gives[1] + gets[0] * gets[1]
    assert now[giver] * gives[1] + now[taker] * gets[1] == pytest.approx(total, abs=1e-10)


def test_nothing_is_ordered_where_nothing_can_move(client: Client) -> None:
    recorded(client, "giver", cpu=0.05)
    recorded(client, "taker")
    keeper(client).replace(policies(moving(0.2, service="taker")))
    keeper(client).evaluate(0.0)
    assert placed(client) == []


def test_two_that_starve_do_not_get_the_same_cores_of_one_giver(client: Client) -> None:
    giver = recorded(client, "giver", cpu=0.6)
    for name in ("one", "two"):
        recorded(client, name)
    keeper(client).replace(policies(moving(0.2)))
    times = itertools.count(step=100)
    until(lambda: keeper(client).evaluate(next(times)) or placed(client))
    keeper(client).evaluate(next(times))
    assert [wanted(order)[giver]["cpu"] for order in placed(client)] == [pytest.approx(0.4)]


def test_services_that_are_gone_are_forgotten(client: Client) -> None:
    ids = [recorded(client, name) for name in ("a", "b")]
    keeper(client).replace(policies(OUT))
    keeper(client).evaluate(0.0)
    assert set(keeper(client).armed) == {("out", id) for id in ids}
    assert client.made.runtime is not None
    with client.made.runtime.store.write() as session:
        book.terminate(session, ids[0])
    keeper(client).evaluate(1.0)
    assert set(keeper(client).armed) == {("out", ids[1])}


def test_policies_that_are_replaced_during_an_evaluation_begin_anew(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(client, "a")
    keeper(client).replace(policies(OUT))
    seen = keeper(client)._seen

    def replacing(service: Json) -> Any:
        keeper(client).replace(policies(OUT | {"name": "other"}))
        return seen(service)

    monkeypatch.setattr(keeper(client), "_seen", replacing)
    keeper(client).evaluate(0.0)
    assert keeper(client).armed == {}
    assert [policy.name for policy in keeper(client).policies.policies] == ["other"]


def test_an_evaluation_that_hangs_does_not_hold_up_the_end(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgewright.service.elasticity.keeper.CLOSE_S", 0.1)
    hangs, goes_on = threading.Event(), threading.Event()

    def hang(t: float) -> None:
        hangs.set()
        goes_on.wait(30)

    monkeypatch.setattr(keeper(client), "evaluate", hang)
    keeper(client).restore()
    assert hangs.wait(10)
    began = time.monotonic()
    keeper(client).close()
    assert time.monotonic() - began < 5
    goes_on.set()


def test_old_orders_of_policies_go_with_their_workflows_and_those_of_users_stay(client: Client) -> None:
    runtime = client.made.runtime
    assert runtime is not None
    mine = client.post(f"{ORDERING}/serviceOrder", json={"serviceOrderItem": [ITEM]}).json()
    ended, young, still = (
        client.post(f"{ORDERING}/serviceOrder", json={"category": "elasticity", "serviceOrderItem": [ITEM]}).json()
        for _ in range(3)
    )
    for order in (mine, ended, young):
        end(client, ordering.API, ordering.SERVICE_ORDER, order)
    with runtime.store.write() as session:
        old = time.time() - runtime.settings.retention_hours * 3600 - 60
        aged = [order["id"] for order in (mine, ended, still)]
        session.execute(update(ResourceRow).where(ResourceRow.id.in_(aged)).values(updated=old))
        session.execute(update(WorkflowRow).where(WorkflowRow.id == ended["id"]).values(state="failed"))
    keeper(client).restore()
    until(lambda: client.get(f"{ORDERING}/serviceOrder/{ended['id']}").status_code == 404)
    left = {order["id"] for order in client.get(f"{ORDERING}/serviceOrder").json()}
    assert left == {order["id"] for order in (mine, young, still)}
    assert [type_ for type_, _ in events(client, ended["id"])][-1] == "ServiceOrderDeleteEvent"
    with runtime.store.read() as session:
        assert ended["id"] not in session.scalars(select(WorkflowRow.id)).all()
