"""Orders of a quick service over the standard APIs, on this host."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from .conftest import Client, until

CATALOGUE, ORDERING = "/tmf-api/serviceCatalogManagement/v4", "/tmf-api/serviceOrdering/v4"
INVENTORY, MANAGER, OWN = "/tmf-api/serviceInventory/v4", "/api/v1.0", "/api/edgewright/v1"
ENDED = ("completed", "failed", "partial", "rejected", "cancelled")
Json = dict[str, Any]
QUICK = """
import http.server, os, sys, time
busy_s = float(sys.argv[3])
time.sleep(float(sys.argv[4]))
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        end = time.process_time() + (busy_s if self.path == "/" else 0)
        while time.process_time() < end: pass
        body = str(os.getpid()).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"""


def package(name: str = "quick", *, busy_s: float = 0.0, starts_s: float = 0.0, **more: Any) -> Json:
    """Answers with its pid after so much CPU."""
    command = ["python", "-I", "-S", "-c", QUICK, "{address}", "{port}", str(busy_s), str(starts_s)]
    return {
        "format": "edgewright.package/1",
        "name": name,
        "run": {"command": command, "start_timeout_s": 60.0},
        "cpu": {"min": 0.05, "max": 0.6, "initial": 0.2},
        "memory": {"min_mb": 32.0, "max_mb": 128.0, "initial_mb": 64.0},
        "replicas": {"min": 1, "max": 3, "initial": 1},
        "policy": None,
        **more,
    }


def onboarded(client: Client, given: Json) -> Json:
    """-> a reference to its specification."""
    if not client.get(f"{MANAGER}/compute").json():
        assert client.post(f"{MANAGER}/compute", json={"name": "here"}).status_code == 200
    answer = client.post(f"{OWN}/packages", json=given)
    assert answer.status_code == 201, answer.text
    return {"id": answer.json()["serviceSpecification"]["id"]}


def item(action: str, service: Json, id: str = "1") -> Json:
    return {"id": id, "action": action, "service": service}


def characteristics(**values: float) -> list[Json]:
    return [{"name": name, "value": value} for name, value in values.items()]


def post_order(client: Client, *items: Json) -> str:
    answer = client.post(f"{ORDERING}/serviceOrder", json={"serviceOrderItem": list(items)})
    assert answer.status_code == 201, answer.text
    id: str = answer.json()["id"]
    return id


def order_now(client: Client, id: str) -> Json:
    found: Json = client.get(f"{ORDERING}/serviceOrder/{id}").json()
    return found


def ended(client: Client, id: str, timeout_s: float = 90.0) -> Json:
    until(lambda: order_now(client, id)["state"] in ENDED, timeout_s)
    return order_now(client, id)


def ordered(client: Client, *items: Json) -> Json:
    """A completed order."""
    order = ended(client, post_order(client, *items))
    assert order["state"] == "completed", (order.get("errorMessage"), steps(client, order["id"]))
    return order


def running(client: Client, specification: Json, name: str = "a", **values: float) -> str:
    """The id of a service that was ordered and is active."""
    wanted = {"name": name, "serviceSpecification": specification, "serviceCharacteristic": characteristics(**values)}
    id: str = ordered(client, item("add", wanted))["serviceOrderItem"][0]["service"]["id"]
    return id


def steps(client: Client, order: str) -> list[tuple[str, str]]:
    return [(step["name"], step["state"]) for step in client.get(f"{OWN}/orders/{order}/steps").json()]


def service_now(client: Client, id: str) -> Json:
    """Its state and characteristics by name."""
    service = client.get(f"{INVENTORY}/service/{id}").json()
    return {"state": service["state"]} | {c["name"]: c["value"] for c in service["serviceCharacteristic"]}


def instance_of(client: Client, id: str) -> Json:
    answer = client.get(f"{MANAGER}/network_service_instance/{service_now(client, id)['instance']}")
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def chunk_of(client: Client, id: str) -> Json:
    """Requirements of its compute chunk."""
    chunk = next(chunk for chunk in client.get(f"{MANAGER}/compute_chunk").json() if chunk["name"] == id)
    return {name: amount["required"] for name, amount in chunk["requirements"].items()}


def nothing_of(client: Client) -> None:
    """Asserts that the Slice Manager has nothing, and that its ledger agrees."""
    for kind in ("compute_chunk", "network_chunk", "slic3", "network_service_instance"):
        assert client.get(f"{MANAGER}/{kind}").json() == [], kind
    for host in client.get(f"{MANAGER}/compute").json():
        assert host["left"] == host["capacity"]
    assert left_on_host(client) == []


def left_on_host(client: Client) -> list[str]:
    """Control groups of services and network namespaces of this orchestrator."""
    slices = client.made.runtime.slices if client.made.runtime else None
    assert slices is not None
    found = [str(group) for group in _groups(client) if group.name != "services"]
    network = slices.hosting.network
    prefix = getattr(network, "_prefix", "edgewright-none")
    return found + [path.name for path in Path("/run/netns").glob(f"{prefix}*")]


def _groups(client: Client) -> list[Path]:
    from edgewright.service.loops.choice import instance

    owner = instance(client.made.settings, "slices")
    parents = Path("/sys/fs/cgroup").glob(f"*/edgewright-{owner[:40]}*")
    return [each for parent in parents for each in parent.iterdir() if each.is_dir()]


class Load:
    """Keeps asking an address, one request after the other in each thread, and counts what came of it."""

    def __init__(self, address: str, threads: int = 4, pause_s: float = 0.0) -> None:
        self.address, self.pause_s, self.answered, self.failed = address, pause_s, 0, list[str]()
        self.pids: set[str] = set()
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def _run(self) -> None:
        with httpx.Client(timeout=30, trust_env=False) as http:
            while not self._stop.is_set():
                try:
                    answer = http.get(f"{self.address}/")
                    failure = None if answer.status_code == 200 else f"{answer.status_code} {answer.text[:200]}"
                except httpx.HTTPError as error:
                    failure = repr(error)
                with self._lock:
                    if failure:
                        self.failed.append(failure)
                    else:
                        self.answered += 1
                        self.pids.add(answer.text)
                time.sleep(self.pause_s)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@contextlib.contextmanager
def loaded(address: str, threads: int = 4, pause_s: float = 0.0) -> Iterator[Load]:
    load = Load(address, threads, pause_s)
    for thread in load._threads:
        thread.start()
    try:
        yield load
    finally:
        load.stop()
