"""What the API shows of a loop."""

from __future__ import annotations

from typing import Any

from edgewright.service.loops.loop import Loop
from edgewright.service.loops.pace import Pace
from edgewright.service.loops.planes import PlaneChoice
from edgewright.service.loops.sites import SiteChoice
from edgewright.service.loops.slices import DriverChoice
from edgewright.service.store.tables import DecisionRow, EventRow


def driver_view(choice: DriverChoice | PlaneChoice | SiteChoice) -> dict[str, Any]:
    return {"kind": choice.kind, "reason": choice.reason}


def stats_view(pace: Pace) -> dict[str, Any]:
    """How well a loop keeps time."""
    return {
        "period_s": pace.period_s,
        "jitter_p99_ms": round(pace.jitter_p99_s * 1e3, 3),
        "cpu_share": round(pace.cpu_share, 5),
        "overruns": pace.overruns,
    }


def loop_view(loop: Loop) -> dict[str, Any]:
    """The state of a loop and its services now."""
    scenario, orders, slo = loop.scenario, loop.orders, loop.scenario.slo
    moments = loop.history.last(loop.pace.period_s)
    seen = moments[-1].seen if moments else {}
    lives = loop.lives
    limits = dict(loop.limits)
    services = []
    for index, name in enumerate(scenario.names):
        now = {field: values[index] for field, values in seen.items()}
        life = lives.get(name)
        services.append(
            {
                "name": name,
                "alive": bool(life and life.alive),
                "pid": life.pid if life else None,
                "restarts": life.restarts if life else 0,
                "priority": scenario.services[index].priority,
                "limit_cpu": round(limits[name].cpu, 4),
                "min_cpu": scenario.services[index].cpu.min,
                "max_cpu": scenario.services[index].cpu.max,
                "usage_cpu": now.get("usage_cpu"),
                "throttled": now.get("throttled"),
                "rate_hz": now.get("arrived_hz"),
                "backlog": now.get("backlog"),
                "response_mean_ms": _ms(now.get("response_mean_s")),
                "response_p95_ms": _ms(now.get("response_p95_s")),
                "slo_ok": loop.history.slo_ok(index),
                "late": now.get("late"),
                "late_in_window": loop.history.late(index),
                "failed": now.get("failed"),
                "memory_bytes": now.get("memory_bytes"),
                "memory_limit_bytes": limits[name].memory_bytes,
                "pin": orders.pins.get(name),
                "load_factor": orders.load.get(name, 1.0),
            }
        )
    used_cpu = sum(limit.cpu for limit in limits.values())
    used_memory = sum(limit.memory_bytes or 0 for limit in limits.values())
    memory_bytes = orders.slice_memory_mb * 1e6
    return {
        "name": loop.name,
        "phase": loop.phase,
        "mode": orders.mode,
        "policy": orders.policy,
        "driver": driver_view(loop.driver),
        "slo": {
            "percentile": slo.percentile,
            "response_ms": slo.response_ms,
            "window_s": slo.window_s,
            "timeout_s": slo.timeout_s,
        },
        "slice": {
            "cpu": orders.slice_cpu,
            "cpu_left": max(round(orders.slice_cpu - used_cpu, 4), 0.0),
            "memory_bytes": memory_bytes,
            "memory_left_bytes": memory_bytes - used_memory,
        },
        "services": services,
        "last_decision": decision_view(loop.last_step) if loop.last_step else None,
        "loop_stats": stats_view(loop.pace),
        "warnings": loop.warnings + ([f"database: {trouble}"] if (trouble := loop.recorder.trouble) else []),
    }


def decision_view(row: DecisionRow | dict[str, Any]) -> dict[str, Any]:
    plain = row if isinstance(row, dict) else {name: getattr(row, name) for name in (*_COLUMNS, "body")}
    head = {name: plain[name] for name in _COLUMNS}
    return {**head, **plain["body"]}


_COLUMNS = ("seq", "t", "by", "mode", "policy", "changed")


def event_view(row: EventRow) -> dict[str, Any]:
    return {"id": row.id, "t": row.t, "kind": row.kind, "service": row.service or None, "detail": row.detail}


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e3, 3)
