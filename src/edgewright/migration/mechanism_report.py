"""What migrations by two mechanisms came to, as rows, as a table and as a figure."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgewright.core.files import replacing
from edgewright.migration.mechanisms import Measured
from edgewright.studies.figures import COLOURS, MARKERS, save
from edgewright.studies.statistics import Interval, interval, mean


@dataclass(frozen=True)
class Metric:
    name: str
    title: str
    digits: int


METRICS = (
    Metric("migration_ms", "migration time, ms", 0),
    Metric("downtime_ms", "downtime (longest time without an answer), ms", 0),
    Metric("jitter_ms", "jitter meanwhile, ms", 2),
    Metric("throughput_percent", "throughput meanwhile, % of before", 1),
)


def row(one: Measured) -> dict[str, str | float]:
    """A migration; the span for jitter and throughput ends mechanisms.AFTER_S after it."""
    return {
        "mechanism": one.mechanism,
        "application": one.application,
        "memory_mb": one.memory_mb,
        "migration_ms": 1e3 * one.migration.total_s,
        "frozen_ms": 1e3 * one.migration.frozen_s,
        "downtime_ms": 1e3 * one.noticed.gap_s,
        "jitter_ms": 1e3 * one.noticed.jitter_s,
        "jitter_before_ms": 1e3 * one.before.jitter_s,
        "throughput_percent": 100 * one.noticed.bytes_per_s / one.before.bytes_per_s,
        "image_mb": one.migration.image_bytes / 1e6,
        "lost": one.lost,
    }


Case = tuple[str, str, int]  # mechanism, application, memory in MB


def averages(rows: Sequence[dict[str, str | float]], metric: str) -> dict[Case, Interval]:
    """Means over migrations, with 95 % intervals."""
    found: dict[Case, list[float]] = {}
    for one in rows:
        case = str(one["mechanism"]), str(one["application"]), int(one["memory_mb"])
        found.setdefault(case, []).append(float(one[metric]))
    return {case: interval(np.array(values), mean) for case, values in found.items()}


def table(rows: Sequence[dict[str, str | float]]) -> list[str]:
    """Markdown: a line a case, means with 95 % intervals."""
    columns = {metric: averages(rows, metric.name) for metric in METRICS}
    frozen = averages(rows, "frozen_ms")
    heads = ["", "application", "memory, MB", "frozen, ms", *(metric.title for metric in METRICS), "lost"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for case, seen in frozen.items():
        lost = max(
            float(one["lost"]) for one in rows if (one["mechanism"], one["application"], one["memory_mb"]) == case
        )
        cells = [case[0], case[1], str(case[2]), f"{seen.value:.0f}"]
        for metric, found in columns.items():
            low, value, high = (
                f"{number:.{metric.digits}f}" for number in (found[case].low, found[case].value, found[case].high)
            )
            cells.append(f"{value} [{low}, {high}]")
        lines.append("| " + " | ".join([*cells, f"{lost:.0f}"]) + " |")
    return lines


def draw(rows: Sequence[dict[str, str | float]], path: Path) -> Path:
    """A panel a metric over the memory; colour by mechanism, marker by application."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.2), layout="constrained")
    cases = list(averages(rows, METRICS[0].name))
    mechanisms, applications = (
        list(dict.fromkeys(one for one, _, _ in cases)),
        list(dict.fromkeys(one for _, one, _ in cases)),
    )
    for panel, metric in zip(figure.subplots(2, 2).flat, METRICS, strict=True):
        found = averages(rows, metric.name)
        for m, mechanism in enumerate(mechanisms):
            for a, application in enumerate(applications):
                sizes = sorted(size for one, other, size in cases if (one, other) == (mechanism, application))
                seen = [found[mechanism, application, size] for size in sizes]
                values = np.array([one.value for one in seen])
                error = np.array([values - [one.low for one in seen], [one.high for one in seen] - values])
                name, style = f"{mechanism}, {application}", {"color": COLOURS[m], "marker": MARKERS[a], "capsize": 3}
                panel.errorbar(np.array(sizes) + 3 * (a - 1), values, error, label=name, lw=1.4, ms=6, **style)
        panel.set_title(metric.title, fontsize=10)
        panel.set_xlabel("memory in use, MB")
        panel.set_ylim(bottom=0)
    handles, names = panel.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(mechanisms), frameon=False)
    return save(figure, path)


def write(rows: Sequence[dict[str, str | float]], out: Path) -> list[Path]:
    """migrations.csv, table.md and mechanisms.png."""
    with replacing(out / "migrations.csv") as new, new.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with replacing(out / "table.md") as new:
        new.write_text("\n".join([*table(rows), ""]), encoding="utf-8")
    return [out / "migrations.csv", out / "table.md", draw(rows, out / "mechanisms.png")]
