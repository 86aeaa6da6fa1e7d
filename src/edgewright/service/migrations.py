"""The process's migration loops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgewright.migration.scenario import LoopScenario, read_loop
from edgewright.migration.sites import Site
from edgewright.service.kinds import Kind
from edgewright.service.loops.migration import MigrationLoop, MigrationOrders
from edgewright.service.loops.sites import SiteChoice, choose_site, make_site
from edgewright.service.store.tables import MigrationRow


@dataclass
class Migrations(Kind[LoopScenario, MigrationRow, MigrationLoop]):
    make: Callable[[SiteChoice, LoopScenario, int, float], Site] = make_site
    word, ends = "migration", "its service"
    scenario_type, row_type = LoopScenario, MigrationRow

    @property
    def file(self) -> Path | None:
        return self.settings.migration

    def _read(self, path: Path) -> LoopScenario:
        return read_loop(path)

    def _row(self, scenario: LoopScenario) -> MigrationRow:
        choose_site(self.settings, scenario)
        return MigrationRow(mode="act", policy=scenario.policy, pace=scenario.pace, node="")

    def _edited(self, row: MigrationRow, old: LoopScenario, new: LoopScenario) -> dict[str, Any]:
        return {
            "policy": row.policy if old.policy == new.policy else new.policy,
            "pace": row.pace if old.pace == new.pace else new.pace,
            "node": row.node if row.node in new.scenario.names else "",
        }

    def _loop(self, scenario: LoopScenario, row: MigrationRow) -> MigrationLoop:
        orders = MigrationOrders(row.mode, row.policy, row.pace)  # type: ignore[arg-type]
        return MigrationLoop(scenario, choose_site(self.settings, scenario), orders, self.recorder, row.node, self.make)
