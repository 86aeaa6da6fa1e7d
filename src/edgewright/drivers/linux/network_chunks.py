"""Network chunks of this host: a bridge in a network namespace of its own, and a wire to each instance's namespace.

Namespaces are named `edgewright-c<owner>_<chunk>` and `..._<chunk>_<instance>`. They outlive a crash, as the services
in them do: `namespaces.reconcile` does not know them. All devices are made inside them, none in the host's own, and the
alias of a bridge or a port, written last, says that it is whole: what has none was cut short, and is removed.

A chunk's rate is a total. What enters the bridge through any wire or from peers passes one shaper (tc-tbf(8) on an ifb)
before it goes on; what the chunk's own namespace sends, where a proxy sits, passes another one, and what leaves for the
peers a third. None is in an instance's namespace, where a service could lift it. Ethernet frames are counted whole, so
TCP gets some 95 % of the rate.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import socket
import subprocess
import threading
from collections.abc import Collection, Iterator
from ipaddress import IPv4Interface
from typing import Any, Literal

from edgewright.core.errors import CapacityError, InputError
from edgewright.drivers.chunks import Underlay, Wire
from edgewright.drivers.host import NAME_PATTERN, HostError
from edgewright.drivers.linux.namespaces import FOLDER, TIMEOUT_S, NetworkError, batch, inside, remove

BRIDGE, UPLINK, METER, INSTANCE_DEVICE = "br0", "up0", "in0", "eth0"
SHAPED = (BRIDGE, UPLINK, METER)
MTU = 1450  # with the headers of VXLAN (RFC 7348) a frame still fits a network of 1500
MOST_INSTANCES = 1000  # of one bridge; the kernel's own limit is 1024 ports
MOST_VLAN, MOST_VXLAN = 4094, (1 << 24) - 1  # IEEE 802.1Q 9.6; RFC 7348 section 5
LEAST_MBPS, MOST_MBPS = 0.1, 100_000.0
BURST_S, LEAST_BURST_BYTES = 0.01, 8_000  # what a shaper that woke up late may catch up with
QUEUE_S, LEAST_QUEUE_BYTES = 0.05, 64_000
QUEUE_PACKETS = 10_000  # where nothing is limited
ALL_HOSTS = "00:00:00:00:00:00"  # of a forwarding entry: where VXLAN sends what it knows no place for


class LinuxNetworkChunk:
    """A NetworkChunk that stands. Made by LinuxNetworkChunks."""

    def __init__(
        self, namespace: str, id: str, tag: int, underlay: Underlay, subnet: str, lock: threading.RLock
    ) -> None:
        self.id, self.tag, self.namespace, self.underlay = id, tag, namespace, underlay
        self.rate_mbps: float | None = None
        self._first, self._lock = _interface(subnet), lock
        self._room = min(int(self._first.network.broadcast_address) - int(self._first.ip) - 2, MOST_INSTANCES)
        if self._room < 1:
            raise InputError("subnet", subnet, "a network with room for the bridge and one instance after this address")

    @property
    def address(self) -> str:
        """Of the bridge."""
        return str(self._first.ip + 1)

    @property
    def uplink(self) -> Literal["none", "vlan", "vxlan"]:
        """How peers on other hosts are reached."""
        with _failures(self.id):
            device = _devices(self.namespace).get(UPLINK)
        return "none" if device is None else device["linkinfo"]["info_kind"]

    def attach(self, name: str) -> Wire:
        if not re.fullmatch(NAME_PATTERN, name):
            raise InputError("name", name, f"a name like {NAME_PATTERN}")
        with self._lock, _failures(self.id):
            wires = self._sweep()
            number = wires.get(name)
            if number is None:
                number = next((n for n in range(self._room) if n not in wires.values()), None)
                if number is None:
                    raise CapacityError("addresses", 1, 0, owner=self.id)
                try:
                    self._wire(name, number)
                except BaseException:
                    self._sweep()
                    raise
            return Wire(self._namespace_of(name), self._address(number), INSTANCE_DEVICE)

    def detach(self, name: str) -> None:
        with self._lock, _failures(self.id):
            number = self._sweep().get(name)
            if number is not None:
                batch("ip", [f"link del {_port(number)}"], self.namespace)
                self._sweep()

    def set_rate(self, rate_mbps: float | None) -> None:
        check_rate(rate_mbps)
        with self._lock, _failures(self.id):
            try:
                self._shape(rate_mbps)
            except NetworkError:
                self._shape(self.rate_mbps, go_on=True)
                raise
            self.rate_mbps = rate_mbps

    def attached(self) -> set[str]:
        with _failures(self.id):
            devices = _devices(self.namespace)
        return {each["ifalias"] for name, each in devices.items() if _is_port(name) and "ifalias" in each}

    def close(self) -> None:
        with self._lock, _failures(self.id):
            _remove(self.namespace)

    # Inside

    def make(self, rate_mbps: float | None) -> None:
        """Adopt it where it is whole, else build it from nothing."""
        with _failures(self.id):
            mark = _devices(self.namespace).get(BRIDGE, {}).get("ifalias")
            if mark not in (None, self._mark):
                raise HostError(self.id, f"it is there with another tag, subnet or underlay: {self.namespace}")
            if mark is None:
                _remove(self.namespace)
                try:
                    self._build(rate_mbps)
                except BaseException:
                    _remove(self.namespace)
                    raise
                self.rate_mbps = rate_mbps
            else:
                self._sweep()
                self.set_rate(rate_mbps)

    @property
    def _mark(self) -> str:
        return _digest(repr((self.tag, self.underlay, str(self._first))), 16)

    def _build(self, rate_mbps: float | None) -> None:
        batch("ip", [f"netns add {self.namespace}"])
        inside(self.namespace, _settle)
        # Its own address: else a bridge takes the least of its ports', which changes as they come and go.
        digest = _digest(self.namespace, 10)
        mac = ":".join(["02", *(digest[i : i + 2] for i in range(0, 10, 2))])
        lines = [f"link add name {BRIDGE} address {mac} mtu {MTU} type bridge", f"link add name {METER} type ifb"]
        lines += ["link set lo up", f"link set {METER} up", f"addr add {self._with_prefix(self.address)} dev {BRIDGE}"]
        batch("ip", lines, self.namespace)
        if self._add_uplink():
            batch("tc", _metered(UPLINK), self.namespace)
            batch("ip", [f"link set {UPLINK} master {BRIDGE} up"], self.namespace)
        self._shape(rate_mbps)
        batch("ip", [f"link set {BRIDGE} up", f"link set {BRIDGE} alias {self._mark}"], self.namespace)

    def _add_uplink(self) -> bool:
        """Made where it belongs: its other side, tunnel or tagged device, stays in the host's namespace."""
        under, made = self.underlay, f"link add name {UPLINK} netns {self.namespace} mtu {MTU}"
        if under.device is not None:
            if self.tag > MOST_VLAN:
                raise InputError("tag", self.tag, f"1 .. {MOST_VLAN} on a device")
            try:
                batch("ip", [f"{made} link {under.device} type vlan id {self.tag}"])
            except NetworkError as error:  # the smallest real thing is the thing itself
                unknown = re.search("Unknown device type|not supported", str(error))
                if not (unknown and under.remotes):
                    raise
            else:
                return True
        if not under.remotes:  # nobody to talk to: no port is opened
            return False
        for host, port in under.peers:
            if port == under.port and _is_own(host):  # the kernel listens on all addresses
                raise InputError("remotes", host, "other hosts, or another port of this one: it would hear itself")
        # What is learned from a frame is the peer's address, not its port.
        learning = "learning" if all(port == under.port for _, port in under.peers) else "nolearning"
        tunnel = f"type vxlan id {self.tag} local {under.local} dstport {under.port} {learning}"
        batch("ip", [f"{made} {tunnel}"])
        peers = [f"fdb append {ALL_HOSTS} dev {UPLINK} dst {host} port {port}" for host, port in under.peers]
        batch("bridge", peers, self.namespace)
        return True

    def _wire(self, name: str, number: int) -> None:
        instance, port = self._namespace_of(name), _port(number)
        batch("ip", [f"netns add {instance}"])
        inside(instance, _settle)
        ends = f"link add name {port} mtu {MTU} netns {self.namespace} type veth"
        batch("ip", [f"{ends} peer name {INSTANCE_DEVICE} address {self._mac(number)} mtu {MTU} netns {instance}"])
        lines = ["link set lo up", f"addr add {self._with_prefix(self._address(number))} dev {INSTANCE_DEVICE}"]
        # No default route: what is not on this network is refused at once (a name server, say), not waited for.
        lines.append(f"link set {INSTANCE_DEVICE} up")
        batch("ip", lines, instance)
        batch("tc", _metered(port), self.namespace)
        batch("ip", [f"link set {port} master {BRIDGE} up"], self.namespace)
        # Asked for one device, the kernel first lets it send: without this it drops the first packets now and then.
        batch("ip", [f"link show dev {INSTANCE_DEVICE}"], instance)
        batch("ip", [f"link set {port} alias {name}"], self.namespace)

    def _sweep(self) -> dict[str, int]:
        """Remove wires cut short -> numbers of those that are whole, by instance."""
        prefix = f"{self.namespace}_"
        there = {name.removeprefix(prefix) for name in os.listdir(FOLDER) if name.startswith(prefix)}
        ports = [device for device in _devices(self.namespace).values() if _is_port(device["ifname"])]
        wires = {one["ifalias"]: int(one["ifname"][1:]) for one in ports if one.get("ifalias") in there}
        cut = [one["ifname"] for one in ports if one.get("ifalias") not in wires]
        if cut:
            batch("ip", [f"link del {port}" for port in cut], self.namespace)
        remove(self._namespace_of(name) for name in there - set(wires))
        return wires

    def _shape(self, rate_mbps: float | None, *, go_on: bool = False) -> None:
        bucket = f"pfifo limit {QUEUE_PACKETS}"
        if rate_mbps is not None:
            bytes_per_s = rate_mbps * 1e6 / 8
            burst = max(round(bytes_per_s * BURST_S), LEAST_BURST_BYTES)
            limit = max(round(bytes_per_s * QUEUE_S), LEAST_QUEUE_BYTES)
            bucket = f"tbf rate {round(rate_mbps * 1e6)}bit burst {burst} limit {limit}"
        there = _devices(self.namespace)
        devices = [device for device in SHAPED if device != UPLINK or UPLINK in there]
        lines = [f"qdisc replace dev {device} root {bucket}" for device in devices]
        batch("tc", lines, self.namespace, go_on=go_on)

    def _namespace_of(self, name: str) -> str:
        return f"{self.namespace}_{name}"

    def _address(self, number: int) -> str:
        return str(self._first.ip + 2 + number)

    def _mac(self, number: int) -> str:
        """The same for the same address: neighbours that know it reach the next instance that has it at once."""
        return "02:ed:" + (self._first.ip + 2 + number).packed.hex(":")

    def _with_prefix(self, address: str) -> str:
        return f"{address}/{self._first.network.prefixlen}"


class LinuxNetworkChunks:
    """The NetworkChunks of one orchestrator. `owner` tells apart those of several on one host, and stays over restarts.

    Needs root. One process at a time may act for an owner. VXLAN's port is opened by the kernel on all addresses of the
    host while a chunk with remotes is there: who reaches it can send into that chunk. It belongs behind a firewall.
    """

    def __init__(self, owner: str) -> None:
        self._prefix = f"edgewright-c{_digest(owner, 8)}_"
        self._lock = threading.RLock()
        self._chunks: dict[str, LinuxNetworkChunk] = {}

    def make(self, id: str, tag: int, underlay: Underlay, rate_mbps: float | None, subnet: str) -> LinuxNetworkChunk:
        if not re.fullmatch(NAME_PATTERN, id):
            raise InputError("id", id, f"a name like {NAME_PATTERN}")
        if not 1 <= tag <= MOST_VXLAN:
            raise InputError("tag", tag, f"1 .. {MOST_VXLAN}")
        check_rate(rate_mbps)
        with self._lock:
            chunk = LinuxNetworkChunk(self._prefix + id, id, tag, underlay, subnet, self._lock)
            if (known := self._chunks.get(id)) is not None and known._mark == chunk._mark:
                chunk = known
            chunk.make(rate_mbps)
            self._chunks[id] = chunk
            return chunk

    def reconcile(self, wanted: Collection[str]) -> list[str]:
        with self._lock:
            found = [entry.name.removeprefix(self._prefix) for entry in FOLDER.glob(f"{self._prefix}*")]
            unwanted, stay = sorted({name.partition("_")[0] for name in found} - set(wanted)), []
            for id in unwanted:
                try:
                    with _failures(id):
                        _remove(self._prefix + id)
                except HostError as error:  # the others must go all the same
                    stay.append(str(error))
                self._chunks.pop(id, None)
            if stay:
                raise HostError("reconcile", "; ".join(stay))
            return unwanted


def check_rate(rate_mbps: float | None) -> None:
    if rate_mbps is not None and not (math.isfinite(rate_mbps) and LEAST_MBPS <= rate_mbps <= MOST_MBPS):
        raise InputError("rate_mbps", rate_mbps, f"{LEAST_MBPS:g} .. {MOST_MBPS:g} Mbit/s, or none")


def _remove(namespace: str) -> None:
    """A chunk, whole or not. The devices go first, the mark before all: a namespace in which something still runs loses
    only its name.
    """
    devices = [name for name in _devices(namespace) if name in SHAPED or _is_port(name)]
    if devices:
        batch("ip", [f"link del {name}" for name in sorted(devices, key=lambda name: name != BRIDGE)], namespace)
    remove([*(entry.name for entry in FOLDER.glob(f"{namespace}_*")), namespace])


def _devices(namespace: str) -> dict[str, dict[str, Any]]:
    """By name; none where there is no such namespace."""
    if not os.path.ismount(FOLDER / namespace):  # a file alone: `ip netns add` was killed before it mounted
        return {}
    done = subprocess.run(
        ["ip", "-j", "-d", "-n", namespace, "link", "show"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise NetworkError(f"ip -n {namespace} link show: {done.stderr.strip()}")
    return {device["ifname"]: device for device in json.loads(done.stdout or "[]")}


def _metered(device: str) -> list[str]:
    """What comes in by it goes through the chunk's shaper and then on."""
    every = "protocol all prio 1 u32 match u32 0 0"
    return [
        f"qdisc add dev {device} clsact",
        f"filter add dev {device} ingress {every} action mirred egress redirect dev {METER}",
    ]


@contextlib.contextmanager
def _failures(id: str) -> Iterator[None]:
    try:
        yield
    except (NetworkError, OSError, subprocess.TimeoutExpired) as error:
        raise HostError(id, str(error)) from error


def _settle() -> None:
    for name in ("all", "default"):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "w") as file:
            file.write("1")


def _is_own(address: str) -> bool:
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return True


def _interface(subnet: str) -> IPv4Interface:
    try:
        return IPv4Interface(subnet)
    except ValueError:
        raise InputError("subnet", subnet, "an IPv4 network like 10.8.0.0/24, or a first address in one") from None


def _port(number: int) -> str:
    return f"p{number}"


def _is_port(device: str) -> bool:
    return re.fullmatch(r"p\d+", device) is not None


def _digest(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
