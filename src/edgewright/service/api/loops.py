"""The orchestrator's own API: loops, their services, series, decisions, events and orders."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy import select

from edgewright.core.documents import parse
from edgewright.core.errors import InputError
from edgewright.scaling.model import Scenario
from edgewright.service.api import schemas
from edgewright.service.api.description import document
from edgewright.service.api.keys import MORE_WITH_KEY, HasKey, Running, WithKey, shown
from edgewright.service.api.reading import StrictRoute, body_text
from edgewright.service.api.views import decision_view, driver_view, event_view, loop_view
from edgewright.service.loops import orders
from edgewright.service.loops.loop import Loop
from edgewright.service.policies import policy_cards
from edgewright.service.refusals import Conflict, NotFound
from edgewright.service.runtime import Runtime
from edgewright.service.store.tables import DecisionRow, EventRow

router = APIRouter(prefix="/api/edgewright/v1", tags=["edgewright"], route_class=StrictRoute)
Json = dict[str, Any]


def _loop(runtime: Running, loop: str) -> Loop:
    found = runtime.loops.get(loop)
    if found is None:
        raise NotFound("loop", loop, known=f"{sorted(runtime.loops)}")
    return found


def _service(chosen: Annotated[Loop, Depends(_loop)], service: str) -> str:
    if service not in chosen.scenario.names:
        raise NotFound("service", service, known=f"{sorted(chosen.scenario.names)}")
    return service


Chosen = Annotated[Loop, Depends(_loop)]
Service = Annotated[str, Depends(_service)]


@router.get("/key", status_code=204, dependencies=[WithKey])
def get_key() -> None:
    """204 where the key that came along is known, else 401."""


@router.get("/host")
def get_host(runtime: Running) -> Json:
    """Which driver runs the slices and why, what the host has and has left, what it can do for real."""
    assert runtime.choice is not None
    names = ("cpu", "memory_bytes")
    return {
        "driver": driver_view(runtime.choice),
        "capacity": {name: runtime.ledger.capacity[name] for name in names},
        "left": {name: runtime.ledger.left(name) for name in names},
        "capabilities": runtime.capabilities,
    }


@router.get("/policies")
def get_policies() -> list[Json]:
    """Policies that a loop can be switched to."""
    return policy_cards()


@router.get("/loops")
def get_loops(runtime: Running) -> list[Json]:
    """The state of every loop now."""
    return [loop_view(loop) for _, loop in sorted(runtime.loops.items())]


@router.post(
    "/loops",
    status_code=201,
    dependencies=[WithKey],
    openapi_extra=document(Scenario, "scaling"),
)
async def post_loop(request: Request, runtime: Running) -> Response:
    """Start a loop from a scenario in JSON, or in YAML (`Content-Type: application/yaml`). Books its slice."""
    from fastapi.concurrency import run_in_threadpool
    from fastapi.responses import JSONResponse

    text, is_yaml = await body_text(request)

    def create() -> Loop:
        scenario = parse(Scenario, text, source="body", yaml_syntax=is_yaml)
        return runtime.create(scenario, runtime.settings.data_dir)

    loop = await run_in_threadpool(create)  # a megabyte of YAML takes seconds to read
    view = loop_view(loop)
    return JSONResponse(view, 201, {"Location": f"{router.prefix}/loops/{loop.name}"})


@router.get("/loops/{loop}")
def get_loop(chosen: Chosen) -> Json:
    """The state of a loop and its services now."""
    return loop_view(chosen)


@router.get("/loops/{loop}/scenario", openapi_extra=MORE_WITH_KEY)
def get_scenario(chosen: Chosen, known: HasKey) -> Json:
    """The scenario as it runs. Without a key, the values of its environment variables read `***`."""
    scenario = chosen.scenario.model_dump(mode="json")
    for service in (service for service in scenario["services"] if service["run"]):
        service["run"] = shown(service["run"], known, "environment")
    return scenario


@router.patch("/loops/{loop}", dependencies=[WithKey])
def patch_loop(chosen: Chosen, body: schemas.LoopChange) -> Json:
    """Switch mode or policy. A policy that does not fit is a 400 with the reason, and the old one goes on."""
    if body.mode is None and body.policy is None:
        raise InputError("body", {}, "mode, policy or both")
    orders.change(chosen, mode=body.mode, policy=body.policy)
    return loop_view(chosen)


@router.delete("/loops/{loop}", status_code=204, dependencies=[WithKey])
def delete_loop(runtime: Running, loop: str) -> None:
    """End a loop and its services, and give its slice back."""
    _known(runtime, loop, False)
    runtime.delete(loop)


@router.get("/loops/{loop}/series")
def get_series(chosen: Chosen, seconds: Annotated[int, Query(ge=1, le=900)] = 300) -> Json:
    """The last seconds as columns: one value per entry of `t` (seconds since the epoch)."""
    return chosen.history.series(seconds)


@router.get("/loops/{loop}/decisions")
def get_decisions(
    runtime: Running,
    loop: str,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    changed_only: bool = False,
) -> list[Json]:
    """Recorded decisions, newest first: what was seen, wanted, allowed and done, and why. `before`: a seq."""
    found = decisions_of(runtime, loop, limit, before, changed_only)
    _known(runtime, loop, bool(found))
    return found


@router.get("/loops/{loop}/events")
def get_events(
    runtime: Running,
    loop: str,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[float | None, Query(ge=0)] = None,
) -> list[Json]:
    """What happened to a loop (and to the orchestrator, without a loop's name), newest first. `before`: a time."""
    found, own = events_of(runtime, loop, limit, before)
    _known(runtime, loop, own)
    return found


@router.put("/loops/{loop}/services/{service}/pin", dependencies=[WithKey])
def put_pin(chosen: Chosen, service: Service, body: schemas.Pin) -> Json:
    """Fix a service's CPU limit, at once and until unpinned, whatever the policy says."""
    orders.pin(chosen, service, body.cpu)
    return {"service": service, "pin": body.cpu}


@router.delete("/loops/{loop}/services/{service}/pin", status_code=204, dependencies=[WithKey])
def delete_pin(chosen: Chosen, service: Service) -> None:
    """The policy decides again."""
    orders.unpin(chosen, service)


@router.post("/loops/{loop}/services/{service}/restart", status_code=202, dependencies=[WithKey])
def post_restart(chosen: Chosen, service: Service) -> Json:
    """Restart a service in the background; events tell when it is back."""
    if not chosen.supervisor.restart(service):
        raise Conflict(f"{service} is being started already")
    return {"message": f"{service} is being restarted"}


@router.post("/loops/{loop}/rollback", dependencies=[WithKey])
def post_rollback(chosen: Chosen, body: schemas.Rollback) -> Json:
    """Put the limits of an earlier decision in force. The loop is paused then, so that they stay."""
    limits, outcome = orders.roll_back(chosen, body.seq)
    message = f"the limits of decision {body.seq} are in force and the loop is paused: set its mode to go on"
    return {"message": message, "mode": "paused", "limits": limits, "refused": dict(outcome.refused)}


@router.put("/loops/{loop}/load", dependencies=[WithKey])
def put_load(chosen: Chosen, body: schemas.LoadFactors) -> Json:
    """Multiply the load that the generator offers: `{service: factor}`; services not named keep theirs."""
    return dict(orders.set_load(chosen, body.root))


def decisions_of(runtime: Runtime, loop: str, limit: int, before: int | None, changed_only: bool) -> list[Json]:
    """Of a loop of any kind, newest first."""
    wanted = select(DecisionRow).where(DecisionRow.loop == loop)
    if before is not None:
        wanted = wanted.where(DecisionRow.seq < before)
    if changed_only:
        wanted = wanted.where(DecisionRow.changed)
    with runtime.store.read() as session:
        rows = session.scalars(wanted.order_by(DecisionRow.seq.desc()).limit(limit)).all()
    return [decision_view(row) for row in rows]


def events_of(runtime: Runtime, loop: str, limit: int, before: float | None) -> tuple[list[Json], bool]:
    """Of a loop of any kind, newest first, and whether any is its own."""
    wanted = select(EventRow).where(EventRow.loop.in_([loop, ""]))
    if before is not None:
        wanted = wanted.where(EventRow.t < before)
    with runtime.store.read() as session:
        rows = session.scalars(wanted.order_by(EventRow.t.desc()).limit(limit)).all()
    return [event_view(row) for row in rows], any(row.loop for row in rows)


def _known(runtime: Running, loop: str, found: bool) -> None:
    """A loop without records yet is known, one that nobody ever ran is not."""
    if not found and loop not in runtime.loops and not runtime.knows(loop):
        raise NotFound("loop", loop)
