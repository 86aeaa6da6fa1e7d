"""Memory: the percentile policy against fixed limits, in the twin and on real processes; kills and bytes reserved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.scaling.evaluation import Rollout, measure, rollout
from edgewright.scaling.live import draw_arrivals, run_policy, running
from edgewright.scaling.model import MB, Scenario

SHOWN = ("oom_kills", "failed_percent", "reserved_memory_gb_s")


def variants(scenario: Scenario) -> dict[str, Scenario]:
    """The scenario under the percentile policy, fixed at its initial limits, and fixed at its highest."""

    def fixed(at_highest: bool) -> Scenario:
        services = tuple(
            s.model_copy(update={"memory": s.memory.model_copy(update={"initial_mb": s.memory.max_mb})})
            if at_highest
            else s
            for s in scenario.services
        )
        control = scenario.control.model_copy(update={"memory_policy": "fixed"})
        return scenario.model_copy(update={"services": services, "control": control})

    percentile = scenario.control.model_copy(update={"memory_policy": "percentile"})
    return {
        "percentile": scenario.model_copy(update={"control": percentile}),
        "fixed-initial": fixed(at_highest=False),
        "fixed-highest": fixed(at_highest=True),
    }


def in_twin(scenario: Scenario, seeds: int, folder: Path) -> list[dict[str, Any]]:
    rows = []
    for name, variant in variants(scenario).items():
        for seed in range(seeds):
            done = rollout(variant, variant.control.policy, seed, folder=folder)
            rows.append({"where": "twin", "memory": name, "run": seed, **_measures(variant, done)})
    return rows


def on_host(
    scenario: Scenario, base: Path, work: Path, repetitions: int, seed: int, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    rows = []
    for repetition in range(repetitions):
        times = draw_arrivals(scenario, scenario.duration_s, seed + repetition, base)
        for name, variant in variants(scenario).items():
            say(f"repetition {repetition + 1} of {repetitions}: memory {name}, {scenario.duration_s} s")
            with running(variant, base, work) as live:
                done = run_policy(live, variant.control.policy, times, variant.duration_s)
            rows.append({"where": "host", "memory": name, "run": repetition, **_measures(variant, done)})
    return rows


def as_text(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'':6}{'memory':<16}{'kills':>14}{'failed %':>18}{'GB s reserved':>22}{'end/peak limit MB':>20}"]
    for where in dict.fromkeys(row["where"] for row in rows):
        for name in dict.fromkeys(row["memory"] for row in rows):
            runs = [row for row in rows if (row["where"], row["memory"]) == (where, name)]
            if not runs:
                continue
            shown = [f"{np.mean([r[m] for r in runs]):.4g} +- {_half_width(runs, m):.2g}" for m in SHOWN]
            limits = f"{np.mean([r['end_mb'] for r in runs]):.0f}/{np.mean([r['peak_mb'] for r in runs]):.0f}"
            lines.append(f"{where:<6}{name:<16}{shown[0]:>14}{shown[1]:>18}{shown[2]:>22}{limits:>20}")
    return "\n".join([*lines, "mean over runs +- half of the 95 % interval"])


def _measures(scenario: Scenario, done: Rollout) -> Mapping[str, float]:
    limits = done.memory_limit_bytes.sum(axis=1) / MB
    return {**measure(scenario, done), "end_mb": float(limits[-1]), "peak_mb": float(limits.max())}


def _half_width(runs: list[dict[str, Any]], metric: str) -> float:
    from scipy.stats import t

    values = np.array([run[metric] for run in runs])
    if values.size < 2:
        return float("nan")
    return float(t.ppf(0.975, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size))
