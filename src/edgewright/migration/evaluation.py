"""Policies on drives that none of them has seen, beside the proven optimum: the study capability `migration`.

A seed is DRIVES drives over days of load of its own, the same for every method. Nothing ends early; breaches are
counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.core.contracts import Policy
from edgewright.core.errors import InputError
from edgewright.migration.drives import days_of, draw_drives
from edgewright.migration.model import Problem, Scenario, Solution
from edgewright.migration.observation import Observation
from edgewright.migration.optimum import optimum, solution_of
from edgewright.migration.policies import POLICIES, make_policy
from edgewright.studies.contract import Cell, Metric, Result, ScenarioSource
from edgewright.studies.versions import code_version

DRIVES = 100
DAYS = 8
UNSEEN = 1_000_000  # seeds of drives and days: an evaluation's own and this
OPTIMUM = "optimum"


def run_policy(policy: Policy[Observation, int], problem: Problem) -> Solution:
    """From the nearest node, or the problem's, to the end of the drive."""
    drive = problem.drive
    node, memory, nodes = problem.first, None, []
    for rtt_ms, load in zip(drive.rtt_ms[:-1], drive.load[:-1], strict=True):
        node, memory, _ = policy.decide(Observation(node, rtt_ms, load), None, memory)
        nodes.append(node)
    return solution_of(problem, np.array(nodes, dtype=np.int64))


def fitting(scenario: Scenario) -> tuple[list[str], dict[str, str]]:
    """Policies of the package that can act in a scenario, and why the others cannot."""
    fit, others = [], {}
    for name in POLICIES:
        try:
            make_policy(name, scenario)
        except InputError as error:
            others[name] = str(error)
        else:
            fit.append(name)
    return fit, others


@dataclass(frozen=True)
class Place:
    """A scenario and where its relative paths start."""

    scenario: Scenario
    folder: Path

    def problems(self, seed: int) -> list[Problem]:
        days = days_of(self.scenario, self.folder, count=DAYS, seed=UNSEEN + seed)
        drives = draw_drives(self.scenario, days, DRIVES, seed=UNSEEN + seed)
        return [Problem(drive, self.scenario.objective, self.scenario.step_s) for drive in drives]


class MigrationStudy:
    """Methods are policies (see `policies.POLICIES`), and `optimum`."""

    metrics = (
        Metric("reward", "reward of a drive", "", "higher", ".1f"),
        Metric("gap", "below the optimum", "", "lower", ".2f"),
        Metric("breaches", "steps in breach", "a drive", "lower", ".2f"),
        Metric("migrations", "migrations", "a drive", "lower", ".2f"),
        Metric("rtt_ms", "round-trip time", "ms", "lower", ".2f"),
    )

    @property
    def version(self) -> str:
        return code_version("core", "learning", "migration")

    def check(self, place: Place, method: str, parameters: Mapping[str, Any]) -> None:
        if method != OPTIMUM:
            make_policy(method, place.scenario, **parameters)
        elif parameters:
            raise InputError("parameters", sorted(parameters), f"none for {OPTIMUM}")

    def prepare(self, source: ScenarioSource) -> Place:
        return Place(source.read(Scenario), source.folder)

    def run(self, place: Place, method: str, parameters: Mapping[str, Any], seed: int) -> Result:
        self.check(place, method, parameters)
        policy = None if method == OPTIMUM else make_policy(method, place.scenario, **parameters)
        columns: dict[str, list[float]] = {metric.name: [] for metric in self.metrics}
        for problem in place.problems(seed):
            best = optimum(problem)
            found = best if policy is None else run_policy(policy, problem)
            columns["reward"].append(found.value)
            columns["gap"].append(best.value - found.value)
            columns["breaches"].append(found.breaches)
            columns["migrations"].append(found.migrations)
            columns["rtt_ms"].append(
                float(problem.drive.rtt_ms[np.arange(1, found.nodes.size + 1), found.nodes].mean())
            )
        arrays = {name: np.array(values) for name, values in columns.items()}
        return Result({name: float(values.mean()) for name, values in arrays.items()}, arrays)

    def figures(self, cells: Sequence[Cell], folder: Path) -> list[Path]:
        return []


STUDY = MigrationStudy()
METHODS = (*POLICIES, OPTIMUM)
