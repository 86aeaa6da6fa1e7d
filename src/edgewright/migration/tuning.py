"""Gives every rule the same chance: a random search of equal budget over its parameters, on drives that neither
training nor evaluation sees (nor their days, where loads are drawn; a trace is one day).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgewright.core.errors import InputError
from edgewright.migration.evaluation import Place, run_policy
from edgewright.migration.model import Scenario
from edgewright.migration.policies import make_policy
from edgewright.studies.tuning import Range, draws, tried

SEEDS = (-3, -2, -1)  # an evaluation's are from 0 on
SPACES: dict[str, dict[str, Range]] = {
    "hysteresis": {"margin": Range(0.0, 1.5), "patience": Range(1, 5, whole=True)},
    "forecast": {
        "ahead": Range(4, 40, whole=True),
        "window": Range(3, 20, whole=True),
        "keeps": Range(0.9, 1.0),
        "usual_load": Range(2.0, 6.0),
    },
}


@dataclass(frozen=True)
class Trial:
    parameters: Mapping[str, float]
    reward: float
    """Of a drive, mean."""


def search(
    policy: str,
    scenario: Scenario,
    folder: Path,
    trials: int,
    *,
    seed: int = 0,
    jobs: int | None = None,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> list[Trial]:
    """`trials` draws of the policy's parameters, best first."""
    if policy not in SPACES:
        raise InputError("policy", policy, f"one of {sorted(SPACES)}")
    done = []
    for trial in tried(
        functools.partial(_try, policy, Place(scenario, folder)), draws(SPACES[policy], trials, seed), jobs
    ):
        done.append(trial)
        on_trial(trial)
    return sorted(done, key=lambda trial: -trial.reward)


def _try(policy: str, place: Place, parameters: dict[str, float]) -> Trial:
    made = make_policy(policy, place.scenario, **parameters)
    rewards = [run_policy(made, problem).value for seed in SEEDS for problem in place.problems(seed)]
    return Trial(parameters, float(np.mean(rewards)))
