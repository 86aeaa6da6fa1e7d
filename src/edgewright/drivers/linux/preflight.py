"""What stands in the way of a migration by CRIU, found before anything is stopped."""

from __future__ import annotations

import os
import re
from pathlib import Path

from edgewright.drivers.linux.edge import Edge
from edgewright.drivers.linux.journal import State
from edgewright.drivers.linux.namespaces import inside
from edgewright.drivers.linux.sockets import has_sctp, listening, sockets
from edgewright.drivers.linux.trees import memory_bytes, tree

SPARE_BYTES = 16 << 20
EVERYWHERE = "0.0.0.0"  # noqa: S104


def obstacles(state: State, edge: Edge, target: str, folder: Path) -> list[str]:
    """Reasons why a running service cannot go to another node; images are to lie in `folder`."""
    found = []
    network_is_there = edge.is_there(target)
    if not network_is_there:
        found.append(f"the network namespace of {target} is gone")
    needed = sum(map(memory_bytes, tree(state.process.pid))) + SPARE_BYTES
    volume = os.statvfs(folder)
    if (free := volume.f_bavail * volume.f_frsize) < needed:
        found.append(f"its image needs {needed / 1e6:.0f} MB, {folder} has {free / 1e6:.0f} MB left")
    if (available := available_bytes()) < 2 * needed:  # the image and the copy
        found.append(f"needs {2 * needed / 1e6:.0f} MB of memory meanwhile, {available / 1e6:.0f} MB are available")
    if network_is_there:
        found += [f"port {port} is taken at {target}" for port in _taken(state, edge, target)]
    if has_sctp(state.process.pid):
        found.append("SCTP sockets in its network: CRIU cannot dump them")
    return found


def _taken(state: State, edge: Edge, target: str) -> list[int]:
    """TCP ports that the service listens on and somebody else does at the target."""
    own = [inode for pid in tree(state.process.pid) for inode in sockets(pid).values()]
    ours = {one for one, inode in listening(f"/proc/{state.process.pid}/net/tcp") if inode in own}
    there = inside(edge.namespace(target), lambda: listening("/proc/thread-self/net/tcp"))
    theirs = {one for one, _ in there if one[0] in (edge.address(state.number), EVERYWHERE)}
    wild = {port for _, port in theirs} if any(one[0] == EVERYWHERE for one in ours) else set()
    return sorted(port for host, port in ours if (EVERYWHERE, port) in theirs or (host, port) in theirs or port in wild)


def available_bytes() -> int:
    found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    return int(found[1]) * 1024 if found else 0
