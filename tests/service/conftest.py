"""A running orchestrator over real HTTP: simulated slices in real time by default, this host's where a test says so."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

import postgresql
from edgewright.service.loops.choice import choose
from edgewright.service.settings import Settings
from edgewright.service.store import Store
from edgewright.service.store.tables import Table
from edgewright.service.up import Orchestrator, orchestrator

if TYPE_CHECKING:
    from .stepped import Stepped

PREFIX = "/api/edgewright/v1"
SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def scenario(name: str = "demo", services: tuple[str, ...] = ("a", "b"), **more: Any) -> dict[str, Any]:
    """Two quick services in a slice of one core; a plain HTTP server each where they run for real."""
    return {
        "format": "edgewright.scaling/1",
        "name": name,
        "slice": {"cpu": 1.0, "memory_mb": 1000.0},
        "control": {"policy": "threshold", "interval_s": 0.2, "memory_policy": "fixed"},
        "services": [
            {
                "name": service,
                "cpu": {"min": 0.1, "max": 0.8, "initial": 0.3},
                "load": {"profile": {"kind": "constant", "rate_hz": 20.0}},
                "run": {"command": ["python", "-I", "-S", "-c", SERVER, "{port}"]},
            }
            for service in services
        ],
        **more,
    }


def write_scenario(folder: Path, content: dict[str, Any] | None = None) -> Path:
    file = folder / "scenario.yaml"
    file.write_text(yaml.safe_dump(content or scenario()))
    return file


def settings(folder: Path, **more: Any) -> Settings:
    given = {"role": "loops", "driver": "simulated", "data_dir": folder / "data", "scenario": folder / "scenario.yaml"}
    if not (folder / "scenario.yaml").exists():
        write_scenario(folder)
    given |= more
    if "database_url" not in given:
        given["database_url"] = postgresql.database_of(given["data_dir"])
    return Settings(**given)


class Client(httpx.Client):
    """Of one orchestrator, with its key."""

    def __init__(self, made: Orchestrator, key: str | None) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        super().__init__(base_url=made.address, headers=headers, timeout=20.0, trust_env=False)
        self.made = made

    def loop(self, name: str = "demo") -> dict[str, Any]:
        answer = self.get(f"{PREFIX}/loops/{name}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def service(self, service: str, loop: str = "demo") -> dict[str, Any]:
        return next(s for s in self.loop(loop)["services"] if s["name"] == service)

    def events(self, kind: str, loop: str = "demo") -> list[dict[str, Any]]:
        return [e for e in self.get(f"{PREFIX}/loops/{loop}/events").json() if e["kind"] == kind]


@contextmanager
def running(given: Settings, *, key: str | None = None, **more: Any) -> Iterator[Client]:
    """An orchestrator on a free port, ended cleanly."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    made = orchestrator(given, listener, **more)
    thread = threading.Thread(target=made.serve, daemon=True)
    thread.start()
    try:
        with Client(made, key or made.first_key) as client:
            until(lambda: made.server.started)
            if made.runtime is not None and made.runtime.active:
                until(lambda: all(loop.last_step for loop in made.runtime.loops.values()))
            yield client
    finally:
        made.server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


def until(true: Callable[[], object], timeout_s: float = 30.0) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(0.02)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with running(settings(tmp_path)) as client:
        yield client


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """For tests that leave no trace."""
    with running(settings(tmp_path_factory.mktemp("shared"))) as client:
        yield client


@pytest.fixture
def stepped(tmp_path: Path) -> Iterator[Stepped]:
    from .stepped import Stepped

    made = Stepped(tmp_path)
    yield made
    made.loop.slice.close()
    made.store.close()


@pytest.fixture
def real(tmp_path: Path, require: Callable[..., None]) -> Settings:
    """Settings of an orchestrator that runs services as processes of this host; skips where it cannot."""
    given = settings(tmp_path, driver="auto")
    require("cgroup-cpu", "cgroup-memory")
    choice = choose(given)
    assert choice.kind == "linux", choice.reason
    return given


@pytest.fixture
def bare(real: Settings) -> Settings:
    """The same, without a loop of its own."""
    return real.model_copy(update={"scenario": None})


@pytest.fixture
def host(bare: Settings) -> Iterator[Client]:
    with running(bare) as client:
        yield client


@pytest.fixture(scope="session", autouse=True)
def _server(request: pytest.FixtureRequest) -> None:
    if postgresql.used:
        request.getfixturevalue("postgres")


@pytest.fixture(autouse=True)
def _databases(request: pytest.FixtureRequest) -> Iterator[None]:
    """Those of the test's own folder go with it."""
    folder = request.getfixturevalue("tmp_path") if postgresql.used else None
    yield
    if folder is not None:
        postgresql.drop_databases(folder)


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    """The database of the orchestrator whose settings are `settings(tmp_path)`."""
    if postgresql.used:
        pytest.skip("looks into the file of SQLite, and this run is on PostgreSQL")
    return tmp_path / "data" / "edgewright.sqlite"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.sqlite'}"
    address: str = request.getfixturevalue("postgres")
    return address


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = Store(url)
    yield opened
    with opened.write() as session:
        for table in Table.metadata.sorted_tables:
            session.execute(table.delete())
    opened.close()
