"""The scaling loop of an ordered service: it decides for one replica, and orders by the standard APIs as users do."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from edgewright.core.documents import validate
from edgewright.core.errors import InputError
from edgewright.scaling.control import Controller
from edgewright.scaling.model import Scenario
from edgewright.scaling.policies import make_policy
from edgewright.service.loops.instance_slice import InstanceSlice
from edgewright.service.loops.loop import Loop, Orders, end_all
from edgewright.service.loops.orders import policy_of
from edgewright.service.packages import scenario_of
from edgewright.service.slices import records
from edgewright.service.slices.instance import Instance
from edgewright.service.store.tables import LoopRow

if TYPE_CHECKING:
    from edgewright.service.runtime import Runtime


def begin(runtime: Runtime, service_id: str, instance_id: str) -> str:
    """-> the loop's name; the same again changes nothing. Raises InputError for a policy that does not fit."""
    running: Instance = runtime.slices.running[instance_id]
    with runtime.changing:
        if runtime.knows(running.name):
            return running.name
        scenario = scenario_of(running.package, running.name)
        policy = policy_of(scenario.control.policy, scenario)[0]
        limits = {running.name: {"cpu": running.cpus, "memory_bytes": running.limits.memory_bytes}}
        row = LoopRow(
            name=running.name,
            scenario=scenario.model_dump(mode="json"),
            folder="",
            mode="act" if running.package.policy else "paused",  # it observes, for the policies of elasticity
            policy=policy,
            pins={},
            limits=limits,
            load={},
            ports={},
            chunk_id="",
            service=service_id,
            created=time.time(),
        )
        with runtime.store.write() as session:
            session.add(row)
        _begin(runtime, row)
    return running.name


def end(runtime: Runtime, service_id: str) -> None:
    """It need not be there; the service runs on."""
    with runtime.store.write() as session:
        name = session.scalar(select(LoopRow.name).where(LoopRow.service == service_id))
        session.execute(delete(LoopRow).where(LoopRow.service == service_id))
    if name is not None:
        _close(runtime, name)
        runtime.recorder.event("loop_deleted", f"loop {name} ended; its service runs on")


@contextlib.contextmanager
def resting(runtime: Runtime, service_id: str) -> Iterator[None]:
    """While its service is made active or inactive; what was ordered of it is kept."""
    if (row := _row(runtime, service_id)) is not None:
        _close(runtime, row.name)
    try:
        yield
    finally:
        if (row := _row(runtime, service_id)) is not None:
            _try(runtime, row)
            if _row(runtime, service_id) is None:  # ended meanwhile
                _close(runtime, row.name)


def _row(runtime: Runtime, service_id: str) -> LoopRow | None:
    with runtime.store.read() as session:
        return session.scalar(select(LoopRow).where(LoopRow.service == service_id))


def close_all(runtime: Runtime) -> None:
    """For the end of this process; the next start begins them again."""
    mine = {name: loop for name, loop in runtime.loops.items() if isinstance(loop.slice, InstanceSlice)}
    for name in mine:
        del runtime.loops[name]
    end_all(mine)


def restore(runtime: Runtime) -> None:
    """After the services. One that cannot be is told, and the others run."""
    with runtime.store.read() as session:
        rows = session.scalars(select(LoopRow).where(LoopRow.service != "").order_by(LoopRow.created)).all()
    for row in rows:
        _try(runtime, row)


def _close(runtime: Runtime, name: str) -> None:
    """Not while `changing` is held: its step may be waiting for it."""
    if loop := runtime.loops.pop(name, None):
        loop.close()
    runtime.broken.pop(name, None)


def _try(runtime: Runtime, row: LoopRow) -> None:
    """Unless its service is not active."""
    try:
        _begin(runtime, row)
    except Exception as error:  # what an older version kept may be of any form
        runtime.fail(row.name, error)


def _begin(runtime: Runtime, row: LoopRow) -> None:
    running = next((each for each in runtime.slices.running.values() if each.name == row.name), None)
    if running is None:
        raise InputError("service", row.service, "one that runs")
    with runtime.store.read() as session:
        record = records.known(session, records.INSTANCE, running.id)
    if not record["active"] or record["status"] != records.READY:
        return
    scenario = validate(Scenario, row.scenario, source=f"loop {row.name}")
    policy_name, mode = row.policy, row.mode
    try:
        policy = policy_of(policy_name, scenario)[1]
    except InputError as error:
        runtime.recorder.event("policy_failed", f"{policy_name} cannot be used any more: {error}", loop=row.name)
        policy_name, mode, policy = "fixed", "paused", make_policy("fixed", scenario)

    def order(cpu: float, memory_mb: float) -> None:
        runtime.fulfilment.scale(row.service, {"cpu": round(cpu, 4), "memory": round(memory_mb, 3)})

    assert runtime.choice is not None
    loop = Loop(
        scenario=scenario,
        slice=InstanceSlice(scenario, running, order),
        controller=Controller(scenario, policy, pins=dict(row.pins)),
        orders=Orders(mode, policy_name, dict(row.pins), scenario.slice.cpu, scenario.slice.memory_mb, {}),  # type: ignore[arg-type]
        recorder=runtime.recorder,
        driver=runtime.choice,
        limits={running.name: running.limits},
        folder=Path(row.folder),
    )
    runtime.begin(loop)
