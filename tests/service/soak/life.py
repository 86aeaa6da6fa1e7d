"""One orchestrator over many lives: the same data folder, port and key."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from .forks import Forks

START_S = 120.0
END_S = 60.0
UP = re.compile(r"^edgewright is up: \S+?/(?:\?key=(\S+))?$", re.MULTILINE)


class Ended(Exception):
    """The orchestrator ended by itself."""


@dataclass
class Life:
    forks: Forks
    data: Path
    port: int = 0
    key: str = ""
    pid: int = 0
    pids: list[int] = field(default_factory=list)  # of all lives
    starts_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.port = free_fixed_port()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.data.with_name(f"{self.data.name}.{len(self.pids)}.log")

    def client(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=self.address, headers=headers, timeout=60.0, trust_env=False)

    def begin(self) -> None:
        self.pids.append(0)
        command = ["up", "--role", "loops", "--scenario", "none", "--port", str(self.port), "--data", str(self.data)]
        self._began = time.monotonic()
        self.pid = self.pids[-1] = self.forks.start(command, self.log)

    def await_up(self) -> None:
        """Raises Ended with its log."""
        while (found := UP.search(self.log.read_text() if self.log.exists() else "")) is None:
            if (code := self.forks.ended(self.pid)) is not None:
                self.pid = 0
                raise Ended(f"exit code {code} while starting:\n{self.log.read_text()[-4000:]}")
            if time.monotonic() - self._began > START_S:
                raise Ended(f"not up after {START_S:g} s:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.005)
        self.key = self.key or found[1]
        self.starts_s.append(time.monotonic() - self._began)

    def kill(self) -> None:
        """Itself alone; what it started lives on. Raises Ended where it had ended before."""
        if (code := self.forks.ended(self.pid)) is not None:
            self.pid = 0
            raise Ended(f"exit code {code}:\n{self.log.read_text()[-4000:]}")
        self._end(signal.SIGKILL)

    def abandon(self) -> None:
        """Whatever it does now."""
        if self.pid:
            with contextlib.suppress(Ended):
                self.kill()

    def end(self) -> int:
        """As a user ends it -> its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        os.kill(self.pid, number)
        deadline = time.monotonic() + END_S
        while (code := self.forks.ended(self.pid, wait=number == signal.SIGKILL)) is None:
            if time.monotonic() > deadline:
                raise Ended(f"it does not end within {END_S:g} s:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.02)
        self.pid = 0
        return code


def free_fixed_port() -> int:
    """Below those that the kernel gives to others, so that it is free after every kill."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in range(first - 1, 1024, -1):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no port is free")
