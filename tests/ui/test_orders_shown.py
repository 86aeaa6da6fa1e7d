"""What the page of orders shows of services, orders and hubs, in a real browser on a real host."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.ordering import CATALOGUE, INVENTORY, MANAGER, OWN, characteristics, item, package

from .conftest import Browse, until
from .orchestrator import Orchestrator

pytest.importorskip("selenium")
from selenium.webdriver.common.by import By

from .visitor import attribute, cut_off, locked, press, see, too_small
from .visitor import words as shown

pytestmark = pytest.mark.browser


@pytest.fixture
def peopled(empty: Orchestrator) -> Iterator[Orchestrator]:
    """A service of two replicas under a policy, a failed order, a hub that nobody answers for."""
    quick = {"id": empty.onboard(package())}
    failing = {"command": ["python", "-c", "raise SystemExit('no')"], "start_timeout_s": 10.0}
    broken = {"id": empty.onboard(package("broken", run=failing))}
    hub = empty.send("POST", f"{INVENTORY}/hub", {"callback": "http://127.0.0.1:9/events"})
    try:
        two = {"name": "first", "serviceSpecification": quick, "serviceCharacteristic": characteristics(replicas=2)}
        done = empty.order(item("add", two))
        assert empty.ended(done)["state"] == "completed"
        assert empty.ended(empty.order(item("add", {"serviceSpecification": broken})))["state"] == "failed"
        condition = {"above": 0.9, "for_s": 5.0}
        policy = {"name": "more", "metric": "cpu_utilization", "condition": condition, "action": {"replicas": 1}}
        empty.send("PUT", f"{OWN}/elasticity", {"format": "edgewright.policies/1", "policies": [policy]})
        yield empty
    finally:
        empty.send("DELETE", f"{INVENTORY}/hub/{hub['id']}")


def test_looks_and_nothing_flickers(peopled: Orchestrator, browse: Browse) -> None:
    for width, theme in ((390, "dark"), (1280, "light")):
        chrome = browse(peopled.page, width=width, theme=theme)
        see(chrome, ".replicas", "Up")
        see(chrome, ".order-error", "Deployment:")
        see(chrome, ".hub", "waiting")
        see(chrome, ".tmf-events", "Order changed its state")
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


NASTY = """a" innerHTML="<img src=x onerror=document.title='hers'>' [b"""


def test_names_and_addresses_of_others_are_words_alone(empty: Orchestrator, browse: Browse) -> None:
    spec = {"name": NASTY, "attachment": [{"name": NASTY, "attachmentType": "package", "mimeType": "text/plain"}]}
    offer = {"id": empty.send("POST", f"{CATALOGUE}/serviceSpecification", spec)["id"]}
    candidate = empty.send("POST", f"{CATALOGUE}/serviceCandidate", {"name": NASTY, "serviceSpecification": offer})[
        "id"
    ]
    others = {"address": "javascript:alert(1)", "loop": [NASTY], "cpu": "two"}
    listed = [{"name": name, "value": value} for name, value in others.items()]
    theirs = {"name": NASTY, "state": "active", "serviceSpecification": offer, "serviceCharacteristic": listed}
    empty.send("POST", f"{INVENTORY}/service", theirs)
    empty.send("POST", f"{MANAGER}/compute", {"name": NASTY})
    needs = {"cpus": {"required": 0.1}, "ram": {"required": 10.0}}
    chunk = empty.send("POST", f"{MANAGER}/compute_chunk", {"name": NASTY, "requirements": needs})["id"]
    hub = empty.send("POST", f"{INVENTORY}/hub", {"callback": 'http://127.0.0.1:9/a"b'})["id"]
    empty.order(item("add", {"name": NASTY, "serviceSpecification": {"id": "none"}}))
    try:
        chrome = browse(empty.page)
        see(chrome, ".ordered-service", NASTY)
        see(chrome, ".order-head", "Rejected")
        see(chrome, ".hub", "http://127.0.0.1:9")
        labels = [each.get_attribute("aria-label") for each in chrome.find_elements(By.CSS_SELECTOR, "[aria-label]")]
        for label in (f"Service {NASTY}", f"Terminate {NASTY}", f"Choose {NASTY}"):
            assert label in labels
        assert any(f"{NASTY}: 0.1 cores" in (label or "") for label in labels)
        assert any((label or "").startswith(f"Hide the steps of Add {NASTY}") for label in labels)
        press(chrome, "Services", "Terminate")
        see(chrome, ".q-dialog", f"Terminate {NASTY}?")
        assert chrome.execute_script("return document.querySelectorAll('img, [innerhtml]').length") == 0
        assert chrome.title == "Orders · edgewright"
        assert attribute(chrome, ".ordered-links a", "href") is None
        assert shown(chrome, ".ordered-links a") == "javascript:alert(1)"
    finally:
        empty.send("DELETE", f"{INVENTORY}/hub/{hub}")
        empty.send("DELETE", f"{MANAGER}/compute_chunk/{chunk}")
        empty.send("DELETE", f"{CATALOGUE}/serviceCandidate/{candidate}")
        empty.send("DELETE", f"{CATALOGUE}/serviceSpecification/{offer['id']}")
