"""Pictures of a backhaul over time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgewright.backhaul.simulation import Moment
from edgewright.core.files import replacing

COLOURS = ("#0072B2", "#D55E00", "#009E73")


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
    with replacing(path) as new:
        figure.savefig(new, dpi=150, metadata={"Software": None})
    return path
