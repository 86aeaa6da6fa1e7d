"""A backhaul's numbers and findings as an operator reads them. Pure functions."""

from __future__ import annotations

from edgewright.service.ui.backhaul.shapes import BackhaulState, Flow, Link, Path, Plan
from edgewright.service.ui.words import NONE, Level, ago

BAND = {"sub6": "Sub-6", "mmwave": "mmWave"}
WHOLE = 0.98  # of what is offered: all is carried, but for what a counter misses
CUT_OFF = 0.02  # of its demand


def mbps(value: float) -> str:
    return f"{value:.1f}" if value < 999.95 else f"{value:,.0f}"


def link_name(link: Link) -> str:
    return f"{link.u}–{link.v} {BAND.get(link.band, link.band)}"


def path_name(path: Path | None) -> str:
    """Nodes from the source to the donor, and the band."""
    return f"{' → '.join(map(str, path.nodes))}, {BAND.get(path.band, path.band)}" if path else NONE


def share(flow: Flow) -> str:
    return f"{min(flow.rate_mbps / flow.demand_mbps, 1.0):.0%}".replace("%", " %") if flow.demand_mbps else NONE


def verdict(state: BackhaulState) -> tuple[Level, str]:
    """The headline: how much is carried, and are all links up?"""
    if state.phase == "starting":
        return "quiet", "Starting the network"
    if state.phase == "failed":
        return "bad", "The network does not start"
    carried = f"{mbps(state.carried_mbps)} of {mbps(state.offered_mbps)} Mb/s carried"
    broken = [link_name(link) for link in state.links if not link.up]
    cut = [flow.source for flow in state.flows if flow.rate_mbps < CUT_OFF * flow.demand_mbps]
    parts = [carried]
    if broken:
        named = broken[0] if len(broken) == 1 else f"{len(broken)} of {len(state.links)} links"
        parts.append(f"{named} broken".replace("–", "\u2060–\u2060"))  # no line ends there
    else:
        parts.append(f"all {len(state.links)} links up")
    if cut:
        nodes = ", ".join(map(str, cut[:3])) + (f" and {len(cut) - 3} more" if len(cut) > 3 else "")
        parts.append(f"nothing from node{'s' if len(cut) > 1 else ''} {nodes}")
    level: Level = "bad" if cut else "warn" if broken or state.efficiency < WHOLE else "ok"
    return level, "; ".join(parts)


def fairness(state: BackhaulState) -> str:
    demand = state.demand
    turns = "stays" if demand.stays or demand.hold_s is None else f"each holds {demand.hold_s:g} s"
    factor = "" if demand.factor == 1 else f" × {demand.factor:g}"
    return f"Jain's index {state.jain:.2f}. Demand: matrix {demand.matrix}{factor} of {len(demand.matrices)}, {turns}"


def last_change(plans: list[Plan], now: float) -> str:
    """The newest decision that moved a flow, as one sentence."""
    for plan in plans:
        moves = [move for move in plan.moves if move.done or plan.mode == "shadow"]
        if moves:
            first = moves[0]
            others = f"; {len(moves) - 1} more" if len(moves) > 1 else ""
            verb = "Last change" if plan.mode == "act" else "Last advice"
            what = f"from node {first.source} by {path_name(first.after)} ({first.reason}){others}"
            return f"{verb} {ago(now - plan.time)}, as {plan.why}: {what}"
    return "The loop has not moved a flow yet"


def result(plan: Plan) -> tuple[Level, str]:
    """What came of a decision."""
    if refused := [move for move in plan.moves if move.refused]:
        return "bad", f"{len(refused)} of {len(plan.moves)} refused"
    if not plan.moves:
        return "quiet", f"Kept: {plan.verdict.note}"
    flows = f"{len(plan.moves)} flow{'s' if len(plan.moves) > 1 else ''}"
    if plan.mode == "shadow":
        return "quiet", f"{flows}, not applied (shadow)"
    return ("ok", f"{flows} moved") if all(move.done for move in plan.moves) else ("warn", f"{flows}, not applied yet")


def load_level(link: Link) -> str:
    """idle, light, busy or full: how the picture draws it."""
    part = link.load_mbps / link.capacity_mbps
    return "idle" if part < 0.02 else "light" if part < 0.5 else "busy" if part < 0.95 else "full"
