"""The backends' side of a balancer: a connection that carries one request at a time, and streams its answer."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from edgewright.drivers.balancer.exchange import Client, Exchange, shut_down
from edgewright.drivers.balancer.headers import HEAD_BYTES, Refusal, answer_head, size_bytes
from edgewright.drivers.balancer.replicas import Replica


class Back(asyncio.Protocol):
    """A connection to a backend, which carries one exchange at a time."""

    transport: asyncio.Transport

    def __init__(self, replica: Replica, made: socket.socket) -> None:
        self.replica, self._socket = replica, made
        self.idle_since_s = 0.0
        self.reused = self.full = self.eof = False
        self.reusable = False
        self._carried = False
        self._exchange: Exchange | None = None
        self._parser = HttpResponseParser(self)

    @property
    def closed(self) -> bool:
        """Also where the event loop does not know yet that the backend has closed it."""
        if self.transport.is_closing():
            return True
        try:
            self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True  # its end, or what nobody asked for

    def end(self) -> None:
        self.transport.abort()

    def carry(self, exchange: Exchange, data: bytes) -> None:
        self._exchange, self.reused, self._carried = exchange, self._carried, True
        self._done = self._extra = self._interim = self._headed = self._chunked = self._framed = False
        self._status, self._reason, self._quiet_bytes = 0, b"", 0
        self._fields, self._out = list[tuple[bytes, bytes]](), list[bytes]()
        if self._client.full:
            self.transport.pause_reading()
        self.transport.write(data)

    def leave(self) -> None:
        self._exchange = None

    @property
    def _client(self) -> Client:
        assert self._exchange is not None
        return self._exchange.client

    # The connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def eof_received(self) -> bool:
        if self._exchange is None or not self._client.tunnel:
            return False
        self.eof = True
        if not self._client.eof:
            shut_down(self._client.transport)
            return True
        return False

    def connection_lost(self, error: Exception | None) -> None:
        exchange = self._exchange
        if exchange is None:
            if self in self.replica.idle:
                self.replica.idle.remove(self)
        elif self._client.tunnel:
            self._client.transport.close()
            exchange.drop()
        elif self._headed and not self._framed and error is None:  # its body ends with the connection
            self._complete()
        else:
            exchange.lost(str(error or "it closed the connection"))

    def pause_writing(self) -> None:
        self.full = True
        if self._exchange is not None:
            self._client.gate()

    def resume_writing(self) -> None:
        self.full = False
        if self._exchange is not None:
            self._client.touch()
            self._client.gate()

    # What the backend answers

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:  # nobody asked
            self.transport.abort()
            return
        client = self._client
        client.touch()
        if client.tunnel:
            client.transport.write(data)
            return
        self._quiet_bytes += len(data)
        try:
            self._parser.feed_data(data)
            if self._quiet_bytes > HEAD_BYTES:
                raise Refusal(502, f"more than {HEAD_BYTES} bytes of header fields")
        except HttpParserUpgrade as upgrade:
            self._begin_tunnel(data[upgrade.args[0] :])
        except (HttpParserError, Refusal) as error:
            reason = error.__context__ if isinstance(error.__context__, Refusal) else error
            self.transport.abort()
            exchange.lost(f"no HTTP/1.1: {reason}")
        else:
            if self._done:
                self._complete()
            else:
                self._flush()

    def _flush(self) -> None:
        if self._out:
            assert self._exchange is not None
            self._exchange.answering = self._headed
            self._client.transport.write(b"".join(self._out))
            self._out.clear()

    def _complete(self) -> None:
        exchange = self._exchange
        assert exchange is not None
        if not self._done and self._chunked:
            self._out.append(b"0\r\n\r\n")
        self._flush()
        if exchange.method == b"HEAD":  # the parser waits for the body that only a GET has
            self._parser = HttpResponseParser(self)
        self.reusable = self.reusable and self._done and not self._extra and exchange.whole and not self.full
        self.transport.resume_reading()
        exchange.answered(self._status)

    def _begin_tunnel(self, data: bytes) -> None:
        exchange = self._exchange
        assert exchange is not None
        self._out.append(data)
        self._flush()
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.replica.succeeded()
        exchange.count("ok")
        exchange.client.begin_tunnel()

    def on_message_begin(self) -> None:
        self._extra = self._done
        self._reason, self._fields = b"", []

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._headed:  # else a trailer
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        exchange = self._exchange
        assert exchange is not None
        self._quiet_bytes = 0
        if self._done:
            return
        if size_bytes(self._fields) > HEAD_BYTES:
            raise Refusal(502, f"more than {HEAD_BYTES} bytes of header fields")
        self._status = status = self._parser.get_status_code()
        self._interim = 100 <= status < 200 and status != 101
        if status == 101 and not (exchange.head.upgrade and self._parser.should_upgrade()):
            raise Refusal(502, "it changes to a protocol that was not asked for")
        head = answer_head(
            status,
            self._reason,
            self._fields,
            bodiless=exchange.method == b"HEAD" or status in (204, 304),
            old_client=exchange.old,
            keep=exchange.keep and exchange.whole and not exchange.shared.closing,
        )
        if self._interim:
            if not exchange.old:
                self._out.append(head.wire)
            return
        self._out.append(head.wire)
        self._headed, self._chunked, self._framed = True, head.chunked, head.framed
        exchange.keep, self.reusable = head.keep, self._parser.should_keep_alive()
        self._done = exchange.method == b"HEAD"

    def on_body(self, data: bytes) -> None:
        self._quiet_bytes = 0
        if self._done:
            self._extra = True
        else:
            self._out.append(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def on_message_complete(self) -> None:
        self._quiet_bytes = 0
        if self._interim:
            self._interim = False
        elif not self._done:
            self._done = True
            if self._chunked:
                self._out.append(b"0\r\n\r\n")
