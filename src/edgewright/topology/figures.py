"""Pictures of infrastructure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.studies.figures import COLOURS, save
from edgewright.topology.rings import Rings, tours

if TYPE_CHECKING:
    from edgewright.topology.evaluation import Entry
    from edgewright.topology.statistics import Envelope, Summary

_CELL, _ACCESS, _AGGREGATION = "#9aa0a6", COLOURS[0], COLOURS[1]


def of_rings(rings: Rings, path: Path) -> Path:
    """Cells, M1 switches in access rings that close through an M2 switch, these in aggregation rings that close through
    an M3 switch.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    m1, access, m2, aggregation, m3 = (rings.levels[name] for name in rings.levels)
    wide, high = np.ptp(rings.cells, axis=0) + 1.0
    figure = Figure(figsize=(8, float(np.clip(8 * high / wide, 4, 10)) + 0.6), layout="constrained")
    panel = figure.subplots()
    many = len(rings.cells)
    size = float(np.clip(60 / np.sqrt(many), 0.3, 4))
    panel.plot(
        *rings.cells.T / 1e3, ".", color=_CELL, ms=size, label=f"{many:,} cell{'s' * (many > 1)}", rasterized=True
    )
    for below, ring, above, colour, width, name in (
        (m1, access, m2, _ACCESS, 0.3 * size, "access"),
        (m2, aggregation, m3, _AGGREGATION, 0.8, "aggregation"),
    ):
        lines = [
            np.vstack([above.xy[switch] if i < 0 else below.xy[i] for i in (*tour, tour[0])]) / 1e3
            for tour, switch in zip(tours(below, ring, above), above.group, strict=True)
        ]
        label = f"{len(lines):,} {name} ring{'s' * (len(lines) > 1)}"
        panel.add_collection(LineCollection(lines, colors=colour, linewidths=max(width, 0.4), label=label))
    for name, level, mark, colour, points in (
        ("M1", m1, "o", _ACCESS, size),
        ("M2", m2, "s", _AGGREGATION, 4),
        ("M3", m3, "^", "#000000", 7),
    ):
        label = f"{len(level):,} {name} switch{'es' * (len(level) > 1)}"
        panel.plot(*level.xy.T / 1e3, mark, color=colour, ms=points, label=label)
    panel.set(xlabel="east, km", ylabel="north, km")
    panel.set_aspect("equal", adjustable="datalim")
    panel.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, markerscale=1.5)
    return save(figure, path)


def of_sites(entries: Sequence[Entry], path: Path) -> Path:
    """A map for each: cells by the ring of the site that serves them, and sites (as slides 8 and 9)."""
    from matplotlib.figure import Figure

    columns = min(3, len({entry.solver for entry in entries}))
    rows = -(-len(entries) // columns)
    wide, high = np.ptp(entries[0].problem.cells, axis=0) + 1.0
    side = float(np.clip(4.2 * high / wide, 3, 6))
    figure = Figure(figsize=(4.2 * columns, (side + 0.5) * rows + 0.5), layout="constrained")
    for number, entry in enumerate(entries):
        panel = figure.add_subplot(rows, columns, number + 1)
        problem, solution = entry.problem, entry.solution
        size = float(np.clip(60 / np.sqrt(len(problem.cells)), 0.5, 5))
        site = solution.assigned[:, 0]
        ring = np.where(site >= 0, problem.ring[site], 0)
        for of, colour, name in (
            (1, _ACCESS, "cells of M1 sites"),
            (2, _CELL, "cells of M2 sites"),
            (0, "#000000", "cells without"),
        ):
            if (ring == of).any():
                mark = "x" if of == 0 else "."
                panel.plot(*problem.cells[ring == of].T / 1e3, mark, color=colour, ms=size, label=name, rasterized=True)
        at = problem.ring[solution.sites]
        for of, mark, colour in ((1, "o", _ACCESS), (2, "s", _AGGREGATION)):
            places = problem.candidates[solution.sites[at == of]]
            label = f"M{of} site"
            panel.plot(*places.T / 1e3, mark, color=colour, mec="white", mew=0.5, ms=3.5 + 1.5 * of, label=label)
        m1, m2 = int((at == 1).sum()), int((at == 2).sum())
        panel.set_title(f"{entry.numerology}, {entry.solver}: {m1:,} at M1, {m2:,} at M2", fontsize=9)
        panel.set_aspect("equal", adjustable="datalim")
        panel.spines[["top", "right"]].set_visible(False)
        if number % columns == 0:
            panel.set_ylabel("north, km")
        if number >= len(entries) - columns:
            panel.set_xlabel("east, km")
    names: dict[str, Any] = {}
    for panel in figure.axes:
        names |= dict(zip(*reversed(panel.get_legend_handles_labels()), strict=True))
    figure.legend(names.values(), names, loc="outside upper center", ncols=5, frameon=False, markerscale=1.5)
    return save(figure, path)


def of_loads(entries: Sequence[Entry], path: Path) -> Path:
    """Empirical distribution functions of how many cells a site serves, a panel a numerology (as slide 10)."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(entry.numerology for entry in entries))
    solvers = list(dict.fromkeys(entry.solver for entry in entries))
    figure = Figure(figsize=(0.8 + 3.4 * len(names), 3.6), layout="constrained")
    panels = figure.subplots(1, len(names), sharex=True, sharey=True, squeeze=False)[0]
    for panel, name in zip(panels, names, strict=True):
        for entry in entries:
            if entry.numerology == name:
                style = solvers.index(entry.solver)
                served = entry.solution.served(len(entry.problem.candidates))[entry.solution.sites]
                how = {"color": COLOURS[style], "ls": ("-", "--", ":")[style % 3], "lw": 1.8}
                panel.ecdf(served, label=entry.solver, **how)
        panel.set_title(name, fontsize=10)
        panel.set_xlabel("cells of a site")
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("share of sites")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    return save(figure, path)


def of_spread(cells: Summary, chance: Envelope, path: Path) -> Path:
    """L(r) - r with its envelope by chance, pair correlation, and distances to the nearest, of cells and of a Poisson
    process.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    r, own, other = cells.radii_m, {"color": _ACCESS, "lw": 1.8}, {"color": _CELL, "lw": 1.5, "ls": "--"}
    span = f"chance, {chance.simulations} simulations"
    left.fill_between(r, chance.low_m - r, chance.high_m - r, color=_CELL, alpha=0.4, lw=0, label=span)
    left.plot(r, cells.l_m - r, label="cells", **own)
    left.set(ylabel="L(r) - r, m", title="Ripley: above, they cluster")
    middle.axhline(1.0, label="chance", **other)
    middle.plot((r + np.concatenate([[0.0], r[:-1]])) / 2, cells.pair_correlation, label="cells", **own)
    middle.set(ylabel="g(r)", title="pair correlation", ylim=(0, None))
    right.plot(r, cells.nearest_poisson, label="chance", **other)
    right.plot(r, cells.nearest, label="cells", **own)
    right.set(ylabel="share of cells", title="another cell within r")
    for panel in (left, middle, right):
        panel.set_xlabel("r, m")
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False, fontsize=8)
    return save(figure, path)
