"""An emulated backhaul: one network namespace per node, and one more, the core, behind the donors.

A link is a veth pair. What crosses it, either way, goes through one shaper (tc-htb(8) on an ifb in the namespace of the
link's first node), so that both directions share the capacity; flows have a class each there and share it fairly.
A capacity counts bytes of applications: the shaper takes HEADER_BYTES off every packet, so that acknowledgements are
nearly free. What comes back to a source goes first: flows are taken to send towards the core.

A flow has an address of its own at its source. A rule in every node sends what comes from it to the flow's own table,
which holds the next hop; what goes back follows a route to that address. Nothing leaves the namespaces.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Self

from edgewright.core.errors import InputError
from edgewright.drivers.forwarding import Counters, Layout, RouteError
from edgewright.drivers.linux.namespaces import batch, inside, new_prefix, remove
from edgewright.drivers.linux.netlink import NETLINK_ROUTE, NETLINK_SOCK_DIAG, TABLE_MAIN, Connection, Netlink, Route

CORE = -1  # its number beside the nodes'
SINK = "10.0.0.1"  # address of the core
FLOWS, LINKS, WIRES = IPv4Address("10.1.0.0"), IPv4Address("10.2.0.0"), IPv4Address("10.3.0.0")  # first addresses
MOST = 1 << 15  # links; their addresses come in pairs
FIRST_TABLE = 1000
HEADER_BYTES = 66  # Ethernet 14, IPv4 20, TCP with time stamps 32
QUEUE_PACKETS = 64  # of one flow at one link
BURST_S = 0.01  # what a shaper that woke up late may catch up with
RTO_MIN_MS = 50
ENDED = 1024  # connections remembered that the kernel does not list: a listing may miss one
SETTINGS = {
    "ipv4/ip_forward": "1",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv4/tcp_no_metrics_save": "1",  # a connection does not inherit what an earlier one saw on another path
    "ipv6/conf/all/disable_ipv6": "1",
    "ipv6/conf/default/disable_ipv6": "1",
}


@dataclass(frozen=True)
class _Hop:
    """From one node over one wire to its other end."""

    device: str
    address: str
    other: str


@dataclass(frozen=True)
class _Entry:
    """Where a node sends what comes from a flow's source, or what goes back to it."""

    node: int
    back: bool


class EmulatedNetwork:
    """A ForwardingPlane of namespaces. Needs root; raises NetworkError or OSError with the reason, nothing is left."""

    def __init__(self, layout: Layout) -> None:
        if max(len(layout.links), len(layout.sources)) > MOST:
            raise InputError("layout", max(len(layout.links), len(layout.sources)), f"at most {MOST} links and flows")
        self._layout, self._prefix = layout, new_prefix()
        self._places = (*range(layout.nodes), CORE)
        self._hops: dict[int, dict[int, _Hop]] = {node: {} for node in self._places}  # by link; the core's by donor
        for i, link in enumerate(layout.links):
            self._wire(f"l{i}", link.u, i, link.v, i, LINKS + 2 * i)
        for i, donor in enumerate(layout.donors):
            self._wire(f"c{i}", donor, CORE, CORE, donor, WIRES + 2 * i)
        self._lock = threading.Lock()
        self._in_force: list[dict[_Entry, Route]] = [{} for _ in layout.sources]
        self._received = [0] * len(layout.sources)
        self._seen: dict[int, int] = {}  # bytes by connection, those seen last at the end
        self._flow_of = {self.address(flow): flow for flow in range(len(layout.sources))}
        self._undo = contextlib.ExitStack()
        try:
            self._build()
            self._netlinks = {node: self._talk(node, NETLINK_ROUTE) for node in self._places}
            self._sockets = self._talk(CORE, NETLINK_SOCK_DIAG)
            self._index = {
                (node, name): device.index
                for node, netlink in self._netlinks.items()
                for name, device in netlink.devices().items()
            }
        except BaseException:
            self.close()
            raise

    @property
    def layout(self) -> Layout:
        return self._layout

    def namespace(self, node: int) -> str:
        """Name of a node's namespace, or CORE's."""
        return self._prefix + ("core" if node == CORE else f"n{node}")

    def address(self, flow: int) -> str:
        """What a program at the flow's source binds to."""
        return str(FLOWS + flow)

    def set_link(self, link: int, *, up: bool) -> None:
        """Break or repair a link."""
        node = self._layout.links[link].u
        self._netlinks[node].set_up(self._index[node, f"l{link}"], up)

    def route(self, flow: int, path: Sequence[int]) -> None:
        """Make before break: each node gets its next hop after the nodes that follow it, so that what is under way
        always meets the old path or the new one. Nodes left keep their entry: nothing reaches it once they are empty.
        """
        nodes = self._layout.walk(flow, path)
        with self._lock:
            changed: list[_Entry] = []
            old = dict(self._in_force[flow])
            try:
                for entry, link in _entries(nodes, path):
                    new = self._route(flow, entry, link)
                    where = f"node {entry.node}, link {link}" if CORE not in (entry.node, link) else "the core"
                    changed.append(entry)
                    self._netlinks[entry.node].put(new)
                    self._in_force[flow][entry] = new
            except OSError as error:
                for entry in reversed(changed):
                    self._restore(flow, entry, old.get(entry))
                raise RouteError(flow, f"{where}: {error}") from None

    def counters(self) -> Counters:
        links, seen = self._layout.links, {}
        for node in {link.u for link in links}:
            seen[node] = self._netlinks[node].devices()
        shapers = [seen[link.u][f"s{i}"] for i, link in enumerate(links)]
        with self._lock:
            self._count(self._sockets.connections())
            return Counters(
                time.monotonic(),
                tuple(seen[link.u][f"l{i}"].up for i, link in enumerate(links)),
                tuple(max(shaper.bytes - HEADER_BYTES * shaper.packets, 0) for shaper in shapers),
                tuple(self._received),
            )

    def close(self) -> None:
        """Raises NetworkError where namespaces stay; it may be called again."""
        try:
            self._undo.close()
        finally:
            remove(map(self.namespace, self._places))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # Inside

    def _wire(self, device: str, u: int, u_key: int, v: int, v_key: int, first: IPv4Address) -> None:
        self._hops[u][u_key] = _Hop(device, str(first), str(first + 1))
        self._hops[v][v_key] = _Hop(device, str(first + 1), str(first))

    def _talk(self, node: int, protocol: int) -> Netlink:
        netlink = Netlink(self.namespace(node), protocol)
        self._undo.callback(netlink.close)
        return netlink

    def _build(self) -> None:
        names = list(map(self.namespace, self._places))
        batch("ip", [f"netns add {name}" for name in names])
        for name in names:
            inside(name, _settle)
        ends = [(f"l{i}", link.u, link.v) for i, link in enumerate(self._layout.links)]
        ends += [(f"c{i}", donor, CORE) for i, donor in enumerate(self._layout.donors)]
        pairs = [(device, self.namespace(u), self.namespace(v)) for device, u, v in ends]
        batch("ip", [f"link add name {d} netns {u} type veth peer name {d} netns {v}" for d, u, v in pairs])
        for node in self._places:
            batch("ip", self._node(node), self.namespace(node))
        for node in range(self._layout.nodes):
            shapers = [line for i, link in enumerate(self._layout.links) if link.u == node for line in self._shaper(i)]
            if shapers:
                batch("tc", shapers, self.namespace(node))

    def _node(self, node: int) -> Iterator[str]:
        yield "link set lo up"
        for hop in self._hops[node].values():
            yield f"addr add {hop.address}/31 dev {hop.device}"
            yield f"link set {hop.device} up gso_max_segs 1"  # a shaper of tens of Mb/s must see single packets
        for i, link in enumerate(self._layout.links):
            if link.u == node:
                yield f"link add name s{i} type ifb"
                yield f"link set s{i} up txqueuelen {QUEUE_PACKETS}"  # becomes the length of the classes' queues
        for flow, source in enumerate(self._layout.sources):
            if source == node:
                yield f"addr add {self.address(flow)}/32 dev lo"
            if node != CORE:
                yield f"rule add from {self.address(flow)} lookup {FIRST_TABLE + flow} pref {FIRST_TABLE + flow}"
        if node == CORE:
            yield f"addr add {SINK}/32 dev lo"

    def _shaper(self, link: int) -> Iterator[str]:
        """Classes borrow what their link has, one packet each in turn: max-min fair."""
        bits = round(self._layout.links[link].capacity_mbps * 1e6)
        burst, device = max(round(bits / 8 * BURST_S), 4000), f"dev s{link}"
        full = f"rate {bits}bit ceil {bits}bit burst {burst} cburst {burst} quantum 1514"
        least = f"rate 8bit ceil {bits}bit burst 1600 cburst {burst} quantum 1514"
        yield f"qdisc add {device} root handle 1: stab overhead -{HEADER_BYTES} htb default 2"
        yield f"class add {device} parent 1: classid 1:1 htb {full}"
        yield f"class add {device} parent 1:1 classid 1:2 htb {least} prio 0"
        for flow in range(len(self._layout.sources)):
            yield f"class add {device} parent 1:1 classid 1:{flow + 3:x} htb {least} prio 1"
            match = f"u32 match ip src {self.address(flow)}/32"
            yield f"filter add {device} parent 1: protocol ip prio 1 {match} flowid 1:{flow + 3:x}"
        yield f"qdisc add dev l{link} clsact"
        for way in ("ingress", "egress"):
            redirect = f"u32 match u32 0 0 action mirred egress redirect {device}"
            yield f"filter add dev l{link} {way} protocol ip prio 1 {redirect}"

    def _route(self, flow: int, entry: _Entry, link: int) -> Route:
        hop = self._hops[entry.node][link]
        table, destination = (TABLE_MAIN, self.address(flow)) if entry.back else (FIRST_TABLE + flow, None)
        return Route(table, destination, hop.other, self._index[entry.node, hop.device], RTO_MIN_MS)

    def _count(self, connections: Sequence[Connection]) -> None:
        """What a connection received between the last look and its end is missed."""
        for one in connections:
            if (flow := self._flow_of.get(one.peer)) is not None:
                self._received[flow] += one.received_bytes - self._seen.pop(one.cookie, 0)
                self._seen[one.cookie] = one.received_bytes
        while len(self._seen) > len(connections) + ENDED:
            del self._seen[next(iter(self._seen))]

    def _restore(self, flow: int, entry: _Entry, old: Route | None) -> None:
        """The old entry, or none where there was none or its link is down."""
        netlink, new = self._netlinks[entry.node], self._in_force[flow].pop(entry, None)
        if old is not None:
            with contextlib.suppress(OSError):
                netlink.put(old)
                self._in_force[flow][entry] = old
                return
        if new is not None:
            with contextlib.suppress(OSError):
                netlink.delete(new)


def _entries(nodes: Sequence[int], path: Sequence[int]) -> Iterator[tuple[_Entry, int]]:
    """In the order in which they are put in force: the way back from the source on, the way out from the core on."""
    for node, link in zip(nodes[1:], path, strict=True):
        yield _Entry(node, back=True), link
    yield _Entry(CORE, back=True), nodes[-1]
    for node, link in reversed(list(zip(nodes, [*path, CORE], strict=True))):
        yield _Entry(node, back=False), link


def _settle() -> None:
    for name, value in SETTINGS.items():
        file = Path("/proc/sys/net") / name
        if file.exists():  # a kernel without IPv6
            file.write_text(value)
