"""Telemetry: which pages of metrics a Prometheus server reads, told in the form that it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from edgewright.service.refusals import Conflict, NotFound
from edgewright.service.slices import records
from edgewright.service.slices.records import TARGET, TELEMETRY, Json

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from edgewright.service.runtime import Runtime


def add_target(runtime: Runtime, telemetry_id: str, body: Mapping[str, Any]) -> Json:
    """Raises NotFound, Conflict (a name; an instance that does not run)."""
    with runtime.changing, runtime.store.write() as session:
        records.known(session, TELEMETRY, telemetry_id)
        record = records.add(session, TARGET, {**body, "telemetry_id": telemetry_id})
        if metrics_url(runtime, record) is None:
            raise Conflict(f"network_service_instance_id: {body['network_service_instance_id']!r} does not run")
        return record


def remove_target(runtime: Runtime, telemetry_id: str, target_id: str) -> None:
    """Raises NotFound."""
    with runtime.changing, runtime.store.write() as session:
        if records.known(session, TARGET, target_id)["telemetry_id"] != telemetry_id:
            raise NotFound(TARGET, target_id)
        records.remove(session, TARGET, target_id)


def targets_of(session: Session, telemetry_id: str) -> list[Json]:
    """Raises NotFound."""
    records.known(session, TELEMETRY, telemetry_id)
    return [target for target in records.listed(session, TARGET) if target["telemetry_id"] == telemetry_id]


def discovered(runtime: Runtime, telemetry_id: str) -> list[Json]:
    """Targets that run now, as Prometheus' `http_sd_configs` reads them. Raises NotFound."""
    with runtime.store.read() as session:
        targets = targets_of(session, telemetry_id)
    found = []
    for target in targets:
        if url := metrics_url(runtime, target):
            parts = urlsplit(url)
            labels = {
                "__scheme__": parts.scheme,
                "__metrics_path__": parts.path or "/metrics",
                "target": target["name"],
            }
            found.append({"targets": [parts.netloc], "labels": labels})
    return found


def metrics_url(runtime: Runtime, target: Mapping[str, Any]) -> str | None:
    """None where the instance does not run."""
    if target.get("url"):
        return str(target["url"])
    running = runtime.slices.running.get(target["network_service_instance_id"])
    return running.balancing.metrics_url if running is not None else None
