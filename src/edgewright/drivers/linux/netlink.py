"""Links, routes and TCP counters of one network namespace, asked of the kernel: microseconds, not a process each.

rtnetlink(7), sock_diag(7); numbers from linux/{netlink,rtnetlink,if_link,inet_diag,tcp}.h. IPv4.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from edgewright.drivers.linux.namespaces import inside

NETLINK_ROUTE, NETLINK_SOCK_DIAG = 0, 4
REQUEST, ACK, DUMP, REPLACE, CREATE = 0x1, 0x4, 0x300, 0x100, 0x400
ERROR, DONE = 2, 3
NEW_LINK, GET_LINK, NEW_ROUTE, DELETE_ROUTE, DIAG_BY_FAMILY = 16, 18, 24, 25, 20
IFF_UP = 1
IFLA_NAME, IFLA_STATS64, IFLA_CARRIER = 3, 23, 33
RTA_DESTINATION, RTA_DEVICE, RTA_GATEWAY, RTA_METRICS, RTA_TABLE, RTAX_RTO_MIN = 1, 4, 5, 8, 15, 13
RTPROT_STATIC, RTN_UNICAST = 4, 1
TABLE_MAIN = 254
INET_DIAG_INFO, BYTES_RECEIVED_AT = 2, 128  # offset in struct tcp_info
RECEIVE_BYTES = 1 << 18


@dataclass(frozen=True)
class Device:
    index: int
    up: bool
    packets: int  # sent
    bytes: int  # sent, Ethernet headers counted


@dataclass(frozen=True)
class Route:
    """`destination` None: the default route."""

    table: int
    destination: str | None
    gateway: str
    device: int
    rto_min_ms: int


@dataclass(frozen=True)
class Connection:
    cookie: int
    peer: str
    received_bytes: int


class Netlink:
    """One conversation with the kernel about one namespace. Thread-safe. Failures are OSErrors."""

    def __init__(self, namespace: str, protocol: int = NETLINK_ROUTE) -> None:
        self._lock, self._sequence = threading.Lock(), 0
        self._socket = inside(namespace, lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol))

    def close(self) -> None:
        self._socket.close()

    def devices(self) -> dict[str, Device]:
        found = {}
        for body in self._ask(GET_LINK, DUMP, struct.pack("=BxHiII", 0, 0, 0, 0, 0)):
            index, flags = struct.unpack_from("=iI", body, 4)
            attributes = dict(_attributes(body, 16))
            packets, sent = struct.unpack_from("=8xQ8xQ", attributes[IFLA_STATS64])
            name = attributes[IFLA_NAME][:-1].decode()
            up = bool(flags & IFF_UP and attributes[IFLA_CARRIER][0])  # the operational state lags behind
            found[name] = Device(index, up, packets, sent)
        return found

    def set_up(self, device: int, up: bool) -> None:
        self._ask(NEW_LINK, ACK, struct.pack("=BxHiII", 0, 0, device, IFF_UP if up else 0, IFF_UP))

    def put(self, route: Route) -> None:
        """Add, or replace in one step the one to the same destination."""
        self._ask(NEW_ROUTE, ACK | CREATE | REPLACE, _route(route))

    def delete(self, route: Route) -> None:
        self._ask(DELETE_ROUTE, ACK, _route(route))

    def connections(self) -> list[Connection]:
        """TCP connections now; needs a Netlink of protocol NETLINK_SOCK_DIAG."""
        wanted = struct.pack("=BBBxI48x", socket.AF_INET, socket.IPPROTO_TCP, 1 << (INET_DIAG_INFO - 1), 0xFFF)
        found = []
        for body in self._ask(DIAG_BY_FAMILY, DUMP, wanted):
            peer, cookie = struct.unpack_from("=24x4s16xQ", body)
            info = dict(_attributes(body, 72)).get(INET_DIAG_INFO, b"")
            if len(info) >= BYTES_RECEIVED_AT + 8:  # a socket that listens or waits for its end has none
                received = struct.unpack_from("=Q", info, BYTES_RECEIVED_AT)[0]
                found.append(Connection(cookie, socket.inet_ntoa(peer), received))
        return found

    def _ask(self, kind: int, flags: int, body: bytes) -> list[bytes]:
        """-> the bodies of the answers"""
        with self._lock:
            self._sequence += 1
            self._socket.send(struct.pack("=IHHII", 16 + len(body), kind, REQUEST | flags, self._sequence, 0) + body)
            answers: list[bytes] = []
            while True:
                for code, sequence, answer in _messages(self._socket.recv(RECEIVE_BYTES)):
                    if sequence != self._sequence:
                        continue
                    if code == ERROR:
                        if number := -struct.unpack_from("=i", answer)[0]:
                            raise OSError(number, os.strerror(number))
                        return answers
                    if code == DONE:
                        return answers
                    answers.append(answer)


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 0
    while at < len(data):
        length, code, _, sequence, _ = struct.unpack_from("=IHHII", data, at)
        yield code, sequence, data[at + 16 : at + length]
        at += (length + 3) & ~3


def _attributes(body: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while at + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, at)
        yield kind, body[at + 4 : at + length]
        at += (length + 3) & ~3


def _attribute(kind: int, value: bytes) -> bytes:
    """Values of ours are whole words: no padding."""
    return struct.pack("=HH", 4 + len(value), kind) + value


def _route(route: Route) -> bytes:
    length = 0 if route.destination is None else 32
    header = struct.pack("=8BI", socket.AF_INET, length, 0, 0, 0, RTPROT_STATIC, 0, RTN_UNICAST, 0)
    parts = [
        _attribute(RTA_TABLE, struct.pack("=I", route.table)),
        _attribute(RTA_GATEWAY, socket.inet_aton(route.gateway)),
        _attribute(RTA_DEVICE, struct.pack("=I", route.device)),
        _attribute(RTA_METRICS, _attribute(RTAX_RTO_MIN, struct.pack("=I", route.rto_min_ms))),
    ]
    if route.destination is not None:
        parts.append(_attribute(RTA_DESTINATION, socket.inet_aton(route.destination)))
    return header + b"".join(parts)
