"""The steps of an order: each finds again what it made before a crash, by the name that it gave it, and undoes it.

Names are made of the service's id, which is made of the order's: the same each time.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from edgewright.core.errors import InputError
from edgewright.drivers.host import HostError
from edgewright.service.fulfilment import book, loops
from edgewright.service.fulfilment.characteristics import FIELDS, chosen, told
from edgewright.service.fulfilment.characteristics import INSTANCE as INSTANCE_
from edgewright.service.fulfilment.characteristics import SLICE as SLICE_
from edgewright.service.fulfilment.feasibility import Demand, Offer
from edgewright.service.packages import Package
from edgewright.service.refusals import Conflict, NotFound
from edgewright.service.slices import compute, instances, networks, records, slices, telemetry
from edgewright.service.slices.records import (
    COMPUTE,
    COMPUTE_CHUNK,
    INSTANCE,
    NETWORK,
    NETWORK_CHUNK,
    SERVICE,
    SLICE,
    TARGET,
    TELEMETRY,
)
from edgewright.service.workflows.steps import Context, Done, Json, Step

if TYPE_CHECKING:
    from edgewright.service.runtime import Runtime

FEASIBILITY = "feasibility"
PHYSICAL = {"name": "host", "data_subnetpool": "10.64.0.0/12", "mgmt_subnetpool": None, "bandwidth_mbps": None}
"""Made where no physical network is registered: of this host alone."""


class Infeasible(Exception):
    """The order cannot be, and why."""


def service_id(order_id: str, item_id: str) -> str:
    """Of the service that an item adds."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{order_id}/{item_id}"))


def steps_of(runtime: Runtime, input: Json) -> list[Step]:
    """Of an order {order, items: [{id, action}]}: what is free to fail comes first, what cannot be undone last."""
    by_action: dict[str, list[str]] = {}
    for item in input["items"]:
        by_action.setdefault(item["action"], []).append(item["id"])
    found = [
        Step(FEASIBILITY, lambda context: _feasibility(runtime, context)),
        Step("acceptance", lambda context: Done(commit=lambda session: book.accept(session, input["order"]))),
    ]
    if "modify" in by_action:
        found.append(
            Step(
                "modifications", lambda context: _modify(runtime, context), lambda context: _unmodify(runtime, context)
            )
        )
    for item_id in by_action.get("add", ()):
        found += Adding(runtime, input["order"], item_id).steps()
    for item_id in by_action.get("delete", ()):
        do = _terminating(runtime, item_id)
        found.append(Step(f"{item_id}: termination", do, retries=5, transient=(HostError,), final=True))
    return found


# Feasibility


def _feasibility(runtime: Runtime, context: Context) -> Json:
    """Read only: nothing has been changed where it fails. -> by item, what it needs and where it goes."""
    with runtime.store.read() as session:
        order = book.order(session, context.input["order"])
        offers = [
            Offer(host["id"], host["name"], {name: runtime.ledger.left(name) for name in runtime.ledger.capacity})
            for host in records.listed(session, COMPUTE)
        ]
        found = {item["id"]: _judge(runtime, session, item, offers) for item in order["serviceOrderItem"]}
    return found


def _judge(runtime: Runtime, session: Session, item: Json, offers: list[Offer]) -> Json:
    def refuse(reason: object) -> Infeasible:
        return Infeasible(f"item {item['id']}: {reason}")

    if item.get("quantity", 1) != 1:
        raise refuse(f"quantity: got {item['quantity']}, allowed: 1, an item for each service")
    if item.get("serviceOrderItem"):
        raise refuse("serviceOrderItem: items inside of items are not supported")
    try:
        if item["action"] == "add":
            package = book.package_of(session, item["service"])
            numbers = chosen(item["service"].get("serviceCharacteristic"), package)
            demand = Demand(package, int(numbers["replicas"]), numbers["cpu"], numbers["memory"])
            if why := runtime.slices.hosting.reasons.get("compute"):
                raise refuse(f"no service can run here: {why}")
            if package.storage_gb and (why := runtime.slices.hosting.reasons.get("storage")):
                raise refuse(f"storage: {why}")
            if missing := runtime.slices.artefacts.missing(package):
                raise refuse(f"artefacts {', '.join(missing)} of package {package.key} are not here")
            answer = runtime.fulfilment.method(demand, offers)
            if answer.compute_id is None:
                raise refuse(answer.reason)
            return {"package": package.key, "compute_id": answer.compute_id, "reason": answer.reason, "wanted": numbers}
        if item["action"] in ("modify", "delete"):
            service = book.managed(session, item["service"])
            if item["action"] == "modify":
                package = book.package_of(session, service)
                given = item["service"].get("serviceCharacteristic")
                wanted = chosen(given, package, partial=True)
                return {"service": service["id"], "before": book.numbers(service), "wanted": wanted}
            return {"service": service["id"]}
    except (InputError, Conflict, NotFound) as error:
        raise refuse(error) from None
    return {}


# Items that add a service


@dataclass(frozen=True)
class Adding:
    runtime: Runtime
    order_id: str
    item_id: str

    @property
    def id(self) -> str:
        return service_id(self.order_id, self.item_id)

    def steps(self) -> list[Step]:
        made: list[tuple[str, Callable[[Context], Done | Json | None], Callable[[Context], Done | None] | None]] = [
            ("compute chunk", self.make_compute, self._undo(COMPUTE_CHUNK, compute.remove)),
            ("network chunk", self.make_network, self._undo(NETWORK_CHUNK, networks.remove)),
            ("slice", self.make_slice, self._undo(SLICE, slices.remove)),
            ("activation", self.activate, self.deactivate),
            ("reservation", self.reserve, self.release),
            ("deployment", self.deploy, self._undo(INSTANCE, instances.remove)),
            ("telemetry", self.watch, self.unwatch),
            ("loop", self.begin_loop, lambda context: loops.end(self.runtime, self.id)),
            ("hand-over", self.hand_over, None),
        ]
        return [Step(f"{self.item_id}: {name}", do, undo) for name, do, undo in made]

    def make_compute(self, context: Context) -> Json:
        """A share of the chosen host, as large as what the replicas have; it grows with them."""
        wanted, package = self._wanted(context)
        if found := self._named(COMPUTE_CHUNK):
            return {"id": found["id"]}
        body = {
            "name": self.id,
            "description": f"of order {self.order_id}",
            "compute_id": self._feasible(context)["compute_id"],
        }
        cpus, ram_mb = (wanted["replicas"] * wanted[name] for name in ("cpu", "memory"))
        return {"id": compute.create(self.runtime, body, cpus, ram_mb, package.storage_gb)["id"]}

    def make_network(self, context: Context) -> Json:
        """On the first physical network, under a free tag; none where the kernel has no network namespaces."""
        _, package = self._wanted(context)
        if why := self.runtime.slices.hosting.reasons.get("network"):
            context.note(why)
            return {"id": None}
        if found := self._named(NETWORK_CHUNK):
            return {"id": found["id"]}
        with self.runtime.changing:
            with self.runtime.store.write() as session:
                known = records.listed(session, NETWORK)
                physical = known[0] if known else records.add(session, NETWORK, PHYSICAL)
                tags = {chunk["tag"] for chunk in records.listed(session, NETWORK_CHUNK)}
            bandwidth = package.bandwidth_mbps and {"required": package.bandwidth_mbps, "units": "Mbps"}
            body = {
                "name": self.id,
                "physical_network_id": physical["id"],
                "compute_chunk_id": self._output(context, "compute chunk")["id"],
                "requirements": {"bandwidth": bandwidth or None},
                "role": "data",
                "tag": next(tag for tag in range(1, 4095) if tag not in tags),
            }
            return {"id": networks.create(self.runtime, body)["id"]}

    def make_slice(self, context: Context) -> Json:
        if found := self._named(SLICE):
            return {"id": found["id"]}
        ids = [self._output(context, step)["id"] for step in ("compute chunk", "network chunk")]
        body = {"name": self.id, "chunk_ids": [id_ for id_ in ids if id_]}
        return {"id": slices.create(self.runtime, body)["id"]}

    def activate(self, context: Context) -> None:
        slices.activate(self.runtime, self._output(context, "slice")["id"])

    def deactivate(self, context: Context) -> None:
        if found := self._named(SLICE):
            slices.deactivate(self.runtime, found["id"])

    def reserve(self, context: Context) -> Done:
        """The service is in the inventory from now on."""
        wanted, _ = self._wanted(context)
        own = told(wanted, **{SLICE_: self._output(context, "slice")["id"]})
        return Done(commit=lambda session: book.reserve(session, self.order_id, self.item_id, self.id, own))

    def release(self, context: Context) -> Done:
        return Done(commit=lambda session: book.withdraw(session, self.id))

    def deploy(self, context: Context) -> Json:
        wanted, package = self._wanted(context)
        if found := self._named(INSTANCE):
            return {"id": found["id"]}
        body = {
            "name": self.id,
            "network_service_id": _onboarded(self.runtime, package),
            "slic3_id": self._output(context, "slice")["id"],
            "elastic": True,
            **{FIELDS[name]: value for name, value in wanted.items()},
        }
        return {"id": instances.create(self.runtime, body)["id"]}

    def watch(self, context: Context) -> Json:
        """By every telemetry resource that there is."""
        with self.runtime.store.read() as session:
            known = records.listed(session, TELEMETRY)
            have = {each["telemetry_id"]: each["id"] for each in _targets(session, self._instance())}
        for each in known:
            if each["id"] not in have:
                body = {
                    "name": f"{self.id} {each['name']}",
                    "url": None,
                    "network_service_instance_id": self._instance(),
                }
                have[each["id"]] = telemetry.add_target(self.runtime, each["id"], body)["id"]
        return have

    def unwatch(self, context: Context) -> None:
        _unwatch(self.runtime, self._instance())

    def begin_loop(self, context: Context) -> Json:
        return {"loop": loops.begin(self.runtime, self.id, self._instance())}

    def hand_over(self, context: Context) -> Done:
        """The service is active."""
        instance_id = self._instance()
        running = self.runtime.slices.running[instance_id]
        loop = self._output(context, "loop")["loop"]
        own = {"address": running.address, INSTANCE_: instance_id, "loop": loop}
        return Done(own, lambda session: book.hand_over(session, self.order_id, self.item_id, self.id, own))

    # Inside

    def _feasible(self, context: Context) -> Json:
        found: Json = context.output_of(FEASIBILITY)[self.item_id]
        return found

    def _wanted(self, context: Context) -> tuple[dict[str, float], Package]:
        feasible = self._feasible(context)
        with self.runtime.store.read() as session:
            return feasible["wanted"], records.package(session, feasible["package"])

    def _output(self, context: Context, step: str) -> Json:
        return context.output_of(f"{self.item_id}: {step}")

    def _instance(self) -> str:
        found = self._named(INSTANCE)
        return found["id"] if found else ""

    def _named(self, kind: str) -> Json | None:
        return named(self.runtime, kind, self.id)

    def _undo(self, kind: str, remove: Callable[[Runtime, str], None]) -> Callable[[Context], None]:
        def undo(_: Context) -> None:
            if found := self._named(kind):
                remove(self.runtime, found["id"])

        return undo


# Items that change and end services


def _modify(runtime: Runtime, context: Context) -> None:
    """All of them, those that take less first. What they do not name stays, as others may change it meanwhile."""
    _change(runtime, {id_: each["wanted"] for id_, each in _modified(context).items()})


def _unmodify(runtime: Runtime, context: Context) -> None:
    modified = _modified(context).items()
    _change(runtime, {id_: {name: each["before"][name] for name in each["wanted"]} for id_, each in modified})


def _modified(context: Context) -> dict[str, Json]:
    """By service."""
    return {each["service"]: each for each in context.output_of(FEASIBILITY).values() if "before" in each}


def _change(runtime: Runtime, wanted: dict[str, Json]) -> None:
    with runtime.store.read() as session:
        now = {id_: book.numbers(book.service(session, id_)) for id_ in wanted}
    for id_ in sorted(wanted, key=lambda id_: _cpu(now[id_] | wanted[id_]) - _cpu(now[id_])):
        book.change_service(runtime, id_, wanted[id_])


def _cpu(numbers: Json) -> float:
    return float(numbers["cpu"] * numbers["replicas"])


def _terminating(runtime: Runtime, item_id: str) -> Callable[[Context], Done]:
    def do(context: Context) -> Done:
        id_ = context.output_of(FEASIBILITY)[item_id]["service"]
        take_down(runtime, id_)
        return Done(commit=lambda session: book.terminate(session, id_, context.input["order"], item_id))

    return do


def take_down(runtime: Runtime, id_: str) -> None:
    """End a service and give back what it had; what is gone already is fine. Raises HostError, StoreError, Conflict."""
    loops.end(runtime, id_)
    if found := named(runtime, INSTANCE, id_):
        _unwatch(runtime, found["id"])
        instances.remove(runtime, found["id"])
    if found := named(runtime, SLICE, id_):
        slices.deactivate(runtime, found["id"])
        slices.remove(runtime, found["id"])
    for kind, remove in ((NETWORK_CHUNK, networks.remove), (COMPUTE_CHUNK, compute.remove)):
        if found := named(runtime, kind, id_):
            remove(runtime, found["id"])


def named(runtime: Runtime, kind: str, name: str) -> Json | None:
    with runtime.store.read() as session:
        return records.named(session, kind, name)


def _onboarded(runtime: Runtime, package: Package) -> str:
    """Id of the Slice Manager's service of a package, made where there is none."""
    with runtime.changing, runtime.store.write() as session:
        found = records.named(session, SERVICE, package.key)
        return str((found or records.add(session, SERVICE, {"name": package.key, "package": package.key}))["id"])


def _targets(session: Session, instance_id: str) -> list[Json]:
    return [each for each in records.listed(session, TARGET) if each["network_service_instance_id"] == instance_id]


def _unwatch(runtime: Runtime, instance_id: str) -> None:
    with runtime.store.read() as session:
        found = _targets(session, instance_id)
    for each in found:
        telemetry.remove_target(runtime, each["telemetry_id"], each["id"])
