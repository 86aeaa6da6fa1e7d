"""The Slice Manager's API (NANCY D4.2, 3.1): users, what there is, chunks of it, slices, services and their telemetry.

Creates answer 200, deletes and quota PUTs 204. Errors carry `message` and `field`.
"""

from fastapi import APIRouter

from edgewright.service.api.slice_manager import chunks, resources, slices

router = APIRouter(prefix="/api/v1.0")
for part in (resources, chunks, slices):
    router.include_router(part.router)
