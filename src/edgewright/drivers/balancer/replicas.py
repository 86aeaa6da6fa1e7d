"""The backends of a balancer as they are now: their health, their idle connections, and which one is next."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

import structlog

from edgewright.core.errors import InputError
from edgewright.drivers.balancer.control import Backend, BackendState, State

log = structlog.get_logger("edgewright.balancer")
CHECK_S = 1.0  # between two health checks
CHECK_TIMEOUT_S = 2.0
CONNECT_TIMEOUT_S = 2.0
FAILURES = 3  # in a row, then it is ejected
BACK_OFF_S, MAX_BACK_OFF_S = 1.0, 30.0
IDLE_S = 2.0  # servers close idle connections after 5 s and more: one that is younger is hardly just being closed
IDLE = 64  # connections kept


class Connection(Protocol):
    """To a backend; what the pool needs to know of it."""

    idle_since_s: float

    @property
    def closed(self) -> bool: ...

    def end(self) -> None:
        """At once, with what it carries."""
        ...


class Replica:
    """One backend at run time. Raises OSError or TimeoutError where it cannot be connected to."""

    def __init__(self, backend: Backend, health_path: str, changed: Callable[[], None]) -> None:
        self.backend, self._health_path, self._changed = backend, health_path, changed
        self.outstanding = self.requests = self.failures = 0
        self.reason = ""
        self.state: State = "starting"
        self.idle: list[Connection] = []
        self.busy: set[Connection] = set()
        self._failures_in_row, self._back_off_s, self._ejected_until_s = 0, BACK_OFF_S, 0.0

    @property
    def name(self) -> str:
        return self.backend.name

    def told(self) -> BackendState:
        return BackendState(
            name=self.name,
            state=self.state,
            outstanding=self.outstanding,
            requests=self.requests,
            failures=self.failures,
            reason=self.reason,
        )

    async def connect(self) -> socket.socket:
        """A connected socket, from inside the backend's namespace. Raises OSError, TimeoutError."""
        address, namespace = self.backend.address, self.backend.namespace

        def make() -> socket.socket:
            return socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)

        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            if namespace is None:
                made = make()
            else:
                from edgewright.drivers.linux.namespaces import inside

                # In a thread that ends with it: this one must never leave the namespace of the service's address.
                made = await loop.run_in_executor(None, inside, namespace, make)
            try:
                made.setblocking(False)
                await loop.sock_connect(made, address)
            except BaseException:
                made.close()
                raise
        return made

    def take(self) -> Connection | None:
        """An idle connection, the one used last: those that are not needed grow old and are closed."""
        now_s = time.monotonic()
        while self.idle:
            connection = self.idle.pop()
            if not connection.closed and now_s - connection.idle_since_s < IDLE_S:
                return connection
            connection.end()
        return None

    def give_back(self, connection: Connection) -> None:
        connection.idle_since_s = time.monotonic()
        if self.state in ("up", "starting") and len(self.idle) < IDLE:
            self.idle.append(connection)
        else:
            connection.end()

    def close_idle(self, older_s: float = 0.0) -> None:
        before_s = time.monotonic() - older_s
        old = [each for each in self.idle if each.idle_since_s <= before_s]
        for connection in old:
            self.idle.remove(connection)
            connection.end()

    def succeeded(self) -> None:
        """It answered a request."""
        self._failures_in_row, self._back_off_s = 0, BACK_OFF_S

    def failed(self, reason: str) -> None:
        self.failures += 1
        self._failures_in_row += 1
        self.reason = reason
        if self.state == "up" and self._failures_in_row >= FAILURES:
            self._ejected_until_s = time.monotonic() + self._back_off_s
            self._back_off_s = min(MAX_BACK_OFF_S, 2 * self._back_off_s)
            self.change("ejected")
            self.close_idle()

    def change(self, state: State) -> None:
        self.state = state
        log.info("backend", name=self.name, state=state, reason=self.reason if state == "ejected" else "")
        self._changed()

    async def watch(self) -> None:
        """Ask whether it is well, every second, until this is cancelled."""
        while True:
            began_s = time.monotonic()
            try:
                await self._check()
            except (OSError, TimeoutError, ValueError) as error:
                self.failed(f"health check: {error or type(error).__name__}")
            else:
                if self.state == "up":
                    self._failures_in_row = 0
                elif self.state == "starting" or (self.state == "ejected" and time.monotonic() > self._ejected_until_s):
                    self._failures_in_row = 0
                    self.change("up")
            self.close_idle(IDLE_S)
            waits_s = 0.1 if self.state == "starting" else CHECK_S
            await asyncio.sleep(max(0.0, began_s + waits_s - time.monotonic()))

    async def _check(self) -> None:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(sock=await self.connect())
            try:
                host = self.backend.url.removeprefix("http://")
                head = f"GET {self._health_path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
                writer.write(head.encode())
                line = (await reader.readline()).split()
            finally:
                writer.transport.abort()
        if len(line) < 2 or not b"200" <= line[1] < b"400":
            raise OSError(f"answered {b' '.join(line[:2]).decode('latin-1') or 'nothing'}")


class Replicas:
    """All backends, and the choice: least outstanding requests, ties in turn."""

    def __init__(self, health_path: str, drain_s: float, gone: Callable[[Replica], None]) -> None:
        self._health_path, self._drain_s, self._gone = health_path, drain_s, gone
        self.all: dict[str, Replica] = {}
        self._live: list[Replica] = []
        self._turn = 0
        self._tasks: dict[Replica, asyncio.Task[None]] = {}

    def want(self, backends: Iterable[Backend]) -> None:
        """Start, keep and drain so that these are left. Raises InputError: nothing changed."""
        wanted = {backend.name: backend for backend in backends}
        for name, backend in wanted.items():
            if name in self.all and self.all[name].backend != backend:
                raise InputError("backends.name", name, "another name: a backend with another address has it")
        for name, backend in wanted.items():
            replica = self.all.get(name)
            if replica is None:
                replica = self.all[name] = Replica(backend, self._health_path, self._changed)
            elif replica.state == "draining":  # wanted again
                self._tasks.pop(replica).cancel()
                replica.change("starting")
            else:
                continue
            self._tasks[replica] = asyncio.create_task(replica.watch())
        for name, replica in list(self.all.items()):
            if name not in wanted and replica.state != "draining":
                self._tasks.pop(replica).cancel()
                replica.change("draining")
                replica.close_idle()
                self._tasks[replica] = asyncio.create_task(self._drain(replica))

    def pick(self, tried: Collection[Replica]) -> Replica | None:
        """None: there is none that was not tried."""
        live, best, place = self._live, None, 0
        for i in range(len(live)):
            at = (self._turn + i) % len(live)
            replica = live[at]
            if (best is None or replica.outstanding < best.outstanding) and replica not in tried:
                best, place = replica, at
        self._turn = place + 1
        return best

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for replica in self.all.values():
            replica.close_idle()

    def _changed(self) -> None:
        up, ejected = ([each for each in self.all.values() if each.state == state] for state in ("up", "ejected"))
        self._live = up or ejected  # where all fail, to ask those is better than to ask none

    async def _drain(self, replica: Replica) -> None:
        deadline_s = time.monotonic() + self._drain_s
        while replica.outstanding and time.monotonic() < deadline_s:
            await asyncio.sleep(0.02)
        cut = replica.outstanding
        for connection in list(replica.busy):
            connection.end()
        del self.all[replica.name], self._tasks[replica]
        self._gone(replica)
        log.info("backend_drained", name=replica.name, cut=cut)
