"""Migration loops over REST: the road, the nodes and the service now, series, decisions, events and orders."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from edgewright.core.errors import InputError
from edgewright.migration.mobility import along
from edgewright.migration.rewards import breach
from edgewright.migration.scenario import LoopScenario, parse_loop
from edgewright.service.api import schemas
from edgewright.service.api.description import document
from edgewright.service.api.keys import Running, WithKey
from edgewright.service.api.kinds import loop_of, require_known
from edgewright.service.api.loops import decisions_of, events_of
from edgewright.service.api.reading import StrictRoute, body_text
from edgewright.service.api.views import decision_view, driver_view, stats_view
from edgewright.service.loops import migration_orders as orders
from edgewright.service.loops.migration import MigrationLoop

router = APIRouter(prefix="/api/edgewright/v1/migrations", tags=["migration"], route_class=StrictRoute)
Json = dict[str, Any]


def _loop(runtime: Running, name: str) -> MigrationLoop:
    return loop_of(runtime.migrations, name)


Chosen = Annotated[MigrationLoop, Depends(_loop)]


@router.get("")
def get_migrations(runtime: Running) -> list[Json]:
    """The state of every migration loop now."""
    return [migration_view(loop) for _, loop in sorted(runtime.migrations.loops.items())]


@router.post(
    "",
    status_code=201,
    dependencies=[WithKey],
    openapi_extra=document(LoopScenario, "migration"),
)
async def post_migration(request: Request, runtime: Running) -> Response:
    """Start a loop from a scenario, in JSON or in YAML (`Content-Type: application/yaml`)."""
    text, is_yaml = await body_text(request)

    def create() -> MigrationLoop:
        return runtime.migrations.create(parse_loop(text, source="body", yaml_syntax=is_yaml))

    loop = await run_in_threadpool(create)
    return JSONResponse(migration_view(loop), 201, {"Location": f"{router.prefix}/{loop.name}"})


@router.get("/{name}")
def get_migration(chosen: Chosen) -> Json:
    """The road, the nodes, the service and the loop now."""
    return migration_view(chosen)


@router.get("/{name}/scenario")
def get_scenario(chosen: Chosen) -> Json:
    """The scenario as it runs."""
    return chosen.scenario.model_dump(mode="json")


@router.patch("/{name}", dependencies=[WithKey])
def patch_migration(chosen: Chosen, body: schemas.LoopChange) -> Json:
    """Switch mode or policy."""
    if body.mode is None and body.policy is None:
        raise InputError("body", {}, "mode, policy or both")
    orders.change(chosen, mode=body.mode, policy=body.policy)
    return migration_view(chosen)


@router.delete("/{name}", status_code=204, dependencies=[WithKey])
def delete_migration(runtime: Running, name: str) -> None:
    """End a loop, its service and its network."""
    require_known(runtime.migrations, name)
    runtime.migrations.delete(name)


@router.get("/{name}/series")
def get_series(chosen: Chosen, seconds: Annotated[int, Query(ge=1, le=900)] = 300) -> Json:
    """The last seconds as columns: one value per entry of `t` (seconds since the epoch)."""
    rows, names = chosen.series(seconds), chosen.names
    return {
        "t": [row.t for row in rows],
        "node": [row.node for row in rows],
        "rtt_ms": {name: [round(float(row.rtt_ms[i]), 3) for row in rows] for i, name in enumerate(names)},
        "load": {name: [round(float(row.load[i]), 3) for row in rows] for i, name in enumerate(names)},
        "reward": [round(row.reward, 3) for row in rows],
    }


@router.get("/{name}/decisions")
def get_decisions(
    runtime: Running,
    name: str,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    changed_only: bool = False,
) -> list[Json]:
    """Recorded decisions, newest first: those that want a move, and the first after what was wanted changed."""
    found = decisions_of(runtime, name, limit, before, changed_only)
    require_known(runtime.migrations, name, bool(found))
    return found


@router.get("/{name}/events")
def get_events(
    runtime: Running,
    name: str,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[float | None, Query(ge=0)] = None,
) -> list[Json]:
    """What happened to a loop (and to the orchestrator, without a loop's name), newest first. `before`: a time."""
    found, own = events_of(runtime, name, limit, before)
    require_known(runtime.migrations, name, own)
    return found


@router.put("/{name}/drive", dependencies=[WithKey])
def put_drive(chosen: Chosen, body: schemas.DriveChange) -> Json:
    """How fast the drives go; or begin the next one now."""
    if body.pace is None and not body.again:
        raise InputError("body", {}, "pace, again or both")
    orders.set_drive(chosen, pace=body.pace, again=body.again)
    return _drive_view(chosen)


@router.post("/{name}/migrate", dependencies=[WithKey])
def post_migrate(chosen: Chosen, body: schemas.Target) -> Json:
    """Move the service to a node now; what the policy says next may move it on."""
    orders.migrate(chosen, body.target)
    return migration_view(chosen)


def migration_view(loop: MigrationLoop) -> Json:
    """What the API shows of a loop."""
    place, seen, moving, watched = loop.scenario.scenario, loop.seen, loop.under_way, loop.watched
    breached = None if seen is None else breach(seen.rtt_ms, seen.load, place.objective.terms(place.step_s))
    return {
        "name": loop.name,
        "phase": loop.phase,
        "mode": loop.orders.mode,
        "policy": loop.orders.policy,
        "policies": sorted({*loop.policies, loop.orders.policy}),
        "driver": driver_view(loop.choice),
        "road": {"corners_m": [list(corner) for corner in place.road_m], "round_trip": place.round_trip},
        "objective": {"rtt_max_ms": place.objective.rtt_max_ms, "load_max": place.objective.load_max},
        "drive": _drive_view(loop),
        "nodes": [
            {
                "name": node.name,
                "at_m": list(node.at_m),
                "rtt_ms": None if seen is None else round(float(seen.rtt_ms[i]), 3),
                "load": None if seen is None else round(float(seen.load[i]), 3),
                "serves": node.name == loop.node_name,
                "in_breach": bool(breached is not None and breached[i]),
            }
            for i, node in enumerate(place.nodes)
        ],
        "under_way": None
        if moving is None
        else {"target": loop.names[moving.target], "phase": moving.phase, "since": round(moving.since, 3)},
        "client": None
        if watched is None
        else {
            "answers": watched.answers,
            "connections_lost": watched.connections_lost,
            "answers_lost": watched.lost,
        },
        "migrations": list(loop.moves),
        "last_decision": decision_view(loop.last_step) if loop.last_step else None,
        "loop_stats": stats_view(loop.pace),
        "warnings": loop.warnings + ([f"database: {trouble}"] if (trouble := loop.recorder.trouble) else []),
    }


def _drive_view(loop: MigrationLoop) -> Json:
    place, drive = loop.scenario.scenario, loop.drive
    at_m = np.zeros(len(drive.rtt_ms)) if drive.at_m is None else drive.at_m
    step = min(loop.step_number, len(at_m) - 1)
    speeds = np.abs(np.diff(at_m)) / place.step_s * 3.6
    return {
        "number": loop.drive_number,
        "time_s": step * place.step_s,
        "length_s": (len(at_m) - 1) * place.step_s,
        "step_s": place.step_s,
        "pace": loop.orders.pace,
        "speed_kmh": round(float(np.median(speeds)), 1),
        "user_m": [round(float(value), 1) for value in along(place.road_m, at_m[step])],
        "reward": round(loop.reward, 2),
        "breaches": loop.breaches,
    }
