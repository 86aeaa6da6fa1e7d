"""The part of the API's answers that the page of a migration loop shows; what it does not know it ignores."""

from __future__ import annotations

from pydantic import Field

from edgewright.service.ui.shapes import Column, LiveLoop, Shape

Point = tuple[float, float]


class Road(Shape):
    corners_m: list[Point]
    round_trip: bool = True


class Objective(Shape):
    rtt_max_ms: float
    load_max: float


class Drive(Shape):
    number: int = 0
    time_s: float = 0.0
    length_s: float = 0.0
    pace: float = 1.0
    speed_kmh: float = 0.0
    user_m: Point | None = None
    reward: float = 0.0
    breaches: int = 0


class Node(Shape):
    name: str
    at_m: Point
    rtt_ms: float | None = None
    load: float | None = None
    serves: bool = False
    in_breach: bool = False


class UnderWay(Shape):
    target: str
    phase: str


class Client(Shape):
    answers: int = 0
    connections_lost: int = 0
    answers_lost: int = 0


class Migration(Shape):
    time: float = Field(validation_alias="t")
    source: str
    target: str
    by: str = "policy"
    status: str = "done"
    reason: str = ""
    total_ms: float = 0.0
    frozen_ms: float = 0.0
    client_gap_ms: float | None = None
    image_mb: float = 0.0
    phases_ms: dict[str, float] = {}


class Decision(Shape):
    seq: int
    time: float = Field(validation_alias="t")
    by: str = "policy"
    mode: str = "act"
    policy: str = ""
    changed: bool = False
    node: str
    wanted: str
    allowed: str
    reason: str = ""
    note: str = ""
    rtt_ms: list[float] = []
    load: list[float] = []
    drive: int = 0
    time_s: float = 0.0


class MigrationState(LiveLoop):
    policy: str
    policies: list[str] = []
    road: Road
    objective: Objective
    drive: Drive
    nodes: list[Node]
    under_way: UnderWay | None = None
    client: Client | None = None
    migrations: list[Migration] = []  # newest first
    last_decision: Decision | None = None

    @property
    def names(self) -> list[str]:
        return [node.name for node in self.nodes]

    @property
    def serving(self) -> int | None:
        """The node that serves."""
        return next((index for index, node in enumerate(self.nodes) if node.serves), None)


class MigrationColumns(Shape):
    """Every list has one entry per entry of `t` (seconds since the epoch)."""

    t: list[float] = []
    node: list[int | None] = []
    rtt_ms: dict[str, Column] = {}
    load: dict[str, Column] = {}
