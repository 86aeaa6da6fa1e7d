"""The clients' side of a balancer: HTTP/1.1 requests are read, passed on one after the other, and answered.

Messages are parsed by llhttp (httptools) in its strict mode, and written anew.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import socket
import sys
import termios
from collections import deque
from http import HTTPStatus
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from edgewright.drivers.balancer.carrier import Back
from edgewright.drivers.balancer.exchange import Counting, Exchange, shut_down
from edgewright.drivers.balancer.headers import HEAD_BYTES, Refusal, RequestHead, request_head, size_bytes
from edgewright.drivers.balancer.replicas import Replica, Replicas

HEAD_S = 30.0  # for a client to send a head
KEEP_ALIVE_S = 75.0
LINGER_S = 2.0  # a client that still sends is heard for this long, else it would not see the answer


class Relay:
    """What all connections share."""

    def __init__(self, replicas: Replicas, counting: Counting, timeout_s: float) -> None:
        self.replicas, self.counting, self._timeout_s = replicas, counting, timeout_s
        self.loop = asyncio.get_running_loop()
        self.fronts: set[Front] = set()
        self.closing = False

    async def open(self, replica: Replica, made: socket.socket) -> Back:
        try:
            _, back = await self.loop.create_connection(lambda: Back(replica, made), sock=made)
        except BaseException:
            made.close()
            raise
        return back

    async def watch(self) -> None:
        """End what makes no progress, until this is cancelled."""
        while True:
            await asyncio.sleep(min(1.0, self._timeout_s / 4))
            now_s = self.loop.time()
            for front in list(self.fronts):
                front.look(now_s, self._timeout_s)

    async def close(self, within_s: float) -> None:
        """Requests under way may end."""
        self.closing = True
        deadline_s = self.loop.time() + within_s
        while self.fronts and self.loop.time() < deadline_s:
            for front in list(self.fronts):
                if not front.queue:
                    front.transport.close()
            await asyncio.sleep(0.02)
        for front in list(self.fronts):
            front.transport.abort()
        await asyncio.sleep(0)


class Front(asyncio.Protocol):
    """A connection from a client."""

    transport: asyncio.Transport

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.queue: deque[Exchange] = deque()  # the first one is with a backend; others were pipelined
        self.full = self.tunnel = self.eof = False
        self.touched_s = relay.loop.time()
        self._deaf = False  # what still comes is not looked at
        self._refusal: Refusal | None = None  # the answer after those in the queue
        self._early: bytes | None = None  # came after a request for another protocol
        self._parser, self._resuming = HttpRequestParser(self), False
        self._in_head, self._head_began_s, self._quiet_bytes = False, 0.0, 0
        self._target, self._fields = b"", list[tuple[bytes, bytes]]()
        self._reading, self._unsent_bytes = True, 0

    # The connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._peer = str(transport.get_extra_info("peername")[0]).encode()
        self.relay.fronts.add(self)

    def data_received(self, data: bytes) -> None:
        if self.tunnel:
            self.queue[0].feed(data)
        elif not self._deaf:
            self.touch()
            self._parse(data)

    def eof_received(self) -> bool:
        """Who shuts down its side has left, but for a tunnel's."""
        if not self.tunnel:
            return False
        self.eof = True
        back = self.queue[0].back
        if back is not None and not back.eof:
            shut_down(back.transport)
            return True
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.relay.fronts.discard(self)
        for exchange in self.queue:
            exchange.count("aborted")
            if self.tunnel and error is None:
                exchange.close()
            else:
                exchange.drop()
        if not self.tunnel:
            self.queue.clear()

    def pause_writing(self) -> None:
        self.full = True
        if self.queue and (back := self.queue[0].back):
            back.transport.pause_reading()

    def resume_writing(self) -> None:
        self.full = False
        self.touch()
        if self.queue and (back := self.queue[0].back):
            back.transport.resume_reading()

    def gate(self) -> None:
        """Read on, or let the client wait."""
        if self._deaf:
            return
        wait = self._early is not None or len(self.queue) > 1 or (bool(self.queue) and self.queue[0].stuck)
        if wait == self._reading:
            self._reading = not wait
            if wait:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def look(self, now_s: float, timeout_s: float) -> None:
        """End it where nothing happens."""
        idle_s = now_s - self.touched_s
        if self.tunnel or idle_s < min(1.0, timeout_s / 4):
            return
        left = self.transport.get_write_buffer_size() + _unsent_bytes(self.transport)
        if left < self._unsent_bytes:
            self.touched_s, idle_s = now_s, 0.0
        self._unsent_bytes = left
        if self.queue:
            if idle_s > timeout_s:
                self.queue[0].expire(timeout_s)
        elif self._deaf or left:
            if idle_s > (LINGER_S if self._deaf else timeout_s):
                self.transport.abort()
        elif self._in_head:
            if now_s - self._head_began_s > HEAD_S:
                self._refuse(Refusal(408, f"no head within {HEAD_S:g} s"))
        elif idle_s > KEEP_ALIVE_S:
            self.transport.close()

    # Answers

    def fail(self, status: int, message: str) -> None:
        """Of the first in the queue."""
        exchange = self.queue[0]
        if exchange.answering:
            self.transport.abort()
            return
        exchange.keep = exchange.keep and exchange.whole and not self.relay.closing
        self._say(status, message, exchange.keep, bodiless=exchange.method == b"HEAD")
        self.next()

    def next(self) -> None:
        done = self.queue.popleft()
        self.touch()
        if not (done.keep and done.whole):
            self._linger(done.whole)
            return
        self.relay.loop.call_soon(self._go_on)  # not at once: thousands may be waiting, each refused in its turn

    def begin_tunnel(self) -> None:
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.tunnel = True
        if self._early:
            self.queue[0].feed(self._early)
        self._early = None
        self.gate()

    def touch(self) -> None:
        """Something happened."""
        self.touched_s = self.relay.loop.time()

    def _go_on(self) -> None:
        if self.transport.is_closing():
            return
        if self._early is not None:
            early, self._early, self._parser = self._early, None, HttpRequestParser(self)
            self._parse(early)
        elif self.queue:
            if not self.queue[0].started:
                self.queue[0].dispatch()
        elif self._refusal is not None:
            self._say(self._refusal.status, str(self._refusal), keep=False)
            self._linger(False)
        self.gate()

    def _say(self, status: int, message: str, keep: bool, *, bodiless: bool = False) -> None:
        body = json.dumps({"message": message}).encode()
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "Content-Type: application/json"]
        lines += [f"Content-Length: {len(body)}", *(["Retry-After: 1"] if status == 503 else [])]
        head = "\r\n".join([*lines, "Connection: keep-alive" if keep else "Connection: close", "", ""])
        self.transport.write(head.encode() + (b"" if bodiless else body))

    def _linger(self, whole: bool) -> None:
        """Close; where the client may still send, only once it does no more."""
        self._deaf = True
        if whole or self.transport.is_closing():
            self.transport.close()
            return
        shut_down(self.transport)
        self._reading = True
        self.transport.resume_reading()

    def _refuse(self, refusal: Refusal) -> None:
        """Hear no more from this client; what was asked before is answered before."""
        self._deaf, self._in_head = True, False
        self.relay.counting.rejected(refusal.status)
        if self.queue and not self.queue[-1].whole:
            exchange = self.queue.pop()
            exchange.count("aborted")
            exchange.drop()
            if exchange.answering:
                self.transport.abort()
                return
        if self.queue:
            self._refusal = refusal
        else:
            self._say(refusal.status, str(refusal), keep=False)
            self._linger(False)

    # What the client sends

    def _parse(self, received: bytes) -> None:
        data = memoryview(received)
        try:
            while data:
                self._quiet_bytes += len(data)
                try:
                    self._parser.feed_data(data)
                    data = data[len(data) :]
                except HttpParserUpgrade as upgrade:
                    data = data[upgrade.args[0] :]
                    head = self.queue[-1].head
                    if head.upgrade:
                        self._early, data = bytes(data), data[len(data) :]
                    else:
                        self._resume(head)
        except HttpParserError as error:
            refusal = error.__context__
            self._refuse(refusal if isinstance(refusal, Refusal) else Refusal(400, f"no HTTP/1.1: {error}"))
        else:
            if self._quiet_bytes > HEAD_BYTES:
                self._refuse(Refusal(431, f"more than {HEAD_BYTES} bytes of header fields"))
        if self.queue and not self.queue[0].started:
            self.queue[0].dispatch()
        self.gate()

    def _resume(self, head: RequestHead) -> None:
        """The parser stops at every request for another protocol; for one that is not passed on it has to go on."""
        self._parser = HttpRequestParser(self)
        if head.has_body:
            framing = b"Transfer-Encoding: chunked" if head.chunked else b"Content-Length: %d" % head.length
            self._resuming = True
            self._parser.feed_data(b"POST / HTTP/1.1\r\nHost: h\r\n%b\r\n\r\n" % framing)
            self._resuming = False

    def on_message_begin(self) -> None:
        if not self._resuming:
            self._in_head, self._head_began_s = True, self.touched_s
            self._target, self._fields = b"", []

    def on_url(self, target: bytes) -> None:
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # else a trailer
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        self._quiet_bytes = 0
        if self._resuming:
            return
        self._in_head = False
        if size_bytes(self._fields) + len(self._target) > HEAD_BYTES:
            raise Refusal(431, f"more than {HEAD_BYTES} bytes of header fields")
        method, version = self._parser.get_method(), self._parser.get_http_version()
        head = request_head(method, self._target, version, self._fields, self._peer)
        keep = self._parser.should_keep_alive()
        self.queue.append(Exchange(self.relay, self, method, head, keep=keep, old=version == "1.0"))

    def on_body(self, data: bytes) -> None:
        self._quiet_bytes = 0
        self.queue[-1].feed(data)

    def on_message_complete(self) -> None:
        self._quiet_bytes = 0
        exchange = self.queue[-1]
        if self._parser.should_upgrade() and exchange.head.has_body:
            return  # the parser skipped it: see _resume
        if exchange.head.chunked:
            exchange.feed(b"")
        exchange.whole = True


def _unsent_bytes(transport: asyncio.Transport) -> int:
    """What the kernel still has of it, tcp(7)."""
    asked = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, b"\0" * 4)
    return int.from_bytes(asked, sys.byteorder)
