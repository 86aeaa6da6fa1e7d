"""Where a migrator's services live: a network and a folder that bear their owner's name; and what a crashed owner left.

Services outlive their orchestrator. The next one with the same key takes them over; until then nobody removes them.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from edgewright.drivers.linux import namespaces
from edgewright.drivers.linux.criu import TARGET, WaitingRestore
from edgewright.drivers.linux.edge import Edge, EdgeNetwork
from edgewright.drivers.linux.journal import Journal, is_private
from edgewright.drivers.linux.moves import END_TIMEOUT_S, MARK
from edgewright.drivers.linux.processes import Process
from edgewright.drivers.linux.trees import end, instances

MEMORY = Path("/dev/shm")  # noqa: S108 - a tmpfs: images have the size of the services' memory
FOLDERS = MEMORY if os.path.isdir(MEMORY) else Path("/tmp")  # noqa: S108
_OURS = re.compile(r"(edgewright-(\d+)-(\d+)-\d+-)services")
_OWNER = ".owner"  # a file: key and edge; who holds its lock owns them


@contextlib.contextmanager
def services_folder(prefix: str | None = None) -> Iterator[Path]:
    """For a migrator, in memory where that is possible; nobody else may look into it. It goes at the end."""
    folder = FOLDERS / f"{prefix or namespaces.new_prefix()}services"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def kept_edge(nodes: Sequence[str], key: str) -> Iterator[tuple[Edge, Path]]:
    """An edge and a folder of services: those that an owner with this key left who is no more, else new ones; always
    new ones where the key is empty. What it left of other nodes ends. Both go at the end. Raises what EdgeNetwork does.
    """
    with contextlib.ExitStack() as stack:
        for prefix, folder in _abandoned() if key else ():
            if _told_by(folder).get("key") != key:
                continue
            edge = Edge(prefix, tuple(nodes))
            with contextlib.ExitStack() as found:
                if not found.enter_context(_held(folder)):
                    continue
                if _told_by(folder) != _told(key, edge):
                    _end_services(folder)
                    continue
                stack.enter_context(found.pop_all())
                stack.callback(shutil.rmtree, folder, ignore_errors=True)
                stack.callback(edge.remove)
                yield edge, folder
                return
        edge = stack.enter_context(EdgeNetwork(nodes)).edge
        folder = stack.enter_context(services_folder(edge.prefix))
        (folder / _OWNER).write_text(json.dumps(_told(key, edge)))
        stack.enter_context(_held(folder))
        yield edge, folder


def is_left(key: str) -> bool:
    """Whether there is something to take over."""
    return any(_told_by(folder).get("key") == key for _, folder in _abandoned())


def reconcile(spared: Collection[str] = ()) -> None:
    """Remove what processes that are no more left behind: services, their folders, network namespaces.

    But for what is left under the keys `spared`. Raises NetworkError, HostError or OSError where something stays.
    """
    for _, folder in _abandoned():
        if _told_by(folder).get("key") not in spared:
            with _held(folder) as free:  # else another one has taken it over
                if free:
                    _end_services(folder)
    namespaces.reconcile([one[1] for one, _ in _folders()])


def _end_services(folder: Path) -> None:
    journal = Journal(folder)
    for service in journal.services:
        # CRIU at work holds the lock; a restore that waits for its owner is told to end.
        with journal.lock(service, functools.partial(WaitingRestore.end_orphan, journal.images(service) / TARGET)):
            end(instances(f"{MARK}={folder}/{service}"), END_TIMEOUT_S)
    shutil.rmtree(folder, ignore_errors=True)


def _folders() -> list[tuple[re.Match[str], Path]]:
    """That are ours alone: anybody may make one of such a name."""
    found = [(_OURS.fullmatch(folder.name), folder) for folder in sorted(FOLDERS.glob("edgewright-*-services"))]
    return [(one, folder) for one, folder in found if one and is_private(folder)]


def _abandoned() -> list[tuple[str, Path]]:
    """Prefixes and folders of processes that are no more; another one may have taken them over."""
    return [(one[1], folder) for one, folder in _folders() if not Process(int(one[2]), int(one[3])).alive]


def _told(key: str, edge: Edge) -> dict[str, Any]:
    return {"key": key, "prefix": edge.prefix, "nodes": list(edge.nodes)}


def _told_by(folder: Path) -> dict[str, Any]:
    """What its owner wrote, {} if nothing or if a crash cut it short."""
    with contextlib.suppress(OSError, ValueError):
        return dict(json.loads((folder / _OWNER).read_text()))
    return {}


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Meanwhile by us, unless somebody else holds it or it is gone."""
    with contextlib.ExitStack() as stack:
        free = False
        with contextlib.suppress(OSError):
            file = stack.enter_context((folder / _OWNER).open("a"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = (folder / _OWNER).exists()  # its holder before may have removed it
        yield free
