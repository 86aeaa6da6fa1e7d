"""5G infrastructure over REST: generated in the background from a city or a region, as numbers, a file and a map."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import FileResponse, JSONResponse

from edgewright.service.api.keys import Running, WithKey
from edgewright.service.api.reading import StrictRoute
from edgewright.service.generation import INFRASTRUCTURE, MAP, Asked
from edgewright.service.refusals import Conflict, NotFound
from edgewright.service.topologies import Topology

router = APIRouter(prefix="/api/edgewright/v1/topologies", tags=["topology"], route_class=StrictRoute)
Json = dict[str, Any]


def _topology(runtime: Running, name: str) -> Topology:
    found = runtime.topologies.kept.get(name)
    if found is None:
        raise NotFound("topology", name, known=f"{sorted(runtime.topologies.kept)}")
    return found


class _Page(FileResponse):
    media_type = "text/html"


Chosen = Annotated[Topology, Depends(_topology)]


@router.get("")
def get_topologies(runtime: Running) -> list[Json]:
    """All that are kept, oldest first, without what was asked: areas can be many."""
    return [
        {key: value for key, value in topology_view(each).items() if key != "asked"}
        for each in list(runtime.topologies.kept.values())
    ]


@router.post("", status_code=202, dependencies=[WithKey])
def post_topology(runtime: Running, body: Asked) -> JSONResponse:
    """Generate one in the background, after those that were asked for before. 409 for more than is made or kept."""
    made = runtime.topologies.create(body)
    return JSONResponse({"name": made.name, "phase": made.phase}, 202, {"Location": f"{router.prefix}/{made.name}"})


@router.get("/{name}")
def get_topology(chosen: Chosen) -> Json:
    """How far it is, what came of it, what was asked."""
    return topology_view(chosen)


@router.get("/{name}/infrastructure", responses={409: {}})
def get_infrastructure(chosen: Chosen, runtime: Running) -> FileResponse:
    """The `edgewright.infrastructure/1` document."""
    return _file(chosen, runtime, INFRASTRUCTURE, "application/json")


@router.get("/{name}/map", response_class=_Page, responses={409: {}})
def get_map(chosen: Chosen, runtime: Running) -> FileResponse:
    """A page that asks no other file of anyone."""
    return _file(chosen, runtime, MAP, "text/html", **{"Content-Security-Policy": "sandbox allow-scripts"})


@router.delete("/{name}", status_code=204, dependencies=[WithKey])
def delete_topology(chosen: Chosen, runtime: Running) -> None:
    """Forget it; one that waits or is being generated ends."""
    runtime.topologies.delete(chosen.name)


def _file(chosen: Topology, runtime: Running, file: str, kind: str, **headers: str) -> FileResponse:
    if chosen.phase != "ready":
        raise Conflict(f"topology {chosen.name!r} is not ready: it is {chosen.phase}")
    path = runtime.topologies.folder / chosen.name / file
    try:
        found = path.stat()
    except OSError as error:
        raise NotFound(f"file of topology {chosen.name!r}", file) from error
    return FileResponse(path, headers=headers, media_type=kind, stat_result=found)


def topology_view(topology: Topology) -> Json:
    """What the API shows of one."""
    made = topology.made.model_dump() if topology.made else {"cells": topology.cells}
    running = time.monotonic() - topology.began if topology.phase == "generating" else None
    return {
        "name": topology.name,
        "phase": topology.phase,
        "step": topology.step if topology.phase == "generating" else None,
        "created": topology.created,
        "seconds": running,
        **made,
        "error": topology.error.model_dump() if topology.error else None,
        "asked": topology.asked.model_dump(exclude_none=True) if topology.asked else None,
    }
