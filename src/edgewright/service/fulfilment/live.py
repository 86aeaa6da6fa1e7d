"""Orders as they are worked on: the workflows, the delivery of events, and what orders and patches set off."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from edgewright.core.errors import InputError
from edgewright.service.fulfilment import book, loops, onboarding, steps
from edgewright.service.fulfilment.characteristics import FIELDS, INSTANCE, SLICE, chosen, runs_here, value_of
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
MAX_ITEM_ID = 60  # it is in the names of steps
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
        """After the slices: the inventory says what instances are to have; what a crash cut short goes on, loops run.

        Raises StoreError.
        """
        with self.runtime.store.write() as session:
            kept = {each["id"]: each for each in records.listed(session, records.INSTANCE)}
            for each in kept.values():
                book.settle(session, each)
            gone = [each["id"] for each in book.running(session) if value_of(each, INSTANCE) not in kept]
        for id_ in gone:
            with self.runtime.slices.watching(f"termination of service {id_}"):
                steps.take_down(self.runtime, id_)
                with self.runtime.store.write() as session:
                    book.terminate(session, id_)
        onboarding.prune(self.runtime)
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
        """In the transaction that keeps a new order: its workflow begins with it. Raises InputError."""
        _check_items(order["serviceOrderItem"])
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
    def changing(self, old: Json, new: Json, wait_s: float = -1) -> Iterator[Json]:
        """Around the commit of a patched service -> what is kept. What it has is changed before, and back on an error.

        Raises InputError, CapacityError, Conflict, HostError, StoreError.
        """
        if not runs_here(old):
            self.recorded(new)
            yield new
            return
        instance_id = value_of(old, INSTANCE)
        if not instance_id:
            raise Conflict("state: this service is being set up: cancel its order instead")
        if new["serviceSpecification"] != old["serviceSpecification"]:
            raise Conflict("serviceSpecification: order another service, and terminate this one")
        if new["state"] == "terminated" and old["state"] != "terminated":
            steps.take_down(self.runtime, old["id"])
            yield book.terminated(new)
            return
        with self.runtime.store.read() as session:
            package = book.package_run(session, old)
        was, shall = old["state"] == "active", new["state"] == "active"
        before = book.numbers(old)
        wanted = before | chosen(new.get("serviceCharacteristic"), package, partial=True)
        kept = book.changed(new | {name: old[name] for name in ("serviceCharacteristic", "state")}, wanted, shall)
        if (wanted, shall) == (before, was):
            yield kept
            return
        with contextlib.nullcontext() if was == shall else loops.resting(self.runtime, old["id"]):
            differ = [name for name in wanted if wanted[name] != before[name]]

            def change(numbers: Mapping[str, float], active: bool, wait_s: float) -> None:
                fields = {FIELDS[name]: numbers[name] for name in differ}
                instances.change(self.runtime, instance_id, wait_s=wait_s, active=active, **fields)

            change(wanted, shall, wait_s)
            try:
                yield kept
            except BaseException:
                change(before, was, -1)
                raise

    def settle(self, instance_id: str) -> None:
        """The inventory follows an instance that was brought up again. Raises NotFound, StoreError."""
        with self.runtime.store.write() as session:
            book.settle(session, records.known(session, records.INSTANCE, instance_id))

    def scale_instance(self, instance_id: str, **wanted: float | int | None) -> Json:
        """By the Slice Manager: where it is of a service of the inventory, that changes with it.

        Raises what `instances.change` and a patch of the inventory do.
        """
        with self.runtime.store.read() as session:
            owner = book.owner(session, instance_id)
        if owner is None:
            return instances.change(self.runtime, instance_id, wait_s=-1, **wanted)
        instances.check_change(self.runtime, instance_id, wanted)  # by the words of this API
        given = {name: value for name, field in FIELDS.items() if (value := wanted[field]) is not None}
        book.change_service(self.runtime, owner["id"], given)
        with self.runtime.store.read() as session:
            return records.known(session, records.INSTANCE, instance_id)

    def remove_instance(self, instance_id: str) -> None:
        """By the Slice Manager. Raises Conflict where it is of a service of the inventory, NotFound, HostError."""
        with self.runtime.store.read() as session:
            if owner := book.owner(session, instance_id):
                raise Conflict(f"it is of service {owner['id']}: terminate that")
        instances.remove(self.runtime, instance_id)

    def recorded(self, new: Json) -> None:
        """One that others run. Raises Conflict."""
        if runs_here(new) or value_of(new, INSTANCE):
            raise Conflict(f"serviceCharacteristic: {SLICE} and {INSTANCE} are of services that run here: order one")

    def withdrawing(self, session: Session, specification: Json) -> None:
        """Raises Conflict where a package is offered by it."""
        if key := book.package_key(specification):
            kept = records.collection(session, records.PACKAGE).get(key)
            if kept is not None and kept["serviceSpecification"]["id"] == specification["id"]:
                raise Conflict(f"it offers package {key}: delete that")

    def removing(self, old: Json) -> None:
        """Raises Conflict while it runs."""
        if runs_here(old):
            raise Conflict("state: this service runs here: terminate it first, by an order or by its state")


def _check_items(items: list[Json]) -> None:
    """Raises InputError."""
    ids, services = set[str](), set[str]()
    for n, item in enumerate(items):
        id_, service = item["id"], item["service"].get("id") if item["action"] in ("modify", "delete") else None
        if id_ in ids or len(id_) > MAX_ITEM_ID:
            raise InputError(f"serviceOrderItem.{n}.id", id_, f"of at most {MAX_ITEM_ID} characters, each once")
        if service in services:
            raise InputError(f"serviceOrderItem.{n}.service.id", service, "each service in one item")
        ids.add(id_)
        services |= {service} if service else set()


def _finish(session: Session, id: str, input: Json, state: str, error: str) -> None:
    book.finish(session, input["order"], state, error)
