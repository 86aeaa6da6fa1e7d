"""Live migration of process trees between the nodes of an Edge, by CRIU; TCP connections stay.

The source is only stopped by the dump and keeps its sockets, which are mute. The target is restored beside it, stopped
as well: a service has a PID namespace of its own. CRIU holds the service's lock to its own end, so that a later
orchestrator, which takes the lock first, meets no step that is still under way.
"""

from __future__ import annotations

import contextlib
import shlex
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgewright.drivers.linux.criu import Criu, Running, WaitingRestore, obtain
from edgewright.drivers.linux.edge import FABRIC, Edge
from edgewright.drivers.linux.journal import State
from edgewright.drivers.linux.moves import END_TIMEOUT_S, EdgeMigrator, Mechanism
from edgewright.drivers.linux.namespaces import FOLDER
from edgewright.drivers.linux.preflight import obstacles
from edgewright.drivers.linux.processes import Process, passed_on
from edgewright.drivers.linux.sockets import end_repair
from edgewright.drivers.linux.trees import half_restored, isolate, send, tree
from edgewright.drivers.migration import MoveError

ADDRESS = "EDGEWRIGHT_ADDRESS"  # environment variable that tells a service its address
CRIU_TIMEOUT_S = 60.0
# Connections that are being set up are dropped: the client's kernel tries again by itself.
TCP = ("--tcp-established", "--skip-in-flight", "--network-lock", "skip")
COMMON = ("--leave-stopped", "--file-locks", "--manage-cgroups=ignore")
RESTORE = ("--restore-detached", "--pidfile", "pid", "--tcp-established", *COMMON)
BEFORE, IMAGE, TARGET = "before", "image", "target"  # folders: of the pre-copy, of the copy, of the restore
HELD = "held"  # a file, made when requests begin to wait


class CriuMigrator(EdgeMigrator):
    """Of processes. Raises CriuMissing where there is no CRIU that would do.

    `folder`: a tmpfs, for an image has the size of the service's memory.
    """

    def __init__(self, edge: Edge, folder: Path, criu: Criu | None = None) -> None:
        super().__init__(edge, folder)
        self._criu = criu or obtain()

    def start(
        self,
        name: str,
        command: Sequence[str],
        node: str,
        *,
        environment: Mapping[str, str] | None = None,
        port: int | None = None,
        timeout_s: float = 10.0,
    ) -> str:
        """Start a service in a node -> its address, which ADDRESS tells it too; `{address}` in its command becomes it.

        With a `port`, wait until it accepts connections there. Raises HostError; nothing is left then.
        """

        def launch(state: State) -> Process:
            own = {ADDRESS: self.edge.address(state.number), **self._marks(name)}
            namespace = self.edge.namespace(node)
            return isolate(namespace, state.command, passed_on() | dict(environment or {}) | own)

        program = lambda address: [word.replace("{address}", address) for word in command]  # noqa: E731
        return self._start(name, program, node, launch, port, timeout_s)

    def _mechanism(self, state: State, target: str, lock: int) -> Mechanism:
        return _Checkpoint(self._criu, self.edge, state, target, self._journal.images(state.name), lock)

    def _obstacles(self, state: State, target: str) -> list[str]:
        return obstacles(state, self.edge, target, self._journal.folder)

    def _attach(self, state: State, node: str) -> None:
        self.edge.give(self.edge.address(state.number), node)

    def _detach(self, state: State, node: str) -> None:
        self.edge.take(self.edge.address(state.number), node)

    def _go_on(self, state: State, instance: Process, node: str) -> None:
        if instance == state.process:
            for pid in tree(instance.pid):
                end_repair(pid)
        send(instance.pid, signal.SIGCONT)

    def _left_halfway(self, state: State, target: str) -> list[Process]:
        return half_restored(self.edge.namespace(target), self._journal.images(state.name))

    def _end_orphans(self, state: State) -> None:
        WaitingRestore.end_orphan(self._journal.images(state.name) / TARGET)


class _Checkpoint(Mechanism):
    """Dump and restore; folders below `images`."""

    def __init__(self, criu: Criu, edge: Edge, state: State, target: str, images: Path, lock: int) -> None:
        self._criu, self._edge, self._state, self._target, self._images = criu, edge, state, target, images
        self._lock = lock
        self._address = edge.address(state.number)
        self._restore: WaitingRestore | None = None
        self._dump = ["--tree", str(state.process.pid), *TCP]

    def pre_copy(self) -> None:
        for folder in (BEFORE, IMAGE, TARGET):
            (self._images / folder).mkdir(parents=True)
        self._edge.prepare_hold(self._address, self._target)
        start = lambda: self._start("restore", TARGET, self._target, RESTORE)  # noqa: E731
        self._restore = WaitingRestore(self._images / TARGET, start)
        if self._criu.tracks_memory:
            self._start("pre-dump", BEFORE, self._state.node, [*self._dump, "--track-mem"]).wait(CRIU_TIMEOUT_S)
            self._dump += ["--track-mem", "--prev-images-dir", f"../{BEFORE}"]  # relative to the images

    def copy(self) -> None:
        hold = f"ip -n {self._edge.namespace(FABRIC)} {self._edge.hold_command(self._address, self._target)}"
        held = f": > {shlex.quote(str(self._images / IMAGE / HELD))} && {hold}"
        dump = self._start("dump", IMAGE, self._state.node, [*self._dump, *COMMON], before_freeze=held)
        dump.wait(CRIU_TIMEOUT_S)
        self.image_bytes = sum(file.stat().st_size for file in self._images.rglob("*.img") if file.is_file())

    def restore(self) -> Process:
        assert self._restore is not None
        self._restore.go_on(self._images / IMAGE, CRIU_TIMEOUT_S)
        copy = Process.of(int((self._images / TARGET / "pid").read_text()))
        if copy is None:
            raise MoveError("the restored process has ended")
        return copy

    def held_s(self) -> float | None:
        with contextlib.suppress(FileNotFoundError):
            return (self._images / IMAGE / HELD).stat().st_mtime
        return None

    def give_up(self) -> None:
        if self._restore:
            self._restore.give_up(END_TIMEOUT_S)

    def _start(self, verb: str, folder: str, node: str, options: Sequence[str], *, before_freeze: str = "") -> Running:
        return self._criu.start(
            verb,
            self._images / folder,
            options,
            namespace=FOLDER / self._edge.namespace(node),
            keep_open=(self._lock,),
            before_freeze=before_freeze,
        )
