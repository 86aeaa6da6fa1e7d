"""Who beats whom: learned policies against each baseline, profile by profile, seed by seed.

A policy beats another on a profile if it has fewer late or failed requests and reserves no more CPU, both as means over
the paired seeds; the intervals are 95 % bootstrap intervals of the paired ratio.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.core.contracts import FloatArray
from edgewright.studies.statistics import mean, paired_ratio

BASELINES = ("threshold", "hpa", "vpa", "model")
MEASURES = ("response_mean_ms", "late_percent", "reserved_cpu_s")
SLACK = 1.005  # "no more CPU": means that differ by less than half a per cent are the same


def read_results(folder: Path) -> dict[tuple[str, str, str], FloatArray]:
    """(method, scenario, metric) -> float64[seeds], from results.parquet."""
    from pyarrow import parquet

    columns = parquet.read_table(folder / "results.parquet").to_pydict()
    cells: dict[tuple[str, str, str], dict[int, float]] = {}
    for row in range(len(columns["seed"])):
        for name in (*MEASURES, "response_p95_ms", "violated_windows_percent", "failed_percent", "over_1s_percent"):
            key = (columns["method"][row], columns["scenario"][row], name)
            cells.setdefault(key, {})[columns["seed"][row]] = columns[name][row]
    return {key: np.array([values[seed] for seed in sorted(values)]) for key, values in cells.items()}


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


def at_equal_cost(values: Mapping[tuple[str, str, str], FloatArray], policy: str) -> list[dict[str, Any]]:
    """A policy at each baseline's own CPU: ratios to the baseline's late requests and mean response, per profile.

    The policy ran under several prices (methods `policy` and `policy-...`); between them the logarithm of a measure is
    linear in the CPU reserved. Intervals: 95 %, bootstrap over seeds. No row where the baseline's CPU lies outside
    what the prices span.
    """
    methods = list(dict.fromkeys(method for method, _, _ in values))
    sweep = [name for name in methods if name == policy or name.startswith(f"{policy}-")]
    rows = []
    for theirs in (name for name in BASELINES if name in methods):
        for scenario in dict.fromkeys(scenario for _, scenario, _ in values):
            count = len(values[theirs, scenario, "reserved_cpu_s"])
            draws = np.vstack([np.arange(count), np.random.default_rng(0).integers(0, count, (1000, count))])

            def means(method: str, measure: str, scenario: str = scenario, draws: Any = draws) -> FloatArray:
                found: FloatArray = values[method, scenario, measure][draws].mean(axis=1)
                return found

            cpu = np.stack([means(name, "reserved_cpu_s") for name in sweep])
            at = means(theirs, "reserved_cpu_s")
            if not cpu[:, 0].min() <= at[0] <= cpu[:, 0].max():
                continue
            row: dict[str, Any] = {"baseline": theirs, "scenario": scenario}
            for measure in ("late_percent", "response_mean_ms"):
                known = np.log(np.maximum(np.stack([means(name, measure) for name in sweep]), 1e-6))
                order = cpu.argsort(axis=0)
                x, y = np.take_along_axis(cpu, order, 0), np.take_along_axis(known, order, 0)
                ours = np.exp([np.interp(at[n], x[:, n], y[:, n]) for n in range(len(draws))])
                ratio = ours / np.maximum(means(theirs, measure), 1e-6)
                low, high = np.quantile(ratio[1:], (0.025, 0.975))
                row[measure] = {"ratio": float(ratio[0]), "low": float(low), "high": float(high)}
            rows.append(row)
    return rows


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
