"""Services on the nodes of an Edge that move between them; what is common to all mechanisms.

Until the target has been seen to run the way back is to let the source go on. Requests wait in the fabric's queue
meanwhile. What a service is and how far its move has come stand in one file, written before each step.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from edgewright.core.errors import InputError
from edgewright.drivers.host import NAME_PATTERN, HostError
from edgewright.drivers.linux.edge import FABRIC, Edge
from edgewright.drivers.linux.journal import Journal, Move, State
from edgewright.drivers.linux.namespaces import NetworkError, inside
from edgewright.drivers.linux.processes import Process
from edgewright.drivers.linux.trees import end, instances
from edgewright.drivers.migration import Migration, MoveError, Phase, Status, ignore

MARK = "EDGEWRIGHT_MIGRATED"  # environment variable by which instances of a service are found
END_TIMEOUT_S = 10.0


class Mechanism(ABC):
    """Of one migration. Methods but `give_up` raise MoveError, NetworkError, OSError, HostError or SubprocessError."""

    image_bytes = 0  # of the copy, once it is made

    @abstractmethod
    def pre_copy(self) -> None: ...

    @abstractmethod
    def copy(self) -> None:
        """Lets requests wait for the target before it freezes the source."""

    @abstractmethod
    def restore(self) -> Process:
        """The first process of the target's instance, still frozen."""

    @abstractmethod
    def held_s(self) -> float | None:
        """When requests began to wait, s since the epoch; None: they never did."""

    def give_up(self) -> None:  # noqa: B027
        """After a failure: what else runs for the migration ends."""


class EdgeMigrator(ABC):
    """A Migrator of the services it starts. Needs root.

    `folder` holds what services there are, their locks and the images. A later orchestrator gives the same edge and
    folder, and calls `reconcile` first.
    """

    def __init__(self, edge: Edge, folder: Path) -> None:
        self.edge, self._journal = edge, Journal(folder)

    # Services

    @property
    def services(self) -> tuple[str, ...]:
        return self._journal.services

    def stop(self, name: str) -> None:
        """End and forget it, wherever it is."""
        with self._lock(name):
            state = self._journal.read(name)
            for node in {state.node, state.move.target if state.move else state.node}:
                self._remove(state, node)

    def close(self) -> None:
        """Stop all services."""
        for name in self.services:
            self.stop(name)

    def address(self, service: str) -> str:
        return self.edge.address(self._journal.read(service).number)

    def command(self, service: str) -> tuple[str, ...]:
        """With its address in it."""
        return self._journal.read(service).command

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
        return self._obstacles(state, target)

    def migrate(self, service: str, target: str, on_phase: Callable[[Phase], None] = ignore) -> Migration:
        self._journal.read(service)
        self._check(target)
        with self._lock(service) as lock:
            self._settle(service)
            state = self._journal.read(service)
            return _Migration(self, state, target, on_phase, self._mechanism(state, target, lock)).run()

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
            except Exception as error:
                done.append(f"{name}: {type(error).__name__}: {error}")
        return done

    # What a mechanism is

    @abstractmethod
    def _mechanism(self, state: State, target: str, lock: int) -> Mechanism:
        """`lock`: a descriptor that holds the service's lock, for what may outlive us."""

    @abstractmethod
    def _obstacles(self, state: State, target: str) -> list[str]:
        """What would fail, where the service runs and the target is another node."""

    @abstractmethod
    def _attach(self, state: State, node: str) -> None:
        """The service's address leads to its instance at this node. It may already."""

    @abstractmethod
    def _detach(self, state: State, node: str) -> None:
        """No more. It need not have."""

    @abstractmethod
    def _go_on(self, state: State, instance: Process, node: str) -> None:
        """Thaw an instance; it may run. Raises HostError or OSError where it cannot."""

    def _left_halfway(self, state: State, target: str) -> list[Process]:
        """What a target's instance has become that does not bear its mark yet."""
        return []

    def _end_orphans(self, state: State) -> None:  # noqa: B027
        """Of an orchestrator that was killed: what would hold the lock for ever."""

    def _last_words(self, state: State, node: str) -> str:
        """Of an instance that has ended, where it is known."""
        return ""

    # Inside: steps, each of which may be taken again

    def _start(
        self,
        name: str,
        command: Callable[[str], Sequence[str]],
        node: str,
        launch: Callable[[State], Process],
        port: int | None,
        timeout_s: float,
    ) -> str:
        """A new service -> its address. `command` of it, and `launch` of what has that command."""
        if not re.fullmatch(NAME_PATTERN, name):
            raise InputError("name", name, f"a name like {NAME_PATTERN}")
        with self._journal.lock(name):
            with self._journal.lock(""):
                if name in self.services:
                    raise InputError("name", name, "a service that does not run yet")
                number = self._journal.free_number()
                # Written before it is started: who starts a service and is killed leaves one that can be stopped.
                state = State(name, number, (), node, Process(0, 0))
                self._journal.write(state)
            address = self.edge.address(number)
            try:
                state = replace(state, command=tuple(command(address)))
                self._attach(state, node)
                state = replace(state, process=launch(state))
                self._journal.write(state)
                self.edge.send(address, node)
                if port is not None:
                    self._await(state, port, timeout_s)
            except (RuntimeError, OSError, NetworkError) as error:
                self._remove(state, node)
                raise HostError(name, str(error)) from error
            except BaseException:
                self._remove(state, node)
                raise
        return address

    def _roll_back(self, state: State) -> None:
        """The source serves on. Raises HostError where it cannot."""
        address, move = self.edge.address(state.number), state.move
        assert move is not None
        self.edge.hold(address, state.node)  # first: a copy that is ended while it may send resets its connections
        others = (*self._left_halfway(state, move.target), *self._instances(state.name))
        end([one for one in others if one != state.process], END_TIMEOUT_S)
        with contextlib.suppress(NetworkError, OSError):  # the source must go on whatever the target has become
            self._detach(state, move.target)
        if not state.process.alive:
            self.edge.forget(address)
            self._discard(state)
            raise HostError(state.name, f"its process, pid {state.process.pid}, has ended")
        self._attach(state, state.node)
        self._go_on(state, state.process, state.node)
        self.edge.send(address, state.node)
        self._discard(state)

    def _hand_over(self, state: State) -> State:
        """The target runs: it serves from now on, the source ends without a word to its clients."""
        assert state.move is not None
        assert state.move.copy is not None
        self.edge.send(self.edge.address(state.number), state.move.target)
        with contextlib.suppress(NetworkError, OSError):  # the source must end whatever its node has become
            self._detach(state, state.node)
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
                self._go_on(state, move.copy, move.target)
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

    def _marks(self, name: str) -> dict[str, str]:
        """Environment of each instance."""
        return {MARK: f"{self._journal.folder}/{name}"}

    def _instances(self, name: str) -> list[Process]:
        ((variable, value),) = self._marks(name).items()
        return instances(f"{variable}={value}")

    @contextlib.contextmanager
    def _lock(self, name: str) -> Iterator[int]:
        def waiting() -> None:
            with contextlib.suppress(InputError):
                state = self._journal.read(name)
                if state.move and not state.move.orchestrator.alive:
                    self._end_orphans(state)

        self._journal.read(name)
        with self._journal.lock(name, waiting) as descriptor:
            yield descriptor

    def _remove(self, state: State, node: str) -> None:
        end(self._instances(state.name), END_TIMEOUT_S)
        shutil.rmtree(self._journal.images(state.name), ignore_errors=True)
        self._journal.forget(state.name)
        with contextlib.suppress(NetworkError, OSError):  # the network may be gone
            self.edge.forget(self.edge.address(state.number))
            self._detach(state, node)

    def _await(self, state: State, port: int, timeout_s: float) -> None:
        deadline, address = time.monotonic() + timeout_s, self.edge.address(state.number)
        while True:
            if not state.process.alive:
                said = self._last_words(state, state.node)
                raise RuntimeError(f"ended while starting{': ' if said else ''}{said}")
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
        self, owner: EdgeMigrator, state: State, target: str, on_phase: Callable[[Phase], None], mechanism: Mechanism
    ) -> None:
        self._owner, self._state, self._target = owner, state, target
        self._on_phase, self._mechanism = on_phase, mechanism
        self._source = state.node
        own = Process.of(os.getpid())
        assert own is not None
        self._own = own
        self._started_s, self._clock_s = time.time(), time.monotonic()
        self._phases_s: dict[Phase, float] = {}
        self._phase: Phase | None = None
        self._phase_began_s = 0.0
        self._frozen_s = 0.0

    def run(self) -> Migration:
        status: Status = "done"
        reason = ""
        try:
            self._enter("preflight")
            if found := self._owner.preflight(self._state.name, self._target):
                raise MoveError("; ".join(found))
            self._move()
        except (MoveError, NetworkError, OSError, HostError, subprocess.SubprocessError) as error:
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
            self._mechanism.image_bytes,
            dict(self._phases_s),
        )

    def _move(self) -> None:
        shutil.rmtree(self._owner._journal.images(self._state.name), ignore_errors=True)
        self._step("pre_copy")
        self._owner._attach(self._state, self._target)
        self._mechanism.pre_copy()

        self._step("copy")
        self._mechanism.copy()

        self._step("restore")
        copy = self._mechanism.restore()

        self._step("resume", copy)
        self._owner._go_on(self._state, copy, self._target)
        if not copy.alive:
            raise MoveError("the restored process ended as it was to go on")

        self._step("hand_over", copy)
        held_s = self._mechanism.held_s()
        self._owner.edge.send(self._owner.edge.address(self._state.number), self._target)
        self._thaw(held_s)
        self._state = self._owner._hand_over(self._state)

        self._step("clean_up", copy)
        if not copy.alive:
            raise HostError(self._state.name, f"the process at {self._target} has ended")
        self._owner._clean_up(self._state)
        self._state = replace(self._state, move=None)

    def _back(self, reason: str) -> tuple[Status, str]:
        """After a failure."""
        self._mechanism.give_up()
        if self._state.move is None:
            return ("rolled_back" if self._state.process.alive else "failed"), reason
        step, held_s = self._state.move.step, self._mechanism.held_s()
        with contextlib.suppress(Exception):  # what listens may be what failed
            self._enter("roll_back")
        try:
            if step in ("hand_over", "clean_up"):
                said = self._owner._settle(self._state.name)
                now = self._owner._journal.read(self._state.name)
                status: Status = "done" if now.node == self._target else "rolled_back"
                if now.move is not None or not now.process.alive:
                    status = "failed"
                return status, f"{reason}; {'; '.join(said)}"
            self._owner._roll_back(self._state)
            self._thaw(held_s)
            return "rolled_back", reason
        except (NetworkError, OSError, HostError) as error:
            return "failed", f"{reason}; then: {error}"

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
