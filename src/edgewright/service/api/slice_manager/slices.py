"""Slices, the services onboarded, their instances in slices, and telemetry of them."""

from __future__ import annotations

from fastapi import APIRouter

from edgewright.service.api.keys import MORE_WITH_KEY, HasKey, Running, WithKey, shown
from edgewright.service.api.packages import ENVIRONMENT
from edgewright.service.api.reading import StrictRoute
from edgewright.service.api.slice_manager import bodies
from edgewright.service.slices import instances, records, slices, telemetry
from edgewright.service.slices.records import INSTANCE, PACKAGE, SERVICE, SLICE, TELEMETRY, Json

router = APIRouter(route_class=StrictRoute)
_SLICES, _SERVICES, _INSTANCES, _TELEMETRY = "Slice", "Network Service", "Network Service Instance", "Telemetry"


@router.get("/slic3", tags=[_SLICES])
def get_slices(runtime: Running) -> list[Json]:
    """Get Slices information."""
    with runtime.store.read() as session:
        return records.listed(session, SLICE)


@router.post("/slic3", tags=[_SLICES], dependencies=[WithKey])
def post_slice(runtime: Running, body: bodies.Slice) -> Json:
    """Create a Slice of chunks; a chunk is of one slice."""
    return slices.create(runtime, body.model_dump(mode="json"))


@router.get("/slic3/{slic3_id}", tags=[_SLICES])
def get_slice(runtime: Running, slic3_id: str) -> Json:
    """Get individual Slice information, with its chunks."""
    with runtime.store.read() as session:
        record = records.known(session, SLICE, slic3_id)
        return record | {"chunks": slices.chunks_of(session, record)}


@router.delete("/slic3/{slic3_id}", tags=[_SLICES], status_code=204, dependencies=[WithKey])
def delete_slice(runtime: Running, slic3_id: str) -> None:
    """Delete a Slice; its chunks stay. 409 while it is active."""
    slices.remove(runtime, slic3_id)


@router.put("/slic3/{slic3_id}/add_chunks", tags=[_SLICES], dependencies=[WithKey])
def put_add_chunks(runtime: Running, slic3_id: str, body: bodies.ChunkIds) -> Json:
    """Add chunks. 409 while it is active."""
    return slices.change_chunks(runtime, slic3_id, add=body.chunk_ids)


@router.put("/slic3/{slic3_id}/del_chunks", tags=[_SLICES], dependencies=[WithKey])
def put_del_chunks(runtime: Running, slic3_id: str, body: bodies.ChunkIds) -> Json:
    """Take chunks out. 409 while it is active."""
    return slices.change_chunks(runtime, slic3_id, drop=body.chunk_ids)


@router.post("/slic3/{slic3_id}/activate", tags=[_SLICES], dependencies=[WithKey])
def post_activate(runtime: Running, slic3_id: str) -> Json:
    """Make it work: its radio chunks are configured where a RAN controller is, and services may run in it."""
    return slices.activate(runtime, slic3_id)


@router.post("/slic3/{slic3_id}/deactivate", tags=[_SLICES], dependencies=[WithKey])
def post_deactivate(runtime: Running, slic3_id: str) -> Json:
    """409 while services run in it."""
    return slices.deactivate(runtime, slic3_id)


@router.get("/network_service", tags=[_SERVICES])
def get_services(runtime: Running) -> list[Json]:
    """Get the Network Services onboarded."""
    with runtime.store.read() as session:
        return records.listed(session, SERVICE)


@router.post("/network_service", tags=[_SERVICES], dependencies=[WithKey])
def post_service(runtime: Running, body: bodies.NetworkService) -> Json:
    """Onboard a service whose package is here."""
    with runtime.changing, runtime.store.write() as session:
        records.known(session, PACKAGE, body.package, "package")
        return records.add(session, SERVICE, body.model_dump(mode="json"))


@router.get("/network_service/{network_service_id}", tags=[_SERVICES], openapi_extra=MORE_WITH_KEY)
def get_service(runtime: Running, known: HasKey, network_service_id: str) -> Json:
    """Get an individual Network Service, with its descriptor. Without a key, the values of environment variables read
    `***`.
    """
    with runtime.store.read() as session:
        record = records.known(session, SERVICE, network_service_id)
        package = instances.package_of(session, network_service_id)
    return shown(record | {"descriptor": package.model_dump(mode="json")}, known, *ENVIRONMENT)


@router.delete("/network_service/{network_service_id}", tags=[_SERVICES], status_code=204, dependencies=[WithKey])
def delete_service(runtime: Running, network_service_id: str) -> None:
    """409 while instances of it run."""
    with runtime.changing, runtime.store.write() as session:
        records.remove(session, SERVICE, network_service_id)


@router.get("/network_service_instance", tags=[_INSTANCES])
def get_instances(runtime: Running) -> list[Json]:
    """Get Network Service Instances, with their replicas as they are now."""
    with runtime.store.read() as session:
        found = records.listed(session, INSTANCE)
    return [instances.view(runtime, record) for record in found]


@router.post("/network_service_instance", tags=[_INSTANCES], dependencies=[WithKey])
def post_instance(runtime: Running, body: bodies.Instance) -> Json:
    """Deploy a service in an active slice; it answers at `address` when this does."""
    return instances.view(runtime, instances.create(runtime, body.model_dump(mode="json")))


@router.get("/network_service_instance/{instance_id}", tags=[_INSTANCES])
def get_instance(runtime: Running, instance_id: str) -> Json:
    """Get an individual instance."""
    with runtime.store.read() as session:
        record = records.known(session, INSTANCE, instance_id)
    return instances.view(runtime, record)


@router.post("/network_service_instance/{instance_id}/scale", tags=[_INSTANCES], dependencies=[WithKey])
def post_scale(runtime: Running, instance_id: str, body: bodies.Scale) -> Json:
    """Change its replicas, and what each of them has; no request fails meanwhile."""
    return instances.view(runtime, runtime.fulfilment.scale_instance(instance_id, **body.model_dump()))


@router.delete("/network_service_instance/{instance_id}", tags=[_INSTANCES], status_code=204, dependencies=[WithKey])
def delete_instance(runtime: Running, instance_id: str) -> None:
    """End an instance; one of an ordered service is terminated by an order (409)."""
    runtime.fulfilment.remove_instance(instance_id)


@router.get("/telemetry", tags=[_TELEMETRY], openapi_extra=MORE_WITH_KEY)
def get_telemetries(runtime: Running, known: HasKey) -> list[Json]:
    """Get Telemetry resources. Without a key, the values of `telemetry_data` read `***`."""
    with runtime.store.read() as session:
        return [shown(each, known, "telemetry_data") for each in records.listed(session, TELEMETRY)]


@router.post("/telemetry", tags=[_TELEMETRY], dependencies=[WithKey])
def post_telemetry(runtime: Running, body: bodies.Telemetry) -> Json:
    """Register a Prometheus server: it finds its targets at `/telemetry/{id}/targets` (http_sd_configs)."""
    with runtime.changing, runtime.store.write() as session:
        return records.add(session, TELEMETRY, body.model_dump(mode="json"))


@router.get("/telemetry/{telemetry_id}", tags=[_TELEMETRY], openapi_extra=MORE_WITH_KEY)
def get_telemetry(runtime: Running, known: HasKey, telemetry_id: str) -> Json:
    """Get an individual Telemetry resource, with its targets. Without a key, the values of `telemetry_data` read
    `***`.
    """
    with runtime.store.read() as session:
        record = shown(records.known(session, TELEMETRY, telemetry_id), known, "telemetry_data")
        return record | {"targets": telemetry.targets_of(session, telemetry_id)}


@router.delete("/telemetry/{telemetry_id}", tags=[_TELEMETRY], status_code=204, dependencies=[WithKey])
def delete_telemetry(runtime: Running, telemetry_id: str) -> None:
    """409 while it has targets."""
    with runtime.changing, runtime.store.write() as session:
        records.remove(session, TELEMETRY, telemetry_id)


@router.get("/telemetry/{telemetry_id}/targets", tags=[_TELEMETRY])
def get_targets(runtime: Running, telemetry_id: str) -> list[Json]:
    """The targets that run now, for Prometheus' `http_sd_configs`."""
    return telemetry.discovered(runtime, telemetry_id)


@router.post("/telemetry/{telemetry_id}/target", tags=[_TELEMETRY], dependencies=[WithKey])
def post_target(runtime: Running, telemetry_id: str, body: bodies.Target) -> Json:
    """Add a page of metrics to read: of an instance, or by its address."""
    return telemetry.add_target(runtime, telemetry_id, body.model_dump(mode="json"))


@router.delete(
    "/telemetry/{telemetry_id}/target/{target_id}", tags=[_TELEMETRY], status_code=204, dependencies=[WithKey]
)
def delete_target(runtime: Running, telemetry_id: str, target_id: str) -> None:
    """Read it no more."""
    telemetry.remove_target(runtime, telemetry_id, target_id)
