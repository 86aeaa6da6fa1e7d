"""Pictures of migration: training (the paper's Fig. 5); what a drive met, and where the service was under each policy
(its Fig. 6).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgewright.learning.training import Curve
from edgewright.migration.model import Problem, Solution
from edgewright.studies.figures import COLOURS, save
from edgewright.studies.statistics import interval, mean


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


def over_training(curves: Mapping[str, Curve], path: Path) -> Path:
    """Return of greedy episodes over the steps of training: means over seeds, with 95 % intervals where there are
    several.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    panel = figure.subplots()
    for (name, curve), colour in zip(curves.items(), COLOURS, strict=False):
        steps, found = np.array(curve.steps), [interval(values, mean) for values in curve.evaluation]
        panel.plot(steps, [np.nanmean(values) for values in curve.evaluation], color=colour, label=name, lw=1.6)
        panel.fill_between(steps, [x.low for x in found], [x.high for x in found], color=colour, alpha=0.2, lw=0)
    panel.set(xlabel="steps", ylabel="return of an episode")
    panel.legend(frameon=False)
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)
    return save(figure, path)
