"""A client that writes at random, and tries again whatever it got no answer to."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx

from ..ordering import INVENTORY, MANAGER, ORDERING, OWN, Json, characteristics, item
from .journal import Hub, Journal, Order, Service, Thing
from .life import Life

MOST_SERVICES, MOST_OPEN, MOST_CHUNKS, MOST_NETWORKS, MOST_SLICES, MOST_HUBS = 5, 6, 4, 3, 2, 3
HUB_APIS = {"serviceOrdering": ORDERING, "serviceInventory": INVENTORY}
STORAGE_GB = 0.27
GIVE_UP_S = 180.0
CANCELLED = 0.15  # of all orders


class Stopped(Exception):
    """The stream is to end."""


class Client(threading.Thread):
    """One of those that write at once. `sent` is set as a request leaves; `paused` between two operations."""

    numbers = itertools.count(1)

    def __init__(self, seed: str, life: Life, journal: Journal, callback: str, storage: bool) -> None:
        super().__init__(name=f"client {seed}", daemon=True)
        self.random, self.life, self.journal, self.callback = random.Random(seed), life, journal, callback
        self.storage = storage
        self.go, self.stop, self.idle, self.sent = (threading.Event() for _ in range(4))
        self.unsure = False  # whether an answer to the last request was lost
        self.http = life.client()

    def run(self) -> None:
        choices: dict[Callable[[], bool], int] = {
            self.add: 14,
            self.modify: 8,
            self.patch: 10,
            self.rest: 4,
            self.delete: 7,
            self.cancel: 1,
            self.look: 14,
            self.forget: 2,
            self.make_chunk: 5,
            self.make_network: 4,
            self.make_slice: 3,
            self.change_thing: 10,
            self.remove_thing: 4,
            self.make_hub: 1,
            self.remove_hub: 1,
        }
        try:
            while not self.stop.is_set():
                if not self.go.is_set():
                    self.idle.set()
                    self.go.wait(0.05)
                    continue
                self.idle.clear()
                act = self.random.choices([*choices], [*choices.values()])[0]
                if act():
                    with self.journal.lock:
                        self.journal.count[act.__name__] += 1
                self.stop.wait(0.002)
        except Stopped:
            pass
        except BaseException as error:
            self.journal.wrong(f"client: {error!r}")
        finally:
            self.idle.set()

    # Asking

    def ask(self, method: str, path: str, body: Any = None, found: Callable[[], Any] | None = None) -> httpx.Response:
        """Its answer, sooner or later. `found`: where no answer came, what there is of it, if it was done all the same
        -> an answer of 200.
        """
        deadline, self.unsure = time.monotonic() + GIVE_UP_S, False
        while True:
            try:
                self.sent.set()
                answer = self.http.request(method, path, json=body)
            except httpx.TransportError as error:
                self.unsure |= not isinstance(error, httpx.ConnectError)
                with self.journal.lock:
                    self.journal.lost_answers += method != "GET" and not isinstance(error, httpx.ConnectError)
                if self.stop.is_set() or time.monotonic() > deadline:
                    raise Stopped from error
                time.sleep(0.05)
                if found is not None and (there := self._look(found, deadline)) is not None:
                    return self._noted(method, path, httpx.Response(200, json=there))
            else:
                if answer.status_code == 503 and time.monotonic() < deadline:  # nothing was changed
                    time.sleep(0.05)
                    continue
                return self._noted(method, path, answer)

    def _look(self, found: Callable[[], Any], deadline: float) -> Any:
        while True:
            try:
                return found()
            except httpx.TransportError:
                if self.stop.is_set() or time.monotonic() > deadline:
                    raise Stopped from None
                time.sleep(0.05)

    def _noted(self, method: str, path: str, answer: httpx.Response) -> httpx.Response:
        with self.journal.lock:
            self.journal.count[f"HTTP {answer.status_code}"] += 1
            self.journal.acknowledged += method != "GET" and answer.is_success
        if answer.status_code in (500, 400, 405, 501):
            self.journal.wrong(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer

    def _get(self, path: str) -> Any:
        answer = self.http.get(path)
        if answer.status_code == 503:
            raise httpx.ReadError(answer.text)
        return answer.json() if answer.status_code == 200 else None

    # Orders

    def add(self) -> bool:
        with self.journal.lock:
            standing = [each for each in self.journal.services.values() if not each.ended]
            adding = [each for each in self.journal.open_orders if each.action == "add"]
            if len(standing) + len(adding) >= MOST_SERVICES:
                return self.delete()
            if len(self.journal.open_orders) >= MOST_OPEN:
                return False
            package = self.random.choices(["quick", "slow", "broken", "greedy"], [8, 2, 1, 1])[0]
            order = Order(self._fresh("order"), "add", package, busy=True)
            self.journal.orders.append(order)
        service: Json = {"name": order.external, "serviceSpecification": {"id": self.journal.packages[package]}}
        if package == "greedy":
            service["serviceCharacteristic"] = characteristics(cpu=60.0)
        elif self.random.random() < 0.5:
            order.moves = {"cpu": self._cpu(), "replicas": self.random.choice([1, 1, 2])}
            service["serviceCharacteristic"] = characteristics(**order.moves)
        return self._post(order, item("add", service))

    def modify(self) -> bool:
        name = self.random.choice(["cpu", "replicas"])
        if (service := self._take({name})) is None:
            return False
        order = Order(self._fresh("order"), "modify", service.package, service.id, busy=True)
        order.moves = {name: self._cpu() if name == "cpu" else self.random.choice([1, 2])}
        with self.journal.lock:
            self.journal.orders.append(order)
        changed = {"id": service.id, "serviceCharacteristic": characteristics(**order.moves)}
        return self._post(order, item("modify", changed))

    def delete(self) -> bool:
        if (service := self._take({"cpu", "replicas"})) is None:
            return False
        order = Order(self._fresh("order"), "delete", service.package, service.id, busy=True)
        with self.journal.lock:
            self.journal.orders.append(order)
        return self._post(order, item("delete", {"id": service.id}))

    def _post(self, order: Order, given: Json) -> bool:
        """The client's own name of an order tells whether a lost answer was one of success."""
        path = f"{ORDERING}/serviceOrder"

        def found() -> Any:
            return next(iter(self._get(f"{path}?externalId={order.external}")), None)

        answer = self.ask("POST", path, {"externalId": order.external, "serviceOrderItem": [given]}, found)
        if not answer.is_success:
            self.journal.wrong(f"order refused: {answer.status_code} {answer.text[:300]}")
            return False
        with self.journal.lock:
            order.id, order.busy, order.unwanted = answer.json()["id"], False, self.random.random() < CANCELLED
        return True

    def look(self) -> bool:
        """What became of an order."""
        with self.journal.lock:
            candidates = [each for each in self.journal.open_orders if not each.busy]
            if not candidates:
                return False
            order = self.random.choice(candidates)
            order.busy = True
        try:
            answer = self.ask("GET", f"{ORDERING}/serviceOrder/{order.id}")
            if answer.status_code != 200:
                self.journal.wrong(f"order {order.id}, acknowledged, is not there: {answer.status_code}")
                with self.journal.lock:
                    order.end = "lost"
            else:
                self.journal.note_end(order, answer.json())
        finally:
            order.busy = False
        return True

    def cancel(self) -> bool:
        with self.journal.lock:
            candidates = [each for each in self.journal.open_orders if not each.busy and each.unwanted]
            if not candidates:
                return False
            order = self.random.choice(candidates)
            order.busy = True
        try:
            answer = self.ask("POST", f"{ORDERING}/cancelServiceOrder", {"serviceOrder": {"id": order.id}})
            order.unwanted = not answer.is_success
        finally:
            order.busy = False
        return True

    def forget(self) -> bool:
        """Delete an order that has ended."""
        with self.journal.lock:
            candidates = [each for each in self.journal.orders if each.end and not each.forgotten and not each.busy]
            if len(candidates) < 8:
                return False
            order = self.random.choice(candidates)
            order.busy = True
        answer = self.ask("DELETE", f"{ORDERING}/serviceOrder/{order.id}")
        if answer.status_code not in (204, 404):
            self.journal.wrong(f"order {order.id} is {order.end}, not deleted: {answer.status_code} {answer.text}")
        order.forgotten = True
        return True

    def patch(self) -> bool:
        """Of the inventory."""
        name = self.random.choice(["cpu", "replicas"])
        if (service := self._take({name})) is None:
            return False
        value = self._cpu() if name == "cpu" else self.random.choice([1, 2])
        path, body = f"{INVENTORY}/service/{service.id}", {"serviceCharacteristic": characteristics(**{name: value})}
        answer = self.ask("PATCH", path, body)
        with self.journal.lock:
            service.busy.discard(name)
            if answer.is_success:
                service.may[name] = {value}
            elif self.unsure:  # the first try may have been a success
                service.may[name].add(value)
        return True

    def rest(self) -> bool:
        """Make a service inactive, then active again."""
        if (service := self._take({"cpu", "replicas"})) is None:
            return False
        path, deadline = f"{INVENTORY}/service/{service.id}", time.monotonic() + GIVE_UP_S
        for state in ("inactive", "active"):
            while not (answer := self.ask("PATCH", path, {"state": state})).is_success:
                if time.monotonic() > deadline:
                    self.journal.wrong(f"service {service.id} is not made {state}: {answer.status_code} {answer.text}")
                    break
                time.sleep(0.1)
        with self.journal.lock:
            service.busy -= {"cpu", "replicas"}
        return True

    # The Slice Manager

    def make_chunk(self) -> bool:
        if self._many("compute_chunk") >= MOST_CHUNKS:
            return False
        cpus, ram, storage = self._cpu(), float(self.random.randint(8, 64)), 0.0
        if self.storage and self.random.random() < 0.15:
            storage = STORAGE_GB
        needs = {"cpus": {"required": cpus}, "ram": {"required": ram}, "storage": {"required": storage}}
        thing = Thing(
            "compute_chunk", self._fresh("chunk"), content={"cpus": [cpus], "ram": [ram], "storage": [storage]}
        )
        return self._make(thing, {"requirements": needs})

    def make_network(self) -> bool:
        if self._many("network_chunk") >= MOST_NETWORKS:
            return False
        number = next(self.numbers) % 2000 + 2000
        rate = float(self.random.randint(1, 50))
        body = {"physical_network_id": self.journal.physical_network, "tag": number}
        body["requirements"] = {"bandwidth": {"required": rate}}
        return self._make(Thing("network_chunk", self._fresh("network"), content={"bandwidth": [rate]}), body)

    def make_slice(self) -> bool:
        if self._many("slic3") >= MOST_SLICES:
            return False
        return self._make(Thing("slic3", self._fresh("slice"), content={"active": [False]}), {"chunk_ids": []})

    def _make(self, thing: Thing, body: Json) -> bool:
        thing.busy = True
        with self.journal.lock:
            self.journal.things.append(thing)
        path = f"{MANAGER}/{thing.kind}"

        def found() -> Any:
            return next((each for each in self._get(path) or () if each["name"] == thing.name), None)

        answer = self.ask("POST", path, {"name": thing.name, **body}, found)
        with self.journal.lock:
            if answer.is_success:
                thing.id = answer.json()["id"]
            else:
                thing.gone = True
            thing.busy = False
        return True

    def change_thing(self) -> bool:
        """One quota, or the slice's activation."""
        if (thing := self._thing()) is None:
            return False
        value: float | bool
        if thing.kind == "slic3":
            name, value = "active", self.random.random() < 0.6
            verb = "activate" if value else "deactivate"
            answer = self.ask("POST", f"{MANAGER}/slic3/{thing.id}/{verb}")
        else:
            name = "bandwidth" if thing.kind == "network_chunk" else self.random.choice(["cpus", "ram"])
            value = self._cpu() if name == "cpus" else float(self.random.randint(8, 64))
            answer = self.ask("PUT", f"{MANAGER}/{thing.kind}/{thing.id}/{name}", value)
        with self.journal.lock:
            if answer.is_success:
                thing.content[name] = [value]
            elif self.unsure:
                thing.content[name].append(value)
            if answer.status_code == 404:
                self.journal.wrong(f"{thing.kind} {thing.name}, acknowledged, is not there")
            thing.busy = False
        return True

    def remove_thing(self) -> bool:
        if (thing := self._thing()) is None:
            return False
        if thing.kind == "slic3" and thing.content["active"] != [False]:
            self.ask("POST", f"{MANAGER}/slic3/{thing.id}/deactivate")
            thing.content["active"] = [False]
        answer = self.ask("DELETE", f"{MANAGER}/{thing.kind}/{thing.id}")
        with self.journal.lock:
            if answer.status_code in (204, 404):
                thing.gone = True
            else:
                self.journal.wrong(f"{thing.kind} {thing.name} not deleted: {answer.status_code} {answer.text[:300]}")
            thing.busy = False
        return True

    # Hubs

    def make_hub(self) -> bool:
        with self.journal.lock:
            if sum(hub.until == float("inf") for hub in self.journal.hubs.values()) >= MOST_HUBS:
                return False
            hub = Hub(self._fresh("hub"), self.random.choice([*HUB_APIS]))
            self.journal.hubs[hub.name] = hub
        callback = f"{self.callback}/{hub.name}"

        def found() -> Any:
            return next((each for each in self._get(f"{OWN}/hubs") or () if each["callback"] == callback), None)

        answer = self.ask("POST", f"{HUB_APIS[hub.api]}/hub", {"callback": callback}, found)
        if answer.is_success:
            hub.id, hub.since = answer.json()["id"], time.time()
        return True

    def remove_hub(self) -> bool:
        with self.journal.lock:
            candidates = [hub for hub in self.journal.hubs.values() if hub.id and hub.until == float("inf")]
            if len(candidates) < MOST_HUBS or self.random.random() < 0.9:
                return False
            hub = self.random.choice(candidates)
            hub.until = time.time()
        self.ask("DELETE", f"{HUB_APIS[hub.api]}/hub/{hub.id}")
        return True

    # Inside

    def _fresh(self, kind: str) -> str:
        return f"{kind}-{next(self.numbers)}"

    def _cpu(self) -> float:
        return self.random.randint(5, 25) / 100

    def _many(self, kind: str) -> int:
        with self.journal.lock:
            return sum(thing.kind == kind and not thing.gone for thing in self.journal.things)

    def _thing(self) -> Thing | None:
        """Ours for now."""
        with self.journal.lock:
            candidates = [thing for thing in self.journal.things if thing.id and not thing.gone and not thing.busy]
            if not candidates:
                return None
            thing = self.random.choice(candidates)
            thing.busy = True
            return thing

    def _take(self, names: set[str]) -> Service | None:
        """An active service whose characteristics `names` are ours for now."""
        with self.journal.lock:
            if len(self.journal.open_orders) >= MOST_OPEN:
                return None
            candidates = [each for each in self.journal.services.values() if not each.ended and not each.busy & names]
            if not candidates:
                return None
            service = self.random.choice(candidates)
            service.busy |= names
            return service
