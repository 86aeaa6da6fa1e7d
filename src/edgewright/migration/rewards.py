"""What a step is worth, written once over `xp` (jax.numpy in the twin, numpy elsewhere).

Source: DRL-based Service Migration for MEC Cloud-Native 5G and beyond Networks, equations by its numbers. The reward
takes what is observed after the action. Shapes: ... of any kind, N nodes last.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from edgewright.core.contracts import Array


class Terms(NamedTuple):
    """An objective's numbers, see `model.Objective`."""

    rtt_min_ms: Any
    rtt_max_ms: Any
    load_min: Any
    load_max: Any
    cost: Any
    charge: Any
    downtime_s: Any
    step_s: Any
    breach_penalty: Any


def load(cpu: Array, memory: Array) -> Array:
    """Eq. 2: >= 1, from the shares in use, 0 .. 1 (1 excluded)."""
    return 1 / ((1 - cpu) * (1 - memory))


def part(values: Array, lowest: Any, highest: Any) -> Array:
    """Eqs. 4 and 5: the reward of each node for its value among those of all nodes, [..., N]"""
    least, most = values.min(-1, keepdims=True), values.max(-1, keepdims=True)
    return lowest / values - values / highest + least / values - values / most


def penalty(xp: Any, values: Array, highest: Any, cost: Any) -> Array:
    """Eqs. 6 and 7: half the cost where a value is above its maximum and the worst of all nodes', [..., N]"""
    return xp.where((values > highest) & (values >= values.max(-1, keepdims=True)), cost / 2, 0.0)


def breach(rtt_ms: Array, loads: Array, terms: Terms) -> Array:
    """Where a service on that node misses its SLA, bool[..., N]"""
    return (rtt_ms > terms.rtt_max_ms) | (loads > terms.load_max)


def worth(xp: Any, rtt_ms: Array, loads: Array, terms: Terms) -> tuple[Array, Array]:
    """What a step is worth that ends with the service on each of the nodes: where it was there before (eq. 8, less the
    penalty of a breach), and where it came there in this step, [..., N] each.

    A migration has its charge, and while the service was down it earned nothing and cost what breaches of both limits
    cost, or as little as it earns there if that is even less: it is never better to come than to have been there.
    """
    earned = part(rtt_ms, terms.rtt_min_ms, terms.rtt_max_ms) + part(loads, terms.load_min, terms.load_max)
    missed = penalty(xp, rtt_ms, terms.rtt_max_ms, terms.cost) + penalty(xp, loads, terms.load_max, terms.cost)
    earned, down = earned - missed, terms.downtime_s / terms.step_s
    breached = xp.where(breach(rtt_ms, loads, terms), terms.breach_penalty, 0.0)
    came = (1 - down) * earned + down * xp.minimum(earned, -terms.cost) - terms.charge
    return earned - breached, came - breached
