"""One request that a balancer passes on: to which backend, to another where that is safe, and how it ended."""

from __future__ import annotations

import asyncio
import socket
from typing import Literal, Protocol

from edgewright.drivers.balancer.headers import RequestHead
from edgewright.drivers.balancer.replicas import Connection, Replica, Replicas

KEPT_BYTES = 64 * 1024  # of a body, for another backend
IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))  # RFC 9110 9.2.2
Outcome = Literal["ok", "error", "refused", "unreachable", "timeout", "aborted", "cut"]


class Counting(Protocol):
    def arrived(self) -> None: ...

    def ended(self, outcome: Outcome, response_s: float, backend: str | None) -> None: ...

    def retried(self) -> None: ...

    def rejected(self, status: int) -> None: ...


class Client(Protocol):
    """The side that the request came from."""

    transport: asyncio.Transport
    full: bool
    tunnel: bool
    eof: bool  # nothing more comes through the tunnel

    def touch(self) -> None: ...

    def begin_tunnel(self) -> None: ...

    def gate(self) -> None:
        """Whether more of the body can be taken has changed."""
        ...

    def fail(self, status: int, message: str) -> None: ...

    def next(self) -> None:
        """The answer is whole."""
        ...


class Carrier(Connection, Protocol):
    """A connection to a backend."""

    replica: Replica
    transport: asyncio.Transport
    reused: bool
    reusable: bool
    full: bool
    eof: bool

    def carry(self, exchange: Exchange, data: bytes) -> None: ...

    def leave(self) -> None: ...


class Shared(Protocol):
    """What all exchanges have in common."""

    loop: asyncio.AbstractEventLoop
    replicas: Replicas
    counting: Counting
    closing: bool

    async def open(self, replica: Replica, made: socket.socket) -> Carrier: ...


def shut_down(transport: asyncio.Transport) -> None:
    """Say that no more comes."""
    try:
        transport.write_eof()
    except OSError:  # the peer has gone meanwhile
        transport.abort()


class Exchange:
    def __init__(
        self, shared: Shared, client: Client, method: bytes, head: RequestHead, *, keep: bool, old: bool
    ) -> None:
        self.shared, self.client, self.method, self.head = shared, client, method, head
        self.keep = keep  # the client's connection
        self.old = old  # the client speaks HTTP/1.0
        self.started = False
        self.whole = False  # the request has come to its end
        self.answering = False  # the client has the answer's head
        self.back: Carrier | None = None
        self._began_s, self._counted = shared.loop.time(), False
        self._replica: Replica | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._tried: set[Replica] = set()
        self._stale = False  # an idle connection was closed meanwhile
        self._kept: list[bytes] | None = []  # None: too long to be sent again
        self._kept_bytes = 0
        shared.counting.arrived()

    @property
    def stuck(self) -> bool:
        """No more of the body can be taken now."""
        return self.back.full if self.back is not None else self._kept_bytes > KEPT_BYTES

    def feed(self, data: bytes) -> None:
        """The next part of the body; the end of a chunked one is empty."""
        if self.head.chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if self.back is not None:
            self.back.transport.write(data)
        if self._kept is not None:
            self._kept.append(data)
            self._kept_bytes += len(data)
            self._forget()

    def dispatch(self) -> None:
        self.started = True
        replica = self.shared.replicas.pick(self._tried)
        if replica is None and self._tried:
            self.fail(502, "no backend could be reached", "unreachable", None)
        elif replica is None:
            self.fail(503, "there is no backend now", "refused", None)
        else:
            self._replica = replica
            replica.outstanding += 1
            back = None if self._stale else replica.take()
            if back is not None:
                self._attach(back)  # type: ignore[arg-type]  # the pool has what was given to it
            else:
                self._connecting = self.shared.loop.create_task(self._connect(replica))

    def lost(self, reason: str) -> None:
        """The backend's connection ended before the answer did."""
        back, replica = self.back, self._replica
        assert back is not None
        assert replica is not None
        self._leave()
        again = self._kept is not None and not self.answering and self.method in IDEMPOTENT
        if again and back.reused and not self._stale:
            self._stale = True  # closed for being idle, perhaps: no fault of the backend
        else:
            replica.failed(reason)
            self._tried.add(replica)
            if not again:
                outcome: Outcome = "cut" if replica.state == "draining" else "error"
                self.fail(502, f"the backend failed: {reason}", outcome, replica)
                return
        self.shared.counting.retried()
        self.dispatch()

    def answered(self, status: int) -> None:
        """Its end was passed on; the connection to the backend may carry another."""
        back, replica = self.back, self._replica
        assert back is not None
        assert replica is not None
        self._leave()
        replica.succeeded()
        if back.reusable:
            replica.give_back(back)
        else:
            back.end()
        self.count("ok" if status < 500 else "error", replica)
        self.client.next()

    def expire(self, timeout_s: float) -> None:
        """Nothing happened for so long."""
        replica, stuck = self._replica, self.stuck
        self.drop()
        if not (self.whole or stuck):
            self.fail(408, f"nothing came for {timeout_s:g} s", "aborted", replica)
            return
        if replica is not None and not self.answering:
            replica.failed(f"no answer within {timeout_s:g} s")
        self.fail(504, f"the backend did not answer within {timeout_s:g} s", "timeout", replica)

    def drop(self) -> None:
        """Let go of the backend, which cannot know that nobody waits any more."""
        back = self.back
        self._leave()
        if back is not None:
            back.end()

    def close(self) -> None:
        """Of a tunnel: what the client still said goes to the backend."""
        if self.back is not None:
            self.back.transport.close()

    def fail(self, status: int, message: str, outcome: Outcome, replica: Replica | None) -> None:
        self.count(outcome, replica)
        self.client.fail(status, message)

    def count(self, outcome: Outcome, replica: Replica | None = None) -> None:
        """Once: a tunnel has been counted when it began."""
        if not self._counted:
            self._counted = True
            replica = replica or self._replica
            name = replica.name if replica is not None else None
            self.shared.counting.ended(outcome, self.shared.loop.time() - self._began_s, name)

    async def _connect(self, replica: Replica) -> None:
        try:
            back = await self.shared.open(replica, await replica.connect())
        except (OSError, TimeoutError) as error:  # nothing was sent: whatever it is, another one may have it
            replica.failed(f"connecting: {error or type(error).__name__}")
            self._connecting = None
            self._leave()
            self._tried.add(replica)
            self.shared.counting.retried()
            self.dispatch()
        else:
            self._connecting = None
            self._attach(back)

    def _attach(self, back: Carrier) -> None:
        assert self._kept is not None
        self.back = back
        back.replica.requests += 1
        back.replica.busy.add(back)
        back.carry(self, b"".join([self.head.wire, *self._kept]))
        self._forget()
        self.client.gate()

    def _forget(self) -> None:
        if self.back is not None and self._kept_bytes > KEPT_BYTES:
            self._kept = None

    def _leave(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        if self.back is not None:
            self.back.replica.busy.discard(self.back)
            self.back.leave()
            self.back = None
        if self._replica is not None:
            self._replica.outstanding -= 1
            self._replica = None
