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
from sqlalchemy import delete, select, update

from edgewright.core.documents import validate
from edgewright.core.errors import InputError
from edgewright.core.ledger import Ledger
from edgewright.drivers.host import HostError, Limits
from edgewright.scaling.control import Controller
from edgewright.scaling.model import MB, Scenario, read_scenario
from edgewright.scaling.policies import make_policy
from edgewright.service.loops.choice import choose, choose_for, make_slice
from edgewright.service.loops.leases import LEASE, RENEW_S, Leases
from edgewright.service.loops.loop import Loop, Orders, first_limits, plain_limits
from edgewright.service.loops.orders import keep_loop, refit
from edgewright.service.loops.slices import DriverChoice, RunningSlice
from edgewright.service.settings import Settings
from edgewright.service.store import Store, StoreError
from edgewright.service.store.recorder import Recorder
from edgewright.service.store.tables import ChunkRow, LoopRow

log = structlog.get_logger("edgewright.runtime")
SliceFactory = Callable[[Settings, DriverChoice, Scenario, Path, Mapping[str, int]], RunningSlice]


@dataclass
class Runtime:
    """What one process runs. `active` while it has the lease."""

    settings: Settings
    store: Store
    leases: Leases
    make: SliceFactory = make_slice
    loops: dict[str, Loop] = field(default_factory=dict)
    drivers: dict[str, DriverChoice] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)  # loops of the store that cannot be run, and why
    choice: DriverChoice | None = None
    ledger: Ledger = field(default_factory=lambda: Ledger({"cpu": 0.0, "memory_bytes": 0.0}))
    active: bool = False
    recorder: Recorder = field(init=False)
    changing: threading.RLock = field(default_factory=threading.RLock)  # held while loops or chunks come and go
    _stop: threading.Event = field(default_factory=threading.Event)
    _keeper: threading.Thread | None = None

    def __post_init__(self) -> None:
        self.recorder = Recorder(self.store, self.settings.retention_hours * 3600)

    def start(self) -> None:
        """Raises InputError for a bad scenario or driver, StoreError where the store cannot be read."""
        self.recorder.start()
        if self.settings.role in ("all", "loops"):
            self._take_over()
            self._keeper = threading.Thread(target=self._keep, name="lease", daemon=True)
            self._keeper.start()

    def close(self) -> None:
        """End the loops and their services, then write what is still to be written."""
        self._stop.set()
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
        found += [f"loop {name} cannot be run: {reason}" for name, reason in self.broken.items()]
        for loop in list(self.loops.values()):
            if loop.phase == "failed":
                found.append(f"loop {loop.name} does not start")
            found += [f"loop {loop.name}: {warning}" for warning in loop.warnings]
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

    # Loops

    def create(self, scenario: Scenario, folder: Path) -> Loop:
        """A new loop in a chunk of its own, all or nothing.

        Raises InputError (a name in use, an unknown policy), CapacityError (the host has no room), StoreError.
        """
        with self.changing:
            if scenario.name in self.loops or self.knows(scenario.name):
                raise InputError("name", scenario.name, "a name that no loop has yet")
            make_policy(scenario.control.policy, scenario)
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
            loop = None
            try:
                with self.store.write() as session:
                    session.add_all([row, chunk])
                    session.flush()
                    loop = self._prepare(row, chunk)
            except BaseException:
                self.ledger.release(chunk.id)
                if loop is not None:
                    loop.slice.close()
                raise
            return self._begin(loop)

    def delete(self, name: str) -> None:
        """End a loop and its services, forget it and its chunk; its decisions stay until they are old."""
        with self.changing:
            with self.store.write() as session:  # a database that refuses does so before anything has ended
                chunk_id = session.scalar(select(LoopRow.chunk_id).where(LoopRow.name == name))
                session.execute(delete(LoopRow).where(LoopRow.name == name))
                session.execute(delete(ChunkRow).where(ChunkRow.id == chunk_id))
                if loop := self.loops.pop(name, None):
                    loop.stop()
                    loop.slice.close()
            self.broken.pop(name, None)
            if chunk_id is not None:
                self.ledger.release(chunk_id)
            self.recorder.event("loop_deleted", f"loop {name} and its services ended")

    def _prepare(self, row: LoopRow, chunk: ChunkRow) -> Loop:
        """A loop from its row, not yet started. Raises InputError, HostError, OSError."""
        scenario = validate(Scenario, row.scenario, source=f"loop {row.name}")
        assert self.choice is not None
        driver = choose_for(self.choice, scenario)
        slice_ = self.make(self.settings, driver, scenario, Path(row.folder), row.ports)
        fitting = scenario.slice.model_copy(update={"cpu": chunk.cpus, "memory_mb": chunk.ram_mb})
        policy_name, mode, note = row.policy, row.mode, ""
        try:
            policy = make_policy(policy_name, scenario)
        except InputError as error:  # a file that is gone since: the services must not stay down for it
            note = f"{row.policy} cannot be used any more; paused, limits stay as they are: {error}"
            policy_name, mode, policy = "fixed", "paused", make_policy("fixed", scenario)
        loop = Loop(
            scenario=scenario,
            slice=slice_,
            controller=Controller(scenario.model_copy(update={"slice": fitting}), policy, pins=dict(row.pins)),
            orders=Orders(mode, policy_name, dict(row.pins), chunk.cpus, chunk.ram_mb, dict(row.load)),  # type: ignore[arg-type]
            recorder=self.recorder,
            limits={name: Limits(**values) for name, values in row.limits.items()},
            folder=Path(row.folder),
            on_started=lambda: keep_loop(self.store, row.name, ports=dict(slice_.ports)),
        )
        refit(loop)
        if note:
            loop.event("policy_failed", note)
        self.drivers[row.name] = driver
        return loop

    def _begin(self, loop: Loop) -> Loop:
        loop.start()
        self.loops[loop.name] = loop
        return loop

    # The lease

    def _take_over(self) -> None:
        if not self.leases.take(LEASE):
            return
        with self.changing:
            self.choice = choose(self.settings)
            self.ledger = Ledger(
                {"cpu": self.choice.capacity.cpu, "memory_bytes": float(self.choice.capacity.memory_bytes)}
            )
            with self.store.read() as session:
                chunks = {chunk.id: chunk for chunk in session.scalars(select(ChunkRow))}
                rows = session.scalars(select(LoopRow).order_by(LoopRow.created)).all()
            for chunk in chunks.values():
                self._rebook(chunk)
            given = read_scenario(self.settings.scenario)
            self.active = True
            try:
                for row in rows:
                    self._restore(row, chunks[row.chunk_id], given if row.name == given.name else None)
                if given.name not in {row.name for row in rows}:
                    self.create(given, self.settings.scenario.parent)
            except BaseException:
                self._let_go()
                raise

    def _restore(self, row: LoopRow, chunk: ChunkRow, given: Scenario | None) -> None:
        """Run a stored loop again. One that cannot be, other than that of the scenario given, is told, not fatal."""
        try:
            if given is not None:
                self._update(row, chunk, given)
            self._begin(self._prepare(row, chunk))
        except (InputError, HostError, OSError) as error:
            if given is not None:
                raise
            self.broken[row.name] = str(error)
            self.recorder.event("loop_failed", str(error), loop=row.name)

    def _rebook(self, chunk: ChunkRow) -> None:
        """What was promised is kept; a host that shrank since is a warning, not a refusal to start."""
        for resource, amount in (("cpu", chunk.cpus), ("memory_bytes", chunk.ram_mb * MB)):
            short = amount - self.ledger.left(resource)
            if short > 0:
                self.recorder.event("overbooked", f"{chunk.name}: {short:g} of {resource} more than this host has")
                self.ledger.capacity[resource] += short
        self.ledger.book(chunk.id, {"cpu": chunk.cpus, "memory_bytes": chunk.ram_mb * MB})

    def _update(self, row: LoopRow, chunk: ChunkRow, given: Scenario) -> None:
        """The scenario file was edited since: its services and slice hold, users' orders about what is left stay."""
        fresh = given.model_dump(mode="json")
        if row.scenario == fresh:
            return
        old, row.scenario = row.scenario, fresh
        limits = plain_limits(first_limits(given))
        same = {s["name"] for s in old["services"] if s in fresh["services"]}
        row.limits = {name: row.limits[name] if name in same else limit for name, limit in limits.items()}
        row.pins = {name: cpu for name, cpu in row.pins.items() if name in same}
        row.load = {name: factor for name, factor in row.load.items() if name in limits}
        if old["control"]["policy"] != given.control.policy:
            row.policy = given.control.policy
        if old["slice"] != fresh["slice"]:
            self.ledger.book(chunk.id, {"cpu": given.slice.cpu, "memory_bytes": given.slice.memory_mb * MB})
            chunk.cpus, chunk.ram_mb = given.slice.cpu, given.slice.memory_mb
        with self.store.write() as session:
            kept = ("scenario", "limits", "pins", "load", "policy")
            values = {name: getattr(row, name) for name in kept}
            session.execute(update(LoopRow).where(LoopRow.name == row.name).values(**values))
            size = {"cpus": chunk.cpus, "ram_mb": chunk.ram_mb}
            session.execute(update(ChunkRow).where(ChunkRow.id == chunk.id).values(**size))
        self.recorder.event("scenario", f"{self.settings.scenario} was edited: taken over", loop=row.name)

    def _let_go(self) -> None:
        with self.changing:
            was_active, self.active = self.active, False
            for loop in self.loops.values():
                loop.ask_to_stop()
            for name, loop in list(self.loops.items()):
                loop.stop()
                try:
                    loop.slice.close()
                except Exception as error:  # the next loop's services must end too
                    log.error("close_failed", loop=name, detail=str(error))
                del self.loops[name]
        if was_active:
            try:
                self.leases.release(LEASE)
            except StoreError as error:
                log.warning("lease_not_released", detail=str(error))

    def _keep(self) -> None:
        """Renew the lease; lose it to another worker and the loops end here; find it free and they start here."""
        while not self._stop.wait(RENEW_S):
            try:
                if not self.active:
                    self._take_over()
                elif not self.leases.take(LEASE):
                    log.error("lease_lost", detail="another worker runs the loops now")
                    self._let_go()
            except StoreError as error:  # nobody else can take it either: the loops go on
                log.warning("lease_not_renewed", detail=str(error))
            except InputError as error:
                log.error("take_over_failed", detail=str(error))
