"""The page of orders: its words, and the whole in a real browser on a real host."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgewright.service.fulfilment import steps as workflow
from edgewright.service.fulfilment.characteristics import CHOICES, specified
from edgewright.service.packages import Package
from edgewright.service.resources import machine
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
from service.ordering import ENDED, INVENTORY, MANAGER, ORDERING, OWN, characteristics, item, package

from .conftest import Browse, Server, until

# Words and shapes


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
    assert {*machine.SERVICE_ORDER.moves, *machine.SERVICE_ORDER.initial} <= set(words.STATES)
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
    wrong = "feasibility: Infeasible: item 1: serviceCharacteristic.0.value: got 7, allowed: a number, 0.05 .. 0.6"
    assert words.problem(rejected(wrong, cpu=7)) == "Feasibility: CPU: got 7, allowed: a number, 0.05 .. 0.6"
    failed = rejected("1: deployment: HostError: a-0: ended while starting")
    assert words.problem(failed) == "Deployment: a-0: ended while starting"
    assert words.problem(rejected("Cancelled by the user")) == "Cancelled by the user"
    assert words.problem(order()) == ""
    sent = ["cpu", "memory"]
    about = "Infeasible: item 1: serviceCharacteristic.1.value: got 7, allowed: 32 .. 128"
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


# In a browser

pytest.importorskip("selenium")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

from .visitor import attribute, click, cut_off, locked, press, send, too_small  # noqa: E402
from .visitor import words as shown  # noqa: E402

TALL = 1600  # the window: a notification at its bottom covers nothing that is pressed


class Orchestrator:
    """The server's APIs."""

    def __init__(self, server: Server) -> None:
        self.server = server
        headers = {"Authorization": f"Bearer {server.key}"}
        self.http = httpx.Client(base_url=server.address, headers=headers, timeout=60, trust_env=False)

    @property
    def page(self) -> str:
        return f"{self.server.address}/orders?key={self.server.key}"

    def get(self, path: str) -> Any:
        return self.http.get(path).raise_for_status().json()

    def send(self, method: str, path: str, body: object = None) -> Any:
        answer = self.http.request(method, path, json=body).raise_for_status()
        return answer.json() if answer.content else None

    def onboard(self, given: dict[str, Any]) -> str:
        """-> the id of its specification; this host is registered."""
        if not self.get(f"{MANAGER}/compute"):
            self.send("POST", f"{MANAGER}/compute", {"name": "here"})
        return str(self.send("POST", f"{OWN}/packages", given)["serviceSpecification"]["id"])

    def order(self, *items: dict[str, Any]) -> str:
        return str(self.send("POST", f"{ORDERING}/serviceOrder", {"serviceOrderItem": list(items)})["id"])

    def ended(self, order: str) -> dict[str, Any]:
        def now() -> Any:
            return self.get(f"{ORDERING}/serviceOrder/{order}")

        until(lambda: now()["state"] in ENDED, 60)
        return dict(now())

    def services(self) -> list[dict[str, Any]]:
        found = self.get(f"{INVENTORY}/service?state.ne=terminated")
        return [each | {c["name"]: c["value"] for c in each["serviceCharacteristic"]} for each in found]

    def clear(self) -> None:
        """No service, package, order or host is left."""
        self.http.put(f"{OWN}/elasticity", json={"format": "edgewright.policies/1"}).raise_for_status()
        for each in self.get(f"{ORDERING}/serviceOrder"):
            self.ended(each["id"])
        for each in self.services():
            self.ended(self.order(item("delete", {"id": each["id"]})))
        for each in self.get(f"{INVENTORY}/service"):
            self.send("DELETE", f"{INVENTORY}/service/{each['id']}")
        for each in self.get(f"{ORDERING}/serviceOrder"):
            self.send("DELETE", f"{ORDERING}/serviceOrder/{each['id']}")
        for each in self.get(f"{OWN}/packages"):
            self.send("DELETE", f"{OWN}/packages/{each['id']}")
        for each in self.get(f"{MANAGER}/compute"):
            self.send("DELETE", f"{MANAGER}/compute/{each['id']}")


@pytest.fixture
def empty(server: Server, require: Callable[..., None]) -> Iterator[Orchestrator]:
    """Nothing is registered, before and after."""
    require("cgroup-cpu")
    known = Orchestrator(server)
    known.clear()
    yield known
    known.clear()


def type_in(chrome: Any, label: str, value: str) -> None:
    send(chrome, label, Keys.CONTROL, "a")
    send(chrome, label, value)


def confirm(chrome: Any, word: str) -> None:
    click(chrome, f"//*[contains(@class, 'q-dialog')]//button[normalize-space()='{word}']")


def see(chrome: Any, selector: str, text: str, timeout_s: float = 30.0) -> None:
    until(lambda: text in shown(chrome, selector), timeout_s)


@pytest.mark.browser
def test_from_nothing_to_a_service_and_back(empty: Orchestrator, browse: Browse, tmp_path: Path) -> None:
    chrome = browse(empty.page, height=TALL)
    see(chrome, ".first-steps", "Order it")
    press(chrome, "First steps", "Register this host")
    until(lambda: empty.get(f"{MANAGER}/compute"))
    see(chrome, ".first-steps", "Done")
    see(chrome, ".slices", "cores left")
    press(chrome, "First steps", "Add your own")
    (tmp_path / "quick.json").write_text(json.dumps(package()))
    chrome.find_element(By.CSS_SELECTOR, ".q-uploader input[type=file]").send_keys(str(tmp_path / "quick.json"))
    typed = '[aria-label="Descriptor"]'
    until(lambda: "edgewright.package/1" in (attribute(chrome, typed, "value") or ""))
    press(chrome, "Add to the catalogue")
    see(chrome, ".catalogue", "0.05 to 0.6 cores")
    until(lambda: not chrome.find_element(By.CSS_SELECTOR, ".first-steps").is_displayed())

    type_in(chrome, "Name", "mine")
    press(chrome, "Order", "Order quick")
    see(chrome, ".orders", "Add mine (quick): 0.2 cores, 64 MB, 1 replica")
    see(chrome, ".order-steps", "Feasibility\ndone")
    see(chrome, ".order-head", "Completed", 60)
    assert shown(chrome, ".order-steps").count("\ndone") == 11
    see(chrome, ".ordered-service", "Active")
    mine = empty.services()[0]
    assert (mine["name"], mine["cpu"], mine["replicas"]) == ("mine", 0.2, 1)
    replicas = empty.get(f"{MANAGER}/network_service_instance/{mine['instance']}")["replica_states"]
    see(chrome, ".replicas", f"1\n{replicas[0]['pid']}\n")
    assert attribute(chrome, ".ordered-links a", "href") == f"{mine['address']}/"
    loop = chrome.find_element(By.XPATH, "//a[contains(., 'Scaling loop')]").get_attribute("href")
    assert loop == f"{empty.server.address}/?loop={mine['loop']}"
    see(chrome, ".slice-table", "mine\n")
    see(chrome, ".slice-table", "0.2 CPU, 64 MB RAM")

    row = chrome.find_element(By.CSS_SELECTOR, ".replica-row:not(.table-head)")
    type_in(chrome, "CPU, cores, of mine", "0.3")
    type_in(chrome, "Replicas, of mine", "2")
    press(chrome, "Apply to mine")
    until(lambda: [(each["cpu"], each["replicas"]) for each in empty.services()] == [(0.3, 2)])
    see(chrome, ".replicas", "\n0.30\n")
    until(lambda: len(chrome.find_elements(By.CSS_SELECTOR, ".replica-row:not(.table-head)")) == 2)
    see(chrome, ".slice-table", "0.6 CPU, 128 MB RAM")
    assert row.text  # the first row is the element that it was

    press(chrome, "Terminate mine")
    confirm(chrome, "Terminate")
    see(chrome, ".orders", "Terminate mine")
    until(lambda: not chrome.find_element(By.CSS_SELECTOR, ".ordered-list").text.strip(), 60)
    until(lambda: empty.services() == [])
    see(chrome, ".tmf-events", "Service changed its state")


@pytest.mark.browser
def test_what_is_wrong_stands_at_its_field_and_a_rejection_tells_why(empty: Orchestrator, browse: Browse) -> None:
    specification = empty.onboard(package(cpu={"min": 0.05, "max": 64.0, "initial": 0.2}))
    chrome = browse(empty.page, height=TALL)
    type_in(chrome, "CPU, cores", "65")
    type_in(chrome, "Replicas", "1.5")
    press(chrome, "Order", "Order quick")
    see(chrome, ".order-form", "A number from 0.05 to 64 cores.")
    assert "A whole number from 1 to 3." in shown(chrome, ".order-form")
    assert empty.get(f"{ORDERING}/serviceOrder") == []
    type_in(chrome, "CPU, cores", "60")
    type_in(chrome, "Replicas", "1")
    press(chrome, "Order", "Order quick")
    see(chrome, ".order-head", "Rejected")
    see(chrome, ".order-form", "60 of cpu wanted")
    assert "60 of cpu wanted" in shown(chrome, ".order-error")
    assert "not done" in shown(chrome, ".order-steps")
    wrong = {"serviceSpecification": {"id": specification}, "serviceCharacteristic": characteristics(memory=7)}
    empty.order(item("add", wrong))
    see(chrome, ".order-error", "Memory: got 7")


@pytest.mark.browser
def test_an_order_under_way_is_cancelled(empty: Orchestrator, browse: Browse) -> None:
    specification = empty.onboard(package(starts_s=4.0))
    chrome = browse(empty.page, height=TALL)
    empty.order(item("add", {"name": "late", "serviceSpecification": {"id": specification}}))
    see(chrome, ".order-steps .now", "Deployment")
    see(chrome, ".ordered-service", "Being set up")
    press(chrome, "Cancel the order: Add late (quick)")
    confirm(chrome, "Cancel the order")
    see(chrome, ".order-head", "Cancelled", 60)
    assert "Compute chunk\nundone" in shown(chrome, ".order-steps")
    until(lambda: not chrome.find_element(By.CSS_SELECTOR, ".ordered-list").text.strip())


@pytest.mark.browser
def test_descriptors_and_policies_that_are_wrong_name_the_field(empty: Orchestrator, browse: Browse) -> None:
    chrome = browse(empty.page, height=TALL)
    press(chrome, "Catalogue", "Add a service")
    press(chrome, "Add to the catalogue")
    see(chrome, ".onboarding", "Choose a file, or write a descriptor.")
    for written, said in (
        ("format: edgewright.package/1\nname: UP\n", "name: 'UP' is not possible"),
        ("a: [", "This is no YAML"),
        ("services: {a: {command: x, ports: [80]}}", "services.a.ports"),
    ):
        type_in(chrome, "Descriptor", written)
        press(chrome, "Add to the catalogue")
        see(chrome, ".onboarding", said)
    confirm(chrome, "Cancel")
    press(chrome, "First steps", "localization service")
    see(chrome, ".catalogue", "Order localization")

    press(chrome, "Policies of elasticity", "Insert an example")
    press(chrome, "Apply the policies")
    until(lambda: len(empty.get(f"{OWN}/elasticity")["policies"]) == 1)
    see(chrome, ".policies", "No service is in their scope yet")
    type_in(chrome, "Policies, YAML", "format: edgewright.policies/1\npolicies: [{name: x}]")
    press(chrome, "Apply the policies")
    see(chrome, ".policies", "policies.0.metric")
    press(chrome, "Discard the changes")
    until(lambda: "more replicas" in (attribute(chrome, '[aria-label="Policies, YAML"]', "value") or ""))


@pytest.mark.browser
def test_with_a_wrong_key_nothing_is_changed(empty: Orchestrator, browse: Browse) -> None:
    chrome = browse(f"{empty.server.address}/orders?key=wrong")
    see(chrome, "header", "Read only")
    assert attribute(chrome, ".first-controls button", "disabled") is not None
    click(chrome, "//button[contains(., 'Enter key')]")
    send(chrome, "API key", "wrong")
    confirm(chrome, "Keep for this session")
    see(chrome, "header", "You can make changes")
    press(chrome, "First steps", "Register this host")
    see(chrome, ".q-dialog .error", "key")
    see(chrome, "header", "Read only")
    assert empty.get(f"{MANAGER}/compute") == []


@pytest.fixture
def peopled(empty: Orchestrator) -> Iterator[Orchestrator]:
    """A service of two replicas under a policy, a failed order, a hub that nobody answers for."""
    quick = {"id": empty.onboard(package())}
    failing = {"command": ["python", "-c", "raise SystemExit('no')"], "start_timeout_s": 10.0}
    broken = {"id": empty.onboard(package("broken", run=failing))}
    hub = empty.send("POST", f"{INVENTORY}/hub", {"callback": "http://127.0.0.1:9/events"})
    try:
        done = empty.order(item("add", {"name": "first", "serviceSpecification": quick} | wanted(replicas=2)))
        assert empty.ended(done)["state"] == "completed"
        assert empty.ended(empty.order(item("add", {"serviceSpecification": broken})))["state"] == "failed"
        condition = {"above": 0.9, "for_s": 5.0}
        policy = {"name": "more", "metric": "cpu_utilization", "condition": condition, "action": {"replicas": 1}}
        empty.send("PUT", f"{OWN}/elasticity", {"format": "edgewright.policies/1", "policies": [policy]})
        yield empty
    finally:
        empty.send("DELETE", f"{INVENTORY}/hub/{hub['id']}")


@pytest.mark.browser
def test_looks_and_nothing_flickers(peopled: Orchestrator, browse: Browse) -> None:
    for width, theme in ((390, "dark"), (1280, "light")):
        chrome = browse(peopled.page, width=width, theme=theme)
        see(chrome, ".replicas", "Up")
        see(chrome, ".order-error", "Deployment:")
        see(chrome, ".hub", "waiting")
        see(chrome, ".policy-list", "not armed")
        assert "ended while starting" in shown(chrome, ".orders")
        assert not cut_off(chrome)
        assert not too_small(chrome)
    controls = chrome.find_elements(By.CSS_SELECTOR, "main input, main textarea, main button, main a")
    named = [each.accessible_name for each in controls if each.is_displayed()]
    assert len(named) > 10
    assert all(named)
    assert not locked(chrome, "Apply to first")
    chrome.execute_script(
        "window.made = [];"
        "new MutationObserver(all => all.forEach(each => each.addedNodes.forEach("
        "node => node.nodeType == 1 && made.push(node.outerHTML.slice(0, 100)))))"
        ".observe(document.querySelector('main'), {childList: true, subtree: true})"
    )
    times = {shown(chrome, ".live")}
    until(lambda: times.add(shown(chrome, ".live")) or len(times) > 4)
    assert chrome.execute_script("return made") == []
