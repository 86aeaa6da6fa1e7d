"""Service packages over REST: a descriptor, then its artefacts, each checked against its checksum."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool
from fastapi.responses import JSONResponse, Response

from edgewright.core.documents import parse
from edgewright.core.errors import InputError
from edgewright.service.api.description import document
from edgewright.service.api.keys import MORE_WITH_KEY, HasKey, Running, WithKey, shown
from edgewright.service.api.reading import body_text
from edgewright.service.fulfilment import compose, onboarding
from edgewright.service.packages import Package

router = APIRouter(prefix="/api/edgewright/v1", tags=["package"])
Json = dict[str, Any]
ENVIRONMENT = ("descriptor", "run", "environment")
PART_BYTES = 1_000_000
_FILE: Json = {"type": "string", "format": "binary"}
_BYTES: Json = {"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": _FILE}}}}


@router.get("/packages", openapi_extra=MORE_WITH_KEY)
def get_packages(runtime: Running, known: HasKey) -> list[Json]:
    """All that are here, each with its descriptor and the artefacts that are missing. Without a key, the values of
    environment variables read `***`.
    """
    return [shown(each, known, *ENVIRONMENT) for each in onboarding.packages(runtime)]


@router.post("/packages", status_code=201, dependencies=[WithKey], openapi_extra=document(Package, "package"))
async def post_package(request: Request, runtime: Running) -> JSONResponse:
    """Onboard a package (`edgewright.package/1`) in JSON or YAML: it is in the service catalogue then."""
    text, is_yaml = await body_text(request)

    def take() -> Json:
        return onboarding.onboard(runtime, [parse(Package, text, source="body", yaml_syntax=is_yaml)])[0]

    made = await run_in_threadpool(take)
    return JSONResponse(made, 201, {"Location": f"{router.prefix}/packages/{made['id']}"})


@router.post(
    "/packages/compose",
    status_code=201,
    dependencies=[WithKey],
    openapi_extra=document(compose.ComposeFile, "compose"),
)
async def post_compose(request: Request, runtime: Running) -> list[Json]:
    """Onboard the services of a compose file, each as a package of its own, all or none."""
    text, is_yaml = await body_text(request)

    def take() -> list[Json]:
        return onboarding.onboard(runtime, compose.packages_of(text, yaml_syntax=is_yaml))

    return await run_in_threadpool(take)


@router.get("/packages/{package}", openapi_extra=MORE_WITH_KEY)
def get_package(runtime: Running, known: HasKey, package: str) -> Json:
    """One, by NAME:VERSION. Without a key, the values of its environment variables read `***`."""
    return shown(onboarding.package(runtime, package), known, *ENVIRONMENT)


@router.delete("/packages/{package}", status_code=204, dependencies=[WithKey])
def delete_package(runtime: Running, package: str) -> None:
    """With its artefacts (those of the last hour go later), and out of the catalogue. 409 while instances of it run."""
    onboarding.remove(runtime, package)


@router.put("/artefacts/{sha256}", status_code=204, dependencies=[WithKey], openapi_extra=_BYTES)
async def put_artefact(request: Request, runtime: Running, sha256: str) -> Response:
    """Send an artefact as bytes. 400 where they are not what the checksum says. A package that names it
    comes within an hour, or it may be removed.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise InputError("sha256", sha256, "64 hexadecimal digits")
    async with contextmanager_in_threadpool(runtime.slices.artefacts.receiving(sha256)) as take:
        async for part in _parts(request):
            await run_in_threadpool(take, part)
    return Response(status_code=204)


async def _parts(request: Request) -> AsyncIterator[bytes]:
    """The body in parts that are worth a thread."""
    part = bytearray()
    async for chunk in request.stream():
        part += chunk
        if len(part) >= PART_BYTES:
            yield bytes(part)
            part.clear()
    yield bytes(part)
