"""Gives every policy the same chance: a random search of equal budget over its parameters, on scenarios of its own.

The objective is what a slice's owner pays: late requests and reserved CPU at one price, averaged over the tuning
scenarios and seeds (neither is used in the evaluation).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.core.errors import InputError
from edgewright.scaling.evaluation import measure, rollout
from edgewright.scaling.model import read_scenario
from edgewright.studies.model import read_study
from edgewright.studies.tuning import Range, draws, tried

SCENARIOS = ("tuning-a", "tuning-b", "tuning-c", "tuning-d")
SEEDS = (1000, 1001, 1002)
PRICE = 12.0  # late requests that a reserved core-second is worth


SPACES: dict[str, dict[str, Range]] = {
    "threshold": {"high": Range(0.35, 0.9), "low": Range(0.1, 0.6), "step_cpu": Range(0.01, 0.3, True)},
    "hpa": {"target": Range(0.3, 0.85), "tolerance": Range(0.0, 0.2), "window_s": Range(1, 60, True)},
    "vpa": {"percentile": Range(0.5, 0.99), "margin": Range(0.0, 1.5), "half_life_s": Range(1, 120, True)},
    "model": {"late": Range(0.003, 0.3, True), "smoothing": Range(0.1, 1.0), "drain_s": Range(0.2, 4, True)},
    "curves": {"price": Range(4, 40, True)},
    "dqn": {"price": Range(0.03, 3.0, True)},
    "ppo": {"price": Range(0.03, 3.0, True)},
    "oracle": {"price": Range(2, 60, True)},
}


@dataclass(frozen=True)
class Trial:
    parameters: Mapping[str, float]
    objective: float
    late_percent: float
    reserved_cpu_s: float
    response_mean_ms: float


def folder() -> Path:
    """Where the scenarios of the package are."""
    return Path(str(files("edgewright.scaling") / "scenarios"))


def tuned() -> dict[str, tuple[str, dict[str, Any]]]:
    """The methods of the package's evaluation: name -> policy and its parameters, as `search` found them."""
    methods = read_study(folder() / "evaluation.yaml").methods
    return {m.name: (m.policy or m.name, dict(m.parameters)) for m in methods}


def search(
    policy: str,
    trials: int,
    *,
    seed: int = 0,
    file: str | None = None,
    price: float = PRICE,
    jobs: int | None = None,
    on_trial: Callable[[Trial], None] | None = None,
) -> list[Trial]:
    """`trials` draws of the policy's parameters, best first. `file`: an exported policy in place of the shipped one."""
    if policy not in SPACES:
        raise InputError("policy", policy, f"one of {sorted(SPACES)}")
    drawn = draws(SPACES[policy], trials, seed)
    for draw in drawn:
        if policy == "threshold":
            draw["low"], draw["high"] = sorted((draw["low"], draw["high"]))
    run = functools.partial(try_parameters, file or policy, price=price)
    done = []
    for trial in tried(run, drawn, jobs):
        done.append(trial)
        if on_trial is not None:
            on_trial(trial)
    return sorted(done, key=lambda trial: trial.objective)


def try_parameters(
    policy: str,
    parameters: Mapping[str, float],
    *,
    price: float = PRICE,
    scenarios: Sequence[str] = SCENARIOS,
    seeds: Iterable[int] = SEEDS,
) -> Trial:
    """Objective: late requests + price * reserved core-seconds, mean per run."""
    rows, late = [], []
    for name in scenarios:
        scenario = read_scenario(folder() / f"{name}.yaml")
        for seed in seeds:
            run = rollout(scenario, policy, seed, folder=folder(), **parameters)
            rows.append(measure(scenario, run))
            late.append(rows[-1]["late_percent"] / 100 * run.arrived.sum())
    reserved = float(np.mean([row["reserved_cpu_s"] for row in rows]))
    return Trial(
        parameters,
        float(np.mean(late)) + price * reserved,
        float(np.mean([row["late_percent"] for row in rows])),
        reserved,
        float(np.mean([row["response_mean_ms"] for row in rows])),
    )
