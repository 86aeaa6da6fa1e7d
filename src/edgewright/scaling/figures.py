"""Policies over time, as in NANCY D4.2, Figures 26 (response), 27 (utilisation) and 28-30 (limits and usage), and what
fewer late requests cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.scaling.curves import at_other_price
from edgewright.studies.contract import Cell
from edgewright.studies.figures import COLOURS, MARKERS, save


def over_time(cells: Sequence[Cell], folder: Path) -> list[Path]:
    """Per scenario: response and utilisation of every method (means over seeds), and limits of the first seed."""
    written = []
    scenarios = list(dict.fromkeys(cell.scenario for cell in cells))
    for scenario in scenarios:
        by_method: dict[str, list[Mapping[str, Any]]] = {}
        shown = (c for c in cells if c.scenario == scenario and c.series and not at_other_price(c.method))
        for cell in sorted(shown, key=lambda c: c.seed):
            by_method.setdefault(cell.method, []).append(cell.series)
        if by_method:
            written.append(_response_and_utilization(by_method, scenario, folder))
            written.append(_limits(by_method, scenario, folder))
    return written


def prices(cells: Sequence[Cell], folder: Path) -> list[Path]:
    """Late requests over reserved CPU: the cost curves at all their prices as a line, other policies as points."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    methods = [name for name in dict.fromkeys(cell.method for cell in cells) if name != "fixed"]
    if not any(map(at_other_price, methods)):
        return []
    scenarios = list(dict.fromkeys(cell.scenario for cell in cells))
    figure = Figure(figsize=(3.2 * len(scenarios), 3.8), layout="constrained")
    axes = figure.subplots(1, len(scenarios))
    for axis, scenario in zip(np.atleast_1d(axes), scenarios, strict=True):

        def means(method: str, scenario: str = scenario) -> tuple[float, float]:
            rows = [c.metrics for c in cells if c.scenario == scenario and c.method == method]
            return tuple(float(np.mean([row[m] for row in rows])) for m in ("reserved_cpu_s", "late_percent"))  # type: ignore[return-value]

        curve = sorted(means(name) for name in methods if name == "curves" or at_other_price(name))
        axis.plot(*zip(*curve, strict=True), color="black", linewidth=1.4, label="curves, by price")
        others = [name for name in methods if not at_other_price(name)]
        for name, colour, marker in zip(others, _colours(), MARKERS * 4, strict=False):
            axis.plot(*means(name), marker, color=colour, label=name, markersize=7)
        axis.set(yscale="log", title=scenario, xlabel="CPU reserved (CPU s)")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.25)
    np.atleast_1d(axes)[0].set_ylabel("late or failed requests (%)")
    figure.legend(
        *np.atleast_1d(axes)[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False
    )
    return [save(figure, folder / "prices.png", dpi=110)]


def _response_and_utilization(by_method: Mapping[str, list[Mapping[str, Any]]], scenario: str, folder: Path) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6.5), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    for colour, (method, runs) in zip(_colours(), by_method.items(), strict=False):
        window_s = float(runs[0]["window_s"][0])
        response = np.nanmean([run["response_mean_ms"] for run in runs], axis=0)
        times = (np.arange(response.size) + 0.5) * window_s
        top.plot(times, response, color=colour, label=method, linewidth=1.6)
        usage = np.mean([run["usage_cpu"].sum(axis=1) for run in runs], axis=0)
        limit = np.mean([run["limit_cpu"].sum(axis=1) for run in runs], axis=0)
        smooth = np.convolve(100 * usage / limit, np.ones(5) / 5, mode="valid")
        bottom.plot(np.arange(smooth.size) + 2.5, smooth, color=colour, linewidth=1.3)
    top.set(yscale="log", ylabel="mean response (ms)", title=f"{scenario}: response time and utilisation")
    bottom.set(ylabel="utilisation of the limits (%)", xlabel="time (s)", ylim=(0, 105))
    top.legend(ncols=4, fontsize=8, frameon=False)
    for axis in (top, bottom):
        axis.grid(alpha=0.25)
    return save(figure, folder / f"time-{scenario}.png", dpi=110)


def _limits(by_method: Mapping[str, list[Mapping[str, Any]]], scenario: str, folder: Path) -> Path:
    from matplotlib.figure import Figure

    rows = len(by_method)
    figure = Figure(figsize=(9, 1.4 * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, 1, sharex=True, sharey=True)
    for axis, (method, runs) in zip(np.atleast_1d(axes), by_method.items(), strict=True):
        first = runs[0]
        for colour, service in zip(_colours(), range(first["limit_cpu"].shape[1]), strict=False):
            axis.step(np.arange(len(first["limit_cpu"])), first["limit_cpu"][:, service], color=colour, where="post")
            axis.plot(first["usage_cpu"][:, service], color=colour, alpha=0.35, linewidth=1)
        axis.set_ylabel(method, rotation=0, ha="right", fontsize=8)
        axis.grid(alpha=0.25)
    np.atleast_1d(axes)[0].set_title(f"{scenario}: limits (steps) and usage (pale) by service, cores, first seed")
    np.atleast_1d(axes)[-1].set_xlabel("time (s)")
    return save(figure, folder / f"limits-{scenario}.png", dpi=110)


def _colours() -> list[str]:
    return list(COLOURS) * 4
