"""Where a service follows its user: edge nodes of this host, or the twin in real time. Shapes: N nodes."""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

import edgewright
from edgewright.core.contracts import FloatArray
from edgewright.drivers.host import HostError
from edgewright.drivers.linux.criu_migrator import CriuMigrator
from edgewright.drivers.linux.edge import CLIENT
from edgewright.drivers.linux.leftovers import kept_edge
from edgewright.drivers.linux.namespaces import inside
from edgewright.drivers.linux.probes import KEPT, Probes, Responders
from edgewright.drivers.migration import Migration, Phase, ignore
from edgewright.drivers.watcher import Watched, Watcher
from edgewright.migration.model import Scenario

SERVICE, PORT = "counter", 7000
SETTLE_S = 0.3  # for answers that waited to arrive


@dataclass(frozen=True)
class Moved:
    """A migration and what the client saw of it."""

    migration: Migration
    gap_s: float | None  # longest time between two answers; None: there is no client


class Site(Protocol):
    """Edge nodes, one service with a client, a user who is somewhere. Raises HostError where the host fails."""

    found: str
    """What there was of a service that runs on from a crashed owner; "" for a new one."""

    def set_step(self, step_s: float) -> None:
        """How long a step is from now on."""
        ...

    def set_rtt(self, rtt_ms: FloatArray) -> None:
        """What the way to each node takes from now on, [N]."""
        ...

    def rtt_ms(self) -> FloatArray:
        """As measured, [N]."""
        ...

    def where(self) -> int | None:
        """The node that serves; None where the service has ended."""
        ...

    def migrate(self, target: int, on_phase: Callable[[Phase], None] = ignore) -> Moved: ...

    def watched(self) -> Watched | None:
        """By the client so far; None: there is none."""
        ...

    def close(self) -> None:
        """All ends."""
        ...


class LiveSite:
    """Network namespaces of this host, a TCP service with state that CRIU moves, probes; the way's delay by responders.

    Where an owner with the same `key` crashed its service runs on, wherever it is.
    Raises CriuMissing, NetworkError or HostError with the reason where this host cannot, and nothing is left.
    """

    def __init__(self, scenario: Scenario, node: int, *, memory_mb: int, step_s: float, key: str = "") -> None:
        self._names, self._memory_mb = scenario.names, memory_mb
        with contextlib.ExitStack() as stack, _told():
            edge, folder = stack.enter_context(kept_edge(self._names, key))
            self.migrator = migrator = CriuMigrator(edge, folder)
            stack.callback(migrator.close)
            self.found = self._find()
            if not self.found:
                self._start(self._names[node])
            address = migrator.address(SERVICE)
            connect = lambda: inside(  # noqa: E731
                edge.namespace(CLIENT), lambda: socket.create_connection((address, PORT), timeout=5.0)
            )
            self._responders = stack.enter_context(Responders(edge))
            self._watcher = stack.enter_context(Watcher(connect))
            self._probes = stack.enter_context(Probes(edge, step_s / KEPT))
            self._stack = stack.pop_all()

    def _find(self) -> str:
        if SERVICE not in self.migrator.services:
            return ""
        said = self.migrator.reconcile()
        if (node := self.migrator.where(SERVICE)) and self.migrator.command(SERVICE) == self._command(
            self.migrator.address(SERVICE)
        ):
            return "; ".join([*said, f"the service ran on at {node}"])
        self.migrator.stop(SERVICE)
        return ""

    def _start(self, node: str) -> None:
        sources = str(Path(edgewright.__file__).parents[1])
        environment = {"PYTHONPATH": sources}
        self.migrator.start(SERVICE, self._command("{address}"), node, environment=environment, port=PORT)

    def _command(self, address: str) -> tuple[str, ...]:
        words = ("-m", "edgewright.demo.counter", "--address", address, "--port", str(PORT))
        return (sys.executable, *words, "--memory-mb", str(self._memory_mb))

    def set_step(self, step_s: float) -> None:
        self._probes.period_s = step_s / KEPT  # their mean is a step's

    def set_rtt(self, rtt_ms: FloatArray) -> None:
        self._responders.delay_ms = rtt_ms.tolist()

    def rtt_ms(self) -> FloatArray:
        return self._probes.mean_ms()

    def where(self) -> int | None:
        found = self.migrator.where(SERVICE)
        return None if found is None else self._names.index(found)

    def migrate(self, target: int, on_phase: Callable[[Phase], None] = ignore) -> Moved:
        self._watcher.restart_gap()
        done = self.migrator.migrate(SERVICE, self._names[target], on_phase)
        time.sleep(SETTLE_S)
        return Moved(done, self._watcher.max_gap_s)

    def watched(self) -> Watched:
        return self._watcher.seen

    def finish(self) -> Watched:
        """End the client, with all that it was answered."""
        return self._watcher.stop()

    def close(self) -> None:
        with _told():
            self._stack.close()


class SimulatedSite:
    """The twin's: what was set is what is measured, a migration takes the objective's downtime."""

    def __init__(self, scenario: Scenario, node: int, *, step_s: float) -> None:
        self._scenario, self._node, self._step_s = scenario, node, step_s
        self._rtt_ms = np.full(len(scenario.nodes), np.nan)
        self.found = ""

    def set_step(self, step_s: float) -> None:
        self._step_s = step_s

    def set_rtt(self, rtt_ms: FloatArray) -> None:
        self._rtt_ms = rtt_ms

    def rtt_ms(self) -> FloatArray:
        return self._rtt_ms

    def where(self) -> int | None:
        return self._node

    def migrate(self, target: int, on_phase: Callable[[Phase], None] = ignore) -> Moved:
        names, source, began_s = self._scenario.names, self._node, time.time()
        down_s = self._scenario.objective.downtime_s
        on_phase("copy")
        time.sleep(down_s * self._step_s / self._scenario.step_s)
        self._node = target
        phases: dict[Phase, float] = {"copy": down_s}
        done = Migration(SERVICE, names[source], names[target], "done", "", began_s, down_s, down_s, 0, phases)
        return Moved(done, None)

    def watched(self) -> None:
        return None

    def close(self) -> None:
        pass


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HostError(SERVICE, str(error)) from error
