"""The contracts of chunks: shares of a host or of a network, kept whatever runs in them."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Literal, Protocol

from edgewright.core.errors import InputError
from edgewright.drivers.host import ServiceHost

# Compute chunks


@dataclass(frozen=True)
class Quota:
    """What all services of a compute chunk together may use. `cpu` in cores; `storage_bytes` 0 = no storage."""

    cpu: float
    memory_bytes: int
    storage_bytes: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.cpu) and self.cpu > 0):
            raise InputError("cpu", self.cpu, "a finite number of cores > 0")
        if self.memory_bytes <= 0:
            raise InputError("memory_bytes", self.memory_bytes, "an amount > 0")
        if self.storage_bytes < 0:
            raise InputError("storage_bytes", self.storage_bytes, "an amount > 0, or 0 for no storage")


@dataclass(frozen=True)
class ComputeCapacity:
    """What a host can promise to chunks, those it has included."""

    cpu: float
    memory_bytes: int
    storage_bytes: int


class ComputeChunk(Protocol):
    """A share of a host in which services run. Thread-safe."""

    @property
    def id(self) -> str: ...

    @property
    def quota(self) -> Quota:
        """In force."""
        ...

    @property
    def host(self) -> ServiceHost:
        """Runs services inside: whatever their limits, together they get no more than the quota."""
        ...

    @property
    def folder(self) -> Path | None:
        """Its storage, for a service's `working_directory`; None where the quota is 0."""
        ...

    def resize(self, quota: Quota) -> None:
        """All or nothing. Raises HostError saying which part was refused and why; the old quota stays whole.

        Less CPU than a service's limit is refused, less memory or storage than is in use, and less storage while a
        service runs (on some hosts more, too). InputError for a quota that this kind of host can never give.
        """
        ...

    def close(self) -> None:
        """End its services and remove it with all its data. May be called again, also after a HostError."""
        ...


class ComputeChunks(Protocol):
    """The compute chunks of one host. Thread-safe. Ids are names (host.NAME_PATTERN)."""

    @property
    def capacity(self) -> ComputeCapacity: ...

    def storage_reason(self) -> str | None:
        """Why chunks can have no storage here; None where they can."""
        ...

    def make(self, id: str, quota: Quota) -> ComputeChunk:
        """The chunk of that id: the one that is there, with its services and data, also after a crash; else a new one.

        One that is there is resized; where that is refused it stays as it was, and its `quota` says so.
        Raises HostError (a new one is gone then), InputError for a quota that this kind of host can never give.
        """
        ...

    def reconcile(self, wanted: Collection[str]) -> list[str]:
        """Remove every chunk of ours that is not wanted, those of a killed orchestrator too -> their ids.

        Raises HostError naming what stays; the others are gone all the same.
        """
        ...

    def give_up(self) -> None:
        """Before the end: what takes long fails soon, with HostError, and leaves all as it was."""
        ...

    def close_all(self) -> None:
        """End all services; the data stays for the next `make`. No call works after this one."""
        ...


# Network chunks

VXLAN_PORT = 4789  # RFC 7348 section 8


@dataclass(frozen=True)
class Underlay:
    """The physical network that carries chunks between hosts, as one host sees it.

    `remotes`: the hosts at which the same chunk has its other parts, `address` or `address:port`; none: the chunk is of
    this host alone, and nothing leaves it. `device`: what carries the network with 802.1Q tags, where it has them.
    """

    local: str = "127.0.0.1"
    remotes: tuple[str, ...] = ()
    port: int = VXLAN_PORT
    device: str | None = None

    def __post_init__(self) -> None:
        for field, address in (("local", self.local), *(("remotes", host) for host, _ in self.peers)):
            try:
                IPv4Address(address)
            except ValueError:
                raise InputError(field, address, "an IPv4 address") from None
        if not all(0 < port < 1 << 16 for port in (self.port, *(port for _, port in self.peers))):
            raise InputError("port", self.port, "1 .. 65535")
        if self.device is not None and not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,14}", self.device):
            raise InputError("device", self.device, "the name of a network device")

    @property
    def peers(self) -> tuple[tuple[str, int], ...]:
        """Address and port of each remote."""
        split = [remote.partition(":") for remote in self.remotes]
        return tuple((host, int(port) if port.isdecimal() else 0 if sign else self.port) for host, sign, port in split)


@dataclass(frozen=True)
class Wire:
    """What an attached instance gets: it runs in this network namespace, where the device has the address."""

    namespace: str
    address: str
    device: str


class NetworkChunk(Protocol):
    """An isolated layer-2 network. Thread-safe. Instances' names follow host.NAME_PATTERN.

    `rate_mbps` limits, counted in whole Ethernet frames, three totals: what all instances and peers together send into
    the chunk; what is sent from `namespace` (where a proxy sits); what leaves for peers. None: no limit.
    """

    @property
    def id(self) -> str: ...

    @property
    def tag(self) -> int: ...

    @property
    def rate_mbps(self) -> float | None: ...

    @property
    def namespace(self) -> str:
        """A network namespace from which all instances are reached."""
        ...

    @property
    def address(self) -> str:
        """In that namespace, of the chunk's own subnet: the instances' default route."""
        ...

    @property
    def uplink(self) -> Literal["none", "vlan", "vxlan"]:
        """How peers are reached, in fact."""
        ...

    def attach(self, name: str) -> Wire:
        """The wire of that instance: the one that is there, else a new one.

        Raises CapacityError where the subnet is full, HostError (nothing new is left behind).
        """
        ...

    def detach(self, name: str) -> None:
        """Cut it off, and forget it. It need not be there; what runs inside runs on without a network."""
        ...

    def set_rate(self, rate_mbps: float | None) -> None:
        """All or nothing: after a HostError the old rate stays."""
        ...

    def attached(self) -> set[str]:
        """Instances that have a wire."""
        ...

    def close(self) -> None:
        """Remove it with its wires. May be called again."""
        ...


class NetworkChunks(Protocol):
    """The network chunks of one host. Thread-safe. Ids follow host.NAME_PATTERN."""

    def make(self, id: str, tag: int, underlay: Underlay, rate_mbps: float | None, subnet: str) -> NetworkChunk:
        """The chunk of that id: the one that is there, also after a crash, under this rate; else a new one.

        `tag`: a VLAN where the underlay's device and the kernel know 802.1Q, 1..4094, else a VXLAN network identifier.
        `subnet`: 10.8.0.0/24, or 10.8.0.128/24 to leave the addresses up to that one to the chunk's other parts.
        Raises HostError (a new one is gone then; also where one with another tag, subnet or underlay is there).
        """
        ...

    def reconcile(self, wanted: Collection[str]) -> list[str]:
        """Remove every chunk of ours that is not wanted, those of a killed orchestrator too -> their ids.

        Raises HostError naming what stays; the others are gone all the same.
        """
        ...
