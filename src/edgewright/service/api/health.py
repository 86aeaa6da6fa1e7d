"""/healthz for probes, /metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel

from edgewright.service.api.keys import Running
from edgewright.service.api.views import loop_view
from edgewright.service.loops.backhaul import BackhaulLoop
from edgewright.service.loops.leases import LEASE
from edgewright.service.loops.loop import Loop
from edgewright.service.loops.migration import MigrationLoop
from edgewright.service.runtime import Runtime
from edgewright.service.store import StoreError

router = APIRouter(tags=["health"])


class Health(BaseModel):
    status: Literal["ok", "degraded", "down"]
    reasons: list[str]


class _Text(Response):
    media_type = CONTENT_TYPE_LATEST


@router.get("/healthz", response_model=Health, responses={503: {"model": Health}})
def healthz(runtime: Running) -> JSONResponse:
    """200 `ok`, 200 `degraded` with reasons (the loops act all the same), 503 where nothing can be served."""
    reasons = runtime.trouble
    try:
        worker = runtime.leases.address_of(LEASE)
    except StoreError as error:
        if not runtime.active:
            return JSONResponse({"status": "down", "reasons": [str(error)]}, 503)
        reasons.append(str(error))
    else:
        if worker is None and not runtime.active:
            return JSONResponse({"status": "down", "reasons": ["no worker runs the loops now"]}, 503)
    return JSONResponse({"status": "degraded" if reasons else "ok", "reasons": list(dict.fromkeys(reasons))})


@router.get("/metrics", response_class=_Text)
def metrics(runtime: Running) -> Response:
    """Prometheus text: limits, usage and responses of every service, and how well the loops keep time."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(runtime))
    return _Text(generate_latest(registry))


SERVICE = (  # field of the API's service, metric, unit factor, help
    ("limit_cpu", "edgewright_service_cpu_limit_cores", 1.0, "CPU limit in force"),
    ("usage_cpu", "edgewright_service_cpu_usage_cores", 1.0, "CPU used over the last interval"),
    ("throttled", "edgewright_service_throttled_ratio", 1.0, "CFS periods that ended without quota"),
    ("memory_bytes", "edgewright_service_memory_bytes", 1.0, "Working set"),
    ("memory_limit_bytes", "edgewright_service_memory_limit_bytes", 1.0, "Memory limit in force"),
    ("response_mean_ms", "edgewright_service_response_mean_seconds", 1e-3, "Mean response over the last interval"),
    ("response_p95_ms", "edgewright_service_response_p95_seconds", 1e-3, "95th percentile over the last interval"),
    ("rate_hz", "edgewright_service_arrivals_hertz", 1.0, "Requests that arrived, per second"),
    ("late", "edgewright_service_late_ratio", 1.0, "Requests late or failed over the last interval"),
    ("alive", "edgewright_service_alive", 1.0, "1 while its process runs"),
)


BACKHAUL = (
    ("edgewright_backhaul_efficiency_ratio", "Traffic carried over offered"),
    ("edgewright_backhaul_jain_ratio", "Jain's index over flows with demand"),
    ("edgewright_backhaul_carried_bytes_per_second", "Traffic carried to the donors"),
    ("edgewright_backhaul_offered_bytes_per_second", "Traffic offered by the flows"),
    ("edgewright_backhaul_broken_links", "Links that are down"),
)
MIGRATION = (
    ("edgewright_migration_round_trip_seconds", "Round-trip time to the node that serves"),
    ("edgewright_migration_load_ratio", "Load of the node that serves, 1 or more"),
    ("edgewright_migration_frozen_seconds", "How long the last migration had the service frozen"),
)
BYTES_PER_MBIT = 1e6 / 8


class _Collector(Collector):
    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    def collect(self) -> Iterator[Metric]:
        runtime = self.runtime
        loops = list(runtime.loops.values())  # one may be deleted meanwhile
        views = [loop_view(loop) for loop in loops]
        for field, name, factor, text in SERVICE:
            family = GaugeMetricFamily(name, text, labels=["loop", "service"])
            for view in views:
                for service in view["services"]:
                    if service[field] is not None:
                        family.add_metric([view["name"], service["name"]], float(service[field]) * factor)
            yield family
        restarts = CounterMetricFamily(
            "edgewright_service_restarts", "Starts after the first", labels=["loop", "service"]
        )
        jitter = GaugeMetricFamily("edgewright_loop_jitter_p99_seconds", "How late a step begins", labels=["loop"])
        share = GaugeMetricFamily("edgewright_loop_cpu_ratio", "Share of one core that the loop uses", labels=["loop"])
        overruns = CounterMetricFamily("edgewright_loop_overruns", "Steps skipped", labels=["loop"])
        decisions = CounterMetricFamily("edgewright_decisions", "Decisions recorded", labels=["loop"])
        refused = CounterMetricFamily("edgewright_refused", "Changes that the driver refused", labels=["loop"])
        left = GaugeMetricFamily("edgewright_slice_cpu_left_cores", "CPU of the slice in no limit", labels=["loop"])
        for loop, view in zip(loops, views, strict=True):
            label = [loop.name]
            for service in view["services"]:
                restarts.add_metric([view["name"], service["name"]], service["restarts"])
            left.add_metric(label, view["slice"]["cpu_left"])
        backhauls = list(runtime.backhauls.loops.values())
        followers = list(runtime.migrations.loops.values())
        every: list[Loop | BackhaulLoop | MigrationLoop] = [*loops, *backhauls, *followers]
        for each in every:
            label = [each.name]
            jitter.add_metric(label, each.pace.jitter_p99_s)
            share.add_metric(label, each.pace.cpu_share)
            overruns.add_metric(label, each.pace.overruns)
            decisions.add_metric(label, each.seq)
            refused.add_metric(label, each.refused)
        yield from (restarts, jitter, share, overruns, decisions, refused, left)
        figures = [GaugeMetricFamily(name, text, labels=["loop"]) for name, text in BACKHAUL]
        for backhaul in backhauls:
            efficiency, jain, carried, offered = backhaul.figures()
            values = (efficiency, jain, carried * BYTES_PER_MBIT, offered * BYTES_PER_MBIT, len(backhaul.broken))
            for family, value in zip(figures, values, strict=True):
                family.add_metric([backhaul.name], value)
        yield from figures
        figures = [GaugeMetricFamily(name, text, labels=["loop"]) for name, text in MIGRATION]
        for follower in followers:
            if (seen := follower.seen) is not None:
                figures[0].add_metric([follower.name], float(seen.rtt_ms[seen.node]) / 1e3)
                figures[1].add_metric([follower.name], float(seen.load[seen.node]))
            if follower.moves:
                figures[2].add_metric([follower.name], follower.moves[0]["frozen_ms"] / 1e3)
        yield from figures
        waiting = GaugeMetricFamily("edgewright_records_waiting", "Decisions and events not yet in the database")
        waiting.add_metric([], runtime.recorder.waiting)
        lost = CounterMetricFamily("edgewright_records_lost", "Dropped because memory for them was full")
        lost.add_metric([], runtime.recorder.lost)
        yield from (waiting, lost)
