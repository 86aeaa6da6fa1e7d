"""The process's backhaul loops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgewright.backhaul.model import Network
from edgewright.backhaul.scenario import LoopScenario, check_planner, read_scenario
from edgewright.service.kinds import Kind
from edgewright.service.loops.backhaul import BackhaulLoop, BackhaulOrders
from edgewright.service.loops.planes import LivePlane, PlaneChoice, choose_plane, make_plane
from edgewright.service.store.tables import BackhaulRow


@dataclass
class Backhauls(Kind[LoopScenario, BackhaulRow, BackhaulLoop]):
    make: Callable[[PlaneChoice, Network], LivePlane] = make_plane
    word, ends = "backhaul", "its network"
    scenario_type, row_type = LoopScenario, BackhaulRow

    @property
    def file(self) -> Path | None:
        return self.settings.backhaul

    def _read(self, path: Path) -> LoopScenario:
        return read_scenario(path)

    def _row(self, scenario: LoopScenario) -> BackhaulRow:
        return BackhaulRow(mode="act", planner=scenario.planner, demand={"matrix": None, "factor": 1.0}, choice=[])

    def _edited(self, row: BackhaulRow, old: LoopScenario, new: LoopScenario) -> dict[str, Any]:
        same = old.network == new.network
        return {
            "planner": row.planner if old.planner == new.planner else new.planner,
            "demand": row.demand if same else {"matrix": None, "factor": 1.0},
            "choice": row.choice if same else [],
        }

    def _loop(self, scenario: LoopScenario, row: BackhaulRow) -> BackhaulLoop:
        check_planner(row.planner)
        choice = choose_plane(self.settings, scenario)
        orders = BackhaulOrders(row.mode, row.planner, row.demand["matrix"], row.demand["factor"])  # type: ignore[arg-type]
        return BackhaulLoop(scenario, choice, orders, self.recorder, list(row.choice), self.make)
