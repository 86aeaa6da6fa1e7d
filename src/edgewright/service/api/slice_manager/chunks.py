"""Chunks: shares of this host, of a physical network, of cells.

What a quota PUT changes is in force when it answers 204; 409 says what is left, or what runs in the chunk and needs it.
"""

from __future__ import annotations

from fastapi import APIRouter

from edgewright.service.api.keys import Running, WithKey
from edgewright.service.api.reading import StrictRoute
from edgewright.service.api.slice_manager import bodies
from edgewright.service.slices import compute, networks, radio, records
from edgewright.service.slices.records import COMPUTE_CHUNK, NETWORK_CHUNK, RADIO_CHUNK, RAN, Json

router = APIRouter(route_class=StrictRoute)
COMPUTE, NETWORK, RADIO = "Edge/Cloud Compute Chunk", "Network Chunk", "Radio Chunk"


@router.get("/compute_chunk", tags=[COMPUTE])
def get_chunks(runtime: Running) -> list[Json]:
    """Get Compute Chunks information."""
    with runtime.store.read() as session:
        return records.listed(session, COMPUTE_CHUNK)


@router.post("/compute_chunk", tags=[COMPUTE], dependencies=[WithKey])
def post_chunk(runtime: Running, body: bodies.ComputeChunk) -> Json:
    """Create a new Compute Chunk. 409 with what is left where the host has no room; 501 for storage it cannot give."""
    needs = body.requirements
    given = body.model_dump(mode="json", exclude={"requirements"})
    return compute.create(runtime, given, needs.cpus.required, needs.ram.required, needs.storage.required)


@router.get("/compute_chunk/{compute_chunk_id}", tags=[COMPUTE])
def get_chunk(runtime: Running, compute_chunk_id: str) -> Json:
    """Get individual Compute Chunk information."""
    with runtime.store.read() as session:
        return records.known(session, COMPUTE_CHUNK, compute_chunk_id)


@router.delete("/compute_chunk/{compute_chunk_id}", tags=[COMPUTE], status_code=204, dependencies=[WithKey])
def delete_chunk(runtime: Running, compute_chunk_id: str) -> None:
    """Delete a Compute Chunk. 409 while a loop or a slice uses it."""
    compute.remove(runtime, compute_chunk_id)


@router.put("/compute_chunk/{compute_chunk_id}/cpus", tags=[COMPUTE], status_code=204, dependencies=[WithKey])
def put_cpus(runtime: Running, compute_chunk_id: str, body: bodies.CpusInput | bodies.Cpus) -> None:
    """Modify the CPU quota, cores. The loop in the chunk shrinks its limits at once where they no longer fit."""
    compute.resize(runtime, compute_chunk_id, cpus=body if isinstance(body, float) else body.cpus.required)


@router.put("/compute_chunk/{compute_chunk_id}/ram", tags=[COMPUTE], status_code=204, dependencies=[WithKey])
def put_ram(runtime: Running, compute_chunk_id: str, body: bodies.RamInput | bodies.Megabytes) -> None:
    """Modify the RAM quota, MB."""
    compute.resize(runtime, compute_chunk_id, ram_mb=body if isinstance(body, float) else body.ram.required)


@router.put("/compute_chunk/{compute_chunk_id}/storage", tags=[COMPUTE], status_code=204, dependencies=[WithKey])
def put_storage(runtime: Running, compute_chunk_id: str, body: bodies.StorageInput | bodies.Gigabytes) -> None:
    """Modify the storage quota, GB. 501 where this host has no quotas of storage."""
    compute.resize_storage(runtime, compute_chunk_id, body if isinstance(body, float) else body.storage.required)


@router.get("/network_chunk", tags=[NETWORK])
def get_networks(runtime: Running) -> list[Json]:
    """Get Network Chunks information."""
    with runtime.store.read() as session:
        return records.listed(session, NETWORK_CHUNK)


@router.post("/network_chunk", tags=[NETWORK], dependencies=[WithKey])
def post_network(runtime: Running, body: bodies.NetworkChunk) -> Json:
    """Create a new Network Chunk: an isolated network with a tag, a subnet and a rate of its own."""
    return networks.create(runtime, body.model_dump(mode="json"))


@router.get("/network_chunk/{network_chunk_id}", tags=[NETWORK])
def get_network(runtime: Running, network_chunk_id: str) -> Json:
    """Get individual Network Chunk information."""
    with runtime.store.read() as session:
        return records.known(session, NETWORK_CHUNK, network_chunk_id)


@router.delete("/network_chunk/{network_chunk_id}", tags=[NETWORK], status_code=204, dependencies=[WithKey])
def delete_network(runtime: Running, network_chunk_id: str) -> None:
    """Delete a Network Chunk. 409 while a slice uses it."""
    networks.remove(runtime, network_chunk_id)


@router.put("/network_chunk/{network_chunk_id}/bandwidth", tags=[NETWORK], status_code=204, dependencies=[WithKey])
def put_bandwidth(runtime: Running, network_chunk_id: str, body: bodies.BandwidthInput | bodies.Rate) -> None:
    """Modify the rate, Mbit/s."""
    networks.set_rate(runtime, network_chunk_id, body if isinstance(body, float) else body.bandwidth.required)


_RADIO = "/ran_infrastructure/{ran_infrastructure_id}/radio_chunk"


@router.get(_RADIO, tags=[RADIO])
def get_radios(runtime: Running, ran_infrastructure_id: str) -> list[Json]:
    """Get the Radio Chunks of a RAN infrastructure."""
    with runtime.store.read() as session:
        records.known(session, RAN, ran_infrastructure_id)
        found = records.listed(session, RADIO_CHUNK)
    return [chunk for chunk in found if chunk["ran_infrastructure_id"] == ran_infrastructure_id]


@router.post(_RADIO, tags=[RADIO], dependencies=[WithKey])
def post_radio(runtime: Running, ran_infrastructure_id: str, body: bodies.RadioChunk) -> Json:
    """Create a new Radio Chunk: physical resource blocks of cells. 409 with what a cell has left."""
    return radio.create(runtime, ran_infrastructure_id, body.model_dump(mode="json"))


@router.get(_RADIO + "/{radio_chunk_id}", tags=[RADIO])
def get_radio(runtime: Running, ran_infrastructure_id: str, radio_chunk_id: str) -> Json:
    """Get individual Radio Chunk information."""
    with runtime.store.read() as session:
        return radio.of_ran(session, ran_infrastructure_id, radio_chunk_id)


@router.delete(_RADIO + "/{radio_chunk_id}", tags=[RADIO], status_code=204, dependencies=[WithKey])
def delete_radio(runtime: Running, ran_infrastructure_id: str, radio_chunk_id: str) -> None:
    """Delete a Radio Chunk. 409 while a slice uses it."""
    radio.remove(runtime, ran_infrastructure_id, radio_chunk_id)
