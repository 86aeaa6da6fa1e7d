"""The part of the API's answers that the page of a backhaul loop shows; what it does not know it ignores."""

from __future__ import annotations

from pydantic import Field

from edgewright.service.ui.shapes import Column, LiveLoop, Shape


class Path(Shape):
    index: int
    band: str
    nodes: list[int]
    links: list[int]


class Link(Shape):
    index: int
    u: int
    v: int
    band: str
    capacity_mbps: float
    load_mbps: float = 0.0
    up: bool = True


class Flow(Shape):
    index: int
    source: int
    demand_mbps: float
    rate_mbps: float = 0.0
    expected_mbps: float = 0.0
    path: Path | None = None
    since: float = 0.0


class Demand(Shape):
    matrix: int
    stays: bool = False
    factor: float = 1.0
    matrices: list[int] = []
    hold_s: float | None = None


class Move(Shape):
    flow: int
    source: int
    before: Path | None = None
    after: Path | None = None
    reason: str = ""
    done: bool = False
    refused: str | None = None


class Verdict(Shape):
    changed: bool = False
    note: str = ""


class Value(Shape):
    before: float
    wanted: float
    after: float


class Plan(Shape):
    """One decision."""

    seq: int
    time: float = Field(validation_alias="t")
    mode: str = "act"
    planner: str = Field("", validation_alias="policy")
    why: str = ""
    moves: list[Move] = []
    verdict: Verdict = Verdict()
    value: Value
    plan_cpu_ms: float = 0.0


class BackhaulState(LiveLoop):
    planner: str
    planners: list[str] = []
    nodes: int
    donors: list[int]
    demand: Demand
    links: list[Link]
    flows: list[Flow]
    efficiency: float
    jain: float
    carried_mbps: float
    offered_mbps: float
    last_decision: Plan | None = None


class BackhaulColumns(Shape):
    """Every list has one entry per entry of `t` (seconds since the epoch)."""

    t: list[float] = []
    efficiency: Column = []
    jain: Column = []
    carried_mbps: Column = []
    offered_mbps: Column = []
