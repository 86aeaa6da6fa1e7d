"""What services there are and how far their moves have come: a file per service, replaced before each step."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from edgewright.core.errors import InputError
from edgewright.core.files import replacing
from edgewright.drivers.host import HostError, unknown_service
from edgewright.drivers.linux.processes import Process
from edgewright.drivers.migration import Phase

FORMAT = "edgewright.migration/1"
LOCK_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Move:
    """Under way. `step` is what is being done."""

    target: str
    source: str
    step: Phase
    orchestrator: Process
    copy: Process | None = None  # the instance at the target, once restored


@dataclass(frozen=True)
class State:
    """One service, as its file has it."""

    name: str
    number: int
    command: tuple[str, ...]
    node: str
    process: Process  # first of its tree
    move: Move | None = None
    left: tuple[str, ...] = ()  # nodes of hosts that were lost, where a frozen instance may be


def is_private(folder: Path) -> bool:
    """A folder of this user, into which nobody else may look."""
    with contextlib.suppress(OSError):
        found = folder.lstat()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
    return False


class Journal:
    """In a folder. Unknown services are InputErrors, and so is a folder that is not private: images hold memory, and
    who gives one is who it is restored as."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not is_private(self.folder):
            raise InputError("folder", str(self.folder), "a folder of this user that nobody else may look into (0700)")

    @property
    def services(self) -> tuple[str, ...]:
        return tuple(sorted(file.stem for file in self.folder.glob("[!.]*.json")))  # others are being written

    def images(self, name: str) -> Path:
        """Folder of a service's checkpoint."""
        return self.folder / f"{name}.images"

    @contextlib.contextmanager
    def lock(self, name: str, waiting: Callable[[], None] | None = None) -> Iterator[int]:
        """Of a service, or, by the empty name, of the list of services -> a descriptor: who inherits it holds it too.

        `waiting` is called again and again meanwhile. Raises HostError after LOCK_TIMEOUT_S.
        """
        with (self.folder / f"{name}.lock").open("w") as file:
            deadline = time.monotonic() + LOCK_TIMEOUT_S
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if waiting:
                        waiting()
                    if time.monotonic() > deadline:
                        raise HostError(name, f"another move of it has not ended for {LOCK_TIMEOUT_S:g} s") from None
                time.sleep(0.005)
            yield file.fileno()

    def read(self, name: str) -> State:
        file = self.folder / f"{name}.json"
        try:
            data = json.loads(file.read_text())
        except FileNotFoundError:
            raise unknown_service(name, self.services) from None
        if data.get("format") != FORMAT:
            raise InputError("format", data.get("format"), repr(FORMAT), source=str(file))
        move = data["move"]
        if move is not None:
            copy = Process(**move["copy"]) if move["copy"] else None
            source = move.get("source", data["node"])
            move = Move(move["target"], source, move["step"], Process(**move["orchestrator"]), copy)
        process = Process(**data["process"])
        left = tuple(data.get("left", ()))
        return State(data["name"], data["number"], tuple(data["command"]), data["node"], process, move, left)

    def write(self, state: State) -> None:
        with replacing(self.folder / f"{state.name}.json") as fresh:
            fresh.write_text(json.dumps({"format": FORMAT, **asdict(state)}))

    def forget(self, name: str) -> None:
        (self.folder / f"{name}.json").unlink(missing_ok=True)

    def free_number(self) -> int:
        """Lowest that no service has; under the lock of the list."""
        taken = set()
        for name in self.services:
            with contextlib.suppress(InputError):  # stopped meanwhile
                taken.add(self.read(name).number)
        return next(number for number in range(len(taken) + 1) if number not in taken)
