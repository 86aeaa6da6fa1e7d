"""A study's table: averages with intervals, and each method against the baseline seed by seed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.core.contracts import FloatArray
from edgewright.studies import statistics
from edgewright.studies.contract import Metric
from edgewright.studies.model import Study
from edgewright.studies.statistics import Interval

if TYPE_CHECKING:
    from rich.table import Table

OVERALL = "all scenarios"

Values = Mapping[tuple[str, str, str], FloatArray]
"""(method, scenario, metric) -> float64[seeds], in the order of the study's seeds; NaN where there is none."""


@dataclass(frozen=True)
class Entry:
    """One method and metric in one scenario, or over all of them."""

    scenario: str
    method: str
    metric: Metric
    seeds: int
    """With a value; over all scenarios, cells with one."""
    wanted: int
    """Seeds, or cells, there should be."""
    average: Interval | None
    """None over all scenarios, where only the ratio means something."""
    difference: Interval | None
    """Against the baseline; None for the baseline itself."""
    ratio: Interval | None
    """To the baseline; NaN where its values are not all positive, and for a metric in %."""

    @property
    def verdict(self) -> str:
        """better or worse than the baseline where the interval of the change excludes none; else equal or unclear."""
        change, none = (self.difference, 0.0) if self.difference else (self.ratio, 1.0)
        if change is None or math.isnan(change.low):
            return ""
        if change.low <= none <= change.high:
            return "equal" if change.low == change.high else "unclear"
        return "better" if (change.low > none) == (self.metric.better == "higher") else "worse"


def entries(
    values: Values,
    methods: Sequence[str],
    scenarios: Sequence[str],
    metrics: Sequence[Metric],
    *,
    baseline: str | None,
    average: str,
) -> list[Entry]:
    """In the order scenario, method, metric; the rows over all scenarios last, where there are several."""
    mean = statistics.AVERAGES[average]

    def ratio_of(strata: list[tuple[FloatArray, FloatArray]], metric: Metric) -> Interval:
        # Per cent of per cent misleads: such a metric changes by points.
        return statistics.UNDEFINED if metric.unit == "%" else statistics.overall_ratio(strata, mean)

    def made(scenario: str, method: str, metric: Metric) -> Entry:
        own = values[method, scenario, metric.name]
        difference = ratio = None
        if baseline is not None and method != baseline:
            base = values[baseline, scenario, metric.name]
            difference = statistics.paired_difference(own, base, mean)
            ratio = ratio_of([(own, base)], metric)
        return Entry(scenario, method, metric, _count(own), own.size, statistics.interval(own, mean), difference, ratio)

    def overall(method: str, metric: Metric) -> Entry:
        assert baseline is not None
        strata = [(values[method, s, metric.name], values[baseline, s, metric.name]) for s in scenarios]
        every = np.concatenate([own for own, _ in strata])
        ratio = ratio_of(strata, metric)
        return Entry(OVERALL, method, metric, _count(every), every.size, None, None, ratio)

    found = [made(s, method, metric) for s in scenarios for method in methods for metric in metrics]
    if baseline is not None and len(scenarios) > 1:
        found += [overall(method, metric) for method in methods if method != baseline for metric in metrics]
    return found


def _count(values: FloatArray) -> int:
    return int((~np.isnan(values)).sum())


def as_json(found: Sequence[Entry], study: Study, failed: int) -> dict[str, Any]:
    metrics = {entry.metric.name: entry.metric for entry in found}
    return {
        "format": "edgewright.study-table/1",
        "study": study.name,
        "average": study.average,
        "confidence": statistics.CONFIDENCE,
        "resamples": statistics.RESAMPLES,
        "baseline": study.baseline,
        "seeds": len(study.seeds),
        "failed": failed,
        "metrics": [{"name": m.name, "title": m.title, "unit": m.unit, "better": m.better} for m in metrics.values()],
        "entries": [
            {
                "scenario": entry.scenario,
                "method": entry.method,
                "metric": entry.metric.name,
                "seeds": entry.seeds,
                "average": _plain(entry.average),
                "difference": _plain(entry.difference),
                "ratio": _plain(entry.ratio),
                "verdict": entry.verdict,
            }
            for entry in found
        ],
    }


def _plain(interval: Interval | None) -> dict[str, float | None] | None:
    if interval is None:
        return None
    return {name: None if math.isnan(value) else value for name, value in interval._asdict().items()}


def caption(study: Study, failed: int) -> str:
    average = study.average.replace("_", " ").capitalize()
    text = f"{average} [95 % bootstrap interval] over {len(study.seeds)} seeds"
    if study.baseline is not None:
        text += f"; below it the change against {study.baseline} on the same seeds"
    return text + (f". FAILED CELLS: {failed}" if failed else "")


def as_markdown(found: Sequence[Entry], title: str, caption: str) -> str:
    lines = [f"# {title}", "", caption + ".", ""]
    for scenario, metrics, rows in _tables(found):
        lines += [f"## {scenario}", "", "| method | " + " | ".join(map(_heading, metrics)) + " |"]
        lines += ["|---" * (len(metrics) + 1) + "|"]
        for method, row in rows:
            texts = ["<br>".join(filter(None, (_average(e), f"{_change(e)} {e.verdict}".strip()))) for e in row]
            lines.append(f"| {method} | " + " | ".join(texts) + " |")
        lines.append("")
    return "\n".join(lines)


def as_rich(found: Sequence[Entry]) -> Iterator[Table]:
    from rich.table import Table
    from rich.text import Text

    colours = {"better": "green", "worse": "red"}
    for scenario, metrics, rows in _tables(found):
        table = Table("method", *map(_heading, metrics), title=scenario, title_justify="left", show_lines=True)
        for method, row in rows:
            cells = []
            for entry in row:
                text = Text(_average(entry))
                if change := _change(entry):
                    text.append(("\n" if text.plain else "") + f"{change} ")
                    text.append(entry.verdict, style=colours.get(entry.verdict, "dim"))
                cells.append(text)
            table.add_row(method, *cells)
        yield table


def _tables(found: Sequence[Entry]) -> Iterator[tuple[str, list[Metric], list[tuple[str, list[Entry]]]]]:
    for scenario in dict.fromkeys(entry.scenario for entry in found):
        here = [entry for entry in found if entry.scenario == scenario]
        if scenario == OVERALL:  # without the metrics that have no ratio
            shown = {e.metric.name for e in here if e.ratio is not None and not math.isnan(e.ratio.value)}
            here = [entry for entry in here if entry.metric.name in shown]
            if not here:
                continue
        methods = dict.fromkeys(entry.method for entry in here)
        rows = [(method, [entry for entry in here if entry.method == method]) for method in methods]
        yield scenario, [entry.metric for entry in rows[0][1]], rows


def _heading(metric: Metric) -> str:
    return f"{label(metric)}, {metric.better} is better"


def label(metric: Metric) -> str:
    return f"{metric.title} ({metric.unit})" if metric.unit else metric.title


def _average(entry: Entry) -> str:
    if entry.average is None:
        return ""
    text = _shown(entry.average, entry.metric.format)
    return text if entry.seeds == entry.wanted else f"{text}, {entry.seeds} of {entry.wanted}"


def _change(entry: Entry) -> str:
    """In per cent where a ratio is defined, else in the metric's unit."""
    if entry.ratio is not None and not math.isnan(entry.ratio.value):
        percent = Interval(*(100 * (value - 1) for value in entry.ratio))
        return _shown(percent, "+.1f", " %")
    unit = " points" if entry.metric.unit == "%" else ""
    return "" if entry.difference is None else _shown(entry.difference, "+" + entry.metric.format.lstrip("+"), unit)


def _shown(interval: Interval, spec: str, unit: str = "") -> str:
    if math.isnan(interval.value):
        return "-"
    text = f"{interval.value:{spec}}{unit}"
    return text if math.isnan(interval.low) else f"{text} [{interval.low:{spec}}, {interval.high:{spec}}]"
