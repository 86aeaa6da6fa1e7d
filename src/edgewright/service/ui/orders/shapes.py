"""The part of the APIs' answers that the page of orders shows; what it does not know it ignores.

Resources of the TM Forum's APIs (633, 638, 641) and of the Slice Manager, with their names there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import Field

from edgewright.service.tmf.states import SERVICE_ORDER
from edgewright.service.ui.shapes import Shape

ENDED = SERVICE_ORDER.final
CANCELLING = ("assessingCancellation", "pendingCancellation")


class Reference(Shape):
    id: str = ""


class Characteristic(Shape):
    name: str
    value: Any = None


# Catalogue


class SpecValue(Shape):
    value: Any = None
    default: bool = Field(False, validation_alias="isDefault")
    unit: str | None = Field(None, validation_alias="unitOfMeasure")


class SpecCharacteristic(Shape):
    name: str
    description: str | None = None
    kind: str | None = Field(None, validation_alias="valueType")
    values: list[SpecValue] = Field([], validation_alias="characteristicValueSpecification")


class Candidate(Shape):
    id: str
    specification: Reference = Field(Reference(), validation_alias="serviceSpecification")


@dataclass(frozen=True)
class Choice:
    """A number that an order sets."""

    name: str
    least: float
    most: float
    default: float
    unit: str
    whole: bool
    description: str


class Attachment(Shape):
    name: str | None = None
    kind: str | None = Field(None, validation_alias="attachmentType")


class Specification(Shape):
    id: str
    name: str = ""
    version: str | None = None
    description: str | None = None
    characteristics: list[SpecCharacteristic] = Field([], validation_alias="specCharacteristic")
    attachments: list[Attachment] = Field([], validation_alias="attachment")

    @property
    def package(self) -> str | None:
        """NAME:VERSION of what is run for it; None: another one's, which cannot be ordered here."""
        return next((each.name for each in self.attachments if each.kind == "package"), None)

    @property
    def choices(self) -> list[Choice]:
        return [choice for each in self.characteristics if (choice := _choice(each))]


def _choice(given: SpecCharacteristic) -> Choice | None:
    default = next((each for each in given.values if each.default), None)
    span: Any = next((each.value for each in given.values if isinstance(each.value, dict)), {})
    if default is None or not isinstance(default.value, int | float) or not {"least", "most"} <= span.keys():
        return None
    description, whole = (given.description or "").partition(",")[0], given.kind == "integer"
    return Choice(given.name, span["least"], span["most"], default.value, default.unit or "", whole, description)


# Orders


class Ordered(Shape):
    """The service of an item."""

    id: str | None = None
    name: str | None = None
    specification: Reference = Field(Reference(), validation_alias="serviceSpecification")
    characteristics: list[Characteristic] = Field([], validation_alias="serviceCharacteristic")


class Item(Shape):
    id: str
    action: str
    state: str = ""
    service: Ordered = Ordered.model_validate({})


class Problem(Shape):
    message: str = ""


class Order(Shape):
    id: str
    state: str
    description: str | None = None
    items: list[Item] = Field([], validation_alias="serviceOrderItem")
    date: datetime = Field(validation_alias="orderDate")
    completed: datetime | None = Field(None, validation_alias="completionDate")
    errors: list[Problem] = Field([], validation_alias="errorMessage")

    @property
    def ended(self) -> bool:
        return self.state in ENDED


class Step(Shape):
    name: str
    state: str  # waiting | running | done | failed | undone
    attempts: int = 0
    began: float | None = None
    ended: float | None = None
    error: str = ""
    note: str = ""


# Services


class Service(Shape):
    id: str
    name: str | None = None
    state: str
    specification: Reference = Field(Reference(), validation_alias="serviceSpecification")
    characteristics: list[Characteristic] = Field([], validation_alias="serviceCharacteristic")

    def value(self, name: str) -> Any:
        return next((each.value for each in self.characteristics if each.name == name), None)

    def text(self, name: str) -> str:
        """Empty where the characteristic is none: services of others may have anything in it."""
        return value if isinstance(value := self.value(name), str) else ""

    def number(self, name: str) -> float | None:
        value = self.value(name)
        return value if isinstance(value, int | float) else None

    @property
    def label(self) -> str:
        return self.name or self.id[:8]


class Replica(Shape):
    name: str
    address: str = ""
    alive: bool = False
    pid: int | None = None
    restarts: int = 0
    cpus: float | None = None
    memory_mb: float | None = None
    state: str | None = None
    outstanding: int | None = None
    requests: int | None = None


class Instance(Shape):
    id: str
    replicas: list[Replica] = Field([], validation_alias="replica_states")


# Slices


class Host(Shape):
    id: str
    name: str
    driver: str | None = None
    capacity: dict[str, float] = {}
    left: dict[str, float] = {}


class Amount(Shape):
    required: float = 0.0


class Quotas(Shape):
    cpus: Amount = Amount()
    ram: Amount = Amount()
    storage: Amount = Amount()


class ComputeChunk(Shape):
    id: str
    name: str
    compute_id: str | None = None
    requirements: Quotas = Quotas()
    loop: str | None = None
    status: str = ""


class Rates(Shape):
    bandwidth: Amount | None = None


class NetworkChunk(Shape):
    id: str
    name: str
    tag: int | None = None
    subnet: str | None = None
    requirements: Rates = Rates()


class CellShare(Shape):
    cell_id: str
    prbs: int


class Cells(Shape):
    cells: list[CellShare] = []


class RadioChunk(Shape):
    id: str
    name: str
    topology: Cells = Field(Cells(), validation_alias="chunk_topology")


class Slice(Shape):
    id: str
    name: str
    chunk_ids: list[str] = []
    active: bool = False
    activation_status: str = ""


# Events and policies


class TmfEvent(Shape):
    seq: int
    time: float = Field(validation_alias="t")
    type: str
    subject: str = ""


class Hub(Shape):
    id: str
    api: str
    callback: str
    query: str = ""
    waiting: int = 0
    delivered: int = 0
    dead: int = 0


class Condition(Shape):
    above: float | None = None
    below: float | None = None
    for_s: float = 0.0


class Policy(Shape):
    name: str
    metric: str
    condition: Condition


class PolicyState(Shape):
    policy: str
    service: str
    value: float | None = None
    armed_s: float | None = None
    fired_s_ago: float | None = None


class Elasticity(Shape):
    policies: list[dict[str, Any]] = []
    """As they are written, each a Policy."""
    states: list[PolicyState] = []
