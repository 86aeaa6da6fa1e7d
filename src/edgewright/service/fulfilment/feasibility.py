"""Whether and where an ordered service can be: what hosts have left, and whether the SLO can hold there.

A placement solver goes in here as any other callable of the form `Method`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy.orm import Session

from edgewright.core.errors import InputError
from edgewright.core.ledger import TOLERANCE
from edgewright.scaling.queueing import late_share
from edgewright.service.fulfilment import book
from edgewright.service.fulfilment.characteristics import booked, chosen
from edgewright.service.packages import Package
from edgewright.service.refusals import Conflict, NotFound
from edgewright.service.slices import records
from edgewright.service.slices.hosting import amounts
from edgewright.service.slices.records import COMPUTE, Json

if TYPE_CHECKING:
    from edgewright.service.runtime import Runtime


class Infeasible(Exception):
    """The order cannot be, and why."""


@dataclass(frozen=True)
class Demand:
    """What a service needs: in sum what its replicas have (`amounts` in the ledger's words), and its SLO."""

    package: Package
    replicas: int
    cpu: float  # of each replica, cores
    memory_mb: float  # of each replica

    @property
    def amounts(self) -> dict[str, float]:
        cpus, ram_mb = self.replicas * self.cpu, self.replicas * self.memory_mb
        return amounts(cpus=cpus, ram_mb=ram_mb, storage_gb=self.package.storage_gb)


@dataclass(frozen=True)
class Offer:
    """A registered host, and what it has left."""

    compute_id: str
    name: str
    left: Mapping[str, float]


@dataclass(frozen=True)
class Answer:
    """`compute_id` None: it cannot be, for this reason."""

    compute_id: str | None
    reason: str


Method = Callable[[Demand, Sequence[Offer]], Answer]


def most_left(demand: Demand, offers: Sequence[Offer]) -> Answer:
    """The host with the most CPU left of those that have room, if the SLO can hold at the package's rate."""
    if reason := slo_reason(demand):
        return Answer(None, reason)
    if not offers:
        return Answer(None, "no host is registered: register one as a compute of the Slice Manager")
    short: list[str] = []
    for offer in sorted(offers, key=lambda offer: (-offer.left["cpu"], offer.name)):
        lacking = [
            f"{amount:g} of {name} wanted, {offer.left[name]:g} left"
            for name, amount in demand.amounts.items()
            if amount > offer.left[name] + TOLERANCE
        ]
        if not lacking:
            return Answer(
                offer.compute_id, f"host {offer.name}: {demand.amounts['cpu']:g} of {offer.left['cpu']:g} CPU left"
            )
        short.append(f"host {offer.name}: {'; '.join(lacking)}")
    return Answer(None, "; ".join(short))


def slo_reason(demand: Demand) -> str | None:
    """Why the SLO cannot hold at the package's rate, by the queueing model of the scaling policies; None: it can.

    Judged at the most CPU that each replica may get: scaling grows them when it is needed.
    """
    package, behaviour, slo = demand.package, demand.package.behaviour, demand.package.slo
    rate_hz, most = np.float64(package.rate_hz / demand.replicas), np.float64(package.cpu.max)
    work_s, overhead_s = behaviour.mean_cpu_s(rate_hz), np.float64(behaviour.overhead_ms / 1e3)
    cv, bound_s = np.float64(behaviour.cpu_cv), np.float64(slo.response_s)
    late = float(late_share(np, rate_hz, work_s, most, cv, overhead_s, bound_s))
    if late <= slo.late_allowed:
        return None
    return (
        f"at {package.rate_hz:g} requests/s on {demand.replicas} replicas of {most:g} cores at most {late:.0%} are "
        f"expected later than {slo.response_ms:g} ms, {slo.late_allowed:.0%} are allowed"
    )


# Orders


def of_order(runtime: Runtime, order_id: str) -> Json:
    """-> by item, what it needs and where it goes. Nothing is changed. Raises Infeasible."""
    with runtime.store.read() as session:
        order = book.order(session, order_id)
        left = {name: runtime.ledger.left(name) for name in runtime.ledger.capacity}
        offers = [Offer(host["id"], host["name"], left) for host in records.listed(session, COMPUTE)]
        items = {item["id"]: item for item in order["serviceOrderItem"]}
        found = {id_: _judge_change(session, item) for id_, item in items.items() if item["action"] != "add"}
        growths = {id_: _growth(each) for id_, each in found.items() if "before" in each}
        for id_, growth in sorted(growths.items(), key=lambda item: item[1]["cpu"]):  # as the modifications are done
            for name, more in growth.items():
                if more > left[name] + TOLERANCE:
                    raise Infeasible(f"item {id_}: {more:g} more of {name} wanted, {left[name]:g} left")
                left[name] -= more
        return found | {
            id_: _judge(runtime, session, item, left, offers) for id_, item in items.items() if item["action"] == "add"
        }


def _growth(change: Json) -> dict[str, float]:
    """Of what is booked, by a change {before, wanted} of a service."""
    old, new = booked(change["before"]), booked(change["before"] | change["wanted"])
    return {name: new[name] - old[name] for name in new}


def _judge(runtime: Runtime, session: Session, item: Json, left: dict[str, float], offers: list[Offer]) -> Json:
    """One that adds; what it takes is taken from `left`."""
    with _refused(item):
        package = book.package_of(session, item["service"])
        numbers = chosen(item["service"].get("serviceCharacteristic"), package)
        demand = Demand(package, int(numbers["replicas"]), numbers["cpu"], numbers["memory"])
        if why := runtime.slices.hosting.reasons.get("compute"):
            raise Conflict(f"no service can run here: {why}")
        if package.storage_gb and (why := runtime.slices.hosting.reasons.get("storage")):
            raise Conflict(f"storage: {why}")
        if missing := runtime.slices.artefacts.missing(package):
            raise Conflict(f"artefacts {', '.join(missing)} of package {package.key} are not here")
        answer = runtime.fulfilment.method(demand, offers)
        if answer.compute_id is None:
            raise Conflict(answer.reason)
        for name, amount in demand.amounts.items():
            left[name] -= amount
    return {"package": package.key, "compute_id": answer.compute_id, "reason": answer.reason, "wanted": numbers}


def _judge_change(session: Session, item: Json) -> Json:
    """One that does not add."""
    with _refused(item):
        if item["action"] == "modify":
            service = book.managed(session, item["service"])
            given = item["service"].get("serviceCharacteristic")
            wanted = chosen(given, book.package_run(session, service), partial=True)
            return {"service": service["id"], "before": book.numbers(service), "wanted": wanted}
        if item["action"] == "delete":
            return {"service": book.managed(session, item["service"], ("active", "inactive"))["id"]}
    return {}


@contextlib.contextmanager
def _refused(item: Json) -> Iterator[None]:
    """Raises Infeasible."""
    try:
        if item.get("quantity", 1) != 1:
            raise InputError("quantity", item["quantity"], "1, an item for each service")
        if item.get("serviceOrderItem"):
            raise InputError("serviceOrderItem", "items inside of an item", "none: they are not supported")
        yield
    except (InputError, Conflict, NotFound) as error:
        raise Infeasible(f"item {item['id']}: {error}") from None
