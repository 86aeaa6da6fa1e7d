"""The part of the API's answers that the page of topologies shows; what it does not know it ignores."""

from __future__ import annotations

from edgewright.service.ui.shapes import Refusal, Shape


class TopologyState(Shape):
    name: str
    phase: str
    step: str | None = None
    created: float = 0.0
    seconds: float | None = None
    title: str = ""
    area_km2: float = 0.0
    per_km2: float = 0.0
    cells: dict[str, int] = {}
    switches: dict[str, int] = {}
    rings: dict[str, int] = {}
    links: int = 0
    error: Refusal | None = None

    @property
    def unfinished(self) -> bool:
        return self.phase in ("waiting", "generating")
