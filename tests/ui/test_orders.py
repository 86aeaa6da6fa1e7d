"""The page of orders: clicked in a real browser on a real host."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.ordering import MANAGER, ORDERING, OWN, characteristics, item, package

from .conftest import Browse, until
from .orchestrator import Orchestrator

pytest.importorskip("selenium")
from selenium.webdriver.common.by import By

from .visitor import attribute, click, confirm, press, see, send, type_in
from .visitor import words as shown

pytestmark = pytest.mark.browser
TALL = 1600  # the window: a notification at its bottom covers nothing that is pressed


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

    press(chrome, "Deactivate mine")
    see(chrome, ".ordered-service", "Inactive")
    see(chrome, ".ordered-service", "Its replicas have ended, its slice stays booked.")
    until(lambda: [each["state"] for each in empty.services()] == ["inactive"])
    assert not chrome.find_element(By.CSS_SELECTOR, ".replicas").is_displayed()
    press(chrome, "Activate mine")
    see(chrome, ".ordered-service", "Active")
    until(lambda: len(chrome.find_elements(By.CSS_SELECTOR, ".replica-row:not(.table-head)")) == 2)

    press(chrome, "Terminate mine")
    confirm(chrome, "Terminate")
    see(chrome, ".orders", "Terminate mine")
    until(lambda: not chrome.find_element(By.CSS_SELECTOR, ".ordered-list").text.strip(), 60)
    until(lambda: empty.services() == [])
    see(chrome, ".tmf-events", "Service changed its state")


def test_what_is_wrong_stands_at_its_field_and_a_rejection_tells_why(empty: Orchestrator, browse: Browse) -> None:
    specification = empty.onboard(package(cpu={"min": 0.05, "max": 64.0, "initial": 0.2}))
    chrome = browse(empty.page, height=TALL)
    see(chrome, ".order-form", "0.05 to 64 cores")  # not what was in the catalogue before
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
