"""Where a migrator's services live: a network and a folder that bear their owner's name; and what a crashed owner left.

Services outlive their orchestrator. The next one with the same key takes them over; until then nobody removes them.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from edgewright.drivers.linux import namespaces
from edgewright.drivers.linux.edge import Edge, EdgeNetwork
from edgewright.drivers.linux.journal import Journal
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
    new ones where the key is empty. Both go at the end. Raises what EdgeNetwork does.
    """
    with contextlib.ExitStack() as stack:
        for prefix, folder in _abandoned() if key else ():
            edge = Edge(prefix, tuple(nodes))
            with contextlib.ExitStack() as found:
                if found.enter_context(_held(folder)) == _told(key, edge):
                    stack.enter_context(found.pop_all())
                    stack.callback(shutil.rmtree, folder, ignore_errors=True)
                    stack.callback(edge.remove)
                    yield edge, folder
                    return
        edge = stack.enter_context(EdgeNetwork(nodes)).edge
        folder = stack.enter_context(services_folder(edge.prefix))
        stack.enter_context(_held(folder))
        (folder / _OWNER).write_text(json.dumps(_told(key, edge)))
        yield edge, folder


def reconcile(spared: Collection[str] = ()) -> None:
    """Remove what processes that are no more left behind: services, their folders, network namespaces.

    But for what is left under the keys `spared`. Raises NetworkError, TimeoutError or OSError where something stays.
    """
    stay = []
    for prefix, folder in _abandoned():
        with _held(folder) as told:
            if told is None or told.get("key") in spared:
                stay.append(prefix)
                continue
            for service in Journal(folder).services:
                end(instances(f"{MARK}={folder}/{service}"), END_TIMEOUT_S)
            shutil.rmtree(folder, ignore_errors=True)
    namespaces.reconcile(stay)


def _abandoned() -> list[tuple[str, Path]]:
    """Prefixes and folders of processes that are no more; another one may have taken them over."""
    found = [(_OURS.fullmatch(folder.name), folder) for folder in sorted(FOLDERS.glob("edgewright-*-services"))]
    return [(one[1], folder) for one, folder in found if one and not Process(int(one[2]), int(one[3])).alive]


def _told(key: str, edge: Edge) -> dict[str, Any]:
    return {"key": key, "prefix": edge.prefix, "nodes": list(edge.nodes)}


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[dict[str, Any] | None]:
    """What its owner wrote, {} if nothing. None: somebody else holds it, or it is gone."""
    with contextlib.ExitStack() as stack:
        told: dict[str, Any] | None = None
        with contextlib.suppress(OSError):
            file = stack.enter_context((folder / _OWNER).open("a+"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if (folder / _OWNER).exists():  # else its holder before removed it
                file.seek(0)
                told = {}
                with contextlib.suppress(ValueError):  # cut short by a crash
                    told = json.loads(file.read())
        yield told
