"""Order a service and see it run: this host is registered, a package onboarded, ordered, scaled, changed, terminated.

    python examples/order/order.py                       # starts an orchestrator of its own, in a new folder
    python examples/order/order.py --url URL --key KEY   # uses one that runs

Ends with what it found left behind: nothing, or exit status 1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx

PACKAGE = files("edgewright.demo") / "localization.yaml"
CATALOGUE, ORDERING = "/tmf-api/serviceCatalogManagement/v4", "/tmf-api/serviceOrdering/v4"
INVENTORY, MANAGER, OWN = "/tmf-api/serviceInventory/v4", "/api/v1.0", "/api/edgewright/v1"
ENDED = ("completed", "failed", "partial", "rejected", "cancelled")
Json = dict[str, Any]


class Orchestrator:
    """Its API."""

    def __init__(self, url: str, key: str) -> None:
        self.http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=120, trust_env=False)

    def ask(self, method: str, path: str, **more: Any) -> Any:
        answer = self.http.request(method, path, **more)
        if answer.is_error:
            sys.exit(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    def get(self, path: str) -> Any:
        return self.ask("GET", path)

    def post(self, path: str, body: Json) -> Any:
        return self.ask("POST", path, json=body)


class Listener:
    """A hub's callback on loopback: counts the events that it is told."""

    def __init__(self) -> None:
        self.events: list[Json] = []
        events = self.events

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                events.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def count(self) -> Counter[str]:
        return Counter({event["eventId"]: event["eventType"] for event in self.events}.values())


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def until(found: Callable[[], Any], what: str, timeout_s: float = 120) -> Any:
    deadline_s = time.monotonic() + timeout_s
    while not (value := found()):
        if time.monotonic() > deadline_s:
            sys.exit(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.1)
    return value


@contextlib.contextmanager
def started() -> Iterator[tuple[str, str]]:
    """An orchestrator of our own -> its address and key."""
    with tempfile.TemporaryDirectory(prefix="edgewright-order-") as folder:
        environment = os.environ | {"EDGEWRIGHT_DATA_DIR": f"{folder}/data", "XDG_STATE_HOME": folder}
        command = [sys.executable, "-m", "edgewright", "up", "--role", "loops", "--scenario", "none"]
        with open(f"{folder}/log", "w") as log:
            process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            printed = ""
            while not (found := re.search(r"(http://\S+?)/\?key=(\S+)", printed)):
                line = process.stdout.readline()
                if not line:
                    sys.exit(f"the orchestrator did not start:\n{printed}{Path(folder, 'log').read_text()[-3000:]}")
                printed += line
            threading.Thread(target=process.stdout.read, daemon=True).start()
            yield found[1], found[2]
        finally:
            process.terminate()
            process.wait(60)


def registered(api: Orchestrator) -> None:
    """This host, an owner and a physical network, unless they are known."""
    if not api.get(f"{MANAGER}/compute"):
        user = api.post(f"{MANAGER}/user", {"name": "example", "email": "owner@example.org"})
        api.post(f"{MANAGER}/compute", {"name": "this host", "user_id": user["id"], "compute_type": "host"})
    host = api.get(f"{MANAGER}/compute")[0]
    say(f"host {host['name']!r}: {host['left']['cpu']:g} of {host['capacity']['cpu']:g} CPU left ({host['driver']})")
    if host["driver"] != "linux":
        sys.exit("this host permits no control groups: services cannot run here")


def ordered(api: Orchestrator, item: Json) -> Json:
    """Order, and tell the steps as they happen -> the completed order."""
    order = api.post(f"{ORDERING}/serviceOrder", {"serviceOrderItem": [item]})
    say(f"order {order['id'][:8]}: {item['action']}, {order['state']}")
    seen: set[tuple[str, str]] = set()
    while True:
        for step in api.get(f"{OWN}/orders/{order['id']}/steps"):
            if step["state"] in ("done", "failed", "undone") and (step["name"], step["state"]) not in seen:
                seen.add((step["name"], step["state"]))
                seconds = step["ended"] - step["began"]
                say(f"    {step['name']}: {step['state']}, {seconds:.2f} s {step['error']}".rstrip())
        order = api.get(f"{ORDERING}/serviceOrder/{order['id']}")
        if order["state"] in ENDED:
            break
        time.sleep(0.1)
    if order["state"] != "completed":
        sys.exit(f"order {order['state']}: {order.get('errorMessage')}")
    return order


def service_now(api: Orchestrator, id: str) -> Json:
    """Its characteristics by name."""
    service = api.get(f"{INVENTORY}/service/{id}")
    return {"state": service["state"]} | {c["name"]: c["value"] for c in service["serviceCharacteristic"]}


def load(address: str, seconds: int, rate_hz: float, folder: Path) -> Json:
    """Offer a steady load -> how many requests were answered, failed and late."""
    from edgewright.scaling.launch import free_port

    target = {
        "name": "localization",
        "url": f"{address}/locate",
        "request": {"kind": "localization", "seed": 1},
        "load": {"profile": {"kind": "constant", "rate_hz": rate_hz}},
    }
    document = {"format": "edgewright.load/1", "timeout_s": 2, "extra_buckets_s": [0.05], "targets": [target]}
    file, port = folder / "load.json", free_port()
    file.write_text(json.dumps(document))
    command = [sys.executable, "-m", "edgewright.demo.load", "--config", str(file), "--port", str(port)]
    process = subprocess.Popen(command, env=os.environ | {"EDGEWRIGHT_LOAD_TOKEN": "none"}, stderr=subprocess.DEVNULL)
    try:
        time.sleep(seconds)
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    finally:
        process.terminate()
        process.wait(10)
    counts = dict(re.findall(r'edgewright_requests_total\{[^}]*outcome="(\w+)"[^}]*\} ([0-9.e+]+)', text))
    in_time = re.search(r'edgewright_response_seconds_bucket\{[^}]*le="0\.05"[^}]*\} ([0-9.e+]+)', text)
    answered = float(counts.get("ok", 0))
    failed = sum(float(number) for outcome, number in counts.items() if outcome != "ok")
    return {
        "answered": answered,
        "failed": failed,
        "in_time": float(in_time[1]) / answered if in_time and answered else 0,
    }


def left_behind(id: str, instance_id: str) -> list[str]:
    """Control groups, processes, namespaces and mounts that name what was ordered."""
    found = [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/**/*{instance_id[:8]}*")]
    found += [
        path.name
        for path in Path("/run/netns").glob("edgewright-c*")
        if id in path.name or instance_id[:8] in path.name
    ]
    found += [line for line in Path("/proc/mounts").read_text().splitlines() if id in line]
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            if instance_id in words:
                found.append(f"process {folder.name}: {words}")
    return found


def run(api: Orchestrator, folder: Path) -> None:
    registered(api)
    listener = Listener()
    hubs = [(base, api.post(f"{base}/hub", {"callback": listener.url, "query": ""})) for base in (ORDERING, INVENTORY)]
    package = api.ask(
        "POST",
        f"{OWN}/packages",
        content=PACKAGE.read_bytes(),
        headers={"Content-Type": "application/yaml"},
    )
    candidates = api.get(f"{CATALOGUE}/serviceCandidate?name=localization&fields=name,version,serviceSpecification")
    specification = candidates[0]["serviceSpecification"]
    say(f"onboarded {package['id']}; the catalogue has {[each['name'] for each in candidates]}")

    add = {
        "id": "1",
        "action": "add",
        "service": {"name": "where am I", "serviceSpecification": {"id": specification["id"]}},
    }
    order = ordered(api, add)
    id = order["serviceOrderItem"][0]["service"]["id"]
    service = service_now(api, id)
    instance = api.get(f"{MANAGER}/network_service_instance/{service['instance']}")
    pids = [replica["pid"] for replica in instance["replica_states"]]
    say(f"service {id[:8]} is {service['state']} at {service['address']}, pids {pids}")
    assert all(Path(f"/proc/{pid}").exists() for pid in pids)

    before = service["cpu"]
    result = load(service["address"], 15, 60, folder)
    service, chunk = service_now(api, id), _chunk(api, id)
    say(
        f"after 15 s of 60 requests/s: cpu {before:g} -> {service['cpu']:g} cores, chunk {chunk:g} CPU; "
        f"{result['answered']:g} answered, {result['failed']:g} failed, {result['in_time']:.1%} within 50 ms"
    )
    assert service["cpu"] != before, "the loop changed nothing"
    changes = [d for d in api.get(f"{OWN}/loops/{service['loop']}/decisions?limit=50") if d["changed"]]
    say(f"the loop ordered {len(changes)} changes by PATCH, last: {changes[0]['reasons']}" if changes else "no change")

    api.ask("PATCH", f"{OWN}/loops/{service['loop']}", json={"mode": "paused"})
    modify = {
        "id": "1",
        "action": "modify",
        "service": {
            "id": id,
            "serviceCharacteristic": [{"name": "replicas", "value": 2}, {"name": "cpu", "value": 0.25}],
        },
    }
    ordered(api, modify)
    say(f"modified: {service_now(api, id)}; chunk {_chunk(api, id):g} CPU")
    api.ask("PATCH", f"{INVENTORY}/service/{id}", json={"serviceCharacteristic": [{"name": "cpu", "value": 0.3}]})
    say(f"patched in the inventory: cpu {service_now(api, id)['cpu']:g}; chunk {_chunk(api, id):g} CPU")

    ordered(api, {"id": "1", "action": "delete", "service": {"id": id}})
    say(f"service {id[:8]} is {service_now(api, id)['state']}")
    wanted = {
        "ServiceOrderCreateEvent",
        "ServiceOrderStateChangeEvent",
        "ServiceCreateEvent",
        "ServiceStateChangeEvent",
        "ServiceAttributeValueChangeEvent",
    }
    until(lambda: wanted <= set(listener.count()), "events")
    say(f"events received: {dict(sorted(listener.count().items()))}")
    for base, hub in hubs:
        api.ask("DELETE", f"{base}/hub/{hub['id']}")
    api.ask("DELETE", f"{OWN}/packages/{package['id']}")
    if left := left_behind(id, service["instance"]):
        sys.exit("left behind:\n" + "\n".join(left))
    say("nothing is left behind")


def _chunk(api: Orchestrator, id: str) -> float:
    """Cores of the service's compute chunk."""
    found = next(chunk for chunk in api.get(f"{MANAGER}/compute_chunk") if chunk["name"] == id)
    return float(found["requirements"]["cpus"]["required"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="of a running orchestrator")
    parser.add_argument("--key", help="its API key")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgewright-example-")))
        url, key = (options.url, options.key) if options.url else stack.enter_context(started())
        run(Orchestrator(url, key), folder)


if __name__ == "__main__":
    main()
