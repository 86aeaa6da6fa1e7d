"""Solvers of MEC siting, one a file: `solve(problem, *, seed, time_limit_s, on_progress) -> Solution`."""

SOLVERS = {
    "greedy": "edgewright.topology.solvers.greedy:greedy",
    "exact": "edgewright.topology.solvers.exact:exact",
    "fast": "edgewright.topology.solvers.fast:fast",
}
