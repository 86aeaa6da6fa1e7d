"""The process's loops: restored at the start, kept under one lease, ended at the end.

One worker at a time runs the loops and books the host; others stand by and take over when its lease runs out.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from edgewright.core.documents import validate
from edgewright.core.errors import CapacityError, InputError
from edgewright.core.ledger import Ledger
from edgewright.drivers.host import HostError, Limits
from edgewright.scaling.control import Controller
from edgewright.scaling.model import MB, Scenario, read_scenario
from edgewright.scaling.policies import make_policy
from edgewright.service.backhauls import Backhauls
from edgewright.service.elasticity.keeper import Elasticity
from edgewright.service.fulfilment.live import Fulfilment
from edgewright.service.fulfilment.loops import end as end_loop
from edgewright.service.loops.choice import choose, choose_for, forget, make_slice
from edgewright.service.loops.edits import edit
from edgewright.service.loops.leases import LEASE, RENEW_S, Hold, Leases
from edgewright.service.loops.loop import Loop, Orders, end_all, first_limits, plain_limits
from edgewright.service.loops.orders import keep_loop, policy_of, refit
from edgewright.service.loops.slices import DriverChoice, RunningSlice
from edgewright.service.migrations import Migrations
from edgewright.service.refusals import Conflict
from edgewright.service.settings import Settings
from edgewright.service.slices.hosting import amounts
from edgewright.service.slices.live import Slices
from edgewright.service.store import Store, StoreError
from edgewright.service.store.recorder import Recorder
from edgewright.service.store.tables import ChunkRow, LoopRow
from edgewright.service.topologies import Topologies

log = structlog.get_logger("edgewright.runtime")
DELETED = "deleted"  # the mode of a loop that is being deleted, so that a crash in between does not bring it back
REFUSALS = (InputError, CapacityError, Conflict, HostError, OSError)  # why a loop cannot be run
SliceFactory = Callable[[Settings, DriverChoice, Scenario, Path, Mapping[str, int]], RunningSlice]


@dataclass
class Runtime:
    """What one process runs. `active` while it has the lease."""

    settings: Settings
    store: Store
    leases: Leases
    make: SliceFactory = make_slice
    loops: dict[str, Loop] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)  # loops of the store that cannot be run, and why
    choice: DriverChoice | None = None
    ledger: Ledger = field(default_factory=lambda: Ledger({"cpu": 0.0, "memory_bytes": 0.0}))
    active: bool = False
    recorder: Recorder = field(init=False)
    backhauls: Backhauls = field(init=False)
    migrations: Migrations = field(init=False)
    topologies: Topologies = field(init=False)
    slices: Slices = field(init=False)
    fulfilment: Fulfilment = field(init=False)
    elasticity: Elasticity = field(init=False)
    changing: threading.RLock = field(default_factory=threading.RLock)  # held while loops or chunks come and go
    _hold: Hold | None = None  # while it has the lease
    _stop: threading.Event = field(default_factory=threading.Event)
    _wake: threading.Event = field(default_factory=threading.Event)  # for the keeper: it ends, or the lease is lost
    _keeper: threading.Thread | None = None
    _given: Scenario | None = None  # the settings' scenario as it was last read

    def __post_init__(self) -> None:
        self.recorder = Recorder(self.store, self.settings.retention_hours * 3600)
        self.backhauls = Backhauls(self.settings, self.store, self.recorder, self.changing, self.taken)
        self.migrations = Migrations(self.settings, self.store, self.recorder, self.changing, self.taken)
        self.topologies = Topologies(self.settings.data_dir / "topologies")
        self.slices = Slices(self)
        self.fulfilment = Fulfilment(self)
        self.elasticity = Elasticity(self)

    def start(self) -> None:
        """Raises InputError for a bad scenario or driver, StoreError where the store cannot be read.

        CapacityError where the host has no room for the scenario, and there is nothing else to run.
        """
        self.recorder.start()
        if self.settings.role in ("all", "loops"):
            if self.settings.scenario is not None:  # one that stands by reads it too, while someone looks
                self._given = read_scenario(self.settings.scenario)
            self.backhauls.read_given()
            self.migrations.read_given()
            self._take_over()
            self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
            self._keeper.start()

    def ask_to_stop(self) -> None:
        """Before `close`: what takes long is broken off, and is done at the next start."""
        self._stop.set()
        self.fulfilment.workflows.ask_to_stop()
        self.slices.give_up()

    def close(self) -> None:
        """End the loops and their services, then write what is still to be written."""
        self._stop.set()
        self._wake.set()
        if self._keeper is not None:
            self._keeper.join()
        self._let_go()
        self.recorder.close()

    @property
    def trouble(self) -> list[str]:
        """Why this process is less than well; empty if it is."""
        found = [f"database: {self.recorder.trouble}"] if self.recorder.trouble else []
        if self.recorder.waiting > 1000 or self.recorder.lost:
            found.append(f"{self.recorder.waiting} records wait for the database, {self.recorder.lost} were lost")
        found += [f"loop {name} cannot be run: {reason}" for name, reason in list(self.broken.items())]
        for loop in list(self.loops.values()):
            if loop.phase == "failed":
                found.append(f"loop {loop.name} does not start")
            found += [f"loop {loop.name}: {warning}" for warning in loop.warnings]
        for part in (self.backhauls, self.migrations, self.slices, self.fulfilment, self.elasticity):
            found += part.trouble
        return found

    @cached_property
    def capabilities(self) -> list[dict[str, Any]]:
        """What this host can do for real, probed once, in seconds."""
        from edgewright.drivers.capabilities import probe

        return [asdict(capability) for capability in probe()]

    def knows(self, loop: str) -> bool:
        """Whether the store has that loop. Raises StoreError."""
        with self.store.read() as session:
            return session.get(LoopRow, loop) is not None

    def taken(self, name: str) -> bool:
        """Whether a loop of any kind has that name. Raises StoreError."""
        kinds = (self, self.backhauls, self.migrations)
        return name in self.loops or any(kind.knows(name) for kind in kinds)

    # Loops

    def create(self, scenario: Scenario, folder: Path) -> Loop:
        """A new loop in a chunk of its own, all or nothing.

        Raises InputError (a name in use, an unknown policy), CapacityError (the host has no room), Conflict (a chunk
        has the name of its own), StoreError.
        """
        with self.changing:
            if self.taken(scenario.name):
                raise InputError("name", scenario.name, "a name that no loop has yet")
            policy_of(scenario.control.policy, scenario)
            chunk = ChunkRow(
                id=str(uuid.uuid4()),
                name=f"slice of {scenario.name}",
                cpus=scenario.slice.cpu,
                ram_mb=scenario.slice.memory_mb,
                loop=scenario.name,
                body={"description": f"the slice of loop {scenario.name}"},
                created=time.time(),
            )
            row = LoopRow(
                name=scenario.name,
                scenario=scenario.model_dump(mode="json"),
                folder=str(folder.resolve()),
                mode="act",
                policy=scenario.control.policy,
                pins={},
                limits=plain_limits(first_limits(scenario)),
                load={},
                ports={},
                chunk_id=chunk.id,
                created=time.time(),
            )
            self.ledger.book(chunk.id, {"cpu": chunk.cpus, "memory_bytes": chunk.ram_mb * MB})
            try:
                with self.store.write() as session:
                    session.add_all([row, chunk])
            except BaseException as error:
                self.ledger.release(chunk.id)
                if isinstance(error, IntegrityError):
                    raise Conflict(f"a chunk is named {chunk.name!r}, as the slice of this loop would be") from None
                raise
            loop = None
            try:
                loop = self._prepare(row, chunk)
                return self.begin(loop)
            except BaseException:
                self.loops.pop(row.name, None)
                self._end(row.name, loop, chunk.id)
                raise

    def delete(self, name: str) -> None:
        """End a loop and its services, forget it and its chunk; its decisions stay until they are old."""
        with self.store.read() as session:
            service = session.scalar(select(LoopRow.service).where(LoopRow.name == name))
        if service:
            end_loop(self, service)
            return
        with self.changing:
            with self.store.read() as session:
                chunk_id = session.scalar(select(LoopRow.chunk_id).where(LoopRow.name == name))
            keep_loop(self.store, name, mode=DELETED)  # a database that refuses does so before anything has ended
            self._end(name, self.loops.pop(name, None), chunk_id)
            self.recorder.event("loop_deleted", f"loop {name} and its services ended")

    def _end(self, name: str, loop: Loop | None, chunk_id: str | None) -> None:
        """End a loop and forget it; where that fails it counts as broken, and can be deleted again."""
        try:
            if loop is not None:
                loop.close()
            with self.store.write() as session:
                session.execute(delete(LoopRow).where(LoopRow.name == name, LoopRow.chunk_id == chunk_id))
                session.execute(delete(ChunkRow).where(ChunkRow.id == chunk_id))
        except BaseException as error:
            self.broken[name] = f"it is not wholly deleted: {error}"
            raise
        self.broken.pop(name, None)
        if chunk_id is not None:
            self.ledger.release(chunk_id)
        try:
            forget(self.settings, name)
        except OSError as error:
            log.warning("files_stay", loop=name, detail=str(error))

    def _prepare(self, row: LoopRow, chunk: ChunkRow) -> Loop:
        """A loop from its row, not yet started. Raises InputError, HostError, OSError."""
        scenario = validate(Scenario, row.scenario, source=f"loop {row.name}")
        assert self.choice is not None
        driver = choose_for(self.choice, scenario)
        slice_ = self.make(self.settings, driver, scenario, Path(row.folder), row.ports)
        try:
            return self._loop(row, chunk, scenario, driver, slice_)
        except BaseException:
            slice_.close()
            raise

    def _loop(
        self, row: LoopRow, chunk: ChunkRow, scenario: Scenario, driver: DriverChoice, slice_: RunningSlice
    ) -> Loop:
        fitting = scenario.slice.model_copy(update={"cpu": chunk.cpus, "memory_mb": chunk.ram_mb})
        policy_name, mode, note = row.policy, row.mode, ""
        try:
            policy = policy_of(policy_name, scenario)[1]
        except InputError as error:  # a file that is gone since: the services must not stay down for it
            note = f"{row.policy} cannot be used any more; paused, limits stay as they are: {error}"
            policy_name, mode, policy = "fixed", "paused", make_policy("fixed", scenario)
        loop = Loop(
            scenario=scenario,
            slice=slice_,
            controller=Controller(scenario.model_copy(update={"slice": fitting}), policy, pins=dict(row.pins)),
            orders=Orders(mode, policy_name, dict(row.pins), chunk.cpus, chunk.ram_mb, dict(row.load)),  # type: ignore[arg-type]
            recorder=self.recorder,
            driver=driver,
            limits={name: Limits(**values) for name, values in row.limits.items()},
            folder=Path(row.folder),
            on_started=lambda: keep_loop(self.store, row.name, ports=dict(slice_.ports)),
        )
        refit(loop)
        if note:
            loop.event("policy_failed", note)
        return loop

    def begin(self, loop: Loop) -> Loop:
        """Run it."""
        loop.start()
        self.loops[loop.name] = loop
        self.broken.pop(loop.name, None)
        return loop

    # The lease

    def _take_over(self) -> None:
        """Where the lease is free. One that is lost meanwhile wakes the keeper, which lets go."""
        self._hold = self.leases.hold(LEASE, self._wake.set)
        if self._hold is None:
            return
        try:
            with self.changing:
                self._restore_all()
        except BaseException:
            self._let_go()  # another worker may fare better
            raise

    def _restore_all(self) -> None:
        self.choice = choose(self.settings)
        self.slices.open()
        self.ledger = Ledger(
            {
                "cpu": self.choice.capacity.cpu,
                "memory_bytes": float(self.choice.capacity.memory_bytes),
                "storage_bytes": self.slices.hosting.storage_bytes,
            }
        )
        with self.store.read() as session:
            chunks = {chunk.id: chunk for chunk in session.scalars(select(ChunkRow))}
            rows = session.scalars(select(LoopRow).where(LoopRow.service == "").order_by(LoopRow.created)).all()
        for chunk in chunks.values():
            self._rebook(chunk)
        given = self._read_given()
        self.broken = {}
        self.active = True
        for row in rows:
            self._restore(row, chunks[row.chunk_id], given if given and row.name == given.name else None)
        if given is not None and given.name not in {*self.loops, *self.broken}:
            try:
                assert self.settings.scenario is not None
                self.create(given, self.settings.scenario.parent)
            except REFUSALS as error:
                if not rows and not chunks:  # there is nothing to give up
                    raise
                self.fail(given.name, error)
        self.backhauls.restore()
        self.migrations.restore()
        self.topologies.restore()
        self.slices.restore()
        self.fulfilment.restore()
        self.elasticity.restore()

    def _read_given(self) -> Scenario | None:
        """As it is now; as it was where it cannot be read any more, which must not keep the loops from running."""
        if self.settings.scenario is None:
            return None
        try:
            self._given = read_scenario(self.settings.scenario)
        except InputError as error:
            if self._given is None:
                raise
            self.recorder.event("scenario_failed", f"{error}: taken as it was before")
        return self._given

    def _restore(self, row: LoopRow, chunk: ChunkRow, given: Scenario | None) -> None:
        """Run a stored loop again. One that cannot be is told, not fatal; of an edited one that cannot be, the old."""
        refused = ""
        try:
            if row.mode == DELETED:
                self._end(row.name, self._prepare(row, chunk), row.chunk_id)  # what a crash left of it
                return
            if given is not None:
                try:
                    edit(self, row, chunk, given)
                except (InputError, CapacityError) as error:
                    refused = f"{self.settings.scenario} was edited, and cannot be taken over: {error}"
            loop = self.begin(self._prepare(row, chunk))
            if refused:
                loop.trouble.warn("scenario", refused, "scenario_failed")
        except Exception as error:  # what an older version kept may be of any form: the other loops must run
            self.fail(row.name, error)

    def fail(self, name: str, error: Exception) -> None:
        """It cannot be run: told as trouble."""
        self.broken[name] = str(error) or type(error).__name__
        self.recorder.event("loop_failed", self.broken[name], loop=name)

    def _rebook(self, chunk: ChunkRow) -> None:
        """What was promised is kept; a host that shrank since is a warning, not a refusal to start."""
        booked = amounts(cpus=chunk.cpus, ram_mb=chunk.ram_mb, storage_gb=chunk.body.get("storage_gb", 0.0))
        for resource, amount in booked.items():
            short = amount - self.ledger.left(resource)
            if short > 0:
                self.recorder.event("overbooked", f"{chunk.name}: {short:g} of {resource} more than this host has")
                self.ledger.capacity[resource] += short
        self.ledger.book(chunk.id, booked)

    def _let_go(self) -> None:
        try:
            self.elasticity.close()
            self.fulfilment.close()
            with self.changing:
                self.active = False
                end_all(self.loops)
                end_all(self.backhauls.loops)
                end_all(self.migrations.loops)
                self.topologies.close()
                self.slices.close()
        finally:
            hold, self._hold = self._hold, None
            try:
                if hold is not None:
                    hold.release()
            except StoreError as error:
                log.warning("lease_not_released", detail=str(error))

    def _keep(self) -> None:
        """Find the lease free and the loops start here; lose it to another worker and they end here."""
        while True:
            self._wake.wait(RENEW_S)
            self._wake.clear()
            if self._stop.is_set():
                return
            try:
                if self._hold is None:
                    self._take_over()
                elif self._hold.lost:
                    self._let_go()
            except Exception as error:  # without this thread nobody would take over
                log.error("take_over_failed", detail=f"{type(error).__name__}: {error}")
