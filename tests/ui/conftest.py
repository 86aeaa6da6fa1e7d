"""A real `edgewright up` in a process of its own (processes as services where this host permits), and a browser."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

import postgresql

from .orchestrator import Orchestrator

PREFIX = "/api/edgewright/v1"
EDGEWRIGHT = Path(sys.executable).with_name("edgewright")


@dataclass
class Server:
    process: subprocess.Popen[str]
    address: str
    key: str | None
    sessions: Path
    """Folder of the visitors' sessions."""

    @property
    def page(self) -> str:
        return f"{self.address}/?key={self.key}"

    def loop(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.address}{PREFIX}/loops/pages", trust_env=False).json()
        return found

    def service(self, name: str) -> dict[str, Any]:
        return next(service for service in self.loop()["services"] if service["name"] == name)

    def order(self, method: str, path: str, body: object = None) -> None:
        headers = {"Authorization": f"Bearer {self.key}"}
        url = f"{self.address}{PREFIX}/loops/pages{path}"
        httpx.request(method, url, json=body, headers=headers, trust_env=False).raise_for_status()


def scenario() -> dict[str, Any]:
    """Two light localization services."""
    command = ["python", "-m", "edgewright.demo.localization", "--port", "{port}", "--members", "2"]
    return {
        "format": "edgewright.scaling/1",
        "name": "pages",
        "slice": {"cpu": 0.8, "memory_mb": 1024.0},
        "control": {"policy": "threshold"},
        "services": [
            {
                "name": name,
                "cpu": {"min": 0.1, "max": 0.6, "initial": 0.3},
                "load": {"profile": {"kind": "constant", "rate_hz": 15.0}},
                "run": {"command": command},
            }
            for name in ("loc-a", "loc-b")
        ],
    }


@contextmanager
def up(folder: Path, **environment: str) -> Iterator[Server]:
    """`edgewright up` on a free port, ended by SIGTERM."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "scenario.yaml").write_text(yaml.safe_dump(scenario()))
    if (database := postgresql.database_of(folder / "data")) is not None:
        environment = {"EDGEWRIGHT_DATABASE_URL": database} | environment
    command = [str(EDGEWRIGHT), "up", "--port", str(port), "--data", str(folder / "data")]
    process = subprocess.Popen(
        [*command, "--scenario", str(folder / "scenario.yaml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | environment,
        cwd=folder,
    )
    try:
        said: list[str] = []
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if line.startswith("edgewright is up: "):
                break
        else:
            pytest.fail(f"edgewright up ended: {''.join(said)}")
        address, _, key = line.split()[-1].partition("/?key=")
        # Read on, or the process would block once the pipe is full.
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield Server(process, address.rstrip("/"), key or None, folder / "data" / "page")
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="session", autouse=True)
def _database_server(request: pytest.FixtureRequest) -> None:
    if postgresql.used:
        request.getfixturevalue("postgres")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with up(tmp_path_factory.mktemp("up")) as server:
        until(lambda: server.loop()["last_decision"])
        yield server


@pytest.fixture
def alone(server: Server, tmp_path: Path) -> Iterator[Server]:
    """The page in a process of its own, over the other's API."""
    with up(tmp_path, EDGEWRIGHT_ROLE="ui", EDGEWRIGHT_API_URL=server.address) as alone:
        yield alone


@pytest.fixture
def empty(server: Server, require: Callable[..., None]) -> Iterator[Orchestrator]:
    """Nothing is registered, before and after."""
    require("cgroup-cpu", "cgroup-memory", "chromium")
    known = Orchestrator(server)
    known.clear()
    yield known
    known.clear()


def until(true: Callable[[], object], timeout_s: float = 30.0) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(0.1)


Browse = Callable[..., Any]


@pytest.fixture
def browse(tmp_path: Path) -> Iterator[Browse]:
    """browse(url, width=1280, theme="light") -> a Chromium on that page; no error may stand in its console."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        reason = "no `chromium` and `chromedriver` on PATH (Debian: apt-get install chromium chromium-driver)"
        if os.environ.get("EDGEWRIGHT_REQUIRE_REAL"):
            pytest.fail(reason)
        pytest.skip(reason)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    opened: list[Any] = []

    def browse(url: str, *, width: int = 1280, theme: str = "light", height: int = 900) -> Any:
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (
            "headless=new",
            "no-sandbox",
            "disable-gpu",
            "disable-quic",
            "no-first-run",
            "disable-background-networking",
            "disable-component-update",
            "disable-sync",
            f"user-data-dir={tmp_path / f'chromium-{len(opened)}'}",
        ):
            options.add_argument(f"--{flag}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        chrome = webdriver.Chrome(options=options, service=Service(driver))
        opened.append(chrome)
        chrome.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        )
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        chrome.implicitly_wait(15)
        chrome.get(url)
        return chrome

    try:
        yield browse
        found = [entry for chrome in opened for entry in chrome.get_log("browser") if entry["level"] == "SEVERE"]
        assert not found, found
    finally:
        for chrome in opened:
            chrome.quit()
