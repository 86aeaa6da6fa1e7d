"""Who beats whom: learned policies against each baseline, profile by profile, seed by seed.

A policy beats another on a profile if it has fewer late or failed requests and reserves no more CPU, both as means over
the paired seeds; the intervals are 95 % bootstrap intervals of the paired ratio.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgewright.core.contracts import FloatArray
from edgewright.scaling.curves import at_other_price
from edgewright.studies.statistics import mean, paired, paired_ratio

BASELINES = ("threshold", "hpa", "vpa", "model")
MEASURES = ("response_mean_ms", "late_percent", "reserved_cpu_s")
SLACK = 1.005  # "no more CPU": means that differ by less than half a per cent are the same


def against(values: Mapping[tuple[str, str, str], FloatArray], learned: Sequence[str]) -> list[dict[str, Any]]:
    """One row per learned policy, baseline and profile: ratios learned / baseline, and whether it beats it."""
    methods = list(dict.fromkeys(method for method, _, _ in values))
    scenarios = list(dict.fromkeys(scenario for _, scenario, _ in values))
    rows = []
    for ours in (name for name in methods if name in learned):
        for theirs in (name for name in BASELINES if name in methods):
            for scenario in scenarios:
                row: dict[str, Any] = {"policy": ours, "baseline": theirs, "scenario": scenario}
                for measure in MEASURES:
                    a, b = values[ours, scenario, measure], values[theirs, scenario, measure]
                    interval = paired_ratio(a, b, mean)
                    row[measure] = {"ratio": interval.value, "low": interval.low, "high": interval.high}
                row["beats"] = row["late_percent"]["ratio"] < 1 and row["reserved_cpu_s"]["ratio"] <= SLACK
                rows.append(row)
    return rows


def at_equal_cost(values: Mapping[tuple[str, str, str], FloatArray]) -> list[dict[str, Any]]:
    """The cost curves at each baseline's own CPU: ratios to its late requests and mean response, per profile.

    They ran under several prices (see `at_other_price`); between them the logarithm of a measure is linear in the CPU
    reserved. No row where the baseline's CPU lies outside what the prices span.
    """
    methods = list(dict.fromkeys(method for method, _, _ in values))
    sweep = [name for name in methods if name == "curves" or at_other_price(name)]
    rows = []
    for theirs in (name for name in BASELINES if name in methods):
        for scenario in dict.fromkeys(scenario for _, scenario, _ in values):
            cpu = [values[name, scenario, "reserved_cpu_s"] for name in (*sweep, theirs)]
            reached = [column.mean() for column in cpu]
            if not min(reached[:-1]) <= reached[-1] <= max(reached[:-1]):
                continue
            row: dict[str, Any] = {"baseline": theirs, "scenario": scenario}
            for measure in ("late_percent", "response_mean_ms"):
                found = paired((*cpu, *(values[name, scenario, measure] for name in (*sweep, theirs))), _ratio_at)
                row[measure] = {"ratio": found.value, "low": found.low, "high": found.high}
            rows.append(row)
    return rows


def _ratio_at(columns: FloatArray) -> FloatArray:
    """CPU of k prices and of the baseline, a measure of both, [2 * (k + 1), ..., seeds] -> ratio at equal CPU, [...]"""
    averages = columns.mean(axis=-1).reshape(2, len(columns) // 2, -1)
    cpu, measure = averages[:, :-1]
    at, theirs = averages[:, -1]
    order = cpu.argsort(axis=0)
    x = np.take_along_axis(cpu, order, 0)
    y = np.take_along_axis(np.log(np.maximum(measure, 1e-6)), order, 0)
    ours = np.exp([np.interp(at[n], x[:, n], y[:, n]) for n in range(at.size)])
    return np.reshape(ours / np.maximum(theirs, 1e-6), columns.shape[1:-1])


def as_text(rows: Sequence[Mapping[str, Any]], equal_cost: Sequence[Mapping[str, Any]] = ()) -> str:
    """A table for the terminal."""
    lines = ["learned policies against baselines: ratio [95 % interval], below 1 is better"]
    for row in rows:
        shown = "  ".join(
            f"{title} {row[m]['ratio']:.2f} [{row[m]['low']:.2f}, {row[m]['high']:.2f}]"
            for m, title in zip(MEASURES, ("response", "late", "CPU"), strict=True)
        )
        verdict = "fewer late, no more CPU" if row["beats"] else ""
        lines.append(f"{row['policy']:>6} / {row['baseline']:<10} {row['scenario']:<12} {shown}  {verdict}")
    if equal_cost:
        lines.append("the cost curves at the baseline's own CPU: ratio [95 % interval]")
    for row in equal_cost:
        shown = "  ".join(
            f"{title} {row[m]['ratio']:.2f} [{row[m]['low']:.2f}, {row[m]['high']:.2f}]"
            for m, title in (("response_mean_ms", "response"), ("late_percent", "late"))
        )
        lines.append(f"{'curves':>6} / {row['baseline']:<10} {row['scenario']:<12} {shown}")
    return "\n".join(lines)
