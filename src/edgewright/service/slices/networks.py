"""Network chunks: an isolated network of a slice on a physical network, with a tag of its own and a rate."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

from edgewright.core.errors import CapacityError, InputError
from edgewright.drivers.chunks import Underlay
from edgewright.service.refusals import Conflict
from edgewright.service.slices import records
from edgewright.service.slices.records import GOING, MAKING, NETWORK, NETWORK_CHUNK, READY, Json

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from edgewright.service.runtime import Runtime

PREFIX_LENGTH = 24  # of a chunk's subnet


def create(runtime: Runtime, body: Mapping[str, Any]) -> Json:
    """Book a tag, a subnet and a rate of the physical network, and make the chunk, or none of these.

    Raises NotFound, Conflict (name, tag), CapacityError (rate), HostError, StoreError.
    """
    with runtime.changing:
        with runtime.store.write() as session:
            physical = records.known(session, NETWORK, body["physical_network_id"], "physical_network_id")
            mates = _mates(session, physical["id"])
            if body["tag"] in {mate["tag"] for mate in mates}:
                raise Conflict(f"tag: {body['tag']} is in use on physical_network {physical['name']!r}")
            _check_rate(physical, mates, _rate(body), body["name"])
            record = {**body, "subnet": _free_subnet(physical, mates), "status": MAKING}
            record = records.add(session, NETWORK_CHUNK, record)
        try:
            _make(runtime, record, physical)
            with runtime.store.write() as session:
                return records.change(session, NETWORK_CHUNK, record["id"], status=READY)
        except BaseException:
            _drop(runtime, record["id"])
            raise


def remove(runtime: Runtime, chunk_id: str) -> None:
    """Raises NotFound, Conflict while a slice uses it, HostError (it stays as `deleting`)."""
    with runtime.changing:
        with runtime.store.write() as session:
            records.check_unused(session, NETWORK_CHUNK, chunk_id)
            record = records.change(session, NETWORK_CHUNK, chunk_id, status=GOING)
        _drop(runtime, chunk_id)
        runtime.slices.forget(f"network chunk {record['name']}")


def set_rate(runtime: Runtime, chunk_id: str, rate_mbps: float) -> None:
    """Booked, in force and kept, or none of these. Raises NotFound, CapacityError, HostError, StoreError."""
    with runtime.changing:
        with runtime.store.read() as session:
            record = records.known(session, NETWORK_CHUNK, chunk_id)
            physical = records.known(session, NETWORK, record["physical_network_id"])
            mates = [mate for mate in _mates(session, physical["id"]) if mate["id"] != chunk_id]
        _check_rate(physical, mates, rate_mbps, record["name"])
        network = runtime.slices.hosting.networks.get(chunk_id)
        if network is not None:
            network.set_rate(rate_mbps)
        try:
            with runtime.store.write() as session:
                needs = {**record["requirements"], "bandwidth": {"required": rate_mbps, "units": "Mbps"}}
                records.change(session, NETWORK_CHUNK, chunk_id, requirements=needs)
        except BaseException:
            if network is not None:
                network.set_rate(_rate(record))
            raise


def restore(runtime: Runtime) -> None:
    """Make the chunks that the store has, remove what a crash cut short. Raises StoreError."""
    driver = runtime.slices.hosting.network
    with runtime.store.read() as session:
        found = records.listed(session, NETWORK_CHUNK)
        physical = {network["id"]: network for network in records.listed(session, NETWORK)}
    ready = [record for record in found if record["status"] == READY]
    if driver is not None:
        with runtime.slices.watching("network chunks"):
            for id_ in driver.reconcile([record["id"] for record in ready]):
                runtime.recorder.event("removed", f"what was left of network chunk {id_}")
    for record in found:
        if record["status"] != READY:
            _drop(runtime, record["id"])
    for record in ready:
        with runtime.slices.watching(f"network chunk {record['name']}"):
            _make(runtime, record, physical[record["physical_network_id"]])


def check_physical(body: Mapping[str, Any]) -> None:
    """Raises InputError for a pool too small for one chunk."""
    pool = IPv4Network(body["data_subnetpool"])
    if pool.prefixlen > PREFIX_LENGTH:
        raise InputError("data_subnetpool", str(pool), f"a network of /{PREFIX_LENGTH} or larger")


def _make(runtime: Runtime, record: Json, physical: Json) -> None:
    hosting = runtime.slices.hosting
    if hosting.network is not None:
        underlay = Underlay(**physical["underlay"]) if physical.get("underlay") else Underlay()
        hosting.networks[record["id"]] = hosting.network.make(
            record["id"], tag=record["tag"], underlay=underlay, rate_mbps=_rate(record), subnet=record["subnet"]
        )


def _drop(runtime: Runtime, chunk_id: str) -> None:
    """Raises HostError or StoreError where something stays: the next start removes it."""
    if network := runtime.slices.hosting.networks.get(chunk_id):
        network.close()
    runtime.slices.hosting.networks.pop(chunk_id, None)
    with runtime.store.write() as session:
        records.collection(session, NETWORK_CHUNK).remove(chunk_id)


def _mates(session: Session, physical_id: str) -> list[Json]:
    return [chunk for chunk in records.listed(session, NETWORK_CHUNK) if chunk["physical_network_id"] == physical_id]


def _rate(record: Mapping[str, Any]) -> float | None:
    needs = record["requirements"].get("bandwidth")
    return None if needs is None else float(needs["required"])


def _check_rate(physical: Json, mates: list[Json], rate_mbps: float | None, owner: str) -> None:
    """A chunk without a rate takes nothing for sure."""
    if (capacity := physical.get("bandwidth_mbps")) is None or rate_mbps is None:
        return
    left = capacity - sum(_rate(mate) or 0.0 for mate in mates)
    if rate_mbps > left + 1e-9:
        raise CapacityError("bandwidth_mbps", rate_mbps, left, owner=owner)


def _free_subnet(physical: Json, mates: list[Json]) -> str:
    taken = {mate["subnet"] for mate in mates}
    for subnet in IPv4Network(physical["data_subnetpool"]).subnets(new_prefix=PREFIX_LENGTH):
        if str(subnet) not in taken:
            return str(subnet)
    raise CapacityError("data_subnetpool", 1, 0, owner=physical["name"])
