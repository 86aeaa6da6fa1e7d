"""What a policy sees, written once over `xp` (jax.numpy in the twin, numpy live). Shapes: N nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from edgewright.core.contracts import Array
from edgewright.core.errors import InputError
from edgewright.migration.model import Scenario

MOST = 2.0  # of a value in parts of its maximum: what is beyond is as bad


class Observation(NamedTuple):
    node: Array  # [] where the service is
    rtt_ms: Array  # [N]
    load: Array  # [N]


def trained_for(scenario: Scenario) -> dict[str, float]:
    """What a policy that learned from these features depends on: it stands in its card."""
    objective = scenario.objective
    return {
        "nodes": len(scenario.nodes),
        "rtt_max_ms": objective.rtt_max_ms,
        "load_max": objective.load_max,
        "step_s": scenario.step_s,
    }


def require_trained_for(scenario: Scenario, card: Mapping[str, Any], source: str) -> None:
    """Raises InputError naming what differs."""
    for name, value in trained_for(scenario).items():
        if card.get(name) != value:
            raise InputError(name, value, f"{card.get(name)}, as the policy was trained", source=source)


def features(xp: Any, seen: Observation, rtt_max_ms: Any, load_max: Any) -> Array:
    """float32[3 N]: which node serves, and of each node round-trip time and load in parts of their maxima, capped."""
    count = seen.rtt_ms.shape[-1]
    here = (xp.arange(count) == seen.node).astype(xp.float32)
    parts = [xp.minimum(seen.rtt_ms / rtt_max_ms, MOST), xp.minimum(seen.load / load_max, MOST)]
    return xp.concatenate([here, *parts]).astype(xp.float32)
