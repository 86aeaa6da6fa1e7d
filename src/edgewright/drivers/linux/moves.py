"""Services on the nodes of an Edge that move between them; what is common to all mechanisms.

Until the target has been seen to run the way back is to let the source go on. Requests wait in the fabric's queue
meanwhile. What a service is and how far its move has come stand in one file, written before each step.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from edgewright.core.errors import InputError
from edgewright.drivers.host import NAME_PATTERN, HostError
from edgewright.drivers.linux.attempt import Attempt, Mechanism
from edgewright.drivers.linux.edge import FABRIC, Edge
from edgewright.drivers.linux.journal import Journal, State
from edgewright.drivers.linux.namespaces import NetworkError, inside
from edgewright.drivers.linux.processes import Process
from edgewright.drivers.linux.sessions import HostLost, Sessions
from edgewright.drivers.linux.trees import alive, end, instances, kill
from edgewright.drivers.migration import Migration, Phase, ignore

MARK = "EDGEWRIGHT_MIGRATED"  # environment variable by which instances of a service are found
END_TIMEOUT_S = 10.0
ENDING_S = 0.1  # an instance that was killed is gone by then


class EdgeMigrator(ABC):
    """A Migrator of the services it starts. Needs root.

    `folder` holds what services there are, their locks and the images. A later orchestrator gives the same edge and
    folder, and calls `reconcile` first.
    """

    def __init__(self, edge: Edge, folder: Path) -> None:
        self.edge, self._journal = edge, Journal(folder)
        self._sessions = Sessions(edge.hosts, self._journal.folder)

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
        with contextlib.ExitStack() as stack:  # the others all the same
            stack.callback(self._sessions.close)
            for name in self.services:
                stack.callback(self.stop, name)

    def address(self, service: str) -> str:
        return self.edge.address(self._journal.read(service).number)

    def command(self, service: str) -> tuple[str, ...]:
        """With its address in it."""
        return self._journal.read(service).command

    def process(self, service: str) -> Process:
        """The first of its tree, at its node's host, by the state as written last."""
        return self._journal.read(service).process

    def where(self, service: str) -> str | None:
        """Raises HostLost where that host cannot be asked."""
        state = self._journal.read(service)
        return state.node if self._sessions.at(state.node).call(alive, state.process) else None

    # Migration

    def preflight(self, service: str, target: str) -> list[str]:
        state = self._journal.read(service)
        self._check(target)
        try:
            if not self._sessions.at(state.node).call(alive, state.process):
                return [f"its process, pid {state.process.pid}, has ended"]
            return [f"it is at {target} already"] if target == state.node else self._obstacles(state, target)
        except HostLost as error:
            return [str(error)]

    def migrate(self, service: str, target: str, on_phase: Callable[[Phase], None] = ignore) -> Migration:
        self._journal.read(service)
        self._check(target)
        with self._lock(service) as lock:
            said = self._settle(service)
            if target in self._journal.read(service).left:
                said += self._sweep(service, [target])
            state = self._journal.read(service)
            attempt = Attempt(self, state, target, on_phase, self._mechanism(state, target, lock))
            # Where the last one has no end yet it may not be known what runs; nor beside what is left at the target.
            clear = state.move is None and target not in state.left
            return attempt.run() if clear else attempt.record("failed", "; ".join(said))

    def reconcile(self) -> list[str]:
        done = []
        for name in self.services:
            try:
                with self._lock(name):
                    done += self._settle(name) or self._sweep(name, self._journal.read(name).left)
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

    def _may_go_back(self, state: State) -> bool:
        """Whether the source may go on where its copy has run for a moment, and served nobody."""
        return True

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
        with self._journal.lock(name), self._sessions.for_service(name):
            with self._journal.lock(""):
                if name in self.services:
                    raise InputError("name", name, "a service that does not run yet")
                number = self._journal.free_number()
                # Written before it is started: who starts a service and is killed leaves one that can be stopped.
                state = State(name, number, (), node, Process(0, 0))
                self._journal.write(state)
            address, begun = self.edge.address(number), False
            try:
                state = replace(state, command=tuple(command(address)))
                self._attach(state, node)
                begun = True
                state = replace(state, process=launch(state))
                self._journal.write(state)
                self.edge.send(address, node)
                if port is not None:
                    self._await(state, port, timeout_s)
            except (RuntimeError, OSError, NetworkError) as error:
                reason = str(error)
                try:
                    self._remove(state, node)
                except HostLost as lost:
                    if begun:
                        raise HostError(name, f"{reason}; it may run at {node}: stop it later: {lost}") from error
                    self._forget(state)
                raise HostError(name, reason) from error
            except BaseException:
                self._remove(state, node)
                raise
        return address

    def _roll_back(self, state: State) -> float:
        """The source serves on -> since when, s since the epoch. Raises HostError where it cannot."""
        address, move = self.edge.address(state.number), state.move
        assert move is not None
        self.edge.hold(address, state.node)  # first: a copy that is ended while it may send resets its connections
        # Until `resume` a copy is frozen: the source does not wait for a host that may be out of reach.
        later = move.target in self.edge.hosts and move.step not in ("resume", "hand_over")
        if not later:
            self._end_copy(state, move.target)
        if runs := self._alive(state, state.node, state.process):
            self._attach(state, state.node)
            self._go_on(state, state.process, state.node)
            self.edge.send(address, state.node)
        else:
            self.edge.forget(address)
        gone_on_s = time.time()
        if later:
            try:
                self._end_copy(state, move.target)
            except (HostError, NetworkError, OSError):
                state = replace(state, left=tuple({*state.left, move.target}))
        self._discard(state)
        if not runs:
            raise HostError(state.name, f"its process, pid {state.process.pid}, has ended")
        return gone_on_s

    def _end_copy(self, state: State, target: str) -> None:
        self._end(state, target, *self._left_halfway(state, target))
        with contextlib.suppress(NetworkError, OSError):  # the source must go on whatever the target has become
            self._detach(state, target)

    def _hand_over(self, state: State) -> State:
        """The target runs: it serves from now on, the source ends without a word to its clients."""
        assert state.move is not None
        assert state.move.copy is not None
        self.edge.send(self.edge.address(state.number), state.move.target)
        with contextlib.suppress(NetworkError, OSError):  # the source must end whatever its node has become
            self._detach(state, state.node)
        with contextlib.suppress(HostLost):  # it is frozen and mute; it ends before the move is called over
            self._sessions.at(state.node, state.name).call(kill, state.process)
        return replace(state, node=state.move.target, process=state.move.copy)

    def _clean_up(self, state: State) -> str:
        """-> what is left for later, where the source's host is lost; "" else."""
        left = ""
        for node in self._places(state):
            try:
                self._end(state, node)
            except HostLost as error:
                if node == state.node:
                    raise
                state = replace(state, left=tuple({*state.left, node}))
                left = f"a frozen instance may be left at {node}: {error}"
        self._discard(state)
        return left

    def _discard(self, state: State) -> None:
        self._remove_images(state)
        self._journal.write(replace(state, move=None))

    def _sweep(self, name: str, nodes: Sequence[str]) -> list[str]:
        """What was out of reach there when a move was given up."""
        done = []
        for node in nodes:
            state, ended = self._journal.read(name), "has ended"
            try:
                if node in self.edge.hosts:
                    self._end_copy(state, node)
                    self._remove_images_at(node, name)
                else:  # the host was taken out of the edge
                    ended = "is given up"
            except (HostError, NetworkError, OSError) as error:
                done.append(f"{name}: a frozen instance may be left at {node}: {error}")
                continue
            self._journal.write(replace(state, left=tuple(one for one in state.left if one != node)))
            done.append(f"{name}: what was left at {node} {ended}")
        return done

    def _remove_images(self, state: State) -> None:
        for node in self._places(state):
            with contextlib.suppress(HostError, OSError):  # no move starts with what an earlier one left
                self._remove_images_at(node, state.name)

    def _remove_images_at(self, node: str, name: str) -> None:
        session = self._sessions.at(node, name)
        session.call(shutil.rmtree, session.images(name), ignore_errors=True)

    def _settle(self, name: str) -> list[str]:
        """End what another orchestrator left halfway, which is no more: we hold the lock."""
        state = self._journal.read(name)
        if (move := state.move) is None:
            return []
        address = self.edge.address(state.number)
        said = f"{name}: its move to {move.target} stopped at `{move.step}`: "
        try:
            may_run = move.step in ("resume", "hand_over")
            if may_run and move.copy and self._alive(state, move.target, move.copy):
                if not self._runs_on(state, move.copy, move.target):
                    return self._settle(name)
                state = self._hand_over(state)
            elif (move.step == "hand_over" and self.edge.where(address) == move.target) or (
                move.step == "resume" and not self._may_go_back(state)
            ):  # it may have served: the source is behind
                for node in self._places(state):
                    self._end(state, node, spare=False)
                self.edge.forget(address)
                self._discard(state)
                return [f"{said}the process at {move.target} has ended, no instance is left"]
            elif move.step != "clean_up":
                self._roll_back(state)
                return [f"{said}{state.node} serves on"]
            left = self._clean_up(state)
            if not self._alive(state, state.node, state.process):
                return [f"{said}the process at {state.node} has ended, no instance is left"]
            return [f"{said}{state.node} serves{'; ' if left else ''}{left}"]
        except (HostError, NetworkError, OSError) as error:
            return [f"{said}{error}"]

    def _runs_on(self, state: State, instance: Process, node: str) -> bool:
        """Let it; False where it was ending as we looked."""
        try:
            self._go_on(state, instance, node)
        except (HostError, NetworkError, OSError):
            time.sleep(ENDING_S)
            if self._alive(state, node, instance):
                raise
            return False
        time.sleep(ENDING_S)
        return self._alive(state, node, instance)

    def _marks(self, name: str) -> dict[str, str]:
        """Environment of each instance."""
        return {MARK: f"{self._journal.folder}/{name}"}

    def _places(self, state: State) -> list[str]:
        """Where there may be an instance: this host, "", and nodes on other ones."""
        nodes = {state.node, *((state.move.source, state.move.target) if state.move else ())}
        return sorted({"", *(nodes & set(self.edge.hosts))})

    def _instances(self, name: str, node: str = "") -> list[Process]:
        """At a node of another host, or anywhere on this one."""
        ((variable, value),) = self._marks(name).items()
        look = self._sessions.at(node, name).call
        if node in self.edge.hosts:
            return look(instances, f"{variable}={value}", inside=self.edge.namespace(node))
        others = [self.edge.namespace(one) for one in self.edge.hosts]  # those hosts may share this kernel
        return look(instances, f"{variable}={value}", outside=others)

    def _end(self, state: State, node: str, *more: Process, spare: bool = True) -> None:
        """Instances at a node of another host, or anywhere on this one, but the one of the state."""
        session = self._sessions.at(node, state.name)
        spared = state.process if spare and session is self._sessions.at(state.node, state.name) else None
        found = [*more, *self._instances(state.name, node)]
        session.call(end, [one for one in found if one != spared], END_TIMEOUT_S)

    def _alive(self, state: State, node: str, process: Process) -> bool:
        """Under the service's lock."""
        return self._sessions.at(node, state.name).call(alive, process)

    @contextlib.contextmanager
    def _lock(self, name: str) -> Iterator[int]:
        def waiting() -> None:
            with contextlib.suppress(InputError):
                state = self._journal.read(name)
                if state.move and not state.move.orchestrator.alive:
                    self._end_orphans(state)

        self._journal.read(name)
        with self._journal.lock(name, waiting) as descriptor, self._sessions.for_service(name):
            yield descriptor

    def _remove(self, state: State, node: str) -> None:
        for place in [*self._places(state), *(set(state.left) & set(self.edge.hosts))]:
            self._end(state, place, spare=False)
        self._remove_images(state)
        self._forget(state)
        with contextlib.suppress(NetworkError, OSError):
            self._detach(state, node)

    def _forget(self, state: State) -> None:
        self._journal.forget(state.name)
        with contextlib.suppress(NetworkError, OSError):  # the network may be gone
            self.edge.forget(self.edge.address(state.number))

    def _await(self, state: State, port: int, timeout_s: float) -> None:
        deadline, address = time.monotonic() + timeout_s, self.edge.address(state.number)
        while True:
            if not self._alive(state, state.node, state.process):
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
