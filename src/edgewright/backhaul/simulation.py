"""A backhaul over time: another traffic matrix every interval, links that fail and come back, a planner that reacts.

Between an event and the planner's answer the old paths stay in force: what runs over a broken link carries nothing.
Source of the interval: NANCY D4.2, 4.2.2. Failures are independent, with exponential times to failure and to repair.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgewright.backhaul.model import Matrix, Network, Objective, Problem, measures
from edgewright.backhaul.rates import max_min_rates
from edgewright.backhaul.replanning import replan
from edgewright.backhaul.solvers.search import search
from edgewright.core.contracts import IntArray
from edgewright.core.errors import InputError

Planner = Callable[[Problem, IntArray], tuple[IntArray, float]]
"""(problem, path in force of each flow int[F]) -> wanted path of each flow int[F], CPU s"""
MOST_EVENTS = 1_000_000
What = Literal["traffic", "failure", "repair", "planned", "end"]


@dataclass(frozen=True)
class Course:
    """What happens, whoever plans. Times in s."""

    seconds: float = 600.0
    interval_s: float = 10.0  # a traffic matrix holds so long
    failure_s: float = 1800.0  # mean time to failure of one link; infinite: none fails
    repair_s: float = 30.0  # mean time to repair
    delay_s: float = 0.1  # from an event until the planner's answer is in force

    def __post_init__(self) -> None:
        for name in ("seconds", "interval_s", "failure_s", "repair_s"):
            if not getattr(self, name) > 0:
                raise InputError(name, getattr(self, name), "> 0")
        for name in ("seconds", "interval_s", "repair_s"):
            if math.isinf(getattr(self, name)):
                raise InputError(name, getattr(self, name), "finite")
        if not 0 <= self.delay_s < self.interval_s:
            raise InputError("delay_s", self.delay_s, f"0 .. {self.interval_s:g}, the time a traffic matrix holds")


@dataclass(frozen=True)
class Moment:
    """From `at_s` until the next moment nothing changes. `moved`: flows with demand that changed their path here."""

    at_s: float
    what: What
    link: int | None  # of a failure or repair
    broken: tuple[int, ...]
    efficiency: float
    jain: float
    moved: int
    cpu_s: float


@dataclass(frozen=True)
class Summary:
    """Means over time, in 0..1, the worst moment's, and what it took; what is per plan is NaN where there was none."""

    efficiency: float
    jain: float
    worst_efficiency: float
    plans: int
    moved_per_plan: float
    cpu_ms_per_plan: float


def stay(problem: Problem, running: IntArray) -> tuple[IntArray, float]:
    """The paths planned ahead, for the mean of the matrices."""
    return running, 0.0


def from_scratch(problem: Problem, running: IntArray) -> tuple[IntArray, float]:
    """The search, whatever is in force."""
    found = search(problem)
    return np.where(problem.demand_mbps > 0, found.choice, running), found.cpu_s


def few_moves(problem: Problem, running: IntArray, share: float = 0.2) -> tuple[IntArray, float]:
    """Re-planning that moves at most a share of the flows with demand (one at least)."""
    found = replan(problem, running, moves=budget(problem, share))[-1]
    return np.where(problem.demand_mbps > 0, found.choice, running), found.cpu_s


def budget(problem: Problem, share: float) -> int:
    return max(1, int(share * problem.active.size))


PLANNERS: dict[str, Planner] = {"stay": stay, "search": from_scratch, "replan": few_moves}


def events(
    network: Network, matrices: tuple[Matrix, ...], course: Course, *, seed: int
) -> list[tuple[float, What, int]]:
    """(at_s, what, index of the matrix or link) in order of time; the same for every planner."""
    if not matrices:
        raise InputError("matrices", 0, "at least one traffic matrix")
    per_s = 1 / course.interval_s + 2 * len(network.links) / (course.failure_s + course.repair_s)
    if course.seconds * per_s > MOST_EVENTS:
        allowed = f"at most {MOST_EVENTS / per_s:g}: {MOST_EVENTS:,} matrices, failures and repairs of all links"
        raise InputError("seconds", course.seconds, allowed)
    count = math.ceil(course.seconds / course.interval_s)
    found: list[tuple[float, What, int]] = [(i * course.interval_s, "traffic", i % len(matrices)) for i in range(count)]
    for link, rng in enumerate(np.random.default_rng(seed).spawn(len(network.links))):
        at, whole = 0.0, True
        while not math.isinf(course.failure_s):
            at += rng.exponential(course.failure_s if whole else course.repair_s)
            if at >= course.seconds:
                break
            found.append((at, "failure" if whole else "repair", link))
            whole = not whole
    return sorted(found, key=lambda one: (one[0], one[1] != "traffic"))


def simulate(
    network: Network, planner: Planner, course: Course = Course(), *, objective: Objective = Objective(), seed: int = 0
) -> list[Moment]:
    """The network's own matrices in turn. Flows start on the paths that suit the mean of the matrices, as routes are
    planned ahead. The planner is called once for that mean beforehand, uncounted: what it loads or compiles is not a
    plan's CPU. The last moment only marks the end.
    """
    return list(_run(network, planner, course, objective, seed))


def _run(network: Network, planner: Planner, course: Course, objective: Objective, seed: int) -> Iterator[Moment]:
    coming = deque(events(network, network.matrices, course, seed=seed))
    problem = Problem(network, np.mean([matrix.demand_mbps for matrix in network.matrices], axis=0), objective)
    running: IntArray = np.maximum(search(problem).choice, 0)  # a flow that never asks: its first path
    planner(problem, running)
    broken: frozenset[int] = frozenset()
    demand = np.zeros(len(network.flows))
    due = math.inf  # when the planner's answer is in force
    while coming or due < course.seconds:
        moved, cpu_s, link = 0, 0.0, None
        if coming and coming[0][0] <= due:
            at, what, index = coming.popleft()
            if what == "traffic":
                demand = np.array(network.matrices[index].demand_mbps)
            else:
                link = index
                broken = broken | {index} if what == "failure" else broken - {index}
            problem = Problem(network, demand, objective, broken)
            # A plan under way is dropped: it is for a network that is no more.
            due = at + course.delay_s
        else:
            at, what, due = due, "planned", math.inf
            wanted, cpu_s = planner(problem, running)
            moved = int((wanted != running)[problem.active].sum())
            running = wanted
        efficiency, jain = measures(demand, max_min_rates(problem, running))
        yield Moment(at, what, link, tuple(sorted(broken)), efficiency, jain, moved, cpu_s)
    yield Moment(course.seconds, "end", None, tuple(sorted(broken)), efficiency, jain, 0, 0.0)


def summarise(moments: list[Moment]) -> Summary:
    lasting = np.diff([moment.at_s for moment in moments])
    efficiency, jain = (np.array([getattr(moment, name) for moment in moments[:-1]]) for name in ("efficiency", "jain"))
    plans = [moment for moment in moments if moment.what == "planned"]
    return Summary(
        float(np.average(efficiency, weights=lasting)),
        float(np.average(jain, weights=lasting)),
        float(efficiency[lasting > 0].min()),
        len(plans),
        float(np.mean([plan.moved for plan in plans])) if plans else math.nan,
        float(np.mean([1e3 * plan.cpu_s for plan in plans])) if plans else math.nan,
    )
