"""One drive for real on this host: edge nodes as network namespaces, a TCP service with state that is migrated by CRIU
as a policy says, a client that talks to it all the while.

Measured: round-trip times by probes (the way's delay by the responders, which know the car's distance), what clients
notice of a migration, and that the service's state goes along. Loads are the drive's: they are replayed, not burnt.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import edgewright
from edgewright.core.contracts import FloatArray, Policy
from edgewright.drivers.host import HostError
from edgewright.drivers.linux.criu_migrator import CriuMigrator
from edgewright.drivers.linux.edge import CLIENT, EdgeNetwork
from edgewright.drivers.linux.namespaces import inside
from edgewright.drivers.linux.probes import KEPT, Probes, Responders
from edgewright.drivers.migration import Migration
from edgewright.drivers.watcher import Watched, Watcher
from edgewright.migration.model import Drive, Problem, Scenario, Solution
from edgewright.migration.observation import Observation
from edgewright.migration.optimum import solution_of

SERVICE, PORT = "counter", 7000
SETTLE_S = 0.3  # for answers that waited to arrive
IMAGES = "/dev/shm"  # noqa: S108 - a tmpfs: an image has the size of the service's memory


@dataclass(frozen=True)
class Step:
    """What was seen and decided in a step."""

    time_s: float  # of the drive
    rtt_ms: FloatArray  # [N] as measured
    load: FloatArray  # [N]
    node: int  # that serves
    target: int
    reason: str


@dataclass(frozen=True)
class Moved:
    """A migration and what the client saw of it."""

    time_s: float  # of the drive, when it was decided
    migration: Migration
    gap_s: float  # longest time between two answers


@dataclass
class Trip:
    """What a drive brought so far."""

    scenario: Scenario
    steps: list[Step] = field(default_factory=list)
    moves: list[Moved] = field(default_factory=list)
    watched: Watched | None = None  # at the end

    @property
    def solution(self) -> tuple[Problem, Solution]:
        """As what was measured makes it."""
        drive = Drive(np.array([one.rtt_ms for one in self.steps]), np.array([one.load for one in self.steps]))
        nodes = np.array([one.node for one in self.steps])
        problem = Problem(drive, self.scenario.objective, self.scenario.step_s, start=int(nodes[0]))
        return problem, solution_of(problem, nodes[1:])


@contextmanager
def site(scenario: Scenario, node: int, memory_mb: int) -> Iterator[tuple[EdgeNetwork, CriuMigrator, str]]:
    """The edge with the service on a node -> network, migrator, the service's address; all ends with the block.

    Raises CriuMissing, NetworkError or HostError with the reason where this host cannot.
    """
    try:
        with _site(scenario, node, memory_mb) as made:
            yield made
    except OSError as error:
        raise HostError(SERVICE, str(error)) from error


@contextmanager
def _site(scenario: Scenario, node: int, memory_mb: int) -> Iterator[tuple[EdgeNetwork, CriuMigrator, str]]:
    with EdgeNetwork(scenario.names) as network:
        folder = Path(tempfile.mkdtemp(prefix="edgewright-", dir=IMAGES if os.path.isdir(IMAGES) else None))
        try:
            migrator = CriuMigrator(network.edge, folder)
            try:
                words = ["-m", "edgewright.demo.counter", "--address", "{address}", "--port", str(PORT)]
                sources = str(Path(edgewright.__file__).parents[1])
                address = migrator.start(
                    SERVICE,
                    [sys.executable, *words, "--memory-mb", str(memory_mb)],
                    scenario.names[node],
                    environment={"PYTHONPATH": sources},
                    port=PORT,
                )
                yield network, migrator, address
            finally:
                migrator.close()
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def drive_live(
    scenario: Scenario,
    drive: Drive,
    policy: Policy[Observation, int],
    *,
    pace: float = 1.0,
    memory_mb: int = 20,
    on_step: Callable[[Trip], None] = lambda trip: None,
) -> Trip:
    """Drive along, `pace` times as fast as the scenario says. A migration runs beside the steps; until it has ended
    what the policy says is not done. Raises HostError where the service has ended.
    """
    trip, memory, node = Trip(scenario), None, drive.nearest
    step_s = scenario.step_s / pace
    under_way: Future[None] | None = None
    with site(scenario, node, memory_mb) as (network, migrator, address):
        edge = network.edge
        connect = lambda: inside(  # noqa: E731
            edge.namespace(CLIENT), lambda: socket.create_connection((address, PORT), timeout=5.0)
        )
        with Responders(edge) as responders, Watcher(connect) as watcher, ThreadPoolExecutor(1) as pool:
            responders.delay_ms = drive.rtt_ms[0].tolist()
            with Probes(edge, step_s / KEPT) as probes:
                try:
                    began_s = time.monotonic()
                    for number in range(len(drive.rtt_ms)):
                        responders.delay_ms = drive.rtt_ms[number].tolist()
                        time.sleep(max(0.0, began_s + (number + 1) * step_s - time.monotonic()))
                        time_s, rtt_ms, load = number * scenario.step_s, probes.mean_ms(), drive.load[number]
                        moving = under_way is not None and not under_way.done()
                        if under_way is not None and not moving:
                            under_way.result()  # raises what it raised
                        if (where := migrator.where(SERVICE)) is not None:
                            node = scenario.names.index(where)
                        elif not moving:
                            raise HostError(SERVICE, "its process has ended")
                        seen = Observation(np.int64(node), rtt_ms, load)
                        target, memory, reasons = policy.decide(seen, None, memory)
                        last = number == len(drive.rtt_ms) - 1
                        if moving or last:
                            target, reasons = node, ("a migration is under way" if moving else "the drive ends",)
                        if target != node:
                            under_way = pool.submit(_migrate, trip, migrator, watcher, scenario.names[target], time_s)
                        trip.steps.append(Step(time_s, rtt_ms, load, node, target, reasons[0]))
                        on_step(trip)
                finally:
                    if under_way is not None:
                        under_way.result()
            trip.watched = watcher.stop()
    return trip


def _migrate(trip: Trip, migrator: CriuMigrator, watcher: Watcher, target: str, time_s: float) -> None:
    watcher.restart_gap()
    done = migrator.migrate(SERVICE, target)
    time.sleep(SETTLE_S)
    trip.moves.append(Moved(time_s, done, watcher.max_gap_s))
