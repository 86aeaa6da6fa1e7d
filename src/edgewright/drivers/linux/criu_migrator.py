"""Live migration of process trees between the nodes of an Edge, on this host or others, by CRIU; TCP connections stay.

The source is only stopped by the dump and keeps its sockets, which are mute. The target is restored beside it, stopped
as well: a service has a PID namespace of its own. CRIU holds the service's lock to its own end, so that a later
orchestrator, which takes the lock first, meets no step that is still under way.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgewright.drivers.host import HostError
from edgewright.drivers.linux.attempt import Mechanism
from edgewright.drivers.linux.criu import (
    TARGET,
    Criu,
    Running,
    WaitingRestore,
    await_pause,
    find,
    go_ahead,
    obtain,
    pause,
    restored,
    tracks_memory,
    version,
    wait_to_restore,
)
from edgewright.drivers.linux.edge import FABRIC, Edge
from edgewright.drivers.linux.journal import State
from edgewright.drivers.linux.moves import END_TIMEOUT_S, EdgeMigrator
from edgewright.drivers.linux.namespaces import FOLDER
from edgewright.drivers.linux.preflight import differences, obstacles
from edgewright.drivers.linux.processes import Process
from edgewright.drivers.linux.sessions import CHUNK_BYTES, Here, HostLost, Session, copy_images, listed
from edgewright.drivers.linux.trees import half_restored, isolate, thaw
from edgewright.drivers.migration import MoveError

ADDRESS = "EDGEWRIGHT_ADDRESS"  # environment variable that tells a service its address
CRIU_TIMEOUT_S = 60.0
# Connections that are being set up are dropped: the client's kernel tries again by itself.
TCP = ("--tcp-established", "--skip-in-flight", "--network-lock", "skip")
COMMON = ("--leave-stopped", "--file-locks", "--manage-cgroups=ignore")
RESTORE = ("--restore-detached", "--pidfile", "pid", "--tcp-established", *COMMON)
BEFORE, IMAGE = "before", "image"  # folders beside TARGET: of the pre-copy, of the copy
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
            session = self._sessions.at(node, name)
            return session.call(isolate, self.edge.namespace(node), state.command, dict(environment or {}) | own)

        program = lambda address: [word.replace("{address}", address) for word in command]  # noqa: E731
        return self._start(name, program, node, launch, port, timeout_s)

    def _mechanism(self, state: State, target: str, lock: int) -> Mechanism:
        source, there = (self._sessions.at(node, state.name) for node in (state.node, target))
        return _Checkpoint(self._criu, self.edge, state, target, source, there, lock)

    def _obstacles(self, state: State, target: str) -> list[str]:
        source, there = self._sessions.at(state.node), self._sessions.at(target)
        if source is there:
            return obstacles(state, self.edge, target, source, there)
        try:
            found = obstacles(state, self.edge, target, source, there)
            versions = [one.call(version, _criu(one, self._criu)) for one in (source, there)]
            if versions[0] != versions[1]:
                found.append(f"CRIU is {versions[1]} at {target}, {versions[0]} at {state.node}")
            return found + differences(state, target, source, there)
        except (MoveError, HostError, RuntimeError, OSError) as error:
            return [str(error) if isinstance(error, HostLost) else f"{target}: {error}"]

    def _attach(self, state: State, node: str) -> None:
        self._sessions.at(node, state.name).call(Edge.give, self.edge, self.edge.address(state.number), node)

    def _detach(self, state: State, node: str) -> None:
        self._sessions.at(node, state.name).call(Edge.take, self.edge, self.edge.address(state.number), node)

    def _go_on(self, state: State, instance: Process, node: str) -> None:
        self._sessions.at(node, state.name).call(thaw, instance, instance == state.process)

    def _left_halfway(self, state: State, target: str) -> list[Process]:
        there = self._sessions.at(target, state.name)
        return there.call(half_restored, self.edge.namespace(target), there.images(state.name))

    def _end_orphans(self, state: State) -> None:
        WaitingRestore.end_orphan(self._journal.images(state.name) / TARGET)


class _Checkpoint(Mechanism):
    """Dump and restore; folders below the service's images at either host."""

    def __init__(
        self, criu: Criu, edge: Edge, state: State, target: str, source: Session, there: Session, lock: int
    ) -> None:
        self._criu, self._edge, self._state, self._target = criu, edge, state, target
        self._source, self._there, self._lock = source, there, lock
        self._address = edge.address(state.number)
        self._restore: WaitingRestore | None = None
        self._dump = ["--tree", str(state.process.pid), *TCP]
        self._began_s: float | None = None

    def pre_copy(self) -> None:
        for session in {id(one): one for one in (self._source, self._there)}.values():
            for folder in (BEFORE, IMAGE, TARGET):
                session.call(os.makedirs, session.images(self._state.name) / folder)
        self._edge.prepare_hold(self._address, self._target)
        self._restore = self._there.call(
            wait_to_restore,
            _criu(self._there, self._criu),
            self._there.images(self._state.name) / TARGET,
            RESTORE,
            namespace=FOLDER / self._edge.namespace(self._target),
            keep_open=(self._there.lock(self._lock),),
        )
        self._criu = _criu(self._source, self._criu)
        if self._source.call(tracks_memory, self._criu):
            before = self._start("pre-dump", BEFORE, [*self._dump, "--track-mem"])
            self._source.call(Running.wait, before, CRIU_TIMEOUT_S)
            self._dump += ["--track-mem", "--prev-images-dir", f"../{BEFORE}"]  # relative to the images
            self._send(BEFORE)
        if self._source is not self._there:  # the first megabytes of a connection take longest: not in the freeze
            self._there.call(len, self._source.call(bytes, CHUNK_BYTES))

    def copy(self) -> None:
        images, options = self._source.images(self._state.name), [*self._dump, *COMMON]
        if isinstance(self._source, Here):
            hold = f"ip -n {self._edge.namespace(FABRIC)} {self._edge.hold_command(self._address, self._target)}"
            held = f": > {shlex.quote(str(self._held_file))} && {hold}"
            dump = self._start("dump", IMAGE, options, before_freeze=held)
        else:  # the fabric is not where the dump runs
            dump = self._start("dump", IMAGE, options, before_freeze=pause(images / IMAGE))
            self._source.call(await_pause, dump, images / IMAGE)
            self._began_s = time.time()
            self._edge.hold(self._address, self._target)
            self._source.call(go_ahead, images / IMAGE)
        self._source.call(Running.wait, dump, CRIU_TIMEOUT_S)
        self.image_bytes = sum(size for _, size in self._source.call(listed, images))
        self._send(IMAGE)

    def restore(self) -> Process:
        assert self._restore is not None
        images = self._there.images(self._state.name)
        self._there.call(WaitingRestore.go_on, self._restore, images / IMAGE, CRIU_TIMEOUT_S)
        copy = self._there.call(restored, images / TARGET)
        if copy is None:
            raise MoveError("the restored process has ended")
        return copy

    def held_s(self) -> float | None:
        with contextlib.suppress(FileNotFoundError):
            return self._began_s or self._held_file.stat().st_mtime
        return None

    def give_up(self) -> None:
        if self._restore:
            with contextlib.suppress(HostLost, HostError):  # it gave up itself, as its connection ended
                self._there.call(WaitingRestore.give_up, self._restore, END_TIMEOUT_S)

    @property
    def _held_file(self) -> Path:
        return self._source.images(self._state.name) / IMAGE / HELD

    def _send(self, folder: str) -> None:
        """Images to the other host, where it is another one."""
        if self._source is self._there:
            return
        copy_images(self._source, self._there, self._state.name, folder)
        if folder == IMAGE and "--prev-images-dir" in self._dump:
            self._there.call(os.symlink, f"../{BEFORE}", self._there.images(self._state.name) / IMAGE / "parent")

    def _start(self, verb: str, folder: str, options: Sequence[str], *, before_freeze: str = "") -> Running:
        """CRIU at the source."""
        return self._source.call(
            Criu.start,
            self._criu,
            verb,
            self._source.images(self._state.name) / folder,
            options,
            namespace=FOLDER / self._edge.namespace(self._state.node),
            keep_open=(self._source.lock(self._lock),),
            before_freeze=before_freeze,
        )


def _criu(session: Session, here: Criu) -> Criu:
    return here if isinstance(session, Here) else session.call(find)
