"""The page of orders: the whole in a real browser on a real host."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.ordering import ENDED, INVENTORY, MANAGER, ORDERING, OWN, characteristics, item, package

from .conftest import Browse, Server, until

pytest.importorskip("selenium")
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from .visitor import attribute, click, cut_off, locked, press, send, too_small
from .visitor import words as shown

TALL = 1600  # the window: a notification at its bottom covers nothing that is pressed


def wanted(**values: float) -> dict[str, Any]:
    return {"serviceCharacteristic": characteristics(**values)}


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
    require("cgroup-cpu", "cgroup-memory", "chromium")
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
