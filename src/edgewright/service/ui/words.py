"""Numbers and findings as an operator reads them. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Literal

from edgewright.service.ui.shapes import Decision, LoopState, ServiceState, Slo

Level = Literal["ok", "bad", "warn", "quiet"]
ICON: dict[Level, str] = {"ok": "check_circle", "bad": "error", "warn": "warning", "quiet": "pending"}
NONE = "–"
SHOWN_CHANGE_CPU = 0.0005  # three decimals: a smaller change of a limit would read "0.250 → 0.250"


def cpu(cores: float | None, digits: int = 2) -> str:
    return NONE if cores is None else f"{cores:.{digits}f}"


def milliseconds(value_ms: float | None) -> str:
    if value_ms is None:
        return NONE
    return f"{value_ms:.1f}" if value_ms < 9.95 else f"{value_ms:,.0f}"


def megabytes(value_bytes: float | None) -> str:
    return NONE if value_bytes is None else f"{value_bytes / 1e6:,.0f}"


def rate(value_hz: float | None) -> str:
    return NONE if value_hz is None else f"{value_hz:.1f}" if value_hz < 99.95 else f"{value_hz:,.0f}"


def share(value: float | None) -> str:
    """0..1 as per cent; a small one is not called zero."""
    if value is None:
        return NONE
    return (
        "<0.1 %"
        if 0 < value < 0.001
        else f"{value:.1%}".replace("%", " %")
        if value < 0.0995
        else f"{value:.0%}".replace("%", " %")
    )


def clock(time_s: float, zone: tzinfo = UTC) -> str:
    return datetime.fromtimestamp(time_s, zone).strftime("%H:%M:%S")


def ago(seconds: float) -> str:
    if seconds < 1.5:
        return "just now"
    if seconds < 90:
        return f"{seconds:.0f} s ago"
    return f"{seconds / 60:.0f} min ago" if seconds < 5400 else f"{seconds / 3600:.0f} h ago"


def state(service: ServiceState) -> tuple[Level, str]:
    """One service's standing in two words."""
    if not service.alive:
        return "bad", "Down"
    if service.slo_ok is None:
        return "quiet", "No requests"
    return ("ok", "Inside SLO") if service.slo_ok else ("bad", "Outside SLO")


def verdict(loop: LoopState) -> tuple[Level, str]:
    """The headline: is every service inside its SLO?"""
    services, slo = loop.services, loop.slo
    if loop.phase == "starting":
        return "quiet", f"Starting {_listed([service.name for service in services])}"
    down = [service.name for service in services if not service.alive]
    outside = [service for service in services if service.alive and service.slo_ok is False]
    unknown = [service.name for service in services if service.alive and service.slo_ok is None]
    parts = []
    if down:
        parts.append(f"{_listed(down)} down")
    if len(outside) == 1:
        parts.append(f"{outside[0].name} outside: {_found(outside[0], slo)}")
    elif outside:
        worst = max(outside, key=lambda service: (service.failed or 0.0, service.late_in_window or 0.0))
        parts.append(f"{len(outside)} of {len(services)} services outside, worst {worst.name}: {_found(worst, slo)}")
    if parts:
        return "bad", "; ".join(parts)
    if unknown:
        inside = len(services) - len(unknown)
        known = f"{inside} of {len(services)} services inside their SLO; no" if inside else "No"
        return "quiet", f"{known} requests to {_listed(unknown)} in the last {slo.window_s:g} s"
    if len(services) == 1:
        return "ok", f"{services[0].name} inside its SLO"
    return "ok", f"All {len(services)} services inside their SLO"


def promise(slo: Slo) -> str:
    """The SLO in words."""
    return f"p{slo.percentile:g} response ≤ {slo.response_ms:g} ms in each {slo.window_s:g} s window"


def _found(service: ServiceState, slo: Slo) -> str:
    if service.failed:
        return f"{share(service.failed)} of requests failed"
    late = share(service.late_in_window)
    return f"{late} of requests late in the last {slo.window_s:g} s ({share(slo.late_allowed)} allowed)"


def _listed(names: Sequence[str], most: int = 3) -> str:
    shown = list(names[:most])
    if len(names) > most:
        shown.append(f"{len(names) - most} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def event_level(kind: str) -> Level:
    """From the kind's last word, as the orchestrator names them: `service_died`, `restart_failed`, `database_back`."""
    last = kind.rpartition("_")[2]
    if last in {"died", "failed", "refused", "trouble", "lost", "killed", "kill", "overbooked"}:
        return "bad"
    if last in {"restarted", "overrun", "again", "undone"}:
        return "warn"
    return "ok" if last in {"back", "started", "repaired"} else "quiet"


@dataclass(frozen=True)
class Change:
    """What one decision meant for one service."""

    service: str
    before: float | None  # cores
    after: float | None
    reason: str
    guard: str | None  # what the guard changed and why; None: allowed as wanted
    refused: str | None  # why the driver did not do it
    done: bool
    mode: str

    @property
    def moved(self) -> bool:
        if self.before is None or self.after is None:
            return False
        return abs(self.after - self.before) >= SHOWN_CHANGE_CPU

    @property
    def level(self) -> Level:
        return "bad" if self.refused else "warn" if self.guard else "ok"

    @property
    def result(self) -> str:
        if self.refused:
            return f"Refused: {self.refused}"
        if not self.moved:
            return "Kept"
        return "Done" if self.done else "Not applied (shadow)" if self.mode == "shadow" else "Not applied yet"

    @property
    def limits(self) -> str:
        return f"{cpu(self.before, 3)} → {cpu(self.after, 3)}" if self.moved else cpu(self.after, 3)


def changes(decision: Decision) -> list[Change]:
    """The services that a decision concerned: moved, bounded by the guard, or refused."""
    found = [_change(decision, name) for name in decision.observation]
    return [change for change in found if change.moved or change.guard or change.refused]


def _change(decision: Decision, name: str) -> Change:
    note = decision.verdict.notes.get(name)
    done = decision.outcome.done.get(name, {})
    before = decision.observation[name].get("limit_cpu")
    return Change(
        service=name,
        before=before,
        after=done.get("cpu", decision.allowed.get(name, {}).get("cpu", before)),
        reason=decision.reasons.get(name) or "no reason given",
        guard=None if note in (None, "allowed") else note,
        refused=decision.outcome.refused.get(name),
        done="cpu" in done,
        mode=decision.mode,
    )
