"""A migration loop's numbers and findings as an operator reads them. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from edgewright.service.ui.migration.shapes import Client, Decision, Migration, MigrationState, Node, Objective
from edgewright.service.ui.words import NONE, Level, ago, milliseconds


def rtt(value_ms: float | None) -> str:
    return NONE if value_ms is None else f"{load(value_ms)} ms"


def load(value: float | None) -> str:
    return NONE if value is None else f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"


def waited(value_ms: float | None) -> str:
    return NONE if value_ms is None else f"{milliseconds(value_ms)} ms"


def phase(name: str) -> str:
    return name.replace("_", " ")


def over(node: Node, objective: Objective) -> tuple[bool, bool]:
    """Whether its round-trip time and its load are over their limits."""
    return (node.rtt_ms or 0.0) > objective.rtt_max_ms, (node.load or 0.0) > objective.load_max


def verdict(state: MigrationState) -> tuple[Level, str]:
    """The headline: which node serves, and is it within its SLA?"""
    if state.phase == "starting":
        return "quiet", "Starting the service"
    if state.phase == "failed":
        return "bad", "The service does not run"
    if state.phase == "stopped":
        return "quiet", "The loop has ended"
    node = None if state.serving is None else state.nodes[state.serving]
    if state.under_way:
        source = f"{node.name} → " if node else "to "
        level: Level = "bad" if node and node.in_breach else "quiet"
        return level, f"Migrating {source}{state.under_way.target}: {phase(state.under_way.phase)}"
    if node is None:
        return "bad", "No node serves"
    if node.rtt_ms is None or node.load is None:
        return "quiet", f"{node.name} serves; nothing is measured yet"
    if not node.in_breach:
        return "ok", f"{node.name} serves within its SLA: {rtt(node.rtt_ms)}, load {load(node.load)}"
    aim, (slow, full) = state.objective, over(node, state.objective)
    found = [f"{rtt(node.rtt_ms)}, {node.rtt_ms - aim.rtt_max_ms:.1f} over the limit"] if slow else []
    found += [f"load {load(node.load)}, {node.load - aim.load_max:.1f} over the limit"] if full else []
    return "bad", f"{node.name} breaches its SLA: {'; '.join(found)}"


def standing(node: Node) -> tuple[Level, str]:
    """Of the node that serves."""
    if node.rtt_ms is None:
        return "quiet", "Serves"
    return ("bad", "In breach") if node.in_breach else ("ok", "Serves")


def promise(aim: Objective) -> str:
    """The SLA in words."""
    return f"SLA: round-trip time ≤ {aim.rtt_max_ms:g} ms, load ≤ {aim.load_max:g}"


def drive(state: MigrationState) -> str:
    now = state.drive
    breaches = f"{now.breaches or 'no'} step{'' if now.breaches == 1 else 's'} in breach"
    length = f"{now.time_s:.0f} of {now.length_s:.0f} s at {now.speed_kmh:.0f} km/h"
    return f"Drive {now.number}: {length}, reward {now.reward:.1f}, {breaches}"


def client(seen: Client) -> str:
    lost = f"{seen.answers_lost or 'none'} lost, {seen.connections_lost or 'no'} connection"
    return f"Client: {seen.answers:,} answers, {lost}{'s' if seen.connections_lost > 1 else ''} lost"


def last_migration(migrations: Sequence[Migration], now: float) -> str:
    """The newest migration as one sentence."""
    if not migrations:
        return "The service has not been migrated yet"
    last = migrations[0]
    what, when = f"Last migration: {last.source} → {last.target}", ago(now - last.time)
    if last.status != "done":
        return f"{what} {phase(last.status)} {when}: {last.reason}"
    noticed = "" if last.client_gap_ms is None else f", client waited {waited(last.client_gap_ms)}"
    return f"{what}, {when}, {waited(last.frozen_ms)} frozen{noticed}"


def status(migration: Migration) -> tuple[Level, str]:
    """What came of a migration."""
    level: Level = {"done": "ok", "rolled_back": "warn"}.get(migration.status, "bad")  # type: ignore[assignment]
    return level, phase(migration.status).capitalize()


def by(who: str) -> str:
    return "a user" if who == "user" else who


def wish(decision: Decision) -> str:
    moves = decision.wanted != decision.node
    return f"{decision.node} → {decision.wanted}" if moves else f"Stay on {decision.node}"


def result(decision: Decision) -> tuple[Level, str]:
    """What came of a decision."""
    if decision.changed:
        return "ok", "Migrates"
    if decision.wanted == decision.node:
        return "quiet", "Stays"
    if decision.allowed != decision.wanted:
        return "warn", f"Kept: {decision.note}"
    return "quiet", "Not applied (shadow)"


def seen(decision: Decision, names: Sequence[str]) -> str:
    """What was measured of the nodes that a decision was about, and when."""
    told = [
        f"{name} {rtt(rtt_ms)}, load {load(at)}"
        for name, rtt_ms, at in zip(names, decision.rtt_ms, decision.load, strict=False)
        if name in (decision.node, decision.wanted)
    ]
    who = "a user's order" if decision.by == "user" else decision.policy
    return "; ".join([*told, f"drive {decision.drive}, {decision.time_s:.0f} s", who])
