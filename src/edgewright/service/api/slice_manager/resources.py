"""What there is: users, hosts, physical networks, radio access networks."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from edgewright.core.errors import InputError
from edgewright.service.api.keys import MORE_WITH_KEY, HasKey, Running, WithKey, shown
from edgewright.service.api.reading import StrictRoute
from edgewright.service.api.schemas import Body
from edgewright.service.api.slice_manager import bodies
from edgewright.service.refusals import Conflict, NotSupported
from edgewright.service.runtime import Runtime
from edgewright.service.slices import networks, radio, records
from edgewright.service.slices.records import COMPUTE, NETWORK, RAN, USER, Json

router = APIRouter(route_class=StrictRoute)


def _add(runtime: Runtime, kind: str, body: Body, **more: Any) -> Json:
    with runtime.changing, runtime.store.write() as session:
        return records.add(session, kind, body.model_dump(mode="json") | more)


def _listed(runtime: Runtime, kind: str) -> list[Json]:
    with runtime.store.read() as session:
        return records.listed(session, kind)


def _known(runtime: Runtime, kind: str, id_: str) -> Json:
    with runtime.store.read() as session:
        return records.known(session, kind, id_)


def _remove(runtime: Runtime, kind: str, id_: str) -> None:
    with runtime.changing, runtime.store.write() as session:
        records.remove(session, kind, id_)


@router.get("/user", tags=["User"], openapi_extra=MORE_WITH_KEY)
def get_users(runtime: Running, known: HasKey) -> list[Json]:
    """Get Users information. Without a key, an `email` reads `***`."""
    return [shown(each, known, "email") for each in _listed(runtime, USER)]


@router.post("/user", tags=["User"], dependencies=[WithKey])
def post_user(runtime: Running, body: bodies.User) -> Json:
    """Register a User: an owner of chunks and slices."""
    return _add(runtime, USER, body)


@router.get("/user/{user_id}", tags=["User"], openapi_extra=MORE_WITH_KEY)
def get_user(runtime: Running, known: HasKey, user_id: str) -> Json:
    """Get individual User information. Without a key, the `email` reads `***`."""
    return shown(_known(runtime, USER, user_id), known, "email")


@router.delete("/user/{user_id}", tags=["User"], status_code=204, dependencies=[WithKey])
def delete_user(runtime: Running, user_id: str) -> None:
    """Delete a User. 409 while something is theirs."""
    _remove(runtime, USER, user_id)


@router.get("/compute", tags=["Compute"])
def get_computes(runtime: Running) -> list[Json]:
    """Get Compute infrastructures, with what they have and have left."""
    return [_compute(runtime, each) for each in _listed(runtime, COMPUTE)]


@router.post("/compute", tags=["Compute"], dependencies=[WithKey])
def post_compute(runtime: Running, body: bodies.Compute) -> Json:
    """Register this host as a Compute infrastructure, once. 501 for a cluster."""
    if body.compute_type != "host":
        raise NotSupported("compute_type: there is a driver for the host that runs this server alone, 'host'")
    if body.compute_data:
        raise InputError("compute_data", sorted(body.compute_data), "nothing: this host needs no credentials")
    with runtime.changing:
        if _listed(runtime, COMPUTE):
            raise Conflict("compute_type: this host is registered already")
        return _compute(runtime, _add(runtime, COMPUTE, body))


@router.get("/compute/{compute_id}", tags=["Compute"])
def get_compute(runtime: Running, compute_id: str) -> Json:
    """Get an individual Compute infrastructure."""
    return _compute(runtime, _known(runtime, COMPUTE, compute_id))


@router.delete("/compute/{compute_id}", tags=["Compute"], status_code=204, dependencies=[WithKey])
def delete_compute(runtime: Running, compute_id: str) -> None:
    """Take out a Compute infrastructure. 409 while it has chunks."""
    _remove(runtime, COMPUTE, compute_id)


def _compute(runtime: Runtime, record: Json) -> Json:
    ledger = runtime.ledger
    return record | {
        "driver": runtime.choice.kind if runtime.choice else None,
        "capacity": dict(ledger.capacity),
        "left": {name: ledger.left(name) for name in ledger.capacity},
    }


@router.get("/physical_network", tags=["Physical Network"])
def get_networks(runtime: Running) -> list[Json]:
    """Get Physical Networks information."""
    return _listed(runtime, NETWORK)


@router.post("/physical_network", tags=["Physical Network"], dependencies=[WithKey])
def post_network(runtime: Running, body: bodies.PhysicalNetwork) -> Json:
    """Register a Physical Network, over which network chunks of hosts reach each other."""
    networks.check_physical(body.model_dump())
    return _add(runtime, NETWORK, body)


@router.get("/physical_network/{physical_network_id}", tags=["Physical Network"])
def get_network(runtime: Running, physical_network_id: str) -> Json:
    """Get an individual Physical Network."""
    return _known(runtime, NETWORK, physical_network_id)


@router.delete(
    "/physical_network/{physical_network_id}", tags=["Physical Network"], status_code=204, dependencies=[WithKey]
)
def delete_network(runtime: Running, physical_network_id: str) -> None:
    """Delete a Physical Network. 409 while it has chunks."""
    _remove(runtime, NETWORK, physical_network_id)


@router.get("/ran_infrastructure", tags=["RAN Infrastructure"])
def get_rans(runtime: Running) -> list[Json]:
    """Get RAN infrastructures, with what their cells have left."""
    return [_ran(runtime, each) for each in _listed(runtime, RAN)]


@router.post("/ran_infrastructure", tags=["RAN Infrastructure"], dependencies=[WithKey])
def post_ran(runtime: Running, body: bodies.RanInfrastructure) -> Json:
    """Register a RAN infrastructure: its cells, with carriers as 3GPP TS 38.104 and TS 36.101 allow them."""
    record = body.model_dump(mode="json")
    for cell, given in zip(record["ran_infrastructure_data"]["cells"], body.ran_infrastructure_data.cells, strict=True):
        cell["prbs"] = given.prbs or given.most_prbs
    with runtime.changing, runtime.store.write() as session:
        return records.add(session, RAN, record)


@router.get("/ran_infrastructure/{ran_infrastructure_id}", tags=["RAN Infrastructure"])
def get_ran(runtime: Running, ran_infrastructure_id: str) -> Json:
    """Get an individual RAN infrastructure."""
    return _ran(runtime, _known(runtime, RAN, ran_infrastructure_id))


@router.delete(
    "/ran_infrastructure/{ran_infrastructure_id}", tags=["RAN Infrastructure"], status_code=204, dependencies=[WithKey]
)
def delete_ran(runtime: Running, ran_infrastructure_id: str) -> None:
    """Delete a RAN infrastructure. 409 while it has chunks."""
    _remove(runtime, RAN, ran_infrastructure_id)


def _ran(runtime: Runtime, record: Json) -> Json:
    with runtime.store.read() as session:
        taken = radio.taken_prbs(session, record["id"])
    cells = [
        cell | {"prbs_left": cell["prbs"] - taken[cell["id"]]} for cell in record["ran_infrastructure_data"]["cells"]
    ]
    return record | {"ran_infrastructure_data": record["ran_infrastructure_data"] | {"cells": cells}}
