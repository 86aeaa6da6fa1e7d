"""One drive for real on this host: edge nodes as network namespaces, a TCP service with state that is migrated by CRIU
as a policy says, a client that talks to it all the while.

Measured: round-trip times by probes (the way's delay by the responders, which know the car's distance), what clients
notice of a migration, and that the service's state goes along. Loads are the drive's: they are replayed, not burnt.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from edgewright.core.contracts import FloatArray, Policy
from edgewright.drivers.host import HostError
from edgewright.drivers.migration import Migration
from edgewright.drivers.watcher import Watched
from edgewright.migration.model import Drive, Problem, Scenario, Solution
from edgewright.migration.observation import Observation
from edgewright.migration.optimum import solution_of
from edgewright.migration.sites import SERVICE, LiveSite


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
    gap_s: float  # longest time between two answers of the client


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
    site = LiveSite(scenario, node, memory_mb=memory_mb, step_s=step_s)
    with contextlib.closing(site), ThreadPoolExecutor(1) as pool:
        try:
            began_s = time.monotonic()
            for number in range(len(drive.rtt_ms)):
                site.set_rtt(drive.rtt_ms[number])
                time.sleep(max(0.0, began_s + (number + 1) * step_s - time.monotonic()))
                time_s, rtt_ms, load = number * scenario.step_s, site.rtt_ms(), drive.load[number]
                moving = under_way is not None and not under_way.done()
                if under_way is not None and not moving:
                    under_way.result()  # raises what it raised
                if (where := site.where()) is not None:
                    node = where
                elif not moving:
                    raise HostError(SERVICE, "its process has ended")
                target, memory, reasons = policy.decide(Observation(np.int64(node), rtt_ms, load), None, memory)
                last = number == len(drive.rtt_ms) - 1
                if moving or last:
                    target, reasons = node, ("a migration is under way" if moving else "the drive ends",)
                if target != node:
                    under_way = pool.submit(_migrate, trip, site, target, time_s)
                trip.steps.append(Step(time_s, rtt_ms, load, node, target, reasons[0]))
                on_step(trip)
        finally:
            if under_way is not None:
                under_way.result()
        trip.watched = site.finish()
    return trip


def _migrate(trip: Trip, site: LiveSite, target: int, time_s: float) -> None:
    moved = site.migrate(target)
    trip.moves.append(Moved(time_s, moved.migration, moved.gap_s or 0.0))
