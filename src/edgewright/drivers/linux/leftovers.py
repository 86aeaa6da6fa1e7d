"""Folders of a migrator's services that bear their owner's name, and the end of what a crashed owner left behind."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from edgewright.drivers.linux import namespaces
from edgewright.drivers.linux.journal import Journal
from edgewright.drivers.linux.moves import END_TIMEOUT_S, MARK
from edgewright.drivers.linux.processes import Process
from edgewright.drivers.linux.trees import end, instances

MEMORY = Path("/dev/shm")  # noqa: S108 - a tmpfs: images have the size of the services' memory
FOLDERS = MEMORY if os.path.isdir(MEMORY) else Path("/tmp")  # noqa: S108
_OURS = re.compile(r"edgewright-(\d+)-(\d+)-\d+-services")


@contextlib.contextmanager
def services_folder() -> Iterator[Path]:
    """For a migrator, in memory where that is possible; nobody else may look into it. It goes at the end."""
    folder = FOLDERS / f"{namespaces.new_prefix()}services"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def reconcile() -> None:
    """Remove what processes that are no more left behind: services, their folders, network namespaces."""
    for folder in FOLDERS.glob("edgewright-*-services"):
        match = _OURS.fullmatch(folder.name)
        if match and not Process(int(match[1]), int(match[2])).alive:
            for service in Journal(folder).services:
                end(instances(f"{MARK}={folder}/{service}"), END_TIMEOUT_S)
            shutil.rmtree(folder, ignore_errors=True)
    namespaces.reconcile()
