"""What stands in the way of a migration by CRIU, found before anything is stopped."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgewright.drivers.linux.edge import Edge
from edgewright.drivers.linux.journal import State
from edgewright.drivers.linux.namespaces import inside
from edgewright.drivers.linux.sessions import Session
from edgewright.drivers.linux.sockets import has_sctp, listening, sockets
from edgewright.drivers.linux.trees import memory_bytes, tree

SPARE_BYTES = 16 << 20
EVERYWHERE = "0.0.0.0"  # noqa: S104
Seen = tuple[int, int]  # of a file: size, last change; of anything else -1


def obstacles(state: State, edge: Edge, target: str, source: Session, there: Session) -> list[str]:
    """Reasons why a running service cannot go to another node; sessions for looking, with the hosts of both."""
    found = []
    network_is_there = there.call(Edge.is_there, edge, target)
    if not network_is_there:
        found.append(f"the network namespace of {target} is gone")
    needed = source.call(image_bytes, state.process.pid)
    for session, node in [(there, target)] if source is there else [(source, state.node), (there, target)]:
        at = "" if source is there else f" at {node}"
        free, available = session.call(room, session.folder)
        if free < needed:
            found.append(f"its image needs {needed / 1e6:.0f} MB, {session.folder} has {free / 1e6:.0f} MB left{at}")
        wanted = needed * (2 if session is there else 1)  # the image and the copy
        if available < wanted:
            found.append(f"needs {wanted / 1e6:.0f} MB of memory meanwhile{at}, {available / 1e6:.0f} MB are available")
    if network_is_there:
        theirs = there.call(listening_in, edge.namespace(target))
        ours = source.call(listening_of, state.process.pid)
        found += [f"port {port} is taken at {target}" for port in _taken(ours, theirs, edge.address(state.number))]
    if source.call(has_sctp, state.process.pid):
        found.append("SCTP sockets in its network: CRIU cannot dump them")
    return found


def differences(state: State, target: str, source: Session, there: Session) -> list[str]:
    """Of another host, which a restore there does not bear."""
    ours = source.call(files_of, state.process.pid)
    theirs = there.call(seen, list(ours))
    found = [f"{name} is missing at {target}" for name in ours if name not in theirs]
    unsure = [name for name in theirs if tuple(ours[name]) != tuple(theirs[name])]  # lists, from afar
    same_size = [name for name in unsure if ours[name][0] == theirs[name][0]]
    here, other = (session.call(digests, same_size) for session in (source, there))
    found += [f"{name} is another one at {target}" for name in unsure if name not in here or here[name] != other[name]]
    if lacking := set(source.call(processor)) - set(there.call(processor)):
        found.append(f"the processor at {target} lacks {', '.join(sorted(lacking))}")
    return found


def image_bytes(pid: int) -> int:
    """Of a tree, about."""
    return sum(map(memory_bytes, tree(pid))) + SPARE_BYTES


def room(folder: Path) -> tuple[int, int]:
    """Bytes free in a folder, and of memory."""
    volume = os.statvfs(folder)
    return volume.f_bavail * volume.f_frsize, available_bytes()


def listening_of(pid: int) -> list[tuple[str, int]]:
    """Addresses and ports on which a tree does, by TCP."""
    own = [inode for one in tree(pid) for inode in sockets(one).values()]
    return [one for one, inode in listening(f"/proc/{pid}/net/tcp") if inode in own]


def listening_in(namespace: str) -> list[tuple[str, int]]:
    return [one for one, _ in inside(namespace, lambda: listening("/proc/thread-self/net/tcp"))]


def files_of(pid: int) -> dict[str, Seen]:
    """That a tree has mapped, open or as its working directory, by path."""
    names = set()
    for one in tree(pid):
        folder = Path(f"/proc/{one}")
        with contextlib.suppress(OSError):
            lines = [line.split(maxsplit=5) for line in (folder / "maps").read_text().splitlines()]
            names |= {fields[5] for fields in lines if len(fields) > 5}
        with contextlib.suppress(OSError):
            for link in (folder / "cwd", *(folder / "fd").iterdir()):
                with contextlib.suppress(OSError):  # closed meanwhile
                    names.add(os.readlink(link))
    return seen(sorted(name for name in names if name.startswith("/")))


def seen(names: Iterable[str]) -> dict[str, Seen]:
    """Those that are there."""
    found = {}
    for name in names:
        with contextlib.suppress(OSError):
            file = os.stat(name)
            found[name] = (file.st_size, file.st_mtime_ns) if stat.S_ISREG(file.st_mode) else (-1, -1)
    return found


def digests(names: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in names:
        with open(name, "rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def processor() -> list[str]:
    """What the processor can."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), [])


def available_bytes() -> int:
    found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    return int(found[1]) * 1024 if found else 0


def _taken(ours: Iterable[tuple[str, int]], theirs: Iterable[tuple[str, int]], address: str) -> list[int]:
    """TCP ports that the service listens on and somebody else does at the target."""
    own = {(host, port) for host, port in ours}  # lists, from afar
    there = {(host, port) for host, port in theirs if host in (address, EVERYWHERE)}
    wild = {port for _, port in there} if any(host == EVERYWHERE for host, _ in own) else set()
    return sorted(port for host, port in own if (EVERYWHERE, port) in there or (host, port) in there or port in wild)
