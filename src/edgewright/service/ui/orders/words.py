"""Orders, services, slices and policies as a visitor reads them. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import yaml

from edgewright.service.ui import words
from edgewright.service.ui.orders.shapes import (
    CANCELLING,
    Choice,
    ComputeChunk,
    Hub,
    Instance,
    Item,
    NetworkChunk,
    Order,
    Policy,
    PolicyState,
    RadioChunk,
    Replica,
    Service,
    Slice,
    Step,
)
from edgewright.service.ui.shapes import Refusal
from edgewright.service.ui.words import NONE, Level

STEPS = {
    "feasibility": ("Feasibility", "Is there room on a host, and can the service meet its objective there?"),
    "acceptance": ("Acceptance", "The order is in progress from here on"),
    "modifications": ("Changes", "CPU, memory and replicas of running services are changed, all or none"),
    "compute chunk": ("Compute chunk", "CPU, memory and storage of a host, reserved and enforced by the kernel"),
    "network chunk": ("Network chunk", "A network of its own: VLAN tag, subnet and rate"),
    "slice": ("Slice", "The chunks put together"),
    "activation": ("Activation", "The slice is configured; services may run in it"),
    "reservation": ("Reservation", "The service is in the inventory as reserved"),
    "deployment": ("Deployment", "Its replicas start, until each says that it is healthy"),
    "telemetry": ("Telemetry", "Its metrics are collected from now on"),
    "loop": ("Scaling loop", "A loop measures it and scales its CPU and memory if its package has a policy"),
    "hand-over": ("Hand-over", "The service is active and has its address"),
    "termination": ("Termination", "Its replicas end and its slice and chunks are given back"),
}
"""A step of an order's workflow by its name: what a visitor calls it, what it does."""
STATES: dict[str, tuple[Level, str]] = {
    "acknowledged": ("quiet", "Acknowledged"),
    "inProgress": ("quiet", "In progress"),
    "pending": ("warn", "Pending"),
    "held": ("warn", "Held"),
    "completed": ("ok", "Completed"),
    "partial": ("warn", "Partly done"),
    "failed": ("bad", "Failed"),
    "rejected": ("bad", "Rejected"),
    "cancelled": ("warn", "Cancelled"),
    **dict.fromkeys(CANCELLING, ("warn", "Being cancelled")),
}
"""Of an order (TMF641)."""
SERVICE_STATES = {"reserved": "Being set up", "feasibilityChecked": "Feasible"}
ACTIONS = {"add": "Add", "modify": "Change", "delete": "Terminate", "noChange": "Keep"}
UNITS = {"cpu": "cores", "memory": "MB"}
LABELS = {"cpu": "CPU", "memory": "Memory", "replicas": "Replicas"}
ENTITIES = {"ServiceOrder": "Order", "CancelServiceOrder": "Cancellation"}
CHANGES = {
    "AttributeValueChange": "changed",
    "StateChange": "changed its state",
    "InformationRequired": "needs information",
    "Create": "created",
    "Delete": "deleted",
    "Milestone": "milestone",
    "Jeopardy": "in jeopardy",
}
EXAMPLE = """\
format: edgewright.policies/1
policies:
- name: more replicas
  metric: cpu_utilization     # used over the limit, of one replica
  condition: {above: 0.8, clear: 0.6, for_s: 5}
  action: {replicas: 1}
  cooldown_s: 15
"""


# Orders


def order_state(order: Order) -> tuple[Level, str]:
    return STATES.get(order.state, ("quiet", order.state))


def title(order: Order, names: Mapping[str, str], packages: Mapping[str, str]) -> str:
    """What it is for; `names` by service, `packages` by specification."""
    return "; ".join(_item(item, names, packages) for item in order.items)


def _item(item: Item, names: Mapping[str, str], packages: Mapping[str, str]) -> str:
    service, of = item.service, packages.get(item.service.specification.id, "")
    name = service.name or names.get(service.id or "") or (service.id or "")[:8]
    if item.action == "add":
        name = f"{name} ({of})" if name and of else name or of
    what = f"{ACTIONS.get(item.action, item.action)} {name or 'a service'}"
    values = [amount(each.name, each.value) for each in service.characteristics]
    return f"{what}: {', '.join(values)}" if values and item.action != "delete" else what


def amount(name: str, value: Any) -> str:
    """ "0.3 cores", "128 MB", "2 replicas"."""
    shown = f"{round(value, 3):g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
    if name == "replicas":
        return f"{shown} replica{'' if value == 1 else 's'}"
    return f"{shown} {UNITS[name]}" if name in UNITS else f"{name} {shown}"


def names_of(orders: Iterable[Order], services: Iterable[Service]) -> dict[str, str]:
    """By the id of a service: what orders and the inventory call it."""
    told = {item.service.id: item.service.name for order in orders for item in order.items}
    told |= {service.id: service.name for service in services if service.name}
    return {id: name for id, name in told.items() if id and name}


def reason(message: str) -> str:
    """Why something was not done, without the names that only programmers know."""
    plain = re.sub(r"\b[A-Z]\w*Error: ", "", message)
    return re.sub(r"^(feasibility: )?item \d+: ", "", plain)


def problem(order: Order) -> str:
    """Why the order was not done; "" where it was."""
    if not order.errors:
        return ""
    found = re.match(r"(?:(\d+): )?([^:]+): (.*)", order.errors[0].message, re.DOTALL)
    if found and found[2] in STEPS:
        where = STEPS[found[2]][0] + (f", item {found[1]}" if found[1] and len(order.items) > 1 else "")
        return f"{where}: {_of_fields(reason(found[3]), order)}"
    return _of_fields(reason(order.errors[0].message), order)


def _of_fields(message: str, order: Order) -> str:
    """With the names of characteristics instead of their numbers."""
    if len(order.items) != 1:
        return message
    sent = [each.name for each in order.items[0].service.characteristics]
    name, told = wrong_field(message, sent)
    return f"{LABELS.get(name, name)}: {told}" if name else message


def wrong_field(message: str, sent: list[str]) -> tuple[str | None, str]:
    """The characteristic that a rejection is about, of those that were sent in this order, and what it says."""
    plain = reason(message)
    found = re.match(r"serviceCharacteristic\.(\d+)\.\w+: (.*)", plain)
    if found and int(found[1]) < len(sent):
        return sent[int(found[1])], found[2]
    return None, plain


def step(name: str, items: int) -> tuple[str, str]:
    """A step in words, and what it does. `items`: of the order."""
    item, _, plain = name.rpartition(": ")
    word, told = STEPS.get(plain, (plain.capitalize(), ""))
    return (f"{word}, item {item}" if item and items > 1 else word), told


def step_state(step: Step, now: float, *, ended: bool) -> str:
    """`ended`: the order has, and nothing follows."""
    tries = f", attempt {step.attempts}" if step.attempts > 1 else ""
    if step.state == "waiting" and ended:
        return "not done"
    if step.state == "waiting" or step.began is None:
        return step.state + tries
    took = seconds((now if step.ended is None else step.ended) - step.began)
    return f"undone{tries}" if step.state == "undone" else f"{step.state}, {took}{tries}"


def seconds(span_s: float) -> str:
    span_s = max(span_s, 0.0)
    return f"{span_s:.2f} s" if span_s < 0.995 else f"{span_s:.1f} s" if span_s < 99.95 else f"{span_s:,.0f} s"


def took(order: Order, steps: list[Step], now: float) -> str:
    """How long its workflow has taken until now."""
    began = [each.began for each in steps if each.began is not None]
    ended = [each.ended for each in steps if each.ended is not None]
    if not began:
        return ""
    return seconds((max(ended, default=now) if order.ended else now) - min(began))


# Ordering


def span(choice: Choice) -> str:
    """ "0.1 to 0.8 cores"."""
    unit = UNITS.get(choice.name, choice.unit)
    return f"{choice.least:g} to {choice.most:g} {unit}".rstrip()


def label(choice: Choice) -> str:
    word, unit = LABELS.get(choice.name, choice.name), UNITS.get(choice.name, choice.unit)
    return f"{word}, {unit}" if unit else word


def wrong(choice: Choice, value: Any) -> str | None:
    """What is wrong with a number that was typed; None: nothing."""
    kind = "A whole number" if choice.whole else "A number"
    given = isinstance(value, int | float) and not isinstance(value, bool) and (not choice.whole or value == int(value))
    return None if given and choice.least <= value <= choice.most else f"{kind} from {span(choice)}."


def free_name(base: str, taken: Collection[str]) -> str:
    number = 1
    while (name := base if number == 1 else f"{base}-{number}") in taken:
        number += 1
    return name


def is_compose(text: str) -> bool:
    """Whether it is a compose file; a package's descriptor says its format. What is no YAML the API tells."""
    return re.search(r"(?m)^services\s*:", text) is not None and re.search(r"(?m)^format\s*:", text) is None


def refused(refusal: Refusal) -> str:
    """What the API says is wrong with a text."""
    if refusal.field == "syntax":
        return f"This is no YAML: {refusal.given}"
    if refusal.field and refusal.allowed:
        return f"{refusal.field}: {refusal.given!r} is not possible; allowed: {refusal.allowed}."
    return refusal.message


# Services


def service_state(service: Service, instance: Instance | None) -> tuple[Level, str]:
    if service.state != "active":
        return "quiet", SERVICE_STATES.get(service.state, service.state.capitalize())
    replicas = instance.replicas if instance else []
    up = sum(is_up(replica) for replica in replicas)
    if instance is None or up == len(replicas) > 0:
        return "ok", "Active"
    return ("warn", f"Active, {up} of {len(replicas)} replicas up") if up else ("bad", "No replica is up")


def is_up(replica: Replica) -> bool:
    return replica.alive and replica.state in (None, "up")


def replica_state(replica: Replica) -> tuple[Level, str]:
    if not replica.alive:
        return "bad", "Not running"
    if replica.state in (None, "up"):
        return "ok", "Up"
    return ("bad" if replica.state == "ejected" else "quiet"), str(replica.state).capitalize()


def requests(replica: Replica) -> str:
    """ "1,204, 2 in progress"."""
    if replica.requests is None:
        return NONE
    return f"{replica.requests:,}" + (f", {replica.outstanding} in progress" if replica.outstanding else "")


# Slices


def compute(chunk: ComputeChunk) -> str:
    needs = chunk.requirements
    storage = f", {needs.storage.required:g} GB storage" if needs.storage.required else ""
    return f"{round(needs.cpus.required, 3):g} CPU, {needs.ram.required:,.0f} MB RAM{storage}"


def network(chunk: NetworkChunk) -> str:
    rate = chunk.requirements.bandwidth
    return f"VLAN {chunk.tag}, {chunk.subnet or NONE}, {f'{rate.required:g} Mbit/s' if rate else 'no rate limit'}"


def radio(chunk: RadioChunk) -> str:
    return ", ".join(f"{each.prbs} PRBs of {each.cell_id}" for each in chunk.topology.cells)


def slice_state(slice: Slice) -> tuple[Level, str]:
    return ("ok", "Active") if slice.active else ("quiet", "Not active")


# Events and policies


def event(type_: str) -> str:
    """ "ServiceOrderStateChangeEvent" -> "Order changed its state"."""
    found = re.fullmatch(rf"(\w+?)({'|'.join(CHANGES)})Event", type_)
    if not found:
        return type_
    entity = ENTITIES.get(found[1]) or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", found[1]).capitalize()
    return f"{entity} {CHANGES[found[2]]}"


def hub(hub: Hub) -> tuple[Level, str]:
    parts = [f"{hub.delivered:,} delivered", f"{hub.waiting:,} waiting", f"{hub.dead:,} given up"]
    told = ", ".join(part for part in parts if not part.startswith("0 ")) or "nothing yet"
    return ("bad" if hub.dead else "quiet" if hub.waiting else "ok"), told


def policies_text(policies: list[dict[str, Any]]) -> str:
    """As YAML that can be put back."""

    def said(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: said(each) for name, each in value.items() if each is not None}
        return value

    document = {"format": "edgewright.policies/1", "policies": [said(each) for each in policies]}
    return yaml.safe_dump(document, sort_keys=False, width=100, default_flow_style=None)


def threshold(policy: Policy) -> str:
    """ "cpu_utilization above 0.8 for 5 s"."""
    condition = policy.condition
    side, bound = ("above", condition.above) if condition.above is not None else ("below", condition.below)
    return f"{policy.metric} {side} {bound:g} for {condition.for_s:g} s"


def policy_state(state: PolicyState, policy: Policy | None) -> tuple[Level, str]:
    """How far it is from firing for one service."""
    fired = "" if state.fired_s_ago is None else f"; fired {words.ago(state.fired_s_ago)}"
    if state.value is None:
        return "quiet", f"no value{fired}"
    if state.armed_s is None:
        return "ok", f"{state.value:.3g}: not armed{fired}"
    of = f" of {policy.condition.for_s:g}" if policy else ""
    return "warn", f"{state.value:.3g}: armed for {state.armed_s:.0f}{of} s{fired}"
