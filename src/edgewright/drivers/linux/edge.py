"""Edge nodes as network namespaces on one host, and a client; a fabric in the middle routes services' addresses.

A service has an address of its own, on the loopback of the node that serves it. One route in the fabric says which node
gets its packets, and by the reverse path filter (RFC 3704, strict) also which node may send from the address: one step
moves both, and what is left behind is mute. Mute matters: a source that repeats what it sent pushes the client's clock
of TCP time stamps beyond the target's, whose packets the client then drops (PAWS, RFC 7323).

The fabric knows the nodes' Ethernet addresses by permanent neighbour entries; nodes answer no ARP for services. So a
route to a node without the neighbour entry *holds* packets: they wait in the neighbour's queue, in order, and the entry
lets them go. None is lost while a service moves.
"""

from __future__ import annotations

import functools
import json
import re
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Self

from edgewright.core.errors import InputError
from edgewright.drivers.host import NAME_PATTERN
from edgewright.drivers.linux.hosts import Host
from edgewright.drivers.linux.namespaces import FOLDER, TIMEOUT_S, NetworkError, batch, inside, new_prefix, remove

CLIENT, FABRIC = "client", "fabric"
WIRES, SERVICES = IPv4Address("10.6.0.0"), IPv4Address("10.7.0.1")  # first addresses
MOST = 250  # nodes
GATEWAY = "169.254.1.1"  # of a machine, at each node
HELD_S, HELD_BYTES = 600, 16 << 20  # of packets that wait for one service
SETTINGS = {
    "ipv4/ip_forward": "1",
    "ipv4/conf/default/rp_filter": "0",
    "ipv4/conf/all/arp_ignore": "1",  # services' addresses are on the loopback: no answer for them
    "ipv4/conf/all/arp_announce": "2",
    "ipv6/conf/all/disable_ipv6": "1",
    "ipv6/conf/default/disable_ipv6": "1",
}


@dataclass(frozen=True)
class Edge:
    """A network that stands, as a value: another process can act on it too. Failures are NetworkErrors.

    A node may live on another host: what is done in its namespace is done by a call there. Its wire is the operator's.
    """

    prefix: str
    nodes: tuple[str, ...]
    hosts: Mapping[str, Host] = field(default_factory=dict)  # of nodes that do not live on this one

    def namespace(self, node: str) -> str:
        return self.prefix + (node if node in (CLIENT, FABRIC) else f"n{self._number(node)}")

    def remove(self) -> None:
        """All of it. Raises NetworkError where namespaces stay."""
        remove(map(self.namespace, (*self.nodes, CLIENT, FABRIC)))

    def is_there(self, node: str) -> bool:
        """Somebody may have removed its namespace."""
        return (FOLDER / self.namespace(node)).exists()

    def address(self, number: int) -> str:
        """Of a service."""
        return str(SERVICES + number)

    def own_address(self, node: str) -> str:
        """Of a node itself, which no service takes along."""
        return str(WIRES + 2 * self._number(node))

    def give(self, address: str, node: str) -> None:
        """To a node's loopback. It may have it already."""
        batch("ip", [f"addr replace {address}/32 dev lo"], self.namespace(node))

    def take(self, address: str, node: str) -> None:
        """Sockets bound to it stay. The node need not have it."""
        if not self.is_there(node):
            return
        batch("ip", [f"addr replace {address}/32 dev lo", f"addr del {address}/32 dev lo"], self.namespace(node))

    def connect(self, address: str, node: str, tap: str, mac: str) -> None:
        """A machine behind this tap device, which is made where it is not there, gets the address's packets at a node.

        To the machine the node is GATEWAY, with one and the same Ethernet address at all nodes.
        """
        namespace = self.namespace(node)
        there = inside(namespace, lambda: tap in [name for _, name in socket.if_nameindex()])
        lines = [] if there else [f"tuntap add dev {tap} mode tap", f"link set {tap} address {_mac(255, 255)}"]
        lines += [f"addr replace {GATEWAY}/32 dev {tap}", f"link set {tap} up"]
        lines += [
            f"route replace {address}/32 dev {tap}",
            f"neigh replace {address} lladdr {mac} dev {tap} nud permanent",
        ]
        batch("ip", lines, namespace)

    def disconnect(self, address: str, node: str, tap: str) -> None:
        """The tap device goes, which need not be there; a machine that has it open hears nothing any more."""
        namespace = self.namespace(node)
        if self.is_there(node) and inside(namespace, lambda: tap in [name for _, name in socket.if_nameindex()]):
            batch("ip", [f"link del {tap}"], namespace)

    def addresses(self, node: str) -> list[str]:
        """Of the node's own devices."""
        shown = self._shown(self.namespace(node), "addr", "show")
        return [str(one["local"]) for device in shown for one in device["addr_info"] if "local" in one]

    def hold(self, address: str, node: str) -> None:
        """Packets go to no node any more: they wait for this one, the only one that may send."""
        self.prepare_hold(address, node)
        batch("ip", [self.hold_command(address, node)], self.namespace(FABRIC))

    def prepare_hold(self, address: str, node: str) -> None:
        """Nothing changes yet."""
        port = self._port(node)
        # A neighbour must be there to be deleted, and a device cannot resolve what is under way: replace, then delete.
        entry = f"{address} dev {port}"
        batch(
            "ip", [f"neigh replace {entry} lladdr {self._mac(node)} nud permanent", f"neigh del {entry}"], self._fabric
        )

    def hold_command(self, address: str, node: str) -> str:
        """Of `ip`, in the fabric, after `prepare_hold`."""
        return f"route replace {address}/32 dev {self._port(node)}"

    def hold_softly(self, address: str, node: str, source: str) -> None:
        """After `prepare_hold`: packets wait for the node, and the source may send until `send` or `hold`.

        The filter lets pass what comes from any hop of a route. One connection in 257 still gets to the source.
        """
        hops = f"nexthop dev {self._port(node)} weight 256 nexthop dev {self._port(source)} weight 1"
        try:
            batch("ip", [f"route replace {address}/32 {hops}"], self._fabric)
        except NetworkError:  # a kernel without such routes
            batch("ip", [self.hold_command(address, node)], self._fabric)

    def send(self, address: str, node: str) -> None:
        """Packets go to this node, first those that wait for it; those that wait for another one are dropped."""
        neighbour = f"neigh replace {address} lladdr {self._mac(node)} dev {self._port(node)} nud permanent"
        batch("ip", [neighbour, self.hold_command(address, node)], self._fabric)

    def forget(self, address: str) -> None:
        """No route any more."""
        batch("ip", [f"route replace blackhole {address}/32", f"route del blackhole {address}/32"], self._fabric)

    def where(self, address: str) -> str | None:
        """The node that gets a service's packets; None where they wait or go nowhere."""
        routes = self._shown(self._fabric, "route", "show", f"{address}/32")
        hops = [max(one.get("nexthops", [one]), key=lambda hop: hop.get("weight", 1)) for one in routes]
        neighbours = self._shown(self._fabric, "neigh", "show", "to", address, "nud", "permanent")
        ports = {one.get("dev") for one in hops} & {one["dev"] for one in neighbours}
        return next((node for node in self.nodes if self._port(node) in ports), None)

    @property
    def _fabric(self) -> str:
        return self.namespace(FABRIC)

    def _number(self, node: str) -> int:
        if node not in self.nodes:
            raise InputError("node", node, f"one of {', '.join(self.nodes)}")
        return self.nodes.index(node)

    def _port(self, node: str) -> str:
        return f"p{self._number(node)}"

    def _mac(self, node: str) -> str:
        return _mac(self._number(node), 0)

    def _shown(self, namespace: str, *command: str) -> list[dict[str, Any]]:
        done = subprocess.run(
            ["ip", "-j", "-n", namespace, *command], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        if done.returncode:
            raise NetworkError(f"ip {' '.join(command)}: {done.stderr.strip()}")
        return list(json.loads(done.stdout or "[]"))


class EdgeNetwork:
    """Makes an Edge, and removes it. Needs root; raises NetworkError or OSError with the reason, nothing is left."""

    def __init__(self, nodes: Sequence[str]) -> None:
        from edgewright.core.documents import unique  # a host that only has nodes has no pydantic

        unique(nodes, "nodes")
        for node in nodes:
            if not re.fullmatch(NAME_PATTERN, node) or node in (CLIENT, FABRIC):
                raise InputError("nodes", node, f"a name like {NAME_PATTERN}, neither {CLIENT} nor {FABRIC}")
        if len(nodes) > MOST:
            raise InputError("nodes", len(nodes), f"at most {MOST}")
        self.edge = Edge(new_prefix(), tuple(nodes))
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Raises NetworkError where namespaces stay; it may be called again."""
        self.edge.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _build(self) -> None:
        edge, fabric = self.edge, self.edge.namespace(FABRIC)
        ends = (*edge.nodes, CLIENT)
        batch("ip", [f"netns add {edge.namespace(end)}" for end in (*ends, FABRIC)])
        for end in (*ends, FABRIC):
            inside(edge.namespace(end), functools.partial(_settle, end == FABRIC))
        middle = ["link set lo up"]
        for i, end in enumerate(ends):
            here, there, outer, inner = WIRES + 2 * i, WIRES + 2 * i + 1, _mac(i, 0), _mac(i, 1)
            batch(
                "ip",
                [
                    f"link add name p{i} address {inner} netns {fabric} type veth"
                    f" peer name eth0 address {outer} netns {edge.namespace(end)}"
                ],
            )
            middle += [f"addr add {there}/31 dev p{i}", f"link set p{i} up"]
            middle += [f"neigh replace {here} lladdr {outer} dev p{i} nud permanent"]
            outside = ["link set lo up", f"addr add {here}/31 dev eth0", "link set eth0 up"]
            outside += [
                f"neigh replace {there} lladdr {inner} dev eth0 nud permanent",
                f"route add default via {there}",
            ]
            batch("ip", outside, edge.namespace(end))
        batch("ip", middle, fabric)
        inside(fabric, lambda: _hold_long(len(ends)))


def _mac(wire: int, side: int) -> str:
    """Locally administered."""
    return f"02:00:00:00:{wire:02x}:{side:02x}"


def _settle(reverse_path_filter: bool) -> None:
    for name, value in (SETTINGS | {"ipv4/conf/all/rp_filter": str(int(reverse_path_filter))}).items():
        file = Path("/proc/sys/net") / name
        if file.exists():  # a kernel without IPv6
            file.write_text(value)


def _hold_long(ports: int) -> None:
    for port in range(ports):
        neighbours = Path(f"/proc/sys/net/ipv4/neigh/p{port}")
        (neighbours / "mcast_solicit").write_text(str(HELD_S))  # one a second
        (neighbours / "unres_qlen_bytes").write_text(str(HELD_BYTES))
