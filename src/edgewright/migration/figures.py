"""Pictures of migration: what a drive met, and where the service was under each policy (the paper's Fig. 6)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgewright.migration.model import Problem, Solution
from edgewright.studies.figures import COLOURS, save


def over_drive(problem: Problem, names: tuple[str, ...], found: Mapping[str, Solution], path: Path) -> Path:
    """Round-trip time and load of every node with their limits, and below, a line a policy, the node that serves:
    its colour; a cross where the SLA was breached.
    """
    from matplotlib.figure import Figure

    drive, objective = problem.drive, problem.objective
    times = np.arange(len(drive.rtt_ms)) * problem.step_s
    figure = Figure(figsize=(9, 5.2 + 0.28 * len(found)), layout="constrained")
    rtt, load, serves = figure.subplots(3, 1, sharex=True, height_ratios=(2, 1.6, 0.35 * len(found) + 0.3))
    for node, name in enumerate(names):
        colour = COLOURS[node % len(COLOURS)]
        rtt.plot(times, drive.rtt_ms[:, node], color=colour, label=name, lw=1.2)
        load.plot(times, drive.load[:, node], color=colour, lw=1.2)
    for panel, limit, label in (
        (rtt, objective.rtt_max_ms, "round-trip time, ms"),
        (load, objective.load_max, "load"),
    ):
        panel.axhline(limit, color="#444444", lw=1, ls="--")
        panel.set(ylabel=label, ylim=(0, None))
    load.set_ylim(0, 1.6 * objective.load_max)
    for row, solution in enumerate(found.values()):
        nodes = np.concatenate([[problem.first], solution.nodes])
        ends = np.concatenate([np.flatnonzero(np.diff(nodes)) + 1, [nodes.size]])
        begins = np.concatenate([[0], ends[:-1]])
        for begin, end in zip(begins, ends, strict=True):
            colour = COLOURS[nodes[begin] % len(COLOURS)]
            serves.barh(row, (end - begin) * problem.step_s, 0.6, begin * problem.step_s, color=colour)
        breached = np.flatnonzero(solution.breached) + 1
        serves.plot(breached * problem.step_s, np.full(breached.size, row), "x", color="#000000", ms=5)
    serves.set_yticks(range(len(found)), list(found))
    serves.set(ylim=(len(found) - 0.5, -0.5), xlabel="time, s")
    rtt.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(names), frameon=False)
    for panel in (rtt, load, serves):
        panel.margins(x=0)
        panel.spines[["top", "right"]].set_visible(False)
    return save(figure, path)
