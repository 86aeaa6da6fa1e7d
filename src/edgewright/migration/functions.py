"""How a 5G network function can be moved: as a process or as a virtual machine, by what of it each of them keeps.

A catalogue (`format: edgewright.network-functions/1`) lists functions with their interfaces, and slices made of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from edgewright.core.documents import Document, Name, Part, read, unique
from edgewright.core.errors import InputError
from edgewright.core.tables import number, read_rows
from edgewright.migration.model import SHIPPED

Mechanism = Literal["process", "machine"]
TRANSPORTS: dict[str, str] = {  # of protocols; stacks of TS 23.501, 8.2 and 8.3, and TS 38.401
    "http2": "tcp",
    "pfcp": "udp",
    "gtp-u": "udp",
    "ngap": "sctp",
    "f1ap": "sctp",
    "e1ap": "sctp",
    "xnap": "sctp",
    "ip": "ip",
    "tcp": "tcp",
    "udp": "udp",
    "sctp": "sctp",
}
PLURAL = {"process": "processes", "machine": "machines"}
KEPT_BY_A_PROCESS = ("tcp", "udp", "ip")  # sockets that CRIU can dump and restore


class Interface(Part):
    name: Annotated[str, Field(min_length=1)]
    """Of the reference point or service, such as N2."""
    protocol: str
    """A key of TRANSPORTS."""

    @model_validator(mode="after")
    def _known(self) -> Interface:
        if self.protocol not in TRANSPORTS:
            raise InputError("protocol", self.protocol, f"one of {', '.join(TRANSPORTS)}")
        return self


class NetworkFunction(Part):
    name: Name
    title: str = ""
    interfaces: Annotated[tuple[Interface, ...], Field(min_length=1, strict=False)]
    memory_mb: Annotated[float, Field(gt=0)] = 50.0
    """That it has in use."""
    kernel: str = ""
    """State of it that lives in the host's kernel, in words; empty: none."""


class Slice(Part):
    name: Name
    service_type: Annotated[int, Field(ge=1, le=255)] | None = None
    """SST; none for functions that all slices share."""
    interruption_ms: Annotated[float, Field(gt=0)] | None = None
    """The longest that its users bear; none: any."""
    functions: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]


class Catalogue(Document):
    format: Literal["edgewright.network-functions/1"] = "edgewright.network-functions/1"
    functions: Annotated[tuple[NetworkFunction, ...], Field(min_length=1, strict=False)]
    slices: Annotated[tuple[Slice, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Catalogue:
        names = [one.name for one in self.functions]
        unique(names, "functions")
        unique([one.name for one in self.slices], "slices")
        for one in self.slices:
            for name in one.functions:
                if name not in names:
                    raise InputError(f"slices.{one.name}.functions", name, f"one of {', '.join(names)}")
        return self


def read_catalogue(path: str | Path = SHIPPED / "functions.yaml") -> Catalogue:
    return read(Catalogue, path)


def lost_by_a_process(function: NetworkFunction) -> list[str]:
    """What of it a checkpoint would not keep, and why."""
    found = [
        f"{one.name} is {one.protocol.upper()} over SCTP, whose sockets cannot be checkpointed"
        for one in function.interfaces
        if TRANSPORTS[one.protocol] not in KEPT_BY_A_PROCESS
    ]
    if function.kernel:
        found.append(f"{function.kernel} are in the host's kernel, which a checkpoint leaves behind")
    return found


@dataclass(frozen=True)
class Cost:
    """Of a mechanism: milliseconds without an answer, in a straight line over the memory in use."""

    base_ms: float
    per_mb_ms: float

    def downtime_ms(self, memory_mb: float) -> float:
        return max(self.base_ms + self.per_mb_ms * memory_mb, 0.0)


MEASURED: dict[Mechanism, Cost] = {  # docs/migration.md: on one host, machines without KVM
    "process": Cost(59.0, 1.53),
    "machine": Cost(143.0, 0.0),
}


def costs_of(path: str | Path) -> dict[Mechanism, Cost]:
    """Fitted to migrations.csv of `edgewright migration mechanisms`. Raises InputError."""
    seen: dict[str, list[tuple[float, float]]] = {}
    for where, row in read_rows(path, ("mechanism", "memory_mb", "downtime_ms")):
        if row["mechanism"] not in MEASURED:
            raise InputError(f"{where}: mechanism", row["mechanism"], f"one of {', '.join(MEASURED)}", source=str(path))
        memory, downtime = (
            number(row[name], f"{where}: {name}", "a number >= 0", path, lambda value: value >= 0)
            for name in ("memory_mb", "downtime_ms")
        )
        seen.setdefault(row["mechanism"], []).append((memory, downtime))
    found = dict(MEASURED)
    for mechanism, points in seen.items():
        memory_mb, downtime_ms = np.array(points).T
        slope, base = np.polyfit(memory_mb, downtime_ms, 1) if np.ptp(memory_mb) > 0 else (0.0, 0.0)
        if slope <= 0:
            slope, base = 0.0, downtime_ms.mean()
        found[mechanism] = Cost(float(base), float(slope))  # type: ignore[index]
    return found


@dataclass(frozen=True)
class Choice:
    """How a function of a slice is to be moved; `mechanism` None: not at all, live."""

    slice: str
    function: str
    mechanism: Mechanism | None
    downtime_ms: float | None
    reasons: tuple[str, ...]


def choose(
    function: NetworkFunction,
    where: Slice,
    available: Sequence[Mechanism] = ("process", "machine"),
    costs: Mapping[Mechanism, Cost] = MEASURED,
) -> Choice:
    """The mechanism with the shortest downtime among those that keep all of the function, and why."""
    lost = lost_by_a_process(function)
    reasons = [f"not as a process: {reason}" for reason in lost]
    kept = [one for one in available if one == "machine" or not lost]
    reasons += [f"no {many} here" for one, many in PLURAL.items() if one not in available]
    if not kept:
        return Choice(where.name, function.name, None, None, tuple(reasons))
    expected = {one: costs[one].downtime_ms(function.memory_mb) for one in kept}
    best = min(expected, key=lambda one: expected[one])
    told = ", ".join(f"{value:.0f} ms as a {one}" for one, value in expected.items())
    reasons.append(f"expected downtime with {function.memory_mb:g} MB: {told}")
    bound = where.interruption_ms
    if bound is not None and expected[best] > bound:
        reasons.append(f"more than the {bound:g} ms that {where.name} bears: move it when its users are idle")
        return Choice(where.name, function.name, None, expected[best], tuple(reasons))
    return Choice(where.name, function.name, best, expected[best], tuple(reasons))


def plan(
    catalogue: Catalogue,
    slices: Sequence[str] = (),
    available: Sequence[Mechanism] = ("process", "machine"),
    costs: Mapping[Mechanism, Cost] = MEASURED,
) -> list[Choice]:
    """Of every function of these slices; none named: of all. Raises InputError for an unknown slice."""
    by_name = {one.name: one for one in catalogue.functions}
    known = {one.name: one for one in catalogue.slices}
    for name in slices:
        if name not in known:
            raise InputError("slice", name, f"one of {', '.join(known)}")
    chosen = [known[name] for name in slices] if slices else list(known.values())
    return [choose(by_name[name], one, available, costs) for one in chosen for name in one.functions]
