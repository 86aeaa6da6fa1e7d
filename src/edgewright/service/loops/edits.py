"""A scenario file that was edited between two runs of its loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import update

from edgewright.core.errors import InputError
from edgewright.scaling.model import MB, Scenario
from edgewright.service.loops.fit import least_cpu, least_memory_mb, pins_that_fit
from edgewright.service.loops.loop import first_limits, plain_limits
from edgewright.service.store.tables import ChunkRow, LoopRow

if TYPE_CHECKING:
    from edgewright.service.runtime import Runtime


def edit(runtime: Runtime, row: LoopRow, chunk: ChunkRow, given: Scenario) -> None:
    """The scenario file was edited since: its services and slice hold, users' orders about what is left stay.

    Raises InputError, CapacityError, and changes nothing, where the chunk or the host has no room for it.
    """
    fresh = given.model_dump(mode="json")
    old = row.scenario
    if old == fresh:
        return
    size = {"cpus": chunk.cpus, "ram_mb": chunk.ram_mb}
    if old.get("slice") != fresh["slice"]:
        size = {"cpus": given.slice.cpu, "ram_mb": given.slice.memory_mb}
    for range_, least, has in (
        ("cpu.min", least_cpu(given, {}), size["cpus"]),
        ("memory.min_mb", least_memory_mb(given), size["ram_mb"]),
    ):
        if least > has + 1e-9:
            raise InputError(f"services.{range_}", least, f"at most {has:g} in sum: so much has the loop's chunk")
    runtime.ledger.book(chunk.id, {"cpu": size["cpus"], "memory_bytes": size["ram_mb"] * MB})
    limits, policy = plain_limits(first_limits(given)), given.control.policy
    same = {s["name"] for s in old.get("services", ()) if s in fresh["services"]}
    in_chunk = given.model_copy(
        update={"slice": given.slice.model_copy(update={"cpu": size["cpus"], "memory_mb": size["ram_mb"]})}
    )
    pins = pins_that_fit(in_chunk, {name: cpu for name, cpu in row.pins.items() if name in same})
    values: dict[str, Any] = {
        "scenario": fresh,
        "limits": limits | {name: limit for name, limit in row.limits.items() if name in same},
        "pins": pins,
        "load": {name: factor for name, factor in row.load.items() if name in limits},
        "policy": row.policy if old.get("control", {}).get("policy") == policy else policy,
    }
    with runtime.store.write() as session:
        session.execute(update(LoopRow).where(LoopRow.name == row.name).values(**values))
        session.execute(update(ChunkRow).where(ChunkRow.id == chunk.id).values(**size))
    for name in row.pins.keys() - pins.keys():
        detail = "the pin no longer fits the edited scenario"
        runtime.recorder.event("unpinned", detail, loop=row.name, service=name)
    for kept, changes in ((row, values), (chunk, size)):
        for name, value in changes.items():
            setattr(kept, name, value)
    runtime.recorder.event("scenario", f"{runtime.settings.scenario} was edited: taken over", loop=row.name)
