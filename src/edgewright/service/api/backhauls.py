"""Backhaul loops over REST: their network now, series, decisions, events and orders."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from edgewright.backhaul.scenario import LoopScenario, parse_scenario
from edgewright.backhaul.simulation import PLANNERS
from edgewright.core.errors import InputError
from edgewright.service.api import schemas
from edgewright.service.api.description import document
from edgewright.service.api.keys import Running, WithKey
from edgewright.service.api.kinds import loop_of, require_known
from edgewright.service.api.loops import decisions_of, events_of
from edgewright.service.api.reading import StrictRoute, body_text
from edgewright.service.api.views import decision_view, driver_view, stats_view
from edgewright.service.loops import backhaul_orders as orders
from edgewright.service.loops.backhaul import BackhaulLoop
from edgewright.service.loops.situation import path_view
from edgewright.service.refusals import NotFound

router = APIRouter(prefix="/api/edgewright/v1/backhauls", tags=["backhaul"], route_class=StrictRoute)
Json = dict[str, Any]


def _loop(runtime: Running, name: str) -> BackhaulLoop:
    return loop_of(runtime.backhauls, name)


Chosen = Annotated[BackhaulLoop, Depends(_loop)]


@router.get("")
def get_backhauls(runtime: Running) -> list[Json]:
    """The state of every backhaul loop now."""
    return [backhaul_view(loop) for _, loop in sorted(runtime.backhauls.loops.items())]


@router.post(
    "",
    status_code=201,
    dependencies=[WithKey],
    openapi_extra=document(LoopScenario, "backhaul"),
)
async def post_backhaul(request: Request, runtime: Running) -> Response:
    """Start a loop from a scenario with its network, in JSON or in YAML (`Content-Type: application/yaml`)."""
    text, is_yaml = await body_text(request)

    def create() -> BackhaulLoop:
        return runtime.backhauls.create(parse_scenario(text, source="body", yaml_syntax=is_yaml))

    loop = await run_in_threadpool(create)
    return JSONResponse(backhaul_view(loop), 201, {"Location": f"{router.prefix}/{loop.name}"})


@router.get("/{name}")
def get_backhaul(chosen: Chosen) -> Json:
    """The network, its flows and the loop now."""
    return backhaul_view(chosen)


@router.get("/{name}/scenario")
def get_scenario(chosen: Chosen) -> Json:
    """The scenario as it runs, with its network."""
    return chosen.scenario.model_dump(mode="json")


@router.patch("/{name}", dependencies=[WithKey])
def patch_backhaul(chosen: Chosen, body: schemas.BackhaulChange) -> Json:
    """Switch mode or planner."""
    if body.mode is None and body.planner is None:
        raise InputError("body", {}, "mode, planner or both")
    orders.change(chosen, mode=body.mode, planner=body.planner)
    return backhaul_view(chosen)


@router.delete("/{name}", status_code=204, dependencies=[WithKey])
def delete_backhaul(runtime: Running, name: str) -> None:
    """End a loop, its traffic and its network."""
    require_known(runtime.backhauls, name)
    runtime.backhauls.delete(name)


@router.get("/{name}/series")
def get_series(chosen: Chosen, seconds: Annotated[int, Query(ge=1, le=900)] = 300) -> Json:
    """The last seconds as columns: one value per entry of `t` (seconds since the epoch)."""
    return dict(chosen.series(seconds))


@router.get("/{name}/decisions")
def get_decisions(
    runtime: Running,
    name: str,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    changed_only: bool = False,
) -> list[Json]:
    """Recorded decisions, newest first: what was seen, wanted, allowed and done, and why. `before`: a seq."""
    found = decisions_of(runtime, name, limit, before, changed_only)
    require_known(runtime.backhauls, name, bool(found))
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
    require_known(runtime.backhauls, name, own)
    return found


@router.put("/{name}/demand", dependencies=[WithKey])
def put_demand(chosen: Chosen, body: schemas.Demand) -> Json:
    """Offer another traffic matrix, or a multiple of what the matrices say."""
    given = body.model_dump(exclude_unset=True)
    if not given:
        raise InputError("body", {}, "matrix, factor or both")
    orders.set_demand(chosen, **given)
    return _demand_view(chosen)


@router.post("/{name}/links/{index}/break", dependencies=[WithKey])
def post_break(chosen: Chosen, index: int) -> Json:
    """Take a link down. The loop is not told: it finds out."""
    return _set_link(chosen, index, up=False)


@router.post("/{name}/links/{index}/repair", dependencies=[WithKey])
def post_repair(chosen: Chosen, index: int) -> Json:
    return _set_link(chosen, index, up=True)


def _set_link(loop: BackhaulLoop, index: int, *, up: bool) -> Json:
    links = loop.scenario.network.links
    if not 0 <= index < len(links):
        raise NotFound("link", index, known=f"0 .. {len(links) - 1}")
    orders.set_link(loop, index, up=up)
    return {"index": index, "up": up}


def backhaul_view(loop: BackhaulLoop) -> Json:
    """What the API shows of a loop."""
    network = loop.scenario.network
    running, demand, broken = loop.running.tolist(), loop.demand_mbps.tolist(), loop.broken
    efficiency, jain, carried, offered = loop.figures()
    return {
        "name": loop.name,
        "phase": loop.phase,
        "mode": loop.orders.mode,
        "planner": loop.orders.planner,
        "planners": sorted(PLANNERS),
        "objective": asdict(loop.scenario.aim),
        "driver": driver_view(loop.choice),
        "nodes": network.nodes,
        "donors": list(network.donors),
        "demand": _demand_view(loop),
        "links": [
            {
                "index": i,
                "u": link.u,
                "v": link.v,
                "band": link.band,
                "capacity_mbps": link.capacity_mbps,
                "load_mbps": round(load, 4),
                "up": i not in broken,
            }
            for i, (link, load) in enumerate(zip(network.links, loop.load_mbps.tolist(), strict=True))
        ],
        "flows": [
            {
                "index": i,
                "source": flow.source,
                "demand_mbps": round(demand[i], 4),
                "rate_mbps": round(float(loop.rates_mbps[i]), 4),
                "expected_mbps": round(float(loop.expected_mbps[i]), 4),
                "path": path_view(network, i, running[i]),
                "since": round(loop.since[i], 3),
            }
            for i, flow in enumerate(network.flows)
        ],
        "efficiency": round(efficiency, 4),
        "jain": round(jain, 4),
        "carried_mbps": round(carried, 4),
        "offered_mbps": round(offered, 4),
        "last_decision": decision_view(loop.last_step) if loop.last_step else None,
        "loop_stats": stats_view(loop.pace),
        "warnings": loop.warnings + ([f"database: {trouble}"] if (trouble := loop.recorder.trouble) else []),
    }


def _demand_view(loop: BackhaulLoop) -> Json:
    return {
        "matrix": loop.matrix.id,
        "stays": loop.orders.matrix is not None,
        "factor": loop.orders.factor,
        "matrices": [matrix.id for matrix in loop.scenario.network.matrices],
        "hold_s": loop.scenario.hold_s,
    }
