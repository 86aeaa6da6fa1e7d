"""Edge nodes of real services under watch: where each instance runs, what a client has seen."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sshd import Server

from edgewright.demo.counter import PORT
from edgewright.drivers.linux.criu_migrator import CriuMigrator
from edgewright.drivers.linux.edge import CLIENT, EdgeNetwork
from edgewright.drivers.linux.moves import MARK
from edgewright.drivers.linux.namespaces import inside
from edgewright.drivers.watcher import Watcher

NODES = ("a", "b", "c")
SOURCES = str(Path(__file__).parents[2] / "src")
MIB = 2**20
IMPORT = "from edgewright.drivers.linux.hosts import Host\n"


@dataclass
class Site:
    network: EdgeNetwork
    migrator: CriuMigrator
    folder: Path

    def start(self, name: str = "counter", node: str = "a", *, memory_mb: int = 5, code: str = "") -> str:
        words = ("-m", "edgewright.demo.counter", "--address", "{address}", "--memory-mb", str(memory_mb))
        command = (sys.executable, *(("-c", code) if code else words))
        return self.migrator.start(name, command, node, environment={"PYTHONPATH": SOURCES}, port=PORT)

    def connect(self, address: str) -> socket.socket:
        namespace = self.network.edge.namespace(CLIENT)
        return inside(namespace, lambda: socket.create_connection((address, PORT), timeout=5.0))

    def watch(self, address: str) -> Watcher:
        return Watcher(lambda: self.connect(address))

    def instances(self, name: str = "counter") -> list[tuple[str, str]]:
        """(node, state letter) of all processes of a service, as the kernel has them."""
        mark, found = f"{MARK}={self.folder}/{name}".encode(), []
        nodes = {os.stat(f"/run/netns/{self.network.edge.namespace(node)}").st_ino: node for node in NODES}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                    found.append((nodes[os.stat(entry / "ns/net").st_ino], state))
        return found


@dataclass
class FarSite(Site):
    """Node b lives on the server's host."""

    server: Server

    @property
    def far(self) -> Path:
        """Images there."""
        return Path(self.server.host.folder) / "counter.images"

    def states(self) -> list[tuple[str, str]]:
        return sorted(self.instances())


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def serves_alone(site: Site, node: str, watcher: Watcher, name: str = "counter") -> None:
    """One instance runs, at this node, and answers what is asked now."""
    wait_until(lambda: len(site.instances(name)) == 1)
    ((there, state),) = site.instances(name)
    assert there == node
    assert state in "SR"
    assert site.migrator.where(name) == node
    assert site.network.edge.where(site.migrator.address(name)) == node
    before = watcher.answers
    wait_until(lambda: watcher.answers > before + 20)


def nothing_lost(watcher: Watcher) -> None:
    seen = watcher.stop()
    assert (seen.connections_lost, seen.lost, seen.unanswered) == (0, 0, 0)


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": SOURCES}


def orchestrator(site: Site, body: str, name: str = "counter", target: str = "b") -> str:
    """Program of another orchestrator; `body` runs at each phase."""
    return f"""
import os, signal, sys, threading, time
from pathlib import Path
from edgewright.drivers.linux.edge import Edge
from edgewright.drivers.linux.criu_migrator import CriuMigrator
def die(): os.kill(os.getpid(), signal.SIGKILL)
def at(phase):
    {body}
migrator = CriuMigrator({site.network.edge!r}, Path({str(site.folder)!r}))
sys.exit(0 if migrator.migrate({name!r}, {target!r}, at).status == "done" else 1)
"""


@contextlib.contextmanager
def small(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A tmpfs of that size."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=0700", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextlib.contextmanager
def lost(site: FarSite) -> Iterator[None]:
    """The host cannot be reached."""
    site.server.stop()
    try:
        yield
    finally:
        site.server.start()


@contextlib.contextmanager
def mounted(site: FarSite, *words: str) -> Iterator[None]:
    """At the far host only; the last word is where."""
    subprocess.run(site.server.inside("mount", *words), check=True)
    try:
        yield
    finally:
        subprocess.run(site.server.inside("umount", words[-1]), check=True)
