"""Processes of the demo, run as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from edgewright.drivers.capabilities import probe_one


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
