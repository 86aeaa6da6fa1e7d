"""Live migration of process trees between the nodes of an Edge, by CRIU; TCP connections stay.

The source is only stopped by the dump and keeps its sockets, which are mute. The target is restored beside it, stopped
as well: a service has a PID namespace of its own. Until the target has been seen to run the way back is to let the
source go on. Requests wait in the fabric's queue meanwhile.

What a service is and how far its move has come stand in one file, written before each step. CRIU holds the service's
lock to its own end, so that a later orchestrator, which takes the lock first, meets no step that is still under way.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edgewright.core.errors import InputError
from edgewright.drivers.host import NAME_PATTERN, HostError
from edgewright.drivers.linux.criu import Criu, CriuError, Running, WaitingRestore, obtain
from edgewright.drivers.linux.edge import FABRIC, Edge
from edgewright.drivers.linux.journal import Journal, Move, State
from edgewright.drivers.linux.namespaces import FOLDER, NetworkError, inside
from edgewright.drivers.linux.preflight import obstacles
from edgewright.drivers.linux.processes import Process, passed_on
from edgewright.drivers.linux.sockets import end_repair
from edgewright.drivers.linux.trees import end, half_restored, instances, isolate, send, tree
from edgewright.drivers.migration import Migration, Phase, Status, ignore

MARK = "EDGEWRIGHT_MIGRATED"  # environment variable by which instances of a service are found
ADDRESS = "EDGEWRIGHT_ADDRESS"  # environment variable that tells a service its address
CRIU_TIMEOUT_S, END_TIMEOUT_S = 60.0, 10.0
# Connections that are being set up are dropped: the client's kernel tries again by itself.
TCP = ("--tcp-established", "--skip-in-flight", "--network-lock", "skip")
COMMON = ("--leave-stopped", "--file-locks", "--manage-cgroups=ignore")
RESTORE = ("--restore-detached", "--pidfile", "pid", "--tcp-established", *COMMON)
BEFORE, IMAGE, TARGET = "before", "image", "target"  # folders: of the pre-copy, of the copy, of the restore
HELD = "held"  # a file, made when requests begin to wait


class _Rolled(Exception):
    """A step failed, with the reason; the source can go on."""


class CriuMigrator:
    """A Migrator of the services it starts. Needs root. Raises CriuMissing where there is no CRIU that would do.

    `folder` holds what services there are, their locks and the images; a tmpfs, for an image has the size of the
    service's memory. A later orchestrator gives the same edge and folder, and calls `reconcile` first.
    """

    def __init__(self, edge: Edge, folder: Path, criu: Criu | None = None) -> None:
        self.edge, self._journal, self._criu = edge, Journal(folder), criu or obtain()

    # Services

    @property
    def services(self) -> tuple[str, ...]:
        return self._journal.services

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
        if not re.fullmatch(NAME_PATTERN, name):
            raise InputError("name", name, f"a name like {NAME_PATTERN}")
        with self._journal.lock(""), self._journal.lock(name):
            if name in self.services:
                raise InputError("name", name, "a service that does not run yet")
            number = self._journal.free_number()
            address = self.edge.address(number)
            program = tuple(word.replace("{address}", address) for word in command)
            try:
                self.edge.give(address, node)
                marks = {MARK: self._mark(name), ADDRESS: address}
                process = isolate(self.edge.namespace(node), program, passed_on() | dict(environment or {}) | marks)
                state = State(name, number, program, node, process)
                self._journal.write(state)
                self.edge.send(address, node)
                if port is not None:
                    self._await(state, port, timeout_s)
            except (RuntimeError, OSError, NetworkError) as error:
                self._remove(name, address, node)
                raise HostError(name, str(error)) from error
            except BaseException:
                self._remove(name, address, node)
                raise
        return address

    def stop(self, name: str) -> None:
        """End and forget it, wherever it is."""
        with self._lock(name):
            state = self._journal.read(name)
            for node in {state.node, state.move.target if state.move else state.node}:
                self._remove(name, self.edge.address(state.number), node)

    def close(self) -> None:
        """Stop all services."""
        for name in self.services:
            self.stop(name)

    def address(self, service: str) -> str:
        return self.edge.address(self._journal.read(service).number)

    def process(self, service: str) -> Process:
        """The first of its tree, by the state as written last."""
        return self._journal.read(service).process

    def where(self, service: str) -> str | None:
        state = self._journal.read(service)
        return state.node if state.process.alive else None

    # Migration

    def preflight(self, service: str, target: str) -> list[str]:
        state = self._journal.read(service)
        self._check(target)
        if not state.process.alive:
            return [f"its process, pid {state.process.pid}, has ended"]
        if target == state.node:
            return [f"it is at {target} already"]
        return obstacles(state, self.edge, target, self._journal.folder)

    def migrate(self, service: str, target: str, on_phase: Callable[[Phase], None] = ignore) -> Migration:
        self._journal.read(service)
        self._check(target)
        with self._lock(service) as lock:
            self._settle(service)
            return _Migration(self, self._journal.read(service), target, on_phase, lock).run()

    def reconcile(self) -> list[str]:
        done = []
        for name in self.services:
            try:
                with self._lock(name):
                    done += self._settle(name)
            except HostError as error:  # the others all the same
                done.append(str(error))
            except InputError as error:  # stopped meanwhile
                if name in self.services:
                    done.append(str(error))
        return done

    # Inside: steps, each of which may be taken again

    def _roll_back(self, state: State) -> None:
        """The source serves on. Raises HostError where it cannot."""
        address, move = self.edge.address(state.number), state.move
        assert move is not None
        self.edge.hold(address, state.node)  # first: a copy that is ended while it may send resets its connections
        half = half_restored(self.edge.namespace(move.target), self._journal.images(state.name))
        end([one for one in (*half, *self._instances(state.name)) if one != state.process], END_TIMEOUT_S)
        self.edge.take(address, move.target)
        if not state.process.alive:
            self.edge.forget(address)
            self._discard(state)
            raise HostError(state.name, f"its process, pid {state.process.pid}, has ended")
        self.edge.give(address, state.node)
        for pid in tree(state.process.pid):
            end_repair(pid)
        send(state.process.pid, signal.SIGCONT)
        self.edge.send(address, state.node)
        self._discard(state)

    def _hand_over(self, state: State) -> State:
        """The target runs: it serves from now on, the source ends without a word to its clients."""
        assert state.move is not None
        assert state.move.copy is not None
        address = self.edge.address(state.number)
        self.edge.send(address, state.move.target)
        self.edge.take(address, state.node)
        if state.process.alive:
            os.kill(state.process.pid, signal.SIGKILL)
        return replace(state, node=state.move.target, process=state.move.copy)

    def _clean_up(self, state: State) -> None:
        end([found for found in self._instances(state.name) if found != state.process], END_TIMEOUT_S)
        self._discard(state)

    def _discard(self, state: State) -> None:
        shutil.rmtree(self._journal.images(state.name), ignore_errors=True)
        self._journal.write(replace(state, move=None))

    def _settle(self, name: str) -> list[str]:
        """End what another orchestrator left halfway, which is no more: we hold the lock."""
        state = self._journal.read(name)
        if (move := state.move) is None:
            return []
        address = self.edge.address(state.number)
        said = f"{name}: its move to {move.target} stopped at `{move.step}`: "
        try:
            if move.copy and move.copy.alive and move.step in ("resume", "hand_over"):
                send(move.copy.pid, signal.SIGCONT)
                state = self._hand_over(state)
            elif move.step == "hand_over" and self.edge.where(address) == move.target:
                # It may have served: the source is behind.
                end(self._instances(name), END_TIMEOUT_S)
                self.edge.forget(address)
                self._discard(state)
                return [f"{said}the process at {move.target} has ended, no instance is left"]
            elif move.step != "clean_up":
                self._roll_back(state)
                return [f"{said}{state.node} serves on"]
            self._clean_up(state)
            if not state.process.alive:
                return [f"{said}the process at {state.node} has ended, no instance is left"]
            return [f"{said}{state.node} serves"]
        except (HostError, NetworkError, OSError) as error:
            return [f"{said}{error}"]

    def _mark(self, name: str) -> str:
        return f"{self._journal.folder}/{name}"

    def _instances(self, name: str) -> list[Process]:
        return instances(f"{MARK}={self._mark(name)}")

    @contextlib.contextmanager
    def _lock(self, name: str) -> Iterator[int]:
        """A restore that waits for an orchestrator that is no more would hold it for ever."""

        def waiting() -> None:
            with contextlib.suppress(InputError):
                move = self._journal.read(name).move
                if move and not move.orchestrator.alive:
                    WaitingRestore.end_orphan(self._journal.images(name) / TARGET)

        self._journal.read(name)
        with self._journal.lock(name, waiting) as descriptor:
            yield descriptor

    def _remove(self, name: str, address: str, node: str) -> None:
        end(self._instances(name), END_TIMEOUT_S)
        shutil.rmtree(self._journal.images(name), ignore_errors=True)
        self._journal.forget(name)
        with contextlib.suppress(NetworkError):  # the network may be gone
            self.edge.forget(address)
            self.edge.take(address, node)

    def _await(self, state: State, port: int, timeout_s: float) -> None:
        deadline, address = time.monotonic() + timeout_s, self.edge.address(state.number)
        while True:
            if not state.process.alive:
                raise RuntimeError("ended while starting")
            try:
                connect = lambda: socket.create_connection((address, port), timeout=1.0)  # noqa: E731
                inside(self.edge.namespace(FABRIC), connect).close()
                return
            except OSError as error:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"port {port} not open after {timeout_s:g} s: {error}") from None
            time.sleep(0.02)

    def _check(self, target: str) -> None:
        if target not in self.edge.nodes:
            raise InputError("target", target, f"one of {', '.join(self.edge.nodes)}")


class _Migration:
    """One migration, from its first phase to its record."""

    def __init__(
        self, owner: CriuMigrator, state: State, target: str, on_phase: Callable[[Phase], None], lock: int
    ) -> None:
        self._owner, self._edge, self._state, self._target = owner, owner.edge, state, target
        self._on_phase, self._lock = on_phase, lock
        self._source = state.node
        own = Process.of(os.getpid())
        assert own is not None
        self._own = own
        self._address = owner.edge.address(state.number)
        self._images = owner._journal.images(state.name)
        self._started_s, self._clock_s = time.time(), time.monotonic()
        self._phases_s: dict[Phase, float] = {}
        self._phase: Phase | None = None
        self._restore: WaitingRestore | None = None
        self._phase_began_s = 0.0
        self._frozen_s = 0.0
        self._image_bytes = 0

    def run(self) -> Migration:
        status: Status = "done"
        reason = ""
        try:
            self._enter("preflight")
            if found := self._owner.preflight(self._state.name, self._target):
                raise _Rolled("; ".join(found))
            self._move()
        except (CriuError, NetworkError, OSError, HostError, _Rolled, subprocess.SubprocessError) as error:
            status, reason = self._back(str(error))
        except BaseException as error:
            self._back(str(error))
            raise
        self._leave()
        return Migration(
            self._state.name,
            self._source,
            self._target,
            status,
            reason,
            self._started_s,
            time.monotonic() - self._clock_s,
            self._frozen_s,
            self._image_bytes,
            dict(self._phases_s),
        )

    def _move(self) -> None:
        process, images = self._state.process, self._images
        shutil.rmtree(images, ignore_errors=True)
        for folder in (BEFORE, IMAGE, TARGET):
            (images / folder).mkdir(parents=True)

        self._step("pre_copy")
        self._edge.give(self._address, self._target)
        self._edge.prepare_hold(self._address, self._target)
        self._restore = WaitingRestore(images / TARGET, lambda: self._start("restore", TARGET, self._target, RESTORE))
        dump = ["--tree", str(process.pid), *TCP]
        if self._owner._criu.tracks_memory:
            self._start("pre-dump", BEFORE, self._source, [*dump, "--track-mem"]).wait(CRIU_TIMEOUT_S)
            dump += ["--track-mem", "--prev-images-dir", f"../{BEFORE}"]  # relative to the images

        self._step("copy")
        hold = f"ip -n {self._edge.namespace(FABRIC)} {self._edge.hold_command(self._address, self._target)}"
        held = f": > {shlex.quote(str(images / IMAGE / HELD))} && {hold}"
        self._start("dump", IMAGE, self._source, [*dump, *COMMON], before_freeze=held).wait(CRIU_TIMEOUT_S)
        self._image_bytes = sum(file.stat().st_size for file in images.rglob("*.img") if file.is_file())

        self._step("restore")
        self._restore.go_on(images / IMAGE, CRIU_TIMEOUT_S)
        copy = Process.of(int((images / TARGET / "pid").read_text()))
        if copy is None:
            raise _Rolled("the restored process has ended")

        self._step("resume", copy)
        send(copy.pid, signal.SIGCONT)
        if not copy.alive:
            raise _Rolled("the restored process ended as it was to go on")

        self._step("hand_over", copy)
        self._state = self._owner._hand_over(self._state)
        self._thaw(self._held_s())

        self._step("clean_up", copy)
        if not copy.alive:
            raise HostError(self._state.name, f"the process at {self._target} has ended")
        self._owner._clean_up(self._state)
        self._state = replace(self._state, move=None)

    def _back(self, reason: str) -> tuple[Status, str]:
        """After a failure."""
        if self._restore:
            self._restore.give_up(END_TIMEOUT_S)
        if self._state.move is None:
            return ("rolled_back" if self._state.process.alive else "failed"), reason
        step, held_s = self._state.move.step, self._held_s()
        with contextlib.suppress(Exception):  # what listens may be what failed
            self._enter("roll_back")
        try:
            if step in ("hand_over", "clean_up"):
                said = self._owner._settle(self._state.name)
                return ("done" if self._owner.where(self._state.name) else "failed"), f"{reason}; {'; '.join(said)}"
            self._owner._roll_back(self._state)
            self._thaw(held_s)
            return "rolled_back", reason
        except (NetworkError, OSError, HostError) as error:
            return "failed", f"{reason}; then: {error}"

    def _start(self, verb: str, folder: str, node: str, options: Sequence[str], *, before_freeze: str = "") -> Running:
        return self._owner._criu.start(
            verb,
            self._images / folder,
            options,
            namespace=FOLDER / self._edge.namespace(node),
            keep_open=(self._lock,),
            before_freeze=before_freeze,
        )

    def _held_s(self) -> float | None:
        """When requests began to wait; None: they never did."""
        with contextlib.suppress(FileNotFoundError):
            return (self._images / IMAGE / HELD).stat().st_mtime
        return None

    def _thaw(self, held_s: float | None) -> None:
        self._frozen_s = 0.0 if held_s is None else time.time() - held_s

    def _step(self, phase: Phase, copy: Process | None = None) -> None:
        """Write down what comes next, then begin it."""
        self._state = replace(self._state, move=Move(self._target, phase, self._own, copy))
        self._owner._journal.write(self._state)
        self._enter(phase)

    def _enter(self, phase: Phase) -> None:
        self._leave()
        self._phase, self._phase_began_s = phase, time.monotonic()
        self._on_phase(phase)

    def _leave(self) -> None:
        if self._phase:
            self._phases_s[self._phase] = time.monotonic() - self._phase_began_s
