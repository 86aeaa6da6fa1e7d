"""Words and shapes of the page of orders."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgewright.service.fulfilment import steps as workflow
from edgewright.service.fulfilment.characteristics import CHOICES, specified
from edgewright.service.packages import Package
from edgewright.service.tmf.states import SERVICE_ORDER
from edgewright.service.ui.orders import words
from edgewright.service.ui.orders.feed import OrdersView
from edgewright.service.ui.orders.shapes import (
    ComputeChunk,
    Host,
    Instance,
    Order,
    Policy,
    PolicyState,
    Service,
    Slice,
    Specification,
    Step,
)
from edgewright.service.ui.orders.slices import chunk_names, parts
from edgewright.service.ui.shapes import Refusal
from service.ordering import characteristics, item, package


def order(*items: dict[str, Any], **more: Any) -> Order:
    given = {"id": "o", "state": "acknowledged", "orderDate": "2026-01-01T00:00:00Z", "serviceOrderItem": list(items)}
    return Order.model_validate(given | more)


def rejected(message: str, **values: float) -> Order:
    one = item("add", {"serviceCharacteristic": characteristics(**values)})
    return order(one, state="rejected", errorMessage=[{"code": "rejected", "message": message}])


def test_every_step_and_state_has_its_words() -> None:
    items = [{"id": str(i), "action": action} for i, action in enumerate(("add", "modify", "delete"))]
    names = [step.name for step in workflow.steps_of(None, {"order": "o", "items": items})]  # type: ignore[arg-type]
    assert {name.rpartition(": ")[2] for name in names} == set(words.STEPS)
    assert {*SERVICE_ORDER.moves, *SERVICE_ORDER.initial} <= set(words.STATES)
    assert {choice.name for choice in CHOICES} == set(words.LABELS)


def test_a_specification_tells_what_may_be_chosen() -> None:
    given = Package.model_validate_json(json.dumps(package()))
    whole = {"id": "s", "name": "quick", "specCharacteristic": specified(given)}
    attached = {"attachment": [{"name": "quick:1.0", "attachmentType": "package"}]}
    offer = Specification.model_validate(whole | attached)
    assert [(c.name, c.least, c.most, c.default, c.whole) for c in offer.choices] == [
        ("cpu", 0.05, 0.6, 0.2, False),
        ("memory", 32, 128, 64, False),
        ("replicas", 1, 3, 1, True),
    ]
    assert [words.label(c) for c in offer.choices] == ["CPU, cores", "Memory, MB", "Replicas"]
    assert [words.span(c) for c in offer.choices] == ["0.05 to 0.6 cores", "32 to 128 MB", "1 to 3"]
    assert offer.package == "quick:1.0"
    assert Specification.model_validate(whole).package is None
    others = {"name": "colour", "valueType": "string", "characteristicValueSpecification": [{"value": "red"}]}
    assert Specification.model_validate({"id": "s", "specCharacteristic": [others, {"name": "x"}]}).choices == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("cpu", 0.05, None),
        ("cpu", 0.61, "A number from 0.05 to 0.6 cores."),
        ("cpu", None, "A number from 0.05 to 0.6 cores."),
        ("replicas", 3, None),
        ("replicas", 1.5, "A whole number from 1 to 3."),
        ("replicas", True, "A whole number from 1 to 3."),
    ],
)
def test_what_is_wrong_with_a_number(name: str, value: Any, said: str | None) -> None:
    listed = specified(Package.model_validate_json(json.dumps(package())))
    offer = Specification.model_validate({"id": "s", "specCharacteristic": listed})
    assert words.wrong(next(choice for choice in offer.choices if choice.name == name), value) == said


def test_titles_name_services() -> None:
    added = item("add", {"name": "a", "serviceSpecification": {"id": "s"}} | wanted(cpu=0.3, replicas=2))
    assert words.title(order(added), {}, {"s": "quick"}) == "Add a (quick): 0.3 cores, 2 replicas"
    both = order(item("modify", {"id": "x"} | wanted(memory=64)), item("delete", {"id": "y" * 20}, "2"))
    assert words.title(both, {"x": "first"}, {}) == "Change first: 64 MB; Terminate yyyyyyyy"
    assert words.title(order(item("add", {})), {}, {}) == "Add a service"
    named = order(item("add", {"id": "x", "name": "first"}))
    other = Service.model_validate({"id": "z", "name": "last", "state": "active"})
    assert words.names_of([named], [other]) == {"x": "first", "z": "last"}


def wanted(**values: float) -> dict[str, Any]:
    return {"serviceCharacteristic": characteristics(**values)}


def test_reasons_are_told_without_the_names_of_programs() -> None:
    wrong = "feasibility: item 1: serviceCharacteristic.0.value: got 7, allowed: a number, 0.05 .. 0.6"
    assert words.problem(rejected(wrong, cpu=7)) == "Feasibility: CPU: got 7, allowed: a number, 0.05 .. 0.6"
    failed = rejected("1: deployment: HostError: a-0: ended while starting")
    assert words.problem(failed) == "Deployment: a-0: ended while starting"
    assert words.problem(rejected("Cancelled by the user")) == "Cancelled by the user"
    assert words.problem(order()) == ""
    sent = ["cpu", "memory"]
    about = "item 1: serviceCharacteristic.1.value: got 7, allowed: 32 .. 128"
    assert words.wrong_field(about, sent) == ("memory", "got 7, allowed: 32 .. 128")
    assert words.wrong_field("item 1: host here: no room", sent) == (None, "host here: no room")


def test_steps_in_words() -> None:
    def told(ended: bool = False, **more: Any) -> str:
        return words.step_state(Step.model_validate({"name": "x", "began": 10.0} | more), 12.5, ended=ended)

    assert told(state="running") == "running, 2.5 s"
    assert told(state="running", attempts=3) == "running, 2.5 s, attempt 3"
    assert told(state="done", attempts=1) == "done, 2.5 s"
    assert told(state="undone") == "undone"
    assert told(state="waiting", began=None) == "waiting"
    assert told(ended=True, state="waiting", began=None) == "not done"
    assert words.step("2: compute chunk", 1)[0] == "Compute chunk"
    assert words.step("2: compute chunk", 2)[0] == "Compute chunk, item 2"
    assert words.step("new kind", 1) == ("New kind", "")


def instance(*states: tuple[bool, str]) -> Instance:
    replicas = [{"name": str(i), "alive": alive, "state": state} for i, (alive, state) in enumerate(states)]
    return Instance.model_validate({"id": "i", "replica_states": replicas})


def test_how_a_service_stands() -> None:
    active = Service.model_validate({"id": "s", "state": "active"})
    assert words.service_state(active, instance((True, "up"))) == ("ok", "Active")
    one = instance((True, "up"), (False, "up"), (True, "ejected"))
    assert words.service_state(active, one) == ("warn", "Active, 1 of 3 replicas up")
    assert [words.replica_state(each)[1] for each in one.replicas] == ["Up", "Not running", "Ejected"]
    assert words.service_state(active, instance((True, "starting"))) == ("bad", "No replica is up")
    reserved = Service.model_validate({"id": "s", "state": "reserved"})
    assert words.service_state(reserved, None) == ("quiet", "Being set up")


def test_a_host_is_booked_by_chunks_and_others() -> None:
    host = Host.model_validate(
        {
            "id": "h",
            "name": "here",
            "capacity": {"cpu": 4.0, "memory_bytes": 1e9},
            "left": {"cpu": 2.0, "memory_bytes": 5e8},
        }
    )
    chunks = [
        ComputeChunk.model_validate(
            {"id": id, "name": id, "requirements": {"cpus": {"required": cpu}, "ram": {"required": 250}}, "loop": loop}
        )
        for id, cpu, loop in (("a", 1.0, None), ("b", 0.4, "demo"))
    ]
    view = OrdersView(hosts=[host], compute=chunks, slices=[Slice(id="s", name="n", chunk_ids=["a"])])
    assert chunk_names(view) == {"a": "n", "b": "demo"}
    service = {
        "id": "x",
        "name": "first",
        "state": "active",
        "serviceCharacteristic": [{"name": "slice", "value": "s"}],
    }
    view.services = [Service.model_validate(service)]
    found = parts(host, chunks, chunk_names(view))
    assert [(part.name, round(part.cpu, 3), round(part.memory, 3)) for part in found] == [
        ("first", 0.25, 0.25),
        ("demo", 0.1, 0.25),
        ("others", 0.15, 0.0),
    ]


def test_texts_of_policies() -> None:
    policy = {"name": "more", "metric": "rate_hz", "condition": {"above": 5.0, "below": None, "for_s": 3.0}}
    written = words.policies_text([policy])
    assert "below" not in written
    assert written.startswith("format: edgewright.policies/1")
    known = Policy.model_validate(policy)
    assert words.threshold(known) == "rate_hz above 5 for 3 s"
    now = PolicyState.model_validate({"policy": "more", "service": "s", "value": 7.0, "armed_s": 2.0})
    assert words.policy_state(now, known) == ("warn", "7: armed for 2 of 3 s")
    assert words.policy_state(now.model_copy(update={"armed_s": None, "fired_s_ago": 4.0}), known)[1] == (
        "7: not armed; fired 4 s ago"
    )
    assert words.policy_state(now.model_copy(update={"value": None}), known) == ("quiet", "no value")


def test_events_files_and_refusals() -> None:
    assert words.event("ServiceOrderStateChangeEvent") == "Order changed its state"
    assert words.event("ServiceAttributeValueChangeEvent") == "Service changed"
    assert words.event("ServiceSpecificationCreateEvent") == "Service specification created"
    assert words.event("Unheard") == "Unheard"
    assert words.is_compose("services:\n  a: {}")
    assert not words.is_compose("format: edgewright.package/1\nservices: 1")
    wrong = Refusal(message="m", field="cpu.max", given=9, allowed="at most 8")
    assert words.refused(wrong) == "cpu.max: 9 is not possible; allowed: at most 8."
    assert words.free_name("quick", ["quick", "quick-2"]) == "quick-3"
