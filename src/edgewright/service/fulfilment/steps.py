"""The steps of an order: each finds again what it made before a crash, by the name that it gave it, and undoes it.

Names are made of the service's id, which is made of the order's: the same each time.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from edgewright.core.errors import CapacityError
from edgewright.drivers.host import HostError
from edgewright.service.fulfilment import book, loops
from edgewright.service.fulfilment.characteristics import FIELDS, booked, told
from edgewright.service.fulfilment.characteristics import INSTANCE as INSTANCE_
from edgewright.service.fulfilment.characteristics import SLICE as SLICE_
from edgewright.service.fulfilment.feasibility import of_order
from edgewright.service.packages import Package
from edgewright.service.refusals import Conflict, NotFound
from edgewright.service.slices import compute, instances, networks, records, slices, telemetry
from edgewright.service.slices.records import (
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


def service_id(order_id: str, item_id: str) -> str:
    """Of the service that an item adds."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{order_id}/{item_id}"))


def steps_of(runtime: Runtime, input: Json) -> list[Step]:
    """Of an order {order, items: [{id, action}]}: what is free to fail comes first, what cannot be undone last."""
    by_action: dict[str, list[str]] = {}
    for item in input["items"]:
        by_action.setdefault(item["action"], []).append(item["id"])
    found = [
        Step(FEASIBILITY, lambda context: of_order(runtime, context.input["order"])),
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
        found.append(Step(f"{item_id}: termination", do, retries=5, transient=(HostError, Conflict), final=True))
    return found


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


def _unmodify(runtime: Runtime, context: Context) -> Done:
    """But for services that have ended since, what others changed since, and where others have got by now what a
    service gave away.
    """
    stay, back = list[str](), {}
    with runtime.store.read() as session:
        for id_, each in _modified(context).items():
            if service := book.find_running(session, id_):
                now, given = book.numbers(service), each["wanted"]
                back[id_] = {name: each["before"][name] for name in given if now[name] == given[name]}
    for id_ in _by_growth(runtime, back):
        try:
            book.change_service(runtime, id_, back[id_])
        except CapacityError as error:
            told = f"service {id_} keeps what order {context.input['order']} gave it: {error}"
            runtime.recorder.event("change_stays", told)
            stay.append(id_)
        except NotFound:
            continue
    items = [item for item, each in context.output_of(FEASIBILITY).items() if each.get("service") in stay]

    def keep(session: Session) -> None:
        for item in items:
            book.complete(session, context.input["order"], item)

    return Done(commit=keep)


def _modified(context: Context) -> dict[str, Json]:
    """By service."""
    return {each["service"]: each for each in context.output_of(FEASIBILITY).values() if "before" in each}


def _change(runtime: Runtime, wanted: dict[str, Json]) -> None:
    for id_ in _by_growth(runtime, wanted):
        book.change_service(runtime, id_, wanted[id_])


def _by_growth(runtime: Runtime, wanted: dict[str, Json]) -> list[str]:
    """Those that take less first."""
    with runtime.store.read() as session:
        now = {id_: book.numbers(book.service(session, id_)) for id_ in wanted}
    return sorted(wanted, key=lambda id_: booked(now[id_] | wanted[id_])["cpu"] - booked(now[id_])["cpu"])


def _terminating(runtime: Runtime, item_id: str) -> Callable[[Context], Done]:
    def do(context: Context) -> Done:
        id_ = context.output_of(FEASIBILITY)[item_id]["service"]
        take_down(runtime, id_)
        return Done(commit=lambda session: book.terminate(session, id_, context.input["order"], item_id))

    return do


def take_down(runtime: Runtime, id_: str) -> None:
    """End a service and give back what it had; what is gone already is fine.

    Raises Conflict, and has ended nothing, while others use its slice; HostError, StoreError.
    """
    with runtime.changing:
        _check_alone(runtime, id_)
        if found := named(runtime, INSTANCE, id_):
            instances.doom(runtime, found["id"])  # from here on a crash does not bring it back
    loops.end(runtime, id_)
    if found:
        _unwatch(runtime, found["id"])
        instances.remove(runtime, found["id"])
    if found := named(runtime, SLICE, id_):
        slices.deactivate(runtime, found["id"])
        slices.remove(runtime, found["id"])
    for kind, remove in ((NETWORK_CHUNK, networks.remove), (COMPUTE_CHUNK, compute.remove)):
        if found := named(runtime, kind, id_):
            remove(runtime, found["id"])


def _check_alone(runtime: Runtime, id_: str) -> None:
    """Raises Conflict."""
    if slice_ := named(runtime, SLICE, id_):
        with runtime.store.read() as session:
            here = [each["name"] for each in records.listed(session, INSTANCE) if each["slic3_id"] == slice_["id"]]
        if others := [name for name in here if name != id_]:
            raise Conflict(f"network_service_instance {others[0]!r} runs in its slice: delete that first")
    if chunk := named(runtime, COMPUTE_CHUNK, id_):
        compute.check_idle(runtime, chunk)


def named(runtime: Runtime, kind: str, name: str) -> Json | None:
    with runtime.store.read() as session:
        return records.named(session, kind, name)


def _onboarded(runtime: Runtime, package: Package) -> str:
    """Id of the Slice Manager's service of a package, made where there is none."""
    with runtime.changing, runtime.store.write() as session:
        found = next((each for each in records.listed(session, SERVICE) if each["package"] == package.key), None)
        if found is None:
            name = package.key if records.named(session, SERVICE, package.key) is None else str(uuid.uuid4())
            found = records.add(session, SERVICE, {"name": name, "package": package.key})
        return str(found["id"])


def _targets(session: Session, instance_id: str) -> list[Json]:
    return [each for each in records.listed(session, TARGET) if each["network_service_instance_id"] == instance_id]


def _unwatch(runtime: Runtime, instance_id: str) -> None:
    with runtime.store.read() as session:
        found = _targets(session, instance_id)
    for each in found:
        with contextlib.suppress(NotFound):  # somebody else was faster
            telemetry.remove_target(runtime, each["telemetry_id"], each["id"])
