"""What the API refuses and to whom: bad input, missing keys, foreign hosts; and what it hands to another worker."""

from __future__ import annotations

import asyncio
import http.server
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from edgewright.service.api.gate import Forward

from .conftest import PREFIX, Client, running, scenario, settings, write_scenario
from .ordering import package

LOOP = f"{PREFIX}/loops/demo"
CATALOGS = "/tmf-api/serviceCatalogManagement/v4/serviceCatalog"

# Bad input: 400 (404, 409, 413), the one form, never a 500

NAN = json.loads('{"cpu": NaN}')
REFUSED = [
    ("PATCH", LOOP, {}, 400),
    ("PATCH", LOOP, {"mode": "fly"}, 400),
    ("PATCH", LOOP, {"mode": None, "polcy": "fixed"}, 400),
    ("PATCH", LOOP, {"policy": "none-such"}, 400),
    ("PATCH", LOOP, {"policy": "/etc/passwd.npz"}, 400),
    ("PATCH", LOOP, {"policy": 7}, 400),
    ("PATCH", LOOP, [], 400),
    ("PATCH", LOOP, {"mode": "\ud800"}, 400),
    ("PATCH", LOOP, {"\ud800": 1}, 400),
    ("POST", f"{PREFIX}/loops", scenario("\ud800"), 400),
    ("POST", f"{PREFIX}/loops", scenario("x", control={"policy": "\ud800"}), 400),
    ("PATCH", f"{PREFIX}/loops/none", {"mode": "act"}, 404),
    ("DELETE", f"{PREFIX}/loops/none", None, 404),
    ("PUT", f"{LOOP}/services/a/pin", {"cpu": 5.0}, 400),
    ("PUT", f"{LOOP}/services/a/pin", {"cpu": 0.0}, 400),
    ("PUT", f"{LOOP}/services/a/pin", {"cpu": -1}, 400),
    ("PUT", f"{LOOP}/services/a/pin", {"cpu": "0.5"}, 400),
    ("PUT", f"{LOOP}/services/a/pin", {"cpu": True}, 400),
    ("PUT", f"{LOOP}/services/a/pin", NAN, 400),
    ("PUT", f"{LOOP}/services/a/pin", {}, 400),
    ("PUT", f"{LOOP}/services/none/pin", {"cpu": 0.5}, 404),
    ("DELETE", f"{LOOP}/services/none/pin", None, 404),
    ("POST", f"{LOOP}/services/none/restart", None, 404),
    ("POST", f"{LOOP}/rollback", {"seq": 999_999_999}, 400),
    ("POST", f"{LOOP}/rollback", {"seq": 0}, 400),
    ("POST", f"{LOOP}/rollback", {"seq": 10**30}, 400),
    ("POST", f"{LOOP}/rollback", {}, 400),
    ("PUT", f"{LOOP}/load", {"a": -1.0}, 400),
    ("PUT", f"{LOOP}/load", {"a": 1e9}, 400),
    ("PUT", f"{LOOP}/load", {"none": 1.0}, 400),
    ("PUT", f"{LOOP}/load", {"a": "much"}, 400),
    ("POST", f"{PREFIX}/loops", {"format": "edgewright.scaling/1", "name": "x"}, 400),
    ("POST", f"{PREFIX}/loops", scenario("x", wind=3), 400),
    ("POST", f"{PREFIX}/loops", scenario("demo"), 400),
    ("POST", f"{PREFIX}/loops", scenario("x", control={"policy": "none-such"}), 400),
    ("POST", f"{PREFIX}/loops", scenario("x", slice={"cpu": 500.0, "memory_mb": 1000.0}), 409),
    ("GET", f"{LOOP}/series?seconds=0", None, 400),
    ("GET", f"{LOOP}/series?seconds=x", None, 400),
    ("GET", f"{LOOP}/decisions?limit=0", None, 400),
    ("GET", f"{LOOP}/decisions?limit=100000", None, 400),
    ("GET", f"{LOOP}/decisions?before=99999999999999999999999999", None, 400),
    ("GET", f"{LOOP}/events?before=nan", None, 400),
    ("GET", f"{PREFIX}/loops/none/decisions", None, 404),
    ("GET", f"{PREFIX}/loops/none/events", None, 404),
    ("GET", f"{PREFIX}/none", None, 404),
    ("POST", LOOP, {}, 405),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), REFUSED)
def test_refused(shared: Client, method: str, path: str, body: object, status: int) -> None:
    content = None if body is None else json.dumps(body)
    answer = shared.request(method, path, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert told["message"]
    assert {"message", "field", "given", "allowed"} <= set(told)


def test_refused_names_field_and_range(shared: Client) -> None:
    told = shared.put(f"{LOOP}/services/a/pin", json={"cpu": 5.0}).json()
    assert (told["field"], told["given"]) == ("cpu", 5.0)
    assert "0.1 .. 0.8" in told["allowed"]


@pytest.mark.parametrize(
    "content",
    [b"{", b"\xff\xfe", b'{"name": "\xff"}', b"", b"[1]", b'{"mode": "act", "mode": "shadow"}', b"[" * 100_000],
)
def test_broken_bodies(shared: Client, content: bytes) -> None:
    for method, path in (("PATCH", LOOP), ("POST", f"{PREFIX}/loops"), ("POST", CATALOGS)):
        answer = shared.request(method, path, content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, answer.text
        assert answer.json()["message"]


def test_half_a_character_is_refused_in_any_body(shared: Client) -> None:
    needs = {"cpus": {"required": 0.1}, "ram": {"required": 1.0}}
    content = json.dumps({"name": "n", "description": "\ud800", "requirements": needs})
    answer = shared.post("/api/v1.0/compute_chunk", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    yaml = {"Content-Type": "application/yaml"}
    told = shared.post(f"{PREFIX}/loops", content=rb'format: "\ud800"', headers=yaml)
    assert (told.status_code, told.json()["given"]) == (400, "?")


def test_body_with_a_key_twice_names_it(shared: Client) -> None:
    for method, path in (("PATCH", LOOP), ("PUT", "/api/v1.0/compute_chunk/x/cpus")):
        headers = {"Content-Type": "application/json"}
        told = shared.request(method, path, content=b'{"mode": "act", "mode": "shadow"}', headers=headers)
        assert (told.status_code, told.json()["field"], told.json()["given"]) == (400, "key", "mode")
    assert shared.loop()["mode"] == "act"


def test_large_body(shared: Client) -> None:
    answer = shared.patch(LOOP, content=b" " * 1_000_001)
    assert answer.status_code == 413
    streamed = shared.patch(LOOP, content=(b" " * 100_000 for _ in range(11)))  # no Content-Length
    assert streamed.status_code == 413


# Who may


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"X-API-Key": ""}])
def test_every_write_needs_a_key(shared: Client, headers: dict[str, str]) -> None:
    paths = shared.get("/api/openapi.json").json()["paths"]
    writes = [
        (method, re.sub(r"\{[^}]+\}", "x", path.replace("{loop}", "demo").replace("{service}", "a")))
        for path, methods in paths.items()
        for method in methods
        if method != "get"
    ]
    assert len(writes) > 60
    with httpx.Client(base_url=shared.made.address, trust_env=False) as nobody:
        for method, path in writes:
            answer = nobody.request(method, path, json={"mode": "paused"}, headers=headers)
            assert answer.status_code == 401, (method, path, answer.text)
    assert shared.loop()["mode"] == "act"


def test_key_in_either_header(sqlite_file: Path, client: Client) -> None:
    key = client.made.first_key
    assert key
    with httpx.Client(base_url=client.made.address, trust_env=False) as other:
        assert other.patch(LOOP, json={"mode": "shadow"}, headers={"X-API-Key": key}).status_code == 200
    assert client.made.page.endswith(f"/?key={key}")
    assert key.encode() not in sqlite_file.read_bytes() + Path(f"{sqlite_file}-wal").read_bytes()


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "evil.example:8741"])
def test_foreign_host_header(shared: Client, host: str) -> None:
    assert shared.get(LOOP, headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1:9", "[::1]:8741", "192.168.0.7"])
def test_own_host_header(shared: Client, host: str) -> None:
    assert shared.get(LOOP, headers={"Host": host}).status_code == 200


def test_key_can_be_tried(shared: Client) -> None:
    assert shared.get(f"{PREFIX}/key").status_code == 204
    assert shared.get(f"{PREFIX}/key", headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_environment_is_shown_with_the_key_only(tmp_path: Path) -> None:
    content = scenario()
    content["services"][0]["run"]["environment"] = {"TOKEN": "hunter2"}
    write_scenario(tmp_path, content)
    with running(settings(tmp_path)) as client:
        shown = client.get(f"{LOOP}/scenario").json()
        assert shown["services"][0]["run"]["environment"] == {"TOKEN": "hunter2"}
        hidden = httpx.get(f"{client.made.address}{LOOP}/scenario", trust_env=False)
        assert hidden.json()["services"][0]["run"]["environment"] == {"TOKEN": "***"}


def test_what_may_be_secret_is_shown_with_the_key_only(client: Client) -> None:
    run = {"command": ["python"], "environment": {"TOKEN": "hunter2"}}
    manager, inventory = "/api/v1.0", "/tmf-api/serviceInventory/v4"
    key = client.post(f"{PREFIX}/packages", json=package(run=run)).json()["id"]
    made = {
        kind: client.post(f"{manager}/{kind}", json=body).json()["id"]
        for kind, body in {
            "network_service": {"name": "n", "package": key},
            "user": {"name": "u", "email": "hunter2@example.org"},
            "telemetry": {"name": "t", "telemetry_data": {"password": "hunter2", "more": {"token": "hunter2"}}},
        }.items()
    }
    assert client.post(f"{inventory}/hub", json={"callback": "http://127.0.0.1:9/hunter2"}).status_code == 201
    paths = [f"{PREFIX}/{path}" for path in ("packages", f"packages/{key}", "hubs")]
    paths += [f"{manager}/{path}" for path in ("user", "telemetry", *(f"{kind}/{id}" for kind, id in made.items()))]
    with httpx.Client(base_url=client.made.address, trust_env=False) as nobody:
        for path in paths:
            assert "hunter2" in client.get(path).text, path
            hidden = nobody.get(path)
            assert (hidden.status_code, "hunter2" in hidden.text) == (200, False), path
        assert nobody.get(f"{PREFIX}/packages/{key}").json()["descriptor"]["run"]["environment"] == {"TOKEN": "***"}
        assert nobody.get(f"{PREFIX}/hubs").json()[0]["callback"] == "http://127.0.0.1:9"


# Through another worker


class Worker(http.server.BaseHTTPRequestHandler):
    """Answers with the address it was asked for."""

    def do_GET(self) -> None:
        if self.path.endswith("/late"):
            time.sleep(2)
            return
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        time.sleep(0.5)
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def forward() -> Iterator[httpx.AsyncClient]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Worker) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        leases = SimpleNamespace(address="http://me", address_of=lambda _: f"http://127.0.0.1:{server.server_port}")
        app = Forward(None, SimpleNamespace(active=False, leases=leases))  # type: ignore[arg-type]
        yield httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")
        server.shutdown()


@pytest.mark.parametrize("path", ["/api/x%0ay", "/api/what%3F?seconds=3", "/api/a%2Fb", "/api/%C3%A9?q=%FF"])
def test_forwarded_address_stays_as_it_came(forward: httpx.AsyncClient, path: str) -> None:
    answer = asyncio.run(forward.get(path))
    assert (answer.status_code, answer.text.removesuffix("?")) == (200, path)


def test_worker_that_answers_late(forward: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgewright.service.api.gate.FORWARD_TIMEOUT_S", 0.2)
    answer = asyncio.run(forward.get("/api/late"))
    assert answer.status_code == 504
    assert "the outcome is unknown" in answer.json()["message"]
    assert asyncio.run(forward.post("/api/change")).status_code == 200  # replicas start meanwhile
    monkeypatch.setattr("edgewright.service.api.gate.CHANGE_TIMEOUT_S", 0.2)
    assert asyncio.run(forward.post("/api/change")).status_code == 504
