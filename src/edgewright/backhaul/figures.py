"""Pictures of a backhaul over time, and of methods over configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.backhaul.simulation import Moment
from edgewright.studies.contract import Cell
from edgewright.studies.figures import save
from edgewright.studies.statistics import interval, mean

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
MEASURES = {
    "efficiency_percent": "carried of offered, %",
    "jain_percent": "Jain's index, %",
    "cpu_ms": "CPU of an allocation, ms",
}
AIMS = ("efficiency", "jain", "weighted", "alpha")
USUAL_STEPS = 300  # of an allocation
AXES = {"nodes": "nodes", "broken": "broken links", "active": "probability that a flow asks"}


def over_time(runs: Mapping[str, list[Moment]], path: Path) -> Path:
    """Carried traffic of each planner, and how many links are broken."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.4), layout="constrained")
    carried, links = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for row, (name, moments) in enumerate(runs.items()):
        times = [moment.at_s for moment in moments]
        efficiency = [100 * moment.efficiency for moment in moments]
        carried.step(times, efficiency, COLOURS[row % len(COLOURS)], where="post", label=name)
        if row == 0:
            links.step(times, [len(moment.broken) for moment in moments], "#444444", where="post")
    carried.set(ylabel="carried of offered, %", ylim=(0, 101))
    carried.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(runs), frameon=False)
    links.set(ylabel="broken links", xlabel="time, s")
    for panel in (carried, links):
        panel.grid(alpha=0.25)
        panel.margins(x=0)
        panel.spines[["top", "right"]].set_visible(False)
    return save(figure, path)


def over_configurations(cells: Sequence[Cell], folder: Path) -> list[Path]:
    """Efficiency, Jain's index and CPU of every method over whatever the configurations differ in: means over networks
    with 95 % intervals, as in D4.2, Figures 17 to 23.
    """
    if any(_fact(cell, "steps") for cell in cells):
        return [_training(cells, folder / "training.png")]
    from matplotlib.figure import Figure

    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(_panel(cell), []).append(cell)
    x = next(
        (name for name in ("nodes", "broken", "active") if len({_fact(cell, name) for cell in cells}) > 1), "nodes"
    )
    written = []
    for metric, label in MEASURES.items():
        columns = min(len(groups), 4)
        rows = -(-len(groups) // columns)
        figure = Figure(figsize=(3.3 * columns, 2.9 * rows + 0.5), layout="constrained")
        panels = np.atleast_1d(figure.subplots(rows, columns, sharex=True, sharey="row")).ravel()
        for panel, (facts, members) in zip(panels, groups.items(), strict=False):
            _lines(panel, members, x, metric)
            panel.set_title(", ".join(facts), fontsize=9)
            if metric == "cpu_ms":
                panel.set_yscale("log")
        for panel in panels[len(groups) :]:
            panel.set_visible(False)
        for panel in panels[::columns]:
            panel.set_ylabel(label)
        for panel in panels[max(len(groups) - columns, 0) : len(groups)]:
            panel.set_xlabel(AXES[x])
        handles = {label: handle for panel in panels for handle, label in zip(*panel.get_legend_handles_labels())}  # noqa: B905
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5, frameon=False)
        written.append(save(figure, folder / f"{metric}.png", dpi=130))
    return written


def _training(cells: Sequence[Cell], path: Path) -> Path:
    """Steps of an allocation, and of the training that came before; a line for each load, and the search's, dashed."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    loads = sorted({_fact(cell, "active") for cell in cells})
    for load, colour, marker in zip(loads, COLOURS, MARKERS, strict=False):
        of_load = [cell for cell in cells if _fact(cell, "active") == load]
        trained = [c for c in of_load if _fact(c, "learned") and _fact(c, "steps") in (0, USUAL_STEPS)]
        stepped = [c for c in of_load if _fact(c, "steps")]
        _line(left, stepped, "steps", "efficiency_percent", colour, marker, f"{load:g}")
        _line(right, trained, "training_steps", "efficiency_percent", colour, marker, "")
        best = np.mean([cell.metrics["efficiency_percent"] for cell in of_load if cell.method == "search"])
        for panel in (left, right):
            panel.axhline(best, color=colour, linestyle="--", linewidth=1)
    left.set(xlabel="steps of an allocation", ylabel=MEASURES["efficiency_percent"])
    right.set(xlabel="steps of the training")
    for panel in (left, right):
        if panel.containers:  # methods may vary in one of the two alone
            panel.set_xscale("log")
            panel.xaxis.set_minor_formatter(NullFormatter())
            panel.xaxis.set_major_formatter("{x:,g}")
    figure.legend(loc="outside lower center", ncols=5, frameon=False, title=AXES["active"] + "; dashed: the search")
    return save(figure, path, dpi=130)


def _lines(panel: Any, cells: Sequence[Cell], x: str, metric: str) -> None:
    methods = list(dict.fromkeys(cell.method for cell in cells))
    for name, colour, marker in zip(methods, COLOURS * 2, MARKERS * 2, strict=False):
        _line(panel, [cell for cell in cells if cell.method == name], x, metric, colour, marker, name)


def _line(panel: Any, cells: Sequence[Cell], x: str, metric: str, colour: str, marker: str, name: str) -> None:
    """Means over networks with their 95 % intervals."""
    if not cells:
        return
    points: dict[float, list[float]] = {}
    for cell in cells:
        points.setdefault(_fact(cell, x), []).append(cell.metrics[metric])
    at = sorted(points)
    found = [interval(np.array(points[one]), mean) for one in at]
    spread = np.nan_to_num([[one.value - one.low for one in found], [one.high - one.value for one in found]])
    values = [np.mean(points[one]) for one in at]
    panel.errorbar(at, values, spread, color=colour, marker=marker, markersize=4, label=name or None)
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)


def _panel(cell: Cell) -> tuple[str, ...]:
    """What configurations of one panel share, in words."""
    aim, low = AIMS[int(_fact(cell, "aim"))], _fact(cell, "lowest_mbps")
    band = ("mm-wave only",) if _fact(cell, "mmwave_only") else ()
    return f"aim: {aim}", f"{_fact(cell, 'paths'):.0f} a band", f"from {low:.0f} Mb/s", *band


def _fact(cell: Cell, name: str) -> float:
    return float(cell.series[name][0])
