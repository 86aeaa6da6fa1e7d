"""Processes of the demo, run as a user runs them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edgewright.drivers.capabilities import probe_one


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def fetch(url: str, data: Any = None, *, method: str | None = None, token: str | None = None) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(url, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def wait_healthy(url: str, process: subprocess.Popen[str], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        assert process.poll() is None, "it ended while starting"
        with contextlib.suppress(OSError):
            if fetch(url)[0] == 200:
                return
        assert time.monotonic() < deadline, f"not healthy after {timeout_s:g} s"
        time.sleep(0.05)


@pytest.fixture
def run() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`run("load", "--url", ...)` starts `python -m edgewright.demo.load`; all end with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(module: str, *options: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", f"edgewright.demo.{module}", *options]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        started.append(process)
        return process

    try:
        yield start
    finally:
        for process in started:
            process.kill()
            process.communicate()


@pytest.fixture(scope="session")
def require() -> Callable[..., None]:
    """As in tests/drivers: a missing feature skips, or fails with EDGEWRIGHT_REQUIRE_REAL=1."""

    def check(*names: str) -> None:
        for found in map(probe_one, names):
            if not found.available:
                refuse = pytest.fail if os.environ.get("EDGEWRIGHT_REQUIRE_REAL") == "1" else pytest.skip
                refuse(f"{found.title}: {found.reason}")

    return check
