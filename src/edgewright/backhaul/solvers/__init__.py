"""Solvers of the backhaul problem: each takes (problem, *, seed, time_limit_s, ...) and returns a Solution."""

from __future__ import annotations

SOLVERS = {
    "random": "edgewright.backhaul.solvers.random:random",
    "subset-sum": "edgewright.backhaul.solvers.subset_sum:subset_sum",
    "enumeration": "edgewright.backhaul.solvers.enumeration:enumeration",
    "search": "edgewright.backhaul.solvers.search:search",
}

LEARNED = {"ppo": "edgewright.backhaul.solvers.ppo:load_ppo"}
"""Solvers that need a trained policy: each takes its file and returns a solver."""
