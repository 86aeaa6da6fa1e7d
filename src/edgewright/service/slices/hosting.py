"""The drivers that make chunks real on this host, and the chunks that stand."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.drivers.chunks import ComputeChunk, ComputeChunks, NetworkChunk, NetworkChunks, Quota
from edgewright.drivers.host import ServiceHost
from edgewright.scaling.model import MB
from edgewright.service.loops.slices import DriverChoice

if TYPE_CHECKING:
    from edgewright.drivers.ran import RanDriver

GB = 1_000_000_000
RESOURCES = {"cpus": ("cpu", 1), "ram_mb": ("memory_bytes", MB), "storage_gb": ("storage_bytes", GB)}
"""A chunk's quotas: what the ledger calls them, in units of how many."""


@dataclass
class Hosting:
    """`compute` and `ingress` are None where this host permits no control groups: chunks are booked, and nothing runs
    in them; `network` is None without network namespaces: the same of network chunks.
    """

    compute: ComputeChunks | None = None
    network: NetworkChunks | None = None
    ingress: ServiceHost | None = None
    """Runs the balancers in front of replicas."""
    ran: RanDriver | None = None
    """None: radio chunks are booked, and nobody is told."""
    reasons: dict[str, str] = field(default_factory=dict)  # by `compute`, `network`, `storage`: why it is missing
    chunks: dict[str, ComputeChunk] = field(default_factory=dict)
    networks: dict[str, NetworkChunk] = field(default_factory=dict)

    @property
    def storage_bytes(self) -> float:
        """That chunks may have together."""
        return 0.0 if self.compute is None or "storage" in self.reasons else float(self.compute.capacity.storage_bytes)

    def close(self) -> None:
        """Services end, network chunks go, data stays. Raises HostError: whatever else could be closed is."""
        with contextlib.ExitStack() as last_first:
            last_first.callback(self.chunks.clear)
            last_first.callback(self.networks.clear)
            if self.compute is not None:
                last_first.callback(self.compute.close_all)
            if self.ingress is not None:
                last_first.callback(self.ingress.close)
            for network in self.networks.values():
                last_first.callback(network.close)


def open_hosting(folder: Path, owner: str, choice: DriverChoice) -> Hosting:
    """`owner` tells ours from those of other orchestrators on this host."""
    if choice.kind != "linux":
        return Hosting(reasons=dict.fromkeys(("compute", "network", "storage"), choice.reason))
    from edgewright.drivers.capabilities import probe_one
    from edgewright.drivers.linux.compute_chunks import LinuxComputeChunks
    from edgewright.drivers.linux.network_chunks import LinuxNetworkChunks
    from edgewright.drivers.linux.services import LinuxHost

    compute = LinuxComputeChunks(folder / "chunks", owner)
    hosting = Hosting(compute=compute, ingress=LinuxHost(folder / "services", f"{owner[:40]}-ingress"))
    if reason := compute.storage_reason():
        hosting.reasons["storage"] = reason
    namespaces = probe_one("network-emulation")
    if namespaces.available:
        hosting.network = LinuxNetworkChunks(owner)
    else:
        hosting.reasons["network"] = namespaces.reason
    return hosting


def quota(cpus: float, ram_mb: float, storage_gb: float) -> Quota:
    return Quota(cpus, int(ram_mb * MB), int(storage_gb * GB))


def amounts(**given: float) -> dict[str, float]:
    """Quotas in the ledger's words."""
    return {name: value * unit for key, value in given.items() for name, unit in [RESOURCES[key]]}
