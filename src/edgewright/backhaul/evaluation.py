"""Methods on drawn networks, means over traffic matrices: the study capability `backhaul`.

A scenario is a configuration, a seed a network drawn from it with traffic of its own, a cell one method on one network.
Source of the configurations: NANCY D4.2, 4.2.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import Field, model_validator

from edgewright.backhaul.figures import AIMS
from edgewright.backhaul.generate import Recipe, generate, traffic
from edgewright.backhaul.model import Network, Problem, Solution, WithObjective
from edgewright.backhaul.observation import Task
from edgewright.backhaul.solvers import SOLVERS
from edgewright.backhaul.solvers.ppo import load_ppo
from edgewright.core.contracts import IntArray
from edgewright.core.errors import InputError
from edgewright.core.registry import load
from edgewright.studies.cells import read_results
from edgewright.studies.contract import Cell, Metric, Result, ScenarioSource
from edgewright.studies.versions import code_version

TRAFFIC = 1_000  # seed of a network's traffic: its own and this
TRIES = 10_000  # draws of links to break, until every flow has a path left
TRAINING_STEPS = 20_000
MOST_BROKEN = 5
Trained = Literal["own", "other", "broken"]


class Case(WithObjective):
    """A configuration of networks and traffic; the defaults are the document's."""

    format: Literal["edgewright.backhaul-case/1"] = "edgewright.backhaul-case/1"
    name: Annotated[str, Field(min_length=1)]
    nodes: Annotated[int, Field(ge=2)] = 40
    donors: Annotated[int, Field(ge=1)] = 3
    paths: Annotated[int, Field(ge=1)] = 3
    """Of a flow, per band."""
    bands: Literal["both", "mmwave"] = "both"
    active: Annotated[float, Field(gt=0, le=1)] = 0.4
    """Probability that a flow asks for anything."""
    demand_mbps: Annotated[tuple[int, int], Field(strict=False)] = (500, 750)
    broken: Annotated[int, Field(ge=0)] = 0
    """Links that break under each matrix, such that every flow keeps a path."""
    matrices: Annotated[int, Field(ge=1)] = 250

    @model_validator(mode="after")
    def _consistent(self) -> Case:
        Recipe(nodes=self.nodes, donors=self.donors)  # raises InputError
        if not 0 < self.demand_mbps[0] <= self.demand_mbps[1]:
            raise InputError("demand_mbps", self.demand_mbps, "0 < lowest <= highest")
        return self

    def network(self, seed: int) -> Network:
        drawn = generate(Recipe(nodes=self.nodes, donors=self.donors, paths=self.paths), seed=seed)
        return drawn if self.bands == "both" else _mmwave(drawn)

    def problems(self, seed: int) -> list[Problem]:
        network = self.network(seed)
        drawn = traffic(
            len(network.flows), self.matrices, active=self.active, demand_mbps=self.demand_mbps, seed=TRAFFIC + seed
        )
        rng = np.random.default_rng((seed, self.broken))
        broken = [_to_break(network, self.broken, rng) for _ in drawn]
        return [
            Problem(network, np.array(matrix.demand_mbps), self.aim, links)
            for matrix, links in zip(drawn, broken, strict=True)
        ]


def _mmwave(network: Network) -> Network:
    """Without the Sub6 band. Every node has a mm-wave link to its parent, so that every flow keeps a path."""
    flows = tuple(
        flow.model_copy(update={"paths": tuple(path for path in flow.paths if path.band == "mmwave")})
        for flow in network.flows
    )
    links = tuple(link for link in network.links if link.band == "mmwave")
    return Network(name=network.name, nodes=network.nodes, donors=network.donors, links=links, flows=flows)


def _to_break(network: Network, count: int, rng: np.random.Generator) -> frozenset[int]:
    """Links whose loss leaves every flow a path. Raises InputError where so many are not found."""
    arrays = network.arrays
    for _ in range(TRIES):
        drawn: IntArray = rng.choice(len(network.links), min(count, len(network.links)), replace=False)
        whole = arrays.whole(~np.isin(np.arange(len(network.links)), drawn))
        if len(drawn) == count and np.logical_or.reduceat(whole, arrays.flow_start[:-1]).all():
            return frozenset(drawn.tolist())
    raise InputError("broken", count, f"so few links that every flow of {network.name} keeps a path")


def solve_all(solver: Callable[..., Solution], problems: Sequence[Problem], **options: Any) -> dict[str, Any]:
    """Figures of each problem as columns, and the CPU of each in ms."""
    solver(problems[0], seed=0, **options)  # compiles
    found = [solver(problem, seed=index, **options) for index, problem in enumerate(problems)]
    columns = {name: np.array([getattr(one, name) for one in found]) for name in ("value", "efficiency", "jain")}
    columns["evaluations"] = np.array([one.evaluations for one in found], dtype=np.float64)
    columns["cpu_ms"] = np.array([1e3 * one.cpu_s for one in found])
    return columns


def _trained(
    case: Case, seed: int, training_steps: int = TRAINING_STEPS, task: Task = "reference", trained: Trained = "own"
) -> Callable[..., Solution]:
    from edgewright.backhaul.training import kept_policy
    from edgewright.backhaul.twin import Load

    network = case.network(seed + 1 if trained == "other" else seed)
    broken = MOST_BROKEN if trained == "broken" else 0
    load = Load(case.active, case.demand_mbps, broken)
    return load_ppo(kept_policy(network, steps=training_steps, objective=case.aim, load=load, task=task))


def study_files() -> dict[str, Path]:
    """What `edgewright backhaul evaluate` runs, by name."""
    folder = Path(str(files("edgewright.backhaul"))) / "evaluations"
    names = ("heuristics", "brute-force", "training", "broken-links", "untrained")
    return {name: folder / f"{name}.yaml" for name in names}


def compare(folder: Path) -> list[dict[str, Any]]:
    """Subset-sum and search against ppo in a study's results: points more carried, points of the objective, and how
    many times the CPU of an allocation ppo takes; means over networks, one row per configuration.
    """
    names = ("efficiency_percent", "value_percent", "cpu_ms")
    cells = read_results(folder, names)
    means = {
        (method, scenario): np.array([np.nanmean(cells[method, scenario, name]) for name in names])
        for method, scenario, _ in cells
    }
    found = []
    for (method, scenario), ours in means.items():
        if method in ("subset-sum", "search") and (theirs := means.get(("ppo", scenario))) is not None:
            carried, value = (ours - theirs)[:2].tolist()
            told = {"carried": carried, "value": value, "cpu": float(theirs[2] / ours[2])}
            found.append({"scenario": scenario, "method": method, **told})
    return found


class BackhaulStudy:
    """Methods are solvers (see `solvers.SOLVERS`), and `ppo`: trained first, on the network it is for.

    Parameters of ppo: `training_steps`; `steps` of an allocation; `task` (see `observation.Task`); `trained`: on its
    `own` network, on an `other` one of the same configuration, or on its own with up to MOST_BROKEN links `broken`.
    """

    metrics = (
        Metric("efficiency_percent", "carried of offered", "%", "higher", ".2f"),
        Metric("jain_percent", "Jain's index", "%", "higher", ".2f"),
        Metric("value_percent", "objective", "%", "higher", ".2f"),
        Metric("cpu_ms", "CPU of an allocation", "ms", "lower", ".3f"),
        Metric("evaluations", "evaluations", "", "lower", ".0f"),
    )

    @property
    def version(self) -> str:
        return code_version("core", "learning", "backhaul")

    def check(self, scenario: Case, method: str, parameters: Mapping[str, Any]) -> None:
        known = {"ppo": {"training_steps", "steps", "task", "trained"}, "search": {"evaluations"}}.get(method, set())
        if method != "ppo" and method not in SOLVERS:
            raise InputError("method", method, f"ppo, or one of {sorted(SOLVERS)}")
        if unknown := set(parameters) - known:
            raise InputError("parameters", sorted(unknown), f"of {method}: {sorted(known) or 'none'}")
        for name, value in parameters.items():
            allowed: Any = {"task": get_args(Task), "trained": get_args(Trained)}.get(name)
            if value not in allowed if allowed else type(value) is not int or value < 1:
                raise InputError(f"parameters.{name}", value, f"one of {allowed}" if allowed else "a whole number >= 1")
        if method == "ppo" and scenario.objective == "alpha":
            raise InputError("objective", "alpha", "efficiency, jain or weighted for ppo")

    def prepare(self, source: ScenarioSource) -> Case:
        return source.read(Case)

    def run(self, scenario: Case, method: str, parameters: Mapping[str, Any], seed: int) -> Result:
        options = dict(parameters)
        if method == "ppo":
            solver = _trained(scenario, seed, **{key: options.pop(key) for key in set(options) - {"steps"}})
        else:
            solver = load(SOLVERS[method])
        columns = solve_all(solver, scenario.problems(seed), **options)
        means = {name: float(column.mean()) for name, column in columns.items()}
        facts = {"nodes": scenario.nodes, "paths": scenario.paths, "active": scenario.active, "broken": scenario.broken}
        facts |= {"lowest_mbps": scenario.demand_mbps[0], "mmwave_only": scenario.bands == "mmwave"}
        facts |= {
            "aim": AIMS.index(scenario.objective),
            "learned": method == "ppo",
            "steps": parameters.get("steps", 0),
        }
        facts["training_steps"] = parameters.get("training_steps", TRAINING_STEPS)
        return Result(
            {
                **{f"{name}_percent": 100 * means[name] for name in ("efficiency", "jain", "value")},
                "cpu_ms": means["cpu_ms"],
                "evaluations": means["evaluations"],
            },
            columns | {name: np.array([float(value)]) for name, value in facts.items()},
        )

    def figures(self, cells: Sequence[Cell], folder: Path) -> list[Path]:
        from edgewright.backhaul.figures import over_configurations

        return over_configurations(cells, folder)


STUDY = BackhaulStudy()
