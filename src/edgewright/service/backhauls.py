"""The process's backhaul loops: restored, made and ended by the runtime that has the lease."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import delete, select

from edgewright.backhaul.model import Network
from edgewright.backhaul.scenario import LoopScenario, check_planner, read_scenario
from edgewright.core.documents import validate
from edgewright.core.errors import InputError
from edgewright.service.loops.backhaul import BackhaulLoop, BackhaulOrders
from edgewright.service.loops.planes import LivePlane, PlaneChoice, choose_plane, make_plane
from edgewright.service.settings import Settings
from edgewright.service.store import Store
from edgewright.service.store.recorder import Recorder
from edgewright.service.store.tables import BackhaulRow


@dataclass
class Backhauls:
    settings: Settings
    store: Store
    recorder: Recorder
    changing: threading.RLock  # the runtime's: held while loops come and go
    taken: Callable[[str], bool]  # whether a loop of any kind has a name
    make: Callable[[PlaneChoice, Network], LivePlane] = make_plane
    loops: dict[str, BackhaulLoop] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)  # loops of the store that cannot be run, and why
    given: LoopScenario | None = None  # the settings' scenario as it was last read

    def read_given(self) -> None:
        """Raises InputError."""
        if self.settings.backhaul is not None:
            self.given = read_scenario(self.settings.backhaul)

    @property
    def trouble(self) -> list[str]:
        found = [f"backhaul {name} cannot be run: {reason}" for name, reason in list(self.broken.items())]
        return found + [f"backhaul {x.name}: {warning}" for x in list(self.loops.values()) for warning in x.warnings]

    def knows(self, name: str) -> bool:
        """Whether the store has that loop. Raises StoreError."""
        with self.store.read() as session:
            return session.get(BackhaulRow, name) is not None

    def create(self, scenario: LoopScenario) -> BackhaulLoop:
        """All or nothing. Raises InputError (a name in use, a driver that cannot be), StoreError."""
        with self.changing:
            if self.taken(scenario.name):
                raise InputError("name", scenario.name, "a name that no loop has yet")
            choice = choose_plane(self.settings, scenario)
            row = BackhaulRow(
                name=scenario.name,
                scenario=scenario.model_dump(mode="json"),
                mode="act",
                planner=scenario.planner,
                demand={"matrix": None, "factor": 1.0},
                choice=[],
                created=time.time(),
            )
            with self.store.write() as session:
                session.add(row)
            return self._begin(scenario, choice, row)

    def delete(self, name: str) -> None:
        """End a loop, its traffic and its network, and forget it; its decisions stay until they are old."""
        with self.changing:
            with self.store.write() as session:
                session.execute(delete(BackhaulRow).where(BackhaulRow.name == name))
            self.broken.pop(name, None)
            if loop := self.loops.pop(name, None):
                loop.close()
            self.recorder.event("loop_deleted", f"backhaul loop {name} and its network ended")

    def restore(self) -> None:
        """Run the stored loops again, and the settings' where the store has none of its name. Raises StoreError."""
        with self.store.read() as session:
            rows = session.scalars(select(BackhaulRow).order_by(BackhaulRow.created)).all()
        self.broken = {}
        try:
            self.read_given()
        except InputError as error:  # it was read before: the loops must run
            self.recorder.event("scenario_failed", f"{error}: taken as it was before")
        for row in rows:
            try:
                self._restore(row)
            except Exception as error:  # what an older version kept may be of any form: the other loops must run
                self._fail(row.name, error)
        if self.given is not None and self.given.name not in {row.name for row in rows}:
            try:
                self.create(self.given)
            except InputError as error:
                self._fail(self.given.name, error)

    def _restore(self, row: BackhaulRow) -> None:
        scenario = validate(LoopScenario, row.scenario, source=f"backhaul loop {row.name}")
        if self.given is not None and self.given.name == row.name and self.given != scenario:
            self._update(row, scenario, self.given)
            scenario = self.given
        check_planner(row.planner)
        self._begin(scenario, choose_plane(self.settings, scenario), row)

    def _update(self, row: BackhaulRow, old: LoopScenario, new: LoopScenario) -> None:
        """The file was edited: users' orders about what is left stay."""
        same = old.network == new.network
        values = {
            "scenario": new.model_dump(mode="json"),
            "planner": row.planner if old.planner == new.planner else new.planner,
            "demand": row.demand if same else {"matrix": None, "factor": 1.0},
            "choice": row.choice if same else [],
        }
        with self.store.write() as session:
            kept = session.get_one(BackhaulRow, row.name)
            for name, value in values.items():
                setattr(kept, name, value)
                setattr(row, name, value)
        self.recorder.event("scenario", f"{self.settings.backhaul} was edited: taken over", loop=row.name)

    def _begin(self, scenario: LoopScenario, choice: PlaneChoice, row: BackhaulRow) -> BackhaulLoop:
        orders = BackhaulOrders(row.mode, row.planner, row.demand["matrix"], row.demand["factor"])  # type: ignore[arg-type]
        loop = BackhaulLoop(scenario, choice, orders, self.recorder, list(row.choice), self.make)
        loop.start()
        self.loops[loop.name] = loop
        return loop

    def _fail(self, name: str, error: Exception) -> None:
        self.broken[name] = str(error) or type(error).__name__
        self.recorder.event("loop_failed", self.broken[name], loop=name)
