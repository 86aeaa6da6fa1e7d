"""Events of the outbox reach the hubs: real HTTP receivers on loopback, both databases."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update

from edgewright.core.errors import InputError
from edgewright.service.resources import deliveries as module
from edgewright.service.resources.deliveries import Deliveries, prune, redeliver
from edgewright.service.resources.outbox import check_hub, publish
from edgewright.service.store import Store, StoreError
from edgewright.service.store.tables import DeliveryRow, HubRow, LeaseRow, OutboxRow

from .conftest import until
from .receiver import receiving

CREATED, CHANGED = "ServiceOrderCreateEvent", "ServiceOrderStateChangeEvent"


@contextmanager
def delivering(store: Store) -> Iterator[Deliveries]:
    deliveries = Deliveries(store)
    deliveries.start()
    try:
        yield deliveries
    finally:
        deliveries.close()


def subscribe(store: Store, callback: str, query: str = "", id_: str = "hub", api: str = "ordering") -> None:
    check_hub(callback, query)
    with store.write() as session:
        session.add(HubRow(id=id_, api=api, callback=callback, query=query, created=time.time()))


def tell(store: Store, *numbers: int, type_: str = CREATED, **more: Any) -> None:
    with store.write() as session:
        for number in numbers:
            order = {"id": f"o{number}", "href": f"/o{number}", "state": "acknowledged", "number": number, **more}
            publish(session, "ordering", type_, order["id"], {"serviceOrder": order})


def states(store: Store, hub: str = "hub") -> Counter[str]:
    with store.read() as session:
        return Counter(session.scalars(select(DeliveryRow.state).where(DeliveryRow.hub == hub)))


def delivered(store: Store, count: int, hub: str = "hub") -> bool:
    return states(store, hub) == {"delivered": count}


def attempts(store: Store) -> list[int]:
    with store.read() as session:
        return list(session.scalars(select(DeliveryRow.attempts).order_by(DeliveryRow.event)))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY_S", 0.02)
    monkeypatch.setattr(module, "LONGEST_RETRY_S", 0.1)


def test_an_event_is_as_the_standard_has_it(store: Store) -> None:
    with receiving() as receiver, delivering(store) as deliveries:
        subscribe(store, receiver.callback)
        before = time.time()
        with store.write() as session:
            order = {"id": "o1", "state": "acknowledged"}
            publish(session, "ordering", CREATED, "o1", {"serviceOrder": order})
        deliveries.wake()
        until(lambda: receiver.got)
        assert time.time() - before < 0.9  # woken, not polled
        [body] = receiver.got
        assert body["event"] == {"serviceOrder": order}
        assert (body["eventType"], body["domain"], body["title"]) == (CREATED, "ordering", CREATED)
        assert (body["correlationId"], body["timeOcurred"]) == ("o1", body["eventTime"])
        assert body["eventTime"].endswith("Z")
        assert set(body) >= {"eventId", "description", "priority"}
        assert receiver.paths == ["/here/listener/serviceOrderCreateEvent"]
        assert receiver.types == {"application/json"}
        until(lambda: delivered(store, 1))


def test_rolled_back_and_other_apis_publish_nothing(store: Store) -> None:
    subscribe(store, "http://127.0.0.1:9")
    subscribe(store, "http://127.0.0.1:9", id_="other", api="inventory")
    with suppress(ZeroDivisionError), store.write() as session:
        publish(session, "ordering", CREATED, "o1", {"serviceOrder": {"id": "o1"}})
        _ = 1 / 0
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(OutboxRow)) == 0
    assert states(store) == {}
    tell(store, 1)
    assert (states(store), states(store, "other")) == ({"waiting": 1}, {})


def test_queries_choose_events_and_fields(store: Store) -> None:
    queries = {
        "all": "",
        "types": f"eventType={CREATED},OtherEvent",
        "whole": "event.serviceOrder.state=completed",
        "short": "?serviceOrder.number.gte=2&serviceOrder.state=completed",
        "lean": f"eventType={CHANGED}&fields=state",
    }
    with receiving() as receiver, delivering(store):
        for name, query in queries.items():
            subscribe(store, f"http://127.0.0.1:{receiver.port}/{name}", query, name)
        tell(store, 1)
        tell(store, 1, 2, type_=CHANGED, state="completed")
        expected = {"all": 3, "types": 1, "whole": 2, "short": 1, "lean": 2}
        until(lambda: all(delivered(store, count, name) for name, count in expected.items()))
        assert Counter(path.split("/")[1] for path in receiver.paths) == expected
    lean = [body["event"]["serviceOrder"] for body in receiver.got if "number" not in body["event"]["serviceOrder"]]
    assert sorted(each["id"] for each in lean) == ["o1", "o2"]
    assert all(set(each) == {"id", "href", "state"} for each in lean)


@pytest.mark.parametrize(
    "callback",
    [
        "",
        "/relative",
        "ftp://host/",
        "http://",
        "http://user:password@host/",
        "http://host:99999/",
        "http://host/a b",
        "http://host/\n",
        "http://[::1/",
        "http://host/?a=b",
        "http://host/#x",
        "http://host/" + "x" * 2000,
    ],
)
def test_callbacks_that_cannot_be_called_are_refused(callback: str) -> None:
    with pytest.raises(InputError, match="callback"):
        check_hub(callback, "")


@pytest.mark.parametrize("query", ["what", "a.regex=(", "limit=3", "sort=a", "&" * 60, "a=" + "x" * 2000])
def test_queries_that_cannot_be_understood_are_refused(query: str) -> None:
    with pytest.raises(InputError, match="query"):
        check_hub("https://host.example:8443/events", query)


def test_a_receiver_that_fails_gets_everything_in_order(store: Store, quick: None) -> None:
    failing = {0: 500, 1: 302, 3: 404, 4: 503, 5: 500, 9: 500}
    with receiving(lambda n: failing.get(n, 200)) as receiver, delivering(store) as deliveries:
        subscribe(store, receiver.callback)
        tell(store, *range(10))
        deliveries.wake()
        until(lambda: delivered(store, 10))
        assert receiver.numbers == list(range(10))
        assert len(receiver.paths) == 16
        assert not any("elsewhere" in path for path in receiver.paths)
        until(lambda: not deliveries.trouble)


def test_a_receiver_that_is_down_at_first(store: Store, quick: None) -> None:
    with receiving() as placeholder:
        port = placeholder.port
    with delivering(store) as deliveries:
        subscribe(store, f"http://127.0.0.1:{port}")
        tell(store, 1, 2, 3)
        deliveries.wake()
        until(lambda: deliveries.trouble)
        assert deliveries.trouble[0].startswith("hub hub: ClientConnectorError")
        with receiving(port=port) as receiver:
            until(lambda: delivered(store, 3))
            assert receiver.numbers == [1, 2, 3]


def test_the_pause_grows_and_is_random(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full jitter: anywhere up to twice the last limit."""
    limits: list[float] = []
    monkeypatch.setattr(random, "uniform", lambda low, high: limits.append(high) or low)
    with receiving(lambda n: 500 if n < 11 else 204) as receiver, delivering(store) as deliveries:
        subscribe(store, receiver.callback)
        tell(store, 1)
        deliveries.wake()
        until(lambda: delivered(store, 1))
    assert limits == [0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300]


def test_closed_in_the_middle_and_started_again(store: Store) -> None:
    with receiving(lambda n: time.sleep(0.005) or 204) as receiver:
        subscribe(store, receiver.callback)
        tell(store, *range(100))
        for least in (5, 30, 60):
            with delivering(store):
                until(lambda: len(receiver.got) >= least)  # noqa: B023
            assert states(store)["delivered"] == len(receiver.got)  # a clean end gives nothing twice
        with delivering(store):
            until(lambda: delivered(store, 100))
    assert receiver.numbers == list(range(100))


def test_slow_and_dead_hubs_hold_up_nobody(store: Store) -> None:
    gate = threading.Event()
    opens = lambda _: 204 if gate.wait(8) else 500  # noqa: E731
    with receiving(opens) as slow, receiving() as fast, delivering(store) as deliveries:
        subscribe(store, slow.callback, id_="slow")
        subscribe(store, "http://127.0.0.1:9", id_="dead")
        subscribe(store, fast.callback, id_="fast")
        tell(store, *range(50))
        deliveries.wake()
        began = time.monotonic()
        until(lambda: delivered(store, 50, "fast"))
        assert time.monotonic() - began < 3.0
        assert fast.numbers == list(range(50))
        assert states(store, "slow") == states(store, "dead") == {"waiting": 50}
        gate.set()
        until(lambda: delivered(store, 50, "slow"))
        assert slow.numbers == list(range(50))


def test_a_receiver_that_never_answers_is_given_up(store: Store, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.2)
    awake = threading.Event()
    with receiving(lambda n: (awake.wait(1.0), 204)[1]) as receiver, delivering(store) as deliveries:
        subscribe(store, receiver.callback)
        tell(store, 1)
        deliveries.wake()
        until(lambda: deliveries.trouble == ["hub hub: no answer within 0.2 s"])
        awake.set()
        until(lambda: delivered(store, 1))


def test_dead_letters_are_kept_and_can_be_delivered_again(
    store: Store, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OLDEST_S", 0.5)
    down = threading.Event()
    down.set()
    with receiving(lambda n: 500 if down.is_set() else 204) as receiver, delivering(store) as deliveries:
        subscribe(store, receiver.callback)
        tell(store, 1, 2)
        deliveries.wake()
        until(lambda: states(store) == {"dead": 2})
        assert attempts(store)[0] > 1
        with store.read() as session:
            assert set(session.scalars(select(DeliveryRow.error))) == {"HTTP 500"}
        down.clear()
        tell(store, 3)
        deliveries.wake()
        until(lambda: receiver.numbers == [3])  # what is dead blocks nothing
        assert redeliver(store, "nobody") == 0
        assert redeliver(store, "hub") == 2
        deliveries.wake()
        until(lambda: delivered(store, 3))
        assert receiver.numbers == [3, 1, 2]


def test_age_alone_makes_a_dead_letter(store: Store, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many attempts there were; and from its first wait on, also of one that is given again."""
    with receiving(lambda n: 500) as receiver, delivering(store) as deliveries:
        subscribe(store, receiver.callback)
        tell(store, 1)
        with store.write() as session:
            session.execute(update(DeliveryRow).values(attempts=5000, since=time.time() - 3600))
        deliveries.wake()
        until(lambda: attempts(store)[0] > 5003)
        assert states(store) == {"waiting": 1}
        monkeypatch.setattr(module, "OLDEST_S", 1800.0)
        until(lambda: states(store) == {"dead": 1})
        redeliver(store, "hub")
        deliveries.wake()
        until(lambda: attempts(store)[0] > 3)
        assert states(store) == {"waiting": 1}


def test_old_events_are_deleted_once_nobody_waits_for_them(store: Store) -> None:
    subscribe(store, "http://127.0.0.1:9")
    tell(store, 1, 2, 3)
    with store.write() as session:
        first, second, third = session.scalars(select(OutboxRow.seq).order_by(OutboxRow.seq))
        session.execute(update(OutboxRow).values(t=time.time() - 100))
        session.execute(update(DeliveryRow).where(DeliveryRow.event == first).values(state="delivered"))
        session.execute(
            update(DeliveryRow).where(DeliveryRow.event == second).values(state="dead", due=time.time() - 60)
        )
    assert prune(store, 200) == 0
    assert prune(store, 80) == 1  # a dead letter is kept as long after its last attempt
    assert prune(store, 50) == 1
    with store.read() as session:
        assert session.scalars(select(OutboxRow.seq)).all() == [third]
        assert session.scalars(select(DeliveryRow.event)).all() == [third]
    with delivering(store) as deliveries:
        assert deliveries.retention_s == 24 * 3600.0


def test_a_deleted_hub_is_called_no_more(store: Store) -> None:
    with receiving(lambda n: time.sleep(0.03) or 204) as receiver, delivering(store) as deliveries:
        subscribe(store, receiver.callback)
        tell(store, *range(60))
        deliveries.wake()
        until(lambda: len(receiver.got) >= 3)
        with store.write() as session:
            session.execute(delete(HubRow))
        told = len(receiver.got)
        assert states(store) == {}
        time.sleep(0.5)
        assert len(receiver.got) <= told + 4  # those within SETTLE_S


def test_one_process_delivers(store: Store) -> None:
    with receiving() as receiver:
        subscribe(store, receiver.callback)
        other = LeaseRow(name=module.LEASE, holder="elsewhere:1:1", address="", expires=time.time() + 3600)
        with store.write() as session:
            session.add(other)
        with delivering(store):
            tell(store, 1)
            time.sleep(1.2)
            assert receiver.got == []
            with store.write() as session:
                session.execute(update(LeaseRow).values(expires=time.time() - 1))
            until(lambda: delivered(store, 1))
        with store.read() as session:
            assert session.scalars(select(LeaseRow.name)).all() == []


def test_a_database_that_refuses_is_told_and_nothing_is_sent_over_and_over(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = store.write
    with receiving() as receiver, delivering(store) as deliveries:
        subscribe(store, receiver.callback)
        until(lambda: deliveries._renewal)
        tell(store, *range(3))

        def refuse() -> Any:
            raise StoreError("database: disk full")

        monkeypatch.setattr(store, "write", refuse)
        deliveries.wake()
        until(lambda: deliveries.trouble)
        time.sleep(2.5)
        assert "disk full" in deliveries.trouble[0]
        assert receiver.numbers == [0, 1, 2]
        monkeypatch.setattr(store, "write", writes)
        until(lambda: delivered(store, 3))
        until(lambda: not deliveries.trouble)
        assert receiver.numbers == [0, 1, 2]


LIVES = """
import alembic.command, os, random, signal, sys, time
from edgewright.service.resources.deliveries import Deliveries
from edgewright.service.resources.outbox import publish
from edgewright.service.store import Store

def live(first, says):
    store = Store(sys.argv[1])
    deliveries = Deliveries(store)
    deliveries.start()
    for number in range(first, first + 100_000):
        with store.write() as session:
            publish(session, "ordering", "ServiceOrderCreateEvent", f"o{number}", {"serviceOrder": {"number": number}})
        deliveries.wake()
        os.write(1, f"{number}\\n".encode())
        os.write(says, b".")
        time.sleep(0.002)

for life in range(8):
    hears, says = os.pipe()
    process = os.fork()
    if process == 0:
        live(life * 100_000, says)
    if life % 4:  # the others may be killed before their first commit
        os.read(hears, 1)
    time.sleep(random.uniform(0.0, 0.5))
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
"""


def test_killed_again_and_again_every_event_arrives(store: Store, url: str) -> None:
    with receiving() as receiver:
        subscribe(store, receiver.callback)
        command = [sys.executable, "-c", LIVES, url]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        committed = {int(line) for line in said.stdout.split()}
        assert len(committed) >= 6, said.stderr
        with store.read() as session:
            kept = [body["event"]["serviceOrder"]["number"] for body in session.scalars(select(OutboxRow.body))]
        assert committed <= set(kept)  # what was killed between its commit and its word is there, too
        with delivering(store):
            until(lambda: delivered(store, len(kept)))
    assert set(receiver.numbers) == set(kept)
    assert len({body["eventId"] for body in receiver.got}) == len(kept)
    again = len(receiver.got) - len(kept)
    print(f"{len(kept)} events, {again} of them given again")
    assert again <= 8 * module.BATCH
    firsts = list(dict.fromkeys(receiver.numbers))
    assert firsts == sorted(firsts)
