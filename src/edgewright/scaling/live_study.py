"""Policies on the real services, under the same recorded arrivals, in alternating order."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.core.errors import InputError
from edgewright.scaling.evaluation import measure, series
from edgewright.scaling.figures import over_time
from edgewright.scaling.live import draw_arrivals, measure_speed, run_policy, running
from edgewright.scaling.model import Scenario
from edgewright.scaling.policies import make_policy
from edgewright.studies.contract import Cell

SHOWN = {
    "response_mean_ms": "mean ms",
    "response_p95_ms": "p95 ms",
    "late_percent": "late %",
    "violated_windows_percent": "windows %",
    "failed_percent": "failed %",
    "reserved_cpu_s": "reserved CPU s",
    "used_cpu_s": "used CPU s",
    "utilization_percent": "utilisation %",
    "fluctuation_cpu": "change of limits",
}


@dataclass(frozen=True)
class LiveTable:
    """One row per run: policy, repetition, and the measures of `evaluation.measure`."""

    rows: list[dict[str, Any]]

    def text(self) -> str:
        policies = list(dict.fromkeys(row["policy"] for row in self.rows))
        lines = [f"{'policy':<14}" + "".join(f"{title:>24}" for title in SHOWN.values())]
        for policy in policies:
            runs = [row for row in self.rows if row["policy"] == policy]
            cells = []
            for name in SHOWN:
                values = np.array([row[name] for row in runs])
                cells.append(f"{values.mean():.4g} ({values.min():.3g}..{values.max():.3g})")
            lines.append(f"{_title(policy):<14}" + "".join(f"{cell:>24}" for cell in cells))
        return "\n".join([*lines, "mean (lowest..highest repetition)"])


def compare(
    scenario: Scenario,
    base: Path,
    policies: Sequence[str],
    *,
    seconds: int,
    repetitions: int,
    seed: int,
    out: Path,
    load: float | None = None,
    methods: Mapping[str, tuple[str, Mapping[str, Any]]] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> LiveTable:
    """Run every policy `repetitions` times; the order turns around every repetition. Writes runs.json and figures.

    load: a factor on all rates; None: what this host carries as the scenario says (see `live.Speed`).
    methods: policy and parameters of a name in `policies` that is not to be the policy of that name as it is.
    """
    if repetitions < 1 or seconds < scenario.slo.window_s:
        raise InputError("seconds, repetitions", (seconds, repetitions), f">= {scenario.slo.window_s} and >= 1")
    chosen = {name: (methods or {}).get(name, (name, {})) for name in policies}
    for policy, parameters in chosen.values():  # one that does not fit is refused before anything starts
        make_policy(policy, scenario, **parameters)
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    cells: list[Cell] = []
    with running(scenario, base, out / "work") as live:
        if load is None:
            speed = measure_speed(live, seed=seed)
            load = speed.load
            told = f"loads times {load:.2f}" if load < 1 else "loads as they are"
            say(f"{1e3 * speed.measured_s:.1f} ms of CPU a request, {1e3 * speed.said_s:.1f} in the scenario: {told}")
        for repetition in range(repetitions):
            times = draw_arrivals(scenario, seconds, seed + repetition, base, load)
            order = list(policies) if repetition % 2 == 0 else list(policies)[::-1]
            for name in order:
                say(f"repetition {repetition + 1} of {repetitions}: {name}, {seconds} s")
                policy, parameters = chosen[name]
                done = run_policy(live, policy, times, seconds, **parameters)
                measures = measure(scenario, done)
                rows.append({"policy": name, "repetition": repetition, "load": load, **measures})
                say(f"  mean {measures['response_mean_ms']:.1f} ms, late {measures['late_percent']:.2f} %")
                cells.append(Cell(_title(name), scenario.name, repetition, measures, series(scenario, done)))
                (out / "runs.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    over_time(cells, out)
    return LiveTable(rows)


def _title(name: str) -> str:
    return Path(name).stem if name.endswith(".npz") else name
