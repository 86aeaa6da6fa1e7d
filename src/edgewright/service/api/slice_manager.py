"""The Slice Manager's compute chunks (NANCY D4.2, 3.1.2, Figures 1 and 2): a chunk is a share of this host.

Errors carry `message`. Storage quotas need a file system that has them, which this host's driver does not set: 501.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from edgewright.service import chunks
from edgewright.service.api import schemas
from edgewright.service.api.errors import NotSupported
from edgewright.service.api.keys import Running, WithKey
from edgewright.service.store.tables import ChunkRow

router = APIRouter(prefix="/api/v1.0", tags=["Edge/Cloud Compute Chunk"], route_class=schemas.StrictRoute)
NO_STORAGE = "this host sets no storage quota: ask for storage 0"
Json = dict[str, Any]


def _view(row: ChunkRow) -> Json:
    return {
        "id": row.id,
        "name": row.name,
        "user_id": row.body.get("user_id"),
        "description": row.body.get("description", ""),
        "compute_id": row.body.get("compute_id"),
        "requirements": {
            "cpus": {"required": row.cpus},
            "ram": {"required": row.ram_mb, "units": "MB"},
            "storage": {"required": 0, "units": "GB"},
        },
        "loop": row.loop or None,
    }


@router.get("/compute_chunk")
def get_chunks(runtime: Running) -> list[Json]:
    """Get Compute Chunks information."""
    return [_view(row) for row in chunks.chunks(runtime)]


@router.post("/compute_chunk", dependencies=[WithKey])
def post_chunk(runtime: Running, body: schemas.ComputeChunkInput) -> Json:
    """Create a new Compute Chunk. 409 with what is left where the host has no room."""
    if body.requirements.storage.required > 0:
        raise NotSupported(NO_STORAGE)
    more = {"user_id": body.user_id, "description": body.description, "compute_id": body.compute_id}
    needs = body.requirements
    return _view(chunks.create(runtime, body.name, needs.cpus.required, needs.ram.required, more))


@router.get("/compute_chunk/{compute_chunk_id}")
def get_chunk(runtime: Running, compute_chunk_id: str) -> Json:
    """Get individual Compute Chunk information."""
    return _view(chunks.chunk(runtime, compute_chunk_id))


@router.delete("/compute_chunk/{compute_chunk_id}", status_code=204, dependencies=[WithKey])
def delete_chunk(runtime: Running, compute_chunk_id: str) -> None:
    """Delete a Compute Chunk. 409 while a loop runs in it."""
    chunks.remove(runtime, compute_chunk_id)


@router.put("/compute_chunk/{compute_chunk_id}/cpus", status_code=204, dependencies=[WithKey])
def put_cpus(runtime: Running, compute_chunk_id: str, body: schemas.CpusInput | schemas.Amount) -> None:
    """Modify the CPU quota, cores. The loop in the chunk shrinks its limits at once where they no longer fit."""
    chunks.resize(runtime, compute_chunk_id, cpus=body if isinstance(body, float) else body.cpus.required)


@router.put("/compute_chunk/{compute_chunk_id}/ram", status_code=204, dependencies=[WithKey])
def put_ram(runtime: Running, compute_chunk_id: str, body: schemas.RamInput | schemas.Amount) -> None:
    """Modify the RAM quota, MB."""
    chunks.resize(runtime, compute_chunk_id, ram_mb=body if isinstance(body, float) else body.ram.required)


@router.put("/compute_chunk/{compute_chunk_id}/storage", status_code=204, dependencies=[WithKey])
def put_storage(runtime: Running, compute_chunk_id: str, body: schemas.StorageInput | schemas.Amount) -> None:
    """Modify the storage quota, GB: 501, unless it asks for none."""
    chunks.chunk(runtime, compute_chunk_id)
    if (body if isinstance(body, float) else body.storage.required) > 0:
        raise NotSupported(NO_STORAGE)
