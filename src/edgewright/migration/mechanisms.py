"""Processes and virtual machines migrated for real, side by side: what a migration costs, and what clients notice.

After the document's Fig. 4: migration time, downtime, jitter and throughput, of three applications and several sizes of
memory. Two edge nodes on this host; the service goes to and fro.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import edgewright
from edgewright.core.errors import InputError
from edgewright.drivers.host import HostError
from edgewright.drivers.linux.criu import CriuMissing
from edgewright.drivers.linux.criu_migrator import CriuMigrator
from edgewright.drivers.linux.edge import CLIENT, EdgeNetwork
from edgewright.drivers.linux.guest import PYTHON, GuestMissing
from edgewright.drivers.linux.leftovers import services_folder
from edgewright.drivers.linux.moves import EdgeMigrator
from edgewright.drivers.linux.namespaces import NetworkError
from edgewright.drivers.linux.qemu_migrator import QemuMigrator, QemuMissing
from edgewright.drivers.migration import Migration
from edgewright.migration.clients import APPLICATIONS, Application, Noticed

SERVICE, NODES = "service", ("a", "b")
QUIET_S, AFTER_S = 2.0, 1.0  # watched before the first migration; after each
START_TIMEOUT_S = 120.0
MACHINE_MB = 128  # of a machine itself
MISSING = (CriuMissing, QemuMissing, GuestMissing, NetworkError)


@dataclass(frozen=True)
class Measured:
    """One migration, and what the client noticed from its begin to AFTER_S after its end."""

    mechanism: str
    application: str
    memory_mb: int  # that the application has in use
    migration: Migration
    before: Noticed  # in a quiet span
    noticed: Noticed
    lost: int  # by the client, in all migrations of the same service


def measure(
    mechanism: str,
    application: str,
    memory_mb: int,
    migrations: int,
    on_migration: Callable[[Migration], None] = lambda _: None,
) -> list[Measured]:
    """Start the service, watch it, migrate it to and fro. Raises one of MISSING, or HostError where it cannot."""
    if mechanism not in MECHANISMS:
        raise InputError("mechanism", mechanism, f"one of {', '.join(MECHANISMS)}")
    if application not in APPLICATIONS:
        raise InputError("application", application, f"one of {', '.join(APPLICATIONS)}")
    try:
        return _measure(mechanism, application, memory_mb, migrations, on_migration)
    except OSError as error:
        raise HostError(SERVICE, str(error)) from error


def _measure(
    mechanism: str, application: str, memory_mb: int, migrations: int, on_migration: Callable[[Migration], None]
) -> list[Measured]:
    served = APPLICATIONS[application]
    spans, done = [], []
    with (
        _serving(mechanism, served, memory_mb) as (namespace, migrator, address),
        served.connect(namespace, address, served.port) as client,
    ):
        time.sleep(QUIET_S)  # until it flows evenly
        spans.append((time.monotonic(), time.monotonic() + QUIET_S))
        time.sleep(QUIET_S)
        for number in range(migrations):
            began_s = time.monotonic()
            done.append(migrator.migrate(SERVICE, NODES[(number + 1) % 2]))
            time.sleep(AFTER_S)
            spans.append((began_s, time.monotonic()))
            on_migration(done[-1])
            if done[-1].status != "done":
                raise HostError(SERVICE, done[-1].reason)
        trace = client.stop()
    before, *noticed = [trace.between(*span) for span in spans]
    if before.bytes_per_s == 0:
        raise HostError(SERVICE, "nothing came from it before the first migration")
    return [
        Measured(mechanism, application, memory_mb, migration, before, seen, trace.lost)
        for migration, seen in zip(done, noticed, strict=True)
    ]


@contextlib.contextmanager
def _serving(mechanism: str, served: Application, memory_mb: int) -> Iterator[tuple[str, EdgeMigrator, str]]:
    """Namespace of clients, migrator, and the service's address."""
    with services_folder() as folder, EdgeNetwork(NODES) as network:
        migrator, start = MECHANISMS[mechanism](network, folder)
        try:
            arguments = ["--address", "{address}", "--port", str(served.port), "--memory-mb", str(memory_mb)]
            program = Path(edgewright.__file__).parent / "demo" / served.program
            address = start(program, arguments, memory_mb, served)
            client = network.edge.namespace(CLIENT)
            served.await_ready(client, address, START_TIMEOUT_S)
            yield client, migrator, address
        finally:
            migrator.close()


Start = Callable[[Path, Sequence[str], int, Application], str]


def _processes(network: EdgeNetwork, folder: Path) -> tuple[EdgeMigrator, Start]:
    migrator = CriuMigrator(network.edge, folder)

    def start(program: Path, arguments: Sequence[str], memory_mb: int, served: Application) -> str:
        command = [sys.executable, "-I", "-S", str(program), *arguments]
        return migrator.start(SERVICE, command, NODES[0], port=None if served.probe else served.port)

    return migrator, start


def _machines(network: EdgeNetwork, folder: Path) -> tuple[EdgeMigrator, Start]:
    migrator = QemuMigrator(network.edge, folder)

    def start(program: Path, arguments: Sequence[str], memory_mb: int, served: Application) -> str:
        inside = f"/app/{program.name}"
        return migrator.start(
            SERVICE,
            [PYTHON, "-I", "-S", inside, *arguments],
            NODES[0],
            memory_mb=MACHINE_MB + memory_mb,
            files={inside: program},
            port=None if served.probe else served.port,
        )

    return migrator, start


MECHANISMS: dict[str, Callable[[EdgeNetwork, Path], tuple[EdgeMigrator, Start]]] = {
    "process": _processes,
    "machine": _machines,
}
