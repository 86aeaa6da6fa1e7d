"""What the tests of the balancer share: one as a process, and backends before which it stands."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from edgewright.drivers.balancer.control import Backend, BalancerFile, Balancing, balancer_spec, write_file

PROGRAM = Path(__file__).with_name("replica_program.py")
TOKEN = "a token for tests"
MB = 1 << 20


def plain() -> httpx.Client:
    return httpx.Client(verify=False, trust_env=False, timeout=20)  # it asks nobody by TLS: no certificates to load


HTTP = plain()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Stand:
    """One balancer and what it balances."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.port, self.file = free_port(), folder / "balancer.json"
        settings = {"drain_s": 5.0, "timeout_s": 10.0, "service": "shop", "control_port": free_port()} | settings
        write_file(self.file, BalancerFile(**settings))
        self.control = Balancing(self.file, TOKEN)
        self.url = f"http://127.0.0.1:{self.port}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.known: dict[str, Backend] = {}
        self.log = folder / "balancer.log"
        self.start()

    def start(self) -> None:
        spec = balancer_spec("balancer", self.file, self.port, TOKEN)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                spec.command, env=os.environ | dict(spec.environment), stdout=log, stderr=log
            )
        assert spec.health_url is not None
        wait_for(lambda: HTTP.get(spec.health_url).status_code == 200)

    def backend(self, name: str, *, delay_ms: float = 0.0, command: tuple[str, ...] = (), **given: Any) -> Backend:
        """A process that runs; the balancer does not know of it yet."""
        address, port = given.pop("address", "127.0.0.1"), free_port()
        self.known[name] = Backend(name=name, url=f"http://{address}:{port}", **given)
        self.run(name, delay_ms, command)
        return self.known[name]

    def run(self, name: str, delay_ms: float = 0.0, command: tuple[str, ...] = ()) -> None:
        address, port = self.known[name].address
        self.processes[name] = subprocess.Popen(
            [*command, sys.executable, str(PROGRAM), name, address, str(port), str(delay_ms)]
        )

    def have(self, *names: str, stop: bool = False) -> None:
        """These and no others: new ones are up, the others drained (and stopped) when this returns."""
        old = set(self.control.backends())
        for name in names:
            if name not in self.known:
                self.backend(name)
        self.control.set_backends(self.known[name] for name in names)
        self.control.await_up(names, 60.0)
        gone = old - set(names)
        self.control.await_drained(gone, 10.0)
        for name in gone if stop else ():
            self.end(name, signal.SIGTERM)

    def end(self, name: str, how: signal.Signals) -> None:
        process = self.processes.pop(name)
        del self.known[name]
        process.send_signal(how)
        process.wait(10)

    def metrics(self) -> Counter[str]:
        text = HTTP.get(self.control.metrics_url).text
        lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return Counter({name: float(value) for name, value in lines})  # type: ignore[arg-type]

    def memory_bytes(self, *, anew: bool = False) -> int:
        """The most that it ever had, or since it was asked `anew`."""
        if anew:
            Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")  # proc(5)
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024

    def raw(self, request: bytes) -> bytes:
        """All that comes until it closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    @contextlib.contextmanager
    def empty(self) -> Iterator[None]:
        """For one test: without a backend. Their processes stay for the next one."""
        if self.process.poll() is not None:
            self.start()
        self.have()
        yield
        for name, process in list(self.processes.items()):
            if process.poll() is not None:
                self.end(name, signal.SIGKILL)

    def close(self) -> None:
        for process in [*self.processes.values(), self.process]:
            process.kill()
            process.wait(10)


def names_of(stand: Stand, count: int) -> set[str]:
    """Of those that answer so many requests."""
    return {HTTP.get(stand.url).json()["name"] for _ in range(count)}


def wait_for(what: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(httpx.HTTPError, OSError):
            if what():
                return
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


@contextlib.contextmanager
def lasting_stand(folder: Path) -> Iterator[Stand]:
    made = Stand(folder)
    try:
        yield made
        assert "Traceback" not in made.log.read_text()
    finally:
        made.close()


@contextlib.contextmanager
def answering(answer: bytes, *, close: bool = True) -> Iterator[Backend]:
    """A server that says the same to everything but health checks."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n" if b"/healthz" in head else answer)
                await writer.drain()
                if close:
                    break
        writer.close()

    loop, port = asyncio.new_event_loop(), free_port()
    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", port))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield Backend(name="odd", url=f"http://127.0.0.1:{port}")
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
