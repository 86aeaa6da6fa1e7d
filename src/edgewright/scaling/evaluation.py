"""Policies on the reference twin: one rollout, its measures, and the study capability `scaling`.

Terms (all policies alike): a request is late if it takes longer than the SLO's bound or fails; a window of the SLO is
violated if more than the allowed share of its requests is late; cost is the integral of the limits (CPU-seconds
reserved).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.core.contracts import FloatArray
from edgewright.core.errors import InputError
from edgewright.core.workload import rates
from edgewright.scaling.control import Controller
from edgewright.scaling.events import SimulatedSlice
from edgewright.scaling.model import Scenario
from edgewright.scaling.observation import Observation
from edgewright.scaling.policies import make_policy
from edgewright.studies.contract import Cell, Metric, Result, ScenarioSource
from edgewright.studies.versions import code_version


@dataclass(frozen=True)
class Rollout:
    """One run. Shapes: T intervals, A services."""

    interval_s: float
    limit_cpu: FloatArray  # [T, A]
    usage_cpu: FloatArray  # [T, A]
    arrived: FloatArray  # [T, A] requests
    response_s: tuple[tuple[FloatArray, ...], ...]  # [T][A] -> responses of requests that ended
    failed: FloatArray  # [T, A] requests
    oom_kills: FloatArray  # [T, A]
    memory_limit_bytes: FloatArray  # [T, A]


def rollout(
    scenario: Scenario,
    policy: str,
    seed: int,
    *,
    folder: Path | None = None,
    **parameters: Any,
) -> Rollout:
    """Run a policy for the scenario's duration on the reference twin; same seed, same requests for every policy."""
    simulated = SimulatedSlice(scenario, seed, folder=folder)
    if policy == "oracle":
        from edgewright.scaling.oracle import Oracle

        controller = Controller(scenario, Oracle(simulated, **parameters))
    else:
        controller = Controller(scenario, make_policy(policy, scenario, **parameters))
    interval_s = scenario.control.interval_s
    steps = round(scenario.duration_s / interval_s)
    seen: list[Observation] = []
    responses: list[tuple[FloatArray, ...]] = []
    failed = []
    for step in range(steps):
        observed = simulated.run(interval_s)
        seen.append(observed)
        responses.append(tuple(s.responses_s for s in simulated.served))
        failed.append([s.failed for s in simulated.served])
        if (step + 1) * interval_s >= scenario.control.start_after_s:
            simulated.apply(controller.step(observed).allowed)
    # Whatever has waited beyond the bound when the run ends is late, however long it would still have taken.
    waited = [age[age > scenario.slo.response_s] for age in simulated.twin.unanswered_s()]
    last = zip(responses[-1], waited, strict=True)
    responses[-1] = tuple(np.append(ended, np.minimum(age, scenario.slo.timeout_s)) for ended, age in last)

    def stack(field: str) -> FloatArray:
        return np.stack([np.asarray(getattr(o, field), dtype=np.float64) for o in seen])

    return Rollout(
        interval_s,
        stack("limit_cpu"),
        stack("usage_cpu"),
        stack("arrived_hz") * interval_s,
        tuple(responses),
        np.array(failed, dtype=np.float64),
        stack("oom_kills"),
        stack("memory_limit_bytes"),
    )


def measure(scenario: Scenario, run: Rollout) -> dict[str, float]:
    """The measures of one run, from `control.start_after_s` on; NaN where no request was answered."""
    first = round(scenario.control.start_after_s / run.interval_s)
    slo = scenario.slo
    window = max(1, round(slo.window_s / run.interval_s))
    responses = [np.concatenate([*step, np.empty(0)]) for step in run.response_s[first:]]
    everything = np.concatenate([*responses, np.empty(0)])
    everything = everything if everything.size else np.array([np.nan])

    def share_over(seconds: float) -> float:
        return float(np.where(np.isnan(everything), np.nan, everything > seconds).mean())

    windows = violated = 0
    for service in range(run.limit_cpu.shape[1]):
        for start in range(first, run.limit_cpu.shape[0] - window + 1, window):
            ended = np.concatenate([step[service] for step in run.response_s[start : start + window]])
            windows += 1
            violated += bool(ended.size) and float((ended > slo.response_s).mean()) > slo.late_allowed
    limit, usage = run.limit_cpu[first:], run.usage_cpu[first:]
    failed = run.failed[first:].sum()
    return {
        "response_mean_ms": 1e3 * float(everything.mean()),
        "response_p95_ms": 1e3 * float(np.quantile(everything, 0.95)),
        "late_percent": 100 * share_over(slo.response_s),
        "failed_percent": 100 * float(failed / max(everything.size, 1)),
        "over_1s_percent": 100 * share_over(1.0),
        "violated_windows_percent": 100 * violated / max(windows, 1),
        "reserved_cpu_s": float(limit.sum() * run.interval_s),
        "used_cpu_s": float(usage.sum() * run.interval_s),
        "utilization_percent": 100 * float(usage.sum() / limit.sum()),
        "fluctuation_cpu": float(np.abs(np.diff(limit, axis=0)).sum(axis=1).mean()) if len(limit) > 1 else 0.0,
        "oom_kills": float(run.oom_kills[first:].sum()),
        "reserved_memory_gb_s": float(run.memory_limit_bytes[first:].sum() * run.interval_s / 1e9),
    }


def series(scenario: Scenario, run: Rollout) -> dict[str, FloatArray]:
    """What the document's figures show over time: response per SLO window, utilisation, limits and usage."""
    window = max(1, round(scenario.slo.window_s / run.interval_s))
    response = []
    for start in range(0, len(run.response_s) - window + 1, window):
        ended = np.concatenate([values for step in run.response_s[start : start + window] for values in step])
        response.append(1e3 * ended.mean() if ended.size else np.nan)
    return {
        "response_mean_ms": np.array(response),
        "window_s": np.array([window * run.interval_s]),
        "limit_cpu": run.limit_cpu,
        "usage_cpu": run.usage_cpu,
    }


class ScalingStudy:
    """The capability `scaling` of studies: methods are policies (see `policies.POLICIES`), and `oracle`."""

    metrics = (
        Metric("response_mean_ms", "mean response", "ms", "lower", ".1f"),
        Metric("response_p95_ms", "p95 response", "ms", "lower", ".1f"),
        Metric("late_percent", "late or failed requests", "%", "lower", ".2f"),
        Metric("violated_windows_percent", "SLO windows violated", "%", "lower", ".1f"),
        Metric("failed_percent", "failed requests", "%", "lower", ".2f"),
        Metric("over_1s_percent", "requests over 1 s", "%", "lower", ".2f"),
        Metric("reserved_cpu_s", "CPU reserved", "CPU s", "lower", ".1f"),
        Metric("used_cpu_s", "CPU used", "CPU s", "lower", ".1f"),
        Metric("utilization_percent", "utilisation", "%", "higher", ".0f"),
        Metric("fluctuation_cpu", "change of limits per step", "CPU", "lower", ".3f"),
        Metric("oom_kills", "out-of-memory kills", "", "lower", ".2f"),
        Metric("reserved_memory_gb_s", "memory reserved", "GB s", "lower", ".1f"),
    )

    @property
    def version(self) -> str:
        """Changes with the code of twin and policies, and with the weights that a method's name stands for."""
        return code_version("core", "learning", "scaling")

    def check(self, scenario: Any, method: str, parameters: Mapping[str, Any]) -> None:
        read, _ = scenario
        if method != "oracle":
            make_policy(method, read, **parameters)
        elif unknown := set(parameters) - {"price"}:
            raise InputError("parameters", sorted(unknown), "price")

    def prepare(self, source: ScenarioSource) -> tuple[Scenario, Path]:
        scenario = source.read(Scenario)
        for service in scenario.services:  # a trace that cannot be read is found before anything runs
            rates(service.load, 1, np.random.default_rng(0), folder=source.folder)
        return scenario, source.folder

    def run(self, scenario: Any, method: str, parameters: Mapping[str, Any], seed: int) -> Result:
        read, folder = scenario
        done = rollout(read, method, seed, folder=folder, **parameters)
        return Result(measure(read, done), series(read, done))

    def figures(self, cells: Sequence[Cell], folder: Path) -> list[Path]:
        from edgewright.scaling.figures import over_time, prices

        return [*over_time(cells, folder), *prices(cells, folder)]


STUDY = ScalingStudy()
