"""Orders as they are worked on: the workflows, the delivery of events, and what orders and patches set off."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from edgewright.service.fulfilment import book, loops, steps
from edgewright.service.fulfilment.characteristics import FIELDS, INSTANCE, chosen, value_of
from edgewright.service.fulfilment.feasibility import Method, most_left
from edgewright.service.refusals import Conflict
from edgewright.service.resources.deliveries import Deliveries
from edgewright.service.slices import instances, records
from edgewright.service.slices.records import Json
from edgewright.service.workflows.durable import Workflows
from edgewright.service.workflows.steps import Seen, Workflow

if TYPE_CHECKING:
    from edgewright.service.runtime import Runtime

ORDER = "service order"
LOOP_WAIT_S = 0.2  # a loop does not wait for a service that is being changed, and may be ending the loop


@dataclass
class Fulfilment:
    """Of the worker that has the lease. `method` judges whether and where a service can be."""

    runtime: Runtime
    method: Method = most_left
    workflows: Workflows = field(init=False)
    deliveries: Deliveries = field(init=False)

    def __post_init__(self) -> None:
        order = Workflow(ORDER, lambda input: steps.steps_of(self.runtime, input), _finish)
        self.workflows = Workflows(self.runtime.store, {ORDER: order}, workers=4)
        self.deliveries = Deliveries(self.runtime.store, self.runtime.settings.retention_hours * 3600)

    @property
    def trouble(self) -> list[str]:
        return self.workflows.trouble + self.deliveries.trouble

    def restore(self) -> None:
        """After the slices: the inventory says what instances are to have, loops run, orders go on.

        Raises StoreError.
        """
        with self.runtime.store.write() as session:
            for kept in records.listed(session, records.INSTANCE):
                book.settle(session, kept)
        loops.restore(self.runtime)
        self.deliveries.start()
        self.workflows.start()

    def close(self) -> None:
        """The present steps end; the next start goes on."""
        self.workflows.close()
        loops.close_all(self.runtime)
        self.deliveries.close()

    def wake(self) -> None:
        """After a transaction that may have begun a workflow or published an event."""
        self.workflows.wake()
        self.deliveries.wake()

    # Orders

    def ordered(self, session: Session, order: Json) -> None:
        """In the transaction that keeps a new order: its workflow begins with it."""
        items = [{"id": item["id"], "action": item["action"]} for item in order["serviceOrderItem"]]
        changed = {item["service"].get("id") for item in order["serviceOrderItem"] if item["action"] != "add"}
        subject = changed.pop() if len(changed) == 1 else None
        input = {"order": order["id"], "items": items, **({"subject": subject} if subject else {})}
        self.workflows.begin(session, ORDER, order["id"], input)

    def cancel(self, session: Session, order_id: str) -> None:
        """Its workflow turns back, and the order is cancelled when all is undone. Raises Conflict, InputError."""
        self.workflows.cancel(session, order_id)

    def steps(self, order_id: str) -> list[Seen]:
        return self.workflows.steps_of(order_id)

    # Services of the inventory

    def scale(self, service_id: str, wanted: Mapping[str, float]) -> None:
        """By a loop. Raises what a patch of the inventory does."""
        with self.runtime.store.read() as session:
            now = book.numbers(book.service(session, service_id))
        if any(now[name] != value for name, value in wanted.items()):
            book.change_service(self.runtime, service_id, wanted, LOOP_WAIT_S)

    @contextlib.contextmanager
    def changing(self, old: Json, new: Json) -> Iterator[Json]:
        """Around the commit of a patched service -> what is kept. What it has is changed before, and back on an error.

        Raises InputError, CapacityError, Conflict, HostError, StoreError.
        """
        instance_id = value_of(old, INSTANCE)
        if not instance_id:
            if value_of(new, INSTANCE):
                raise Conflict("serviceCharacteristic: this service is not run here")
            yield new
            return
        if new["serviceSpecification"] != old["serviceSpecification"]:
            raise Conflict("serviceSpecification: order another service, and terminate this one")
        if new["state"] == "terminated" and old["state"] != "terminated":
            steps.take_down(self.runtime, old["id"])
            yield book.terminated(new)
            return
        with self.runtime.store.read() as session:
            package = book.package_of(session, old)
        was, shall = old["state"] == "active", new["state"] == "active"
        before = book.numbers(old)
        wanted = before | chosen(new.get("serviceCharacteristic"), package, partial=True)
        kept = book.changed(new | {name: old[name] for name in ("serviceCharacteristic", "state")}, wanted, shall)
        if (wanted, shall) == (before, was):
            yield kept
            return
        with contextlib.nullcontext() if was == shall else loops.resting(self.runtime, old["id"]):
            self._change(instance_id, wanted, shall)
            try:
                yield kept
            except BaseException:
                self._change(instance_id, before, was)
                raise

    def _change(self, instance_id: str, wanted: Mapping[str, float], active: bool) -> None:
        fields = {FIELDS[name]: value for name, value in wanted.items()}
        instances.change(self.runtime, instance_id, active=active, **fields)

    def removing(self, old: Json) -> None:
        """Raises Conflict while it runs."""
        if value_of(old, INSTANCE) and old["state"] != "terminated":
            raise Conflict("state: this service runs: terminate it first, by an order or by its state")


def _finish(session: Session, id: str, input: Json, state: str, error: str) -> None:
    book.finish(session, input["order"], state, error)
