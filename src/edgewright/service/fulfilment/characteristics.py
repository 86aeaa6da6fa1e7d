"""What a customer may choose of a service, as TM Forum characteristics (SID, "ServiceSpecCharacteristic")."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edgewright.core.errors import InputError
from edgewright.service.packages import Package
from edgewright.service.slices.hosting import amounts

Json = dict[str, Any]


@dataclass(frozen=True)
class Choice:
    """A number that an order sets and a patch of the inventory changes. `field`: the Slice Manager's word for it."""

    name: str
    field: str
    unit: str
    whole: bool
    description: str


CHOICES = (
    Choice("cpu", "cpus", "cores", False, "CPU limit of each replica"),
    Choice("memory", "ram_mb", "MB", False, "memory limit of each replica"),
    Choice("replicas", "replicas", "", True, "processes that serve behind the service's address"),
)
FIELDS = {choice.name: choice.field for choice in CHOICES}
ADDRESS, SLICE, INSTANCE, LOOP = "address", "slice", "instance", "loop"  # set by us, read only


def ranges(package: Package) -> dict[str, tuple[float, float, float]]:
    """By characteristic: least, most, default."""
    cpu, memory, replicas = package.cpu, package.memory, package.replicas
    return {
        "cpu": (cpu.min, cpu.max, cpu.initial),
        "memory": (memory.min_mb, memory.max_mb, memory.initial_mb),
        "replicas": (replicas.min, replicas.max, replicas.initial),
    }


def specified(package: Package) -> list[Json]:
    """`specCharacteristic` of its service specification."""
    found = []
    for choice in CHOICES:
        low, high, default = ranges(package)[choice.name]
        kind = "integer" if choice.whole else "number"
        # valueFrom and valueTo are whole numbers in the specification: a range of parts goes by its bounds as values.
        values = [
            {"value": default, "isDefault": True, "valueType": kind, "unitOfMeasure": choice.unit},
            {"value": {"least": low, "most": high}, "isDefault": False, "valueType": "range"},
        ]
        found.append(
            {
                "name": choice.name,
                "description": f"{choice.description}, {low:g} .. {high:g}",
                "valueType": kind,
                "configurable": True,
                "minCardinality": 0,
                "maxCardinality": 1,
                "characteristicValueSpecification": values,
            }
        )
    return found


def chosen(listed: Iterable[Mapping[str, Any]] | None, package: Package, *, partial: bool = False) -> dict[str, float]:
    """Numbers that an order (or a patch: `partial`, without defaults) gives; the defaults for others.

    Raises InputError naming the characteristic.
    """
    found: dict[str, float] = {} if partial else {name: span[2] for name, span in ranges(package).items()}
    for i, each in enumerate(listed or ()):
        field, name = f"serviceCharacteristic.{i}", each["name"]
        if name not in FIELDS:
            if name in (ADDRESS, SLICE, INSTANCE, LOOP):
                continue
            raise InputError(f"{field}.name", name, f"one of {', '.join(FIELDS)}")
        choice = next(choice for choice in CHOICES if choice.name == name)
        low, high, _ = ranges(package)[name]
        value = each["value"]
        if isinstance(value, Mapping) and set(value) == {"value"}:  # as some clients wrap it
            value = value["value"]
        good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not good or not low <= value <= high or (choice.whole and value != int(value)):
            word = "a whole number" if choice.whole else "a number"
            raise InputError(f"{field}.value", value, f"{word}, {low:g} .. {high:g} {choice.unit}".rstrip())
        found[name] = int(value) if choice.whole else float(value)
    return found


def listed(values: Mapping[str, float]) -> list[Json]:
    """As orders and patches ask for them."""
    return [{"name": name, "value": value} for name, value in values.items()]


def booked(values: Mapping[str, float]) -> dict[str, float]:
    """CPU and memory of all replicas together, in the ledger's words."""
    return amounts(cpus=values["replicas"] * values["cpu"], ram_mb=values["replicas"] * values["memory"])


def told(values: Mapping[str, float], **own: str | None) -> list[Json]:
    """`serviceCharacteristic` of the inventory."""
    numbers = [
        {"name": c.name, "valueType": "integer" if c.whole else "number", "value": values[c.name]} for c in CHOICES
    ]
    return numbers + [{"name": name, "valueType": "string", "value": text} for name, text in own.items() if text]


def runs_here(service: Mapping[str, Any]) -> bool:
    """A service of the inventory that we set up, and did not end yet."""
    return value_of(service, SLICE) is not None


def value_of(service: Mapping[str, Any], name: str) -> Any:
    """Of a service of the inventory; None where it has none of that name."""
    found = (each["value"] for each in service.get("serviceCharacteristic") or () if each["name"] == name)
    return next(found, None)
