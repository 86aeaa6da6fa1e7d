"""Pictures of infrastructure."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgewright.core.contracts import FloatArray
from edgewright.studies.figures import COLOURS, save
from edgewright.topology.rings import Level, Rings

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
        tours = [tour / 1e3 for tour in _tours(below, ring, above)]
        label = f"{len(tours):,} {name} ring{'s' * (len(tours) > 1)}"
        panel.add_collection(LineCollection(tours, colors=colour, linewidths=max(width, 0.4), label=label))
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


def _tours(below: Level, rings: Level, above: Level) -> list[FloatArray]:
    """Each ring around the middle of its members and the switch above, which closes it, [members + 2, 2]."""
    tours = []
    for switch, members in zip(above.group, rings.members(), strict=True):
        points = np.vstack([above.xy[switch], below.xy[members]])
        away = points - points.mean(axis=0)
        around = points[np.argsort(np.arctan2(away[:, 1], away[:, 0]), kind="stable")]
        tours.append(np.vstack([around, around[:1]]))
    return tours
