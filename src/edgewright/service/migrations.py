"""The process's migration loops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgewright.core.errors import InputError
from edgewright.drivers.host import HostError
from edgewright.drivers.linux.leftovers import reconcile
from edgewright.drivers.linux.namespaces import NetworkError
from edgewright.migration.policies import make_policy
from edgewright.migration.scenario import LoopScenario, read_loop
from edgewright.migration.sites import Site
from edgewright.service.kinds import Kind
from edgewright.service.loops.migration import MigrationLoop, MigrationOrders
from edgewright.service.loops.orders import named_policy
from edgewright.service.loops.sites import SiteChoice, choose_site, make_site, site_key
from edgewright.service.store.tables import MigrationRow


@dataclass
class Migrations(Kind[LoopScenario, MigrationRow, MigrationLoop]):
    make: Callable[[SiteChoice, LoopScenario, int, float], Site] = make_site
    word, ends = "migration", "its service"
    scenario_type, row_type = LoopScenario, MigrationRow

    def restore(self) -> None:
        """And remove what a crashed orchestrator left, networks of backhaul loops among it, but for the services that
        these loops take over."""
        super().restore()
        try:
            loops = [loop.choice.key for loop in self.loops.values()]
            reconcile({*loops, *(site_key(self.settings, name) for name in self.broken)} - {""})
        except (NetworkError, HostError, OSError) as error:
            self.recorder.event("reconcile_failed", str(error))

    @property
    def file(self) -> Path | None:
        return self.settings.migration

    def _read(self, path: Path) -> LoopScenario:
        return read_loop(path)

    def _row(self, scenario: LoopScenario) -> MigrationRow:
        policy, _ = named_policy(scenario.policy, lambda name: make_policy(name, scenario.scenario))
        return MigrationRow(mode="act", policy=policy, pace=scenario.pace, node="")

    def _edited(self, row: MigrationRow, old: LoopScenario, new: LoopScenario) -> dict[str, Any]:
        return {
            "policy": row.policy if old.policy == new.policy else new.policy,
            "pace": row.pace if old.pace == new.pace else new.pace,
            "node": row.node if row.node in new.scenario.names else "",
        }

    def _loop(self, scenario: LoopScenario, row: MigrationRow) -> MigrationLoop:
        orders, note = MigrationOrders(row.mode, row.policy, row.pace), ""  # type: ignore[arg-type]
        try:
            named_policy(row.policy, lambda name: make_policy(name, scenario.scenario))
        except InputError as error:  # a file that is gone since: the service must not stay down for it
            note = f"{row.policy} cannot be used any more; paused, the service stays where it is: {error}"
            orders = MigrationOrders("paused", "nearest", row.pace)
        choice = choose_site(self.settings, scenario)
        loop = MigrationLoop(scenario, choice, orders, self.recorder, row.node, self.make)
        if note:
            loop.event("policy_failed", note)
        return loop
