"""Radio chunks: physical resource blocks of cells, within what each cell has left, told to a RAN controller."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgewright.core.errors import CapacityError, InputError
from edgewright.core.registry import load
from edgewright.drivers.host import HostError
from edgewright.drivers.ran import CellTopology, RadioChunk, RanController, RanDriver
from edgewright.service.refusals import NotFound
from edgewright.service.slices import records
from edgewright.service.slices.records import RADIO_CHUNK, RAN, Json

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from edgewright.service.runtime import Runtime


def create(runtime: Runtime, ran_id: str, body: Mapping[str, Any]) -> Json:
    """Book PRBs of the infrastructure's cells. Raises NotFound, InputError (cells, ARFCN), CapacityError, Conflict."""
    with runtime.changing, runtime.store.write() as session:
        ran = records.known(session, RAN, ran_id)
        cells = {cell["id"]: cell for cell in ran["ran_infrastructure_data"]["cells"]}
        taken = taken_prbs(session, ran_id)
        for i, part in enumerate(body["chunk_topology"]["cells"]):
            field = f"chunk_topology.cells.{i}"
            cell = cells.get(part["cell_id"])
            if cell is None:
                raise InputError(f"{field}.cell_id", part["cell_id"], f"one of {sorted(cells)}")
            if part.get("arfcn") not in (None, cell["arfcn"]):
                raise InputError(f"{field}.arfcn", part["arfcn"], f"the cell's, {cell['arfcn']}")
            left = cell["prbs"] - taken[cell["id"]]
            if part["prbs"] > left:
                raise CapacityError(f"{field}.prbs", part["prbs"], left, owner=body["name"])
            taken[cell["id"]] += part["prbs"]
        return records.add(session, RADIO_CHUNK, {**body, "ran_infrastructure_id": ran_id})


def remove(runtime: Runtime, ran_id: str, chunk_id: str) -> None:
    """Raises NotFound, Conflict while a slice uses it."""
    with runtime.changing, runtime.store.write() as session:
        of_ran(session, ran_id, chunk_id)
        records.remove(session, RADIO_CHUNK, chunk_id)


def driver(name: str | None) -> RanDriver | None:
    """Of the setting. Raises InputError where it cannot be imported."""
    if name is None:
        return None
    try:
        found: RanDriver = load(name)
    except (ImportError, AttributeError) as error:
        raise InputError("ran_controller", name, f"package.module:callable ({error})") from None
    return found


def configure(runtime: Runtime, chunks: list[Json]) -> None:
    """All or none. Raises HostError with the RAN controller's reason."""
    done: list[Json] = []
    try:
        for chunk in chunks:
            done.append(chunk)
            for controller, share in _shares(runtime, chunk):
                controller.configure(share)
    except BaseException as error:
        try:
            unconfigure(runtime, done)
        except HostError as left:
            error.add_note(str(left))
            runtime.recorder.event("slices_failed", f"radio chunks stay configured: {left}")
        raise


def unconfigure(runtime: Runtime, chunks: list[Json]) -> None:
    """Each of them, whatever becomes of others; the same again is fine. Raises HostError naming those that stay."""
    stay = []
    for chunk in chunks:
        for controller, share in _shares(runtime, chunk):
            try:
                controller.remove(share.id)
            except HostError as error:
                stay.append(f"{share.id}: {error}")
    if stay:
        raise HostError("radio", "; ".join(stay))


def _shares(runtime: Runtime, chunk: Json) -> list[tuple[RanController, RadioChunk]]:
    """A chunk as the RAN controller takes it, cell by cell; none where there is no controller."""
    if (controller_of := runtime.slices.hosting.ran) is None:
        return []
    with runtime.store.read() as session:
        ran = records.known(session, RAN, chunk["ran_infrastructure_id"])
    cells = {cell["id"]: cell for cell in ran["ran_infrastructure_data"]["cells"]}
    controller, found = controller_of(ran), []
    for part in chunk["chunk_topology"]["cells"]:
        cell = {name: value for name, value in cells[part["cell_id"]].items() if name != "id"} | {"prbs": part["prbs"]}
        found.append((controller, RadioChunk(f"{chunk['id']}/{part['cell_id']}", CellTopology(**cell))))
    return found


def of_ran(session: Session, ran_id: str, chunk_id: str) -> Json:
    """Raises NotFound."""
    found = records.known(session, RADIO_CHUNK, chunk_id)
    if found["ran_infrastructure_id"] != ran_id:
        raise NotFound(RADIO_CHUNK, chunk_id)
    return found


def taken_prbs(session: Session, ran_id: str) -> Counter[str]:
    """By cell."""
    taken: Counter[str] = Counter()
    for chunk in records.listed(session, RADIO_CHUNK):
        if chunk["ran_infrastructure_id"] == ran_id:
            for part in chunk["chunk_topology"]["cells"]:
                taken[part["cell_id"]] += part["prbs"]
    return taken
