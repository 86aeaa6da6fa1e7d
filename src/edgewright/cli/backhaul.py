"""`edgewright backhaul`: which path each backhaul flow takes, and how far from the best that is."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgewright.cli.options import Jobs, Json, Seed, check_file, check_picture, writable
from edgewright.core.errors import InputError

if TYPE_CHECKING:
    from edgewright.backhaul.model import Objective, Problem, Solution
    from edgewright.backhaul.simulation import Moment
    from edgewright.backhaul.splitting import Split
    from edgewright.studies.statistics import Interval

app = typer.Typer(no_args_is_help=True, help="Paths of flows through an integrated access and backhaul network.")

ObjectiveKind = Annotated[str, typer.Option(help="efficiency, jain, weighted or alpha (fairness).")]
Gamma = Annotated[
    float | None, typer.Option(help="Of weighted: 1 is efficiency alone, -1 Jain's index alone. Default: 0.")
]
Alpha = Annotated[
    float | None, typer.Option(help="Of alpha: 0 is efficiency, 1 proportional fairness; the worst served count more.")
]


@app.command("list")
def list_solvers(as_json: Json = False) -> None:
    """Solvers, and those that need a trained policy."""
    from edgewright.backhaul.solvers import LEARNED, SOLVERS

    if as_json:
        typer.echo(json.dumps({"solvers": list(SOLVERS), "learned": list(LEARNED)}))
    else:
        typer.echo("\n".join([*SOLVERS, *(f"{name} (with --policy FILE)" for name in LEARNED)]))


@app.command()
def generate(
    out: Annotated[Path, typer.Option(help="The network file to write, .json.")],
    nodes: Annotated[int, typer.Option(min=2)] = 20,
    donors: Annotated[int, typer.Option(min=1)] = 3,
    paths: Annotated[int, typer.Option(min=1, help="Candidate paths per flow and band.")] = 3,
    heuristic: Annotated[str, typer.Option(help="common-links, common-last-hop, shortest or all.")] = "common-links",
    matrices: Annotated[int, typer.Option(min=0, help="Traffic matrices.")] = 25,
    active: Annotated[float, typer.Option(help="Probability that a flow asks for anything.")] = 0.4,
    demand: Annotated[str, typer.Option(help="Range of what a flow asks for, Mb/s.")] = "500-750",
    seed: Seed = 0,
) -> None:
    """Draw a network with candidate paths and traffic matrices, as NANCY D4.2 does."""
    from edgewright.backhaul.generate import Recipe, traffic
    from edgewright.backhaul.generate import generate as draw
    from edgewright.core.files import replacing

    check_file(out, "--out")
    recipe = Recipe(nodes=nodes, donors=donors, paths=paths, heuristic=heuristic)  # type: ignore[arg-type]
    network = draw(recipe, seed=seed)
    drawn = traffic(len(network.flows), matrices, active=active, demand_mbps=_range(demand), seed=seed + 1)
    network = network.model_copy(update={"matrices": drawn})
    with replacing(out) as new:
        new.write_text(network.model_dump_json(exclude_none=True), encoding="utf-8")
    typer.echo(f"{out}: {len(network.links)} links, {len(network.flows)} flows, {matrices} matrices")


@app.command()
def solve(
    file: Annotated[Path, typer.Argument(help="Network file (edgewright.backhaul/1).")],
    solver: Annotated[str, typer.Option(help="See `edgewright backhaul list`.")] = "search",
    policy: Annotated[Path | None, typer.Option(help="Trained policy of a learned solver, .npz.")] = None,
    matrix: Annotated[str, typer.Option(help="Id of a traffic matrix, or all.")] = "all",
    objective: ObjectiveKind = "efficiency",
    gamma: Gamma = None,
    alpha: Alpha = None,
    time_limit: Annotated[float | None, typer.Option(min=0, help="Seconds per matrix.")] = None,
    split: Annotated[
        str, typer.Option(help="Let flows split: no, efficiency (carry most) or share (serve the worst best), by LP.")
    ] = "no",
    bound: Annotated[str, typer.Option(help="Prove what is possible: none, lp or milp (slower).")] = "none",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Choose a path for every flow with demand, matrix by matrix."""
    from edgewright.backhaul.bounds import value_bound
    from edgewright.backhaul.model import Problem, read_network
    from edgewright.backhaul.solvers import LEARNED, SOLVERS
    from edgewright.backhaul.splitting import split as split_flows
    from edgewright.core.registry import find

    run = find(SOLVERS | LEARNED, solver, "--solver")
    if (policy is None) == (solver in LEARNED):
        allowed = f"a trained policy, for --solver {solver}" if solver in LEARNED else f"one with {list(LEARNED)} only"
        raise InputError("--policy", policy and str(policy), allowed)
    if policy is not None:
        run = run(policy)
    if bound not in ("none", "lp", "milp"):
        raise InputError("--bound", bound, "none, lp or milp")
    if split not in ("no", "efficiency", "share"):
        raise InputError("--split", split, "no, efficiency or share")
    if split != "no" and (solver, objective, bound, seed) != ("search", "efficiency", "none", 0):
        raise InputError("--split", split, "no, where --solver, --objective, --bound or --seed is given")
    aim, network = _objective(objective, gamma, alpha), read_network(file)
    chosen = [one for one in network.matrices if matrix in ("all", str(one.id))]
    if matrix != "all" and not chosen:
        raise InputError("--matrix", matrix, f"all, or one of {[one.id for one in network.matrices]}")
    rows: list[dict[str, Any]] = []
    for one in chosen:
        problem = Problem(network, one.demand_mbps, aim)  # type: ignore[arg-type]
        if split == "no":
            solution = run(problem, seed=seed, time_limit_s=time_limit)
            proven = solution.bound
            if proven is None and bound != "none":
                proven = value_bound(problem, bound, time_limit)  # type: ignore[arg-type]
            rows.append(_row(one.id, problem, solution, proven))
        else:
            rows.append(_split_row(one.id, problem, split_flows(problem, split, time_limit)))  # type: ignore[arg-type]
        if not as_json:
            _tell(rows[-1])
    if as_json:
        typer.echo(json.dumps({"matrices": rows}))
    elif rows:
        typer.echo(
            f"mean efficiency {sum(row['efficiency'] for row in rows) / len(rows):.2%} over {len(rows)} matrices"
        )


@app.command()
def simulate(
    file: Annotated[Path, typer.Argument(help="Network file; its matrices come in turn.")],
    planner: Annotated[str, typer.Option(help="stay, search, replan or all.")] = "all",
    seconds: Annotated[float, typer.Option(help="Simulated time.")] = 600.0,
    interval: Annotated[float, typer.Option(help="Seconds that a matrix holds.")] = 10.0,
    failure: Annotated[float, typer.Option(help="Mean seconds until a link fails; inf: never.")] = 1800.0,
    repair: Annotated[float, typer.Option(help="Mean seconds until it is repaired.")] = 30.0,
    delay: Annotated[float, typer.Option(help="Seconds from an event until new paths are in force.")] = 0.1,
    objective: ObjectiveKind = "efficiency",
    gamma: Gamma = None,
    alpha: Alpha = None,
    seeds: Annotated[int, typer.Option(min=1, help="Courses of failures, each for every planner.")] = 10,
    figure: Annotated[Path | None, typer.Option(help="Draw the first course here, .png.")] = None,
    as_json: Json = False,
) -> None:
    """Let traffic change and links fail, and compare who re-plans how."""
    import sys
    from dataclasses import fields

    import numpy as np
    from rich.console import Console
    from rich.progress import track
    from rich.table import Table

    from edgewright.backhaul.figures import over_time
    from edgewright.backhaul.model import read_network
    from edgewright.backhaul.simulation import PLANNERS, Course, Summary, summarise
    from edgewright.backhaul.simulation import simulate as run
    from edgewright.studies.statistics import interval as around
    from edgewright.studies.statistics import mean

    if planner != "all" and planner not in PLANNERS:
        raise InputError("--planner", planner, f"all, or one of {list(PLANNERS)}")
    if figure is not None:
        check_picture(figure)
    network, aim = read_network(file), _objective(objective, gamma, alpha)
    course = Course(seconds, interval, failure, repair, delay)
    names = list(PLANNERS) if planner == "all" else [planner]
    found: dict[str, list[Summary]] = {name: [] for name in names}
    first: dict[str, list[Moment]] = {}
    console = Console(file=sys.stderr)
    for seed in track(range(seeds), description="courses", console=console, transient=True):
        for name in names:
            moments = run(network, PLANNERS[name], course, objective=aim, seed=seed)
            first.setdefault(name, moments)
            found[name].append(summarise(moments))
    keys = [field.name for field in fields(Summary)]
    measured = {
        name: {key: around(np.array([getattr(one, key) for one in of_seeds], float), mean) for key in keys}
        for name, of_seeds in found.items()
    }
    if figure is not None:
        over_time(first, figure)
    if as_json:
        rows = {
            name: {
                key: dict(zip(("mean", "low", "high"), (None if math.isnan(x) else x for x in value), strict=True))
                for key, value in row.items()
            }
            for name, row in measured.items()
        }
        typer.echo(json.dumps({"seeds": seeds, "planners": rows}))
        return
    table = Table("", *names)
    for key in keys:
        table.add_row(key.replace("_", " "), *(_interval(measured[name][key]) for name in names))
    Console().print(table, f"means (95 % intervals) over {seeds} courses of {seconds:g} s", sep="\n")


@app.command()
def train(
    network: Annotated[list[Path] | None, typer.Option(help="Network files; one is drawn for each episode.")] = None,
    nodes: Annotated[int, typer.Option(min=2, help="Of the networks drawn where no file is given.")] = 20,
    paths: Annotated[int, typer.Option(min=1, help="Candidate paths per flow and band of networks drawn.")] = 3,
    networks: Annotated[int, typer.Option(min=1, help="How many are drawn, from seeds 0, 1, ...")] = 1,
    active: Annotated[float, typer.Option(help="Probability that a flow asks for anything.")] = 0.4,
    demand: Annotated[str, typer.Option(help="Range of what a flow asks for, Mb/s.")] = "500-750",
    broken: Annotated[int, typer.Option(min=0, help="Up to so many links of a network are broken.")] = 0,
    objective: ObjectiveKind = "efficiency",
    gamma: Gamma = None,
    task: Annotated[str, typer.Option(help="gain, or reference (the published task).")] = "gain",
    steps: Annotated[int, typer.Option(min=1, help="Environment steps of each seed.")] = 1_000_000,
    seeds: Annotated[int, typer.Option(min=1, help="Policies trained side by side; the best is exported.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    out: Annotated[Path, typer.Option(help="The exported policy, .npz; its card lies beside it.")] = Path("policy.npz"),
    checkpoint: Annotated[Path | None, typer.Option(help="Folder; a run found there is resumed.")] = None,
) -> None:
    """Train a policy by PPO on random traffic in given networks, or in networks drawn, and export it."""
    from edgewright.backhaul.generate import Recipe
    from edgewright.backhaul.generate import generate as draw
    from edgewright.backhaul.model import read_network
    from edgewright.backhaul.training import CONFIGS, export_policy, train_policy
    from edgewright.backhaul.twin import Load

    if task not in CONFIGS:
        raise InputError("--task", task, f"one of {list(CONFIGS)}")
    check_file(out, "--out")
    aim, load = _objective(objective, gamma, None), Load(active, _range(demand), broken)
    given = [read_network(file) for file in network or ()]
    given = given or [draw(Recipe(nodes=nodes, paths=paths), seed=i) for i in range(networks)]
    trained = train_policy(
        given,
        steps=steps,
        seeds=range(seed, seed + seeds),
        objective=aim,
        load=load,
        task=task,
        checkpoint=checkpoint,
    )
    path = export_policy(trained, out, given, aim, load, task)
    best = trained.curve.best.max()
    told = f"best return {best:.2f}, " if math.isfinite(best) else ""  # no episode ended in a short training
    typer.echo(f"{path}: {told}{trained.wall_s:.0f} s")
    typer.echo(f"run it: edgewright backhaul solve NETWORK --solver ppo --policy {path}")


@app.command()
def evaluate(
    only: Annotated[list[str] | None, typer.Option(help="Some of the studies, by name.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Networks of each configuration, from seeds 0, 1, ...")] = 10,
    matrices: Annotated[int, typer.Option(min=1, help="Traffic matrices of each network.")] = 250,
    out: Annotated[Path, typer.Option(help="Folder of the results; a stopped run goes on there.")] = Path(
        "results/backhaul-evaluation"
    ),
    jobs: Jobs = None,
    as_json: Json = False,
) -> None:
    """Random, greedy, PPO, search and brute force as in D4.2, Figures 17 to 23: tables with intervals and figures."""
    import yaml

    from edgewright.backhaul.evaluation import compare, study_files
    from edgewright.cli.study import run, show

    files = study_files()
    if unknown := set(only or ()) - set(files):
        raise InputError("--only", sorted(unknown), f"of {list(files)}")
    writable(out, "--out")
    told: dict[str, Any] = {}
    tables: dict[str, Any] = {}
    failed = False
    for name in only or files:
        study = yaml.safe_load(files[name].read_text(encoding="utf-8"))
        study |= {"seeds": seeds, "quick": seeds < 10}
        study["scenarios"] = [scenario | {"matrices": matrices} for scenario in study["scenarios"]]
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "cells").exists():  # studies share what they have in common
            (out / "cells").mkdir(exist_ok=True)
            (folder / "cells").symlink_to(Path("..") / "cells")
        file = out / f"{name}.yaml"
        file.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
        result = run(file, folder, jobs, quiet=as_json)
        failed |= bool(result.failures)
        told[name], tables[name] = compare(result.folder), result.table
        if not as_json:
            show(result)
    (out / "comparison.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
    if as_json:
        typer.echo(json.dumps({"studies": tables, "comparison": told}))
    else:
        for name, rows in told.items():
            for row in rows:
                typer.echo(
                    "{study}, {scenario}: {method} carries {carried:+.2f} points more than ppo, objective {value:+.2f} "
                    "points, for 1/{cpu:.0f} of its CPU".format(study=name, **row)
                )
    if failed:
        raise typer.Exit(1)


def _range(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    if not (low.isdecimal() and high.isdecimal()):
        raise InputError("--demand", text, "LOWEST-HIGHEST, whole Mb/s")
    return int(low), int(high)


def _objective(kind: str, gamma: float | None, alpha: float | None) -> Objective:
    from edgewright.backhaul.model import Objective

    for name, given, of in (("--gamma", gamma, "weighted"), ("--alpha", alpha, "alpha")):
        if given is not None and kind != of:
            raise InputError(name, given, f"nothing, but where --objective is {of}")
    default = Objective()
    return Objective(
        kind,  # type: ignore[arg-type]
        default.gamma if gamma is None else gamma,
        default.alpha if alpha is None else alpha,
    )


def _interval(found: Interval) -> str:
    if math.isnan(found.value):
        return "-"
    return f"{found.value:.3g}" + ("" if math.isnan(found.low) else f" ({found.low:.3g} .. {found.high:.3g})")


def _row(id: int, problem: Problem, solution: Solution, bound: float | None) -> dict[str, Any]:
    idle = problem.demand_mbps == 0
    return {
        "id": id,
        "status": solution.status,
        "choice": [None if off else int(path) for off, path in zip(idle, solution.choice, strict=True)],
        "rates_mbps": [float(rate) for rate in solution.rates_mbps],
        "efficiency": solution.efficiency,
        "jain": solution.jain,
        "value": solution.value,
        "bound": bound,
        "evaluations": solution.evaluations,
        "cpu_s": solution.cpu_s,
    }


def _split_row(id: int, problem: Problem, solution: Split) -> dict[str, Any]:
    import numpy as np

    by_flow = np.split(solution.mbps, problem.network.arrays.flow_start[1:-1])
    shares = zip(problem.demand_mbps, by_flow, strict=True)
    return {
        "id": id,
        "status": solution.status,
        "split_mbps": [None if demand == 0 else of_paths.tolist() for demand, of_paths in shares],
        "rates_mbps": solution.rates_mbps.tolist(),
        "efficiency": solution.efficiency,
        "jain": solution.jain,
        "smallest_share": solution.smallest_share,
        "bound": solution.bound,
        "evaluations": 0,
        "cpu_s": solution.cpu_s,
    }


def _tell(row: dict[str, Any]) -> None:
    proven = "" if row["bound"] is None else f"  at most {row['bound']:.2%}"
    if "value" in row and abs(row["value"] - row["efficiency"]) > 1e-12:  # the bound is the objective's
        proven = f"  objective {row['value']:7.2%}{proven}"
    if "smallest_share" in row:
        proven += f"  smallest share {row['smallest_share']:.2%}"
    typer.echo(
        f"matrix {row['id']:>3}  {row['status']:<10}  efficiency {row['efficiency']:7.2%}  jain {row['jain']:7.2%}"
        f"{proven}  {row['evaluations']} evaluations  {1e3 * row['cpu_s']:.2f} ms CPU"
    )
