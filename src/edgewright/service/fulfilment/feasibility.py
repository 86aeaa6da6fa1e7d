"""Whether and where an ordered service can be: what hosts have left, and whether the SLO can hold there.

A placement solver goes in here as any other callable of the form `Method`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgewright.scaling.queueing import late_share
from edgewright.service.packages import Package
from edgewright.service.slices.hosting import amounts


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
            if amount > offer.left[name] + 1e-9
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
