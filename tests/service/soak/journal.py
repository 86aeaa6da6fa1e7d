"""What was written and acknowledged: what may and what must be there in the end."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ..ordering import ENDED, Json

DEFAULTS: dict[str, float] = {"cpu": 0.1, "replicas": 1}  # of the packages

REASONS = ("ended while starting", " wanted, ", ": wants ", "changed meanwhile", "cancelled")
"""In the error of an order that may end without being fulfilled."""


@dataclass
class Thing:
    """A chunk or a slice, as the last definite answers have it. `content` holds what may be: values of each field."""

    kind: str
    name: str
    id: str = ""
    content: dict[str, list[Any]] = field(default_factory=dict)
    gone: bool = False
    busy: bool = False


@dataclass
class Order:
    """`moves`: the characteristic that it changes, and to what."""

    external: str
    action: str  # add | modify | delete
    package: str = ""
    service: str = ""  # id
    moves: dict[str, float] = field(default_factory=dict)
    id: str = ""  # acknowledged
    unwanted: bool = False  # to be cancelled
    forgotten: bool = False  # deleted, acknowledged
    end: str = ""
    busy: bool = False


@dataclass
class Service:
    """`may`: values that each characteristic may have; one unless an answer was lost."""

    id: str
    package: str
    may: dict[str, set[float]]
    ended: bool = False  # a termination is complete
    busy: set[str] = field(default_factory=set)  # characteristics that are being changed


@dataclass
class Hub:
    name: str
    api: str
    id: str = ""
    since: float = 0.0  # acknowledged, s since the epoch
    until: float = float("inf")  # its end was asked for
    got: list[Json] = field(default_factory=list)  # accepted, in order: eventId, subject
    refused: int = 0


@dataclass
class Journal:
    """Shared by all clients."""

    things: list[Thing] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    services: dict[str, Service] = field(default_factory=dict)
    hubs: dict[str, Hub] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)  # name -> service specification
    physical_network: str = ""
    count: Counter[str] = field(default_factory=Counter)  # operations, and what came of them
    acknowledged: int = 0
    lost_answers: int = 0
    violations: list[str] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def wrong(self, what: str) -> None:
        with self.lock:
            if what not in self.violations:
                self.violations.append(what)

    @property
    def open_orders(self) -> list[Order]:
        return [order for order in self.orders if order.id and not order.end]

    def note_end(self, order: Order, body: Json) -> None:
        """What an order that has ended means for its service."""
        if body["state"] not in ENDED:
            return
        why = "; ".join(each["message"] for each in body.get("errorMessage", ()))
        if why and not any(reason in why for reason in REASONS):
            self.wrong(f"order {order.id} ({order.action}) is {body['state']}: {why}")
        with self.lock:
            order.end = body["state"]
            if order.action == "add" and order.end == "completed":
                id_ = body["serviceOrderItem"][0]["service"]["id"]
                given = DEFAULTS | order.moves
                self.services[id_] = Service(id_, order.package, {name: {value} for name, value in given.items()})
            elif order.service:
                service = self.services[order.service]
                if order.action == "delete":
                    service.ended = order.end in ("completed", "partial")
                    service.busy -= {"cpu", "replicas"}
                else:
                    if order.end == "completed":
                        service.may |= {name: {value} for name, value in order.moves.items()}
                    service.busy -= set(order.moves)
