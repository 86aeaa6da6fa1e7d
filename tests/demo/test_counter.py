"""The counter and who watches it: gaps, lost connections and lost answers are seen."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from edgewright.drivers.watcher import Watcher


def test_it_stops_while_it_connects_anew() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port, calls = listening.getsockname()[1], []

        def connect() -> socket.socket:
            calls.append(port)
            time.sleep(0.5 if len(calls) > 1 else 0.0)
            return socket.create_connection(("127.0.0.1", port))

        watcher = Watcher(connect)
        listening.accept()[0].close()
        wait_until(lambda: len(calls) > 1)
        assert watcher.stop().connections_lost == 1


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def started(port: int) -> subprocess.Popen[bytes]:
    words = ["-m", "edgewright.demo.counter", "--port", str(port), "--memory-mb", "1"]
    process = subprocess.Popen([sys.executable, *words])
    wait_until(lambda: process.poll() is not None or reachable(port))
    assert process.poll() is None
    return process


def reachable(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def ended(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def test_a_pause_is_a_gap_and_loses_nothing() -> None:
    port = free_port()
    service = started(port)
    try:
        with Watcher(lambda: socket.create_connection(("127.0.0.1", port))) as watcher:
            wait_until(lambda: watcher.answers > 5)
            os.kill(service.pid, signal.SIGSTOP)
            time.sleep(0.5)
            os.kill(service.pid, signal.SIGCONT)
            before = watcher.answers
            wait_until(lambda: watcher.answers > before + 60)
            seen = watcher.stop()
        assert seen.max_gap_s == pytest.approx(0.5, abs=0.3)
        assert (seen.connections_lost, seen.lost, seen.unanswered) == (0, 0, 0)
    finally:
        ended(service)


def test_a_service_that_starts_anew_is_a_lost_connection() -> None:
    port = free_port()
    service = started(port)
    try:
        with Watcher(lambda: socket.create_connection(("127.0.0.1", port))) as watcher:
            wait_until(lambda: watcher.answers > 5)
            ended(service)
            service = started(port)
            before = watcher.answers
            wait_until(lambda: watcher.answers > before + 5)
            assert watcher.stop().connections_lost >= 1
    finally:
        ended(service)
