"""What a backhaul loop plans for, and what it records of a plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edgewright.backhaul.control import Decision, value_of
from edgewright.backhaul.model import NO_PATH, Network, Problem
from edgewright.core.contracts import FloatArray, IntArray, Outcome
from edgewright.service.loops.loop import Mode


@dataclass(frozen=True)
class Situation:
    """A plan holds until one of these changes."""

    broken: frozenset[int]
    matrix: int  # id
    factor: float
    planner: str
    mode: Mode

    def changes(self, old: Situation, network: Network) -> Iterator[str]:
        """In words."""
        for link in sorted(self.broken - old.broken):
            yield f"link {link_name(network, link)} broke"
        for link in sorted(old.broken - self.broken):
            yield f"link {link_name(network, link)} is back"
        if self.matrix != old.matrix:
            yield f"the demand is now matrix {self.matrix}"
        if self.factor != old.factor:
            yield f"the demand is now × {self.factor:g}"
        if self.planner != old.planner:
            yield f"the planner is now {self.planner}"
        if self.mode != old.mode:
            yield f"the mode is now {self.mode}"


def link_name(network: Network, link: int) -> str:
    one = network.links[link]
    return f"{one.u}–{one.v} {'mmWave' if one.band == 'mmwave' else 'Sub-6'}"


def path_view(network: Network, flow: int, choice: int) -> dict[str, Any] | None:
    """A path as it is shown; None for NO_PATH."""
    if choice == NO_PATH:
        return None
    path = network.flows[flow].paths[choice]
    links = network.arrays.links_of(network.arrays.flow_start[flow] + choice).tolist()
    return {"index": choice, "band": path.band, "nodes": list(path.nodes), "links": links}


def decision_body(
    problem: Problem, decision: Decision, outcome: Outcome, *, why: str, rates_mbps: FloatArray, running: IntArray
) -> dict[str, Any]:
    """What was seen, wanted, allowed and done; `running`: the paths in force after it."""
    network = problem.network
    moves = [
        {
            "flow": move.flow,
            "source": network.flows[move.flow].source,
            "before": path_view(network, move.flow, move.before),
            "after": path_view(network, move.flow, move.after),
            "reason": move.reason,
            "done": f"flows.{move.flow}" in outcome.done,
            "refused": outcome.refused.get(f"flows.{move.flow}"),
        }
        for move in decision.moves
    ]
    return {
        "why": why,
        "observation": {
            "broken": sorted(problem.broken),
            "demand_mbps": [round(value, 4) for value in problem.demand_mbps.tolist()],
            "rates_mbps": [round(value, 4) for value in rates_mbps.tolist()],
        },
        "wanted": decision.wanted.tolist(),
        "allowed": decision.allowed.tolist(),
        "verdict": {"changed": bool((decision.wanted != decision.allowed).any()), "note": decision.kept or "allowed"},
        "moves": moves,
        "outcome": {"done": dict(outcome.done), "refused": dict(outcome.refused)},
        "value": {
            "before": round(decision.value_before, 6),
            "wanted": round(decision.value_wanted, 6),
            "after": round(value_of(problem, running), 6),
        },
        "plan_cpu_ms": round(decision.cpu_s * 1e3, 3),
        "choice": running.tolist(),
    }
