"""Figures that fit any study: a metric by method, and one metric against another, each with its intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.core.files import replacing
from edgewright.studies.contract import Metric
from edgewright.studies.tables import Entry, Values, label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito (2008): told apart with any common colour blindness, and by marker in print.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000", "#B8A900")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def by_method(found: Sequence[Entry], values: Values, metric: Metric, path: Path) -> Path:
    """One panel a scenario: every seed as a dot, the average with its interval beside them."""
    here = [entry for entry in found if entry.metric.name == metric.name and entry.average is not None]
    methods = list(dict.fromkeys(entry.method for entry in here))
    scenarios = list(dict.fromkeys(entry.scenario for entry in here))
    figure, axes = _panels(scenarios, height=0.9 + 0.42 * len(methods))
    rng = np.random.default_rng(0)  # spreads the dots
    for panel, scenario in zip(axes, scenarios, strict=True):
        for row, method in enumerate(methods):
            entry = next(e for e in here if e.scenario == scenario and e.method == method)
            seeds = values[method, scenario, metric.name]
            colour, marker = _style(row)
            panel.plot(seeds, row + rng.uniform(-0.25, 0.25, seeds.size), ".", color=colour, alpha=0.35, ms=4)
            _point(panel, entry, None, row, colour, marker)
        panel.set_yticks(range(len(methods)), methods)
        panel.set_ylim(len(methods) - 0.5, -0.5)
        panel.set_xlabel(f"{label(metric)}\n{metric.better} is better")
    return save(figure, path)


def trade_off(found: Sequence[Entry], x: Metric, y: Metric, path: Path) -> Path:
    """One panel a scenario: each method's averages of two metrics, with both intervals."""
    here = {(e.scenario, e.method, e.metric.name): e for e in found if e.average is not None}
    methods = list(dict.fromkeys(method for _, method, _ in here))
    scenarios = list(dict.fromkeys(scenario for scenario, _, _ in here))
    figure, axes = _panels(scenarios, height=3.2)
    for panel, scenario in zip(axes, scenarios, strict=True):
        for row, method in enumerate(methods):
            _point(panel, here[scenario, method, x.name], here[scenario, method, y.name], 0, *_style(row), method)
        panel.set_xlabel(f"{label(x)}\n{x.better} is better")
        panel.set_ylabel(f"{label(y)}\n{y.better} is better")
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(4, len(names)), frameon=False)
    return save(figure, path)


def _point(
    panel: Any, x: Entry, y: Entry | None, height: float, colour: str, marker: str, name: str | None = None
) -> None:
    assert x.average is not None
    heights = None if y is None or y.average is None else y.average
    panel.errorbar(
        x.average.value,
        height if heights is None else heights.value,
        xerr=_error(x.average),
        yerr=None if heights is None else _error(heights),
        color=colour,
        marker=marker,
        ms=7,
        mec="white",
        capsize=3,
        lw=1.8,
        label=name,
        zorder=3,
    )


def _error(average: Any) -> list[list[float]] | None:
    if math.isnan(average.low):
        return None
    return [[average.value - average.low], [average.high - average.value]]


def _style(row: int) -> tuple[str, str]:
    return COLOURS[row % len(COLOURS)], MARKERS[row % len(MARKERS)]


def _panels(titles: Sequence[str], *, height: float) -> tuple[Figure, list[Any]]:
    from matplotlib.figure import Figure

    columns = min(3, len(titles))
    rows = math.ceil(len(titles) / columns)
    figure = Figure(figsize=(1.2 + 3.6 * columns, (height + 0.6) * rows + 0.3), layout="constrained")
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(len(titles))]
    for panel, title in zip(axes, titles, strict=True):
        panel.set_title(title, fontsize=11)
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save(figure: Figure, path: Path, dpi: int = 150) -> Path:
    """As PNG, whole or not at all; the same bytes for the same data."""
    with replacing(path) as new:
        figure.savefig(new, dpi=dpi, metadata={"Software": None})
    return path
