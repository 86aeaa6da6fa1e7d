"""`edgewright migration`: where a service is to be while its user drives along."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgewright.cli.options import Jobs, Json, Seed, check_file, check_picture, writable
from edgewright.core.errors import InputError

if TYPE_CHECKING:
    from rich.progress import TaskID

app = typer.Typer(no_args_is_help=True, help="Services that follow their users.")

ScenarioFile = Annotated[Path | None, typer.Option(help="Scenario file. Default: the highway of the package.")]


@app.command("list")
def list_policies(as_json: Json = False) -> None:
    """Policies, and the proven optimum."""
    from edgewright.migration.evaluation import METHODS

    typer.echo(json.dumps({"methods": METHODS}) if as_json else "\n".join(METHODS))


@app.command()
def simulate(
    policies: Annotated[
        str, typer.Option(help="Names or exported files, with commas; all: every one of the package.")
    ] = "all",
    scenario: ScenarioFile = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the drive here, .png.")] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """One drive under every policy, and what the best would have been."""
    from edgewright.migration.drives import days_of, draw_drives
    from edgewright.migration.evaluation import OPTIMUM, fitting, run_policy
    from edgewright.migration.model import SHIPPED, Problem, read_scenario
    from edgewright.migration.optimum import optimum
    from edgewright.migration.policies import make_policy

    if figure is not None:
        check_picture(figure)
    chosen = scenario or SHIPPED / "highway.yaml"
    read = read_scenario(chosen)
    names = [*fitting(read)[0], OPTIMUM] if policies == "all" else policies.split(",")
    made = {name: make_policy(name, read) for name in names if name != OPTIMUM}
    days = days_of(read, chosen.parent, count=1, seed=seed)
    problem = Problem(next(draw_drives(read, days, 1, seed=seed)), read.objective, read.step_s)
    found = {name: optimum(problem) if name == OPTIMUM else run_policy(made[name], problem) for name in names}
    rows = [
        {"policy": name, "reward": one.value, "breaches": one.breaches, "migrations": one.migrations}
        for name, one in found.items()
    ]
    if figure is not None:
        from edgewright.migration.figures import over_drive

        over_drive(problem, read.names, found, figure)
    if as_json:
        typer.echo(json.dumps(rows))
        return
    line = "{policy:<12} reward {reward:8.1f}   {breaches:3d} steps in breach   {migrations:3d} migrations"
    for row in rows:
        typer.echo(line.format(**row))


@app.command()
def live(
    policy: Annotated[str, typer.Option(help="A name, or an exported file.")] = "prospects",
    scenario: ScenarioFile = None,
    pace: Annotated[float, typer.Option(min=0.1, help="How many times as fast as the scenario says.")] = 1.0,
    memory_mb: Annotated[int, typer.Option(min=1, help="Memory that the service has in use.")] = 20,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="Folder of trace, migrations and figure.")] = Path("results/migration-live"),
    as_json: Json = False,
) -> None:
    """A car drives along in real time, and a TCP service with a client's connections really follows it on this host."""
    from edgewright.migration.drives import days_of, draw_drives
    from edgewright.migration.live_report import follow
    from edgewright.migration.model import SHIPPED, read_scenario

    if not math.isfinite(pace):
        raise InputError("--pace", pace, "a finite number")
    writable(out, "--out")
    chosen = scenario or SHIPPED / "highway.yaml"
    read = read_scenario(chosen)
    drive = next(draw_drives(read, days_of(read, chosen.parent, count=1, seed=seed), 1, seed=seed))
    told = follow(read, drive, policy, pace, memory_mb, out, say=lambda text: typer.echo(text, err=as_json))
    if as_json:
        typer.echo(json.dumps(told, indent=1))
    failed = any(one["status"] == "failed" for one in told["migrations"])
    if failed or told["connections_lost"] or told["answers_lost"]:
        raise typer.Exit(1)


@app.command()
def mechanisms(
    mechanism: Annotated[
        str, typer.Option(help="process (CRIU), machine (QEMU); both with a comma.")
    ] = "process,machine",
    applications: Annotated[str, typer.Option(help="text, sip, video; several with commas.")] = "text,sip,video",
    memory_mb: Annotated[
        str, typer.Option(help="Memory that the service has in use; several with commas.")
    ] = "20,100,300",
    migrations: Annotated[int, typer.Option(min=1, help="Of each service, to and fro.")] = 10,
    out: Annotated[Path, typer.Option(help="Folder of table, figure and single migrations.")] = Path(
        "results/migration-mechanisms"
    ),
    as_json: Json = False,
) -> None:
    """Processes and virtual machines really migrated on this host: time, downtime, jitter and throughput."""
    from rich.progress import Progress

    from edgewright.drivers.host import HostError
    from edgewright.migration.clients import APPLICATIONS
    from edgewright.migration.mechanism_report import row, table, write
    from edgewright.migration.mechanisms import MECHANISMS, MISSING, measure

    kinds = _several(mechanism, "--mechanism", MECHANISMS)
    served = _several(applications, "--applications", APPLICATIONS)
    sizes = [int(size) if size.isdecimal() else 0 for size in memory_mb.split(",")]
    if min(sizes) < 1:
        raise InputError("--memory-mb", memory_mb, "whole numbers >= 1, with commas")
    writable(out, "--out")
    rows, failed = [], False
    cases = [(one, other, size) for one in kinds for other in served for size in sizes]
    with Progress(disable=as_json) as bar:
        shown = bar.add_task("", total=len(cases) * migrations)
        for one, other, size in cases:
            bar.update(shown, description=f"{one}, {other}, {size} MB")
            try:
                rows += [row(found) for found in measure(one, other, size, migrations, lambda _: bar.advance(shown))]
            except (*MISSING, HostError) as error:
                failed = True
                typer.echo(f"without {one}, {other}, {size} MB: {error}", err=True)
    if rows:
        paths = write(rows, out)
        typer.echo(json.dumps(rows, indent=1) if as_json else "\n".join([*table(rows), *map(str, paths)]))
    if failed:
        raise typer.Exit(1)


@app.command()
def fleet(
    services: Annotated[int, typer.Option(min=1, help="Each with a user of its own.")] = 30,
    policies: Annotated[
        str, typer.Option(help="Shared by all services, with commas; joint: all are placed together.")
    ] = "nearest,greedy,hysteresis,prospects,joint",
    scenario: ScenarioFile = None,
    share: Annotated[float, typer.Option(help="Of a node's CPU and memory that a service adds.")] = 0.008,
    steps: Annotated[int, typer.Option(min=1)] = 300,
    seeds: Annotated[int, typer.Option(min=1, help="Days of load and drives.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    as_json: Json = False,
) -> None:
    """Many services on nodes that take only so many: one policy for each of them, or one assignment of all."""
    import numpy as np
    from rich.progress import Progress

    from edgewright.migration.fleet import JOINT, Outcome, draw_fleet, run
    from edgewright.migration.model import SHIPPED, read_scenario
    from edgewright.migration.policies import make_policy
    from edgewright.studies.statistics import interval, mean

    chosen = scenario or SHIPPED / "highway.yaml"
    read, names = read_scenario(chosen), policies.split(",")
    for name in set(names) - {JOINT}:
        make_policy(name, read)  # raises before anything has run
    found: dict[str, list[Outcome]] = {name: [] for name in names}
    with Progress(disable=as_json) as bar:
        shown = bar.add_task(f"{services} services", total=seeds * len(names))
        for one in range(seed, seed + seeds):
            drawn = draw_fleet(read, chosen.parent, services, steps=steps, each=(share, share), seed=one)
            for name in names:
                found[name].append(run(drawn, name))
                bar.advance(shown)
    rows = []
    for name, outcomes in found.items():
        columns = {
            key: np.array([getattr(one, key) for one in outcomes], dtype=float) for key in Outcome.__annotations__
        }
        reward = interval(columns["reward"], mean)
        rows.append({"policy": name} | {key: float(column.mean()) for key, column in columns.items()})
        rows[-1] |= {"reward_low": reward.low, "reward_high": reward.high}
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    line = (
        "{policy:<11} reward of a step {reward:6.3f} [{reward_low:6.3f}, {reward_high:6.3f}]   in breach"
        " {breaches:6.2%}   migrations {migrations:6.2%}   refused {refused:6.0f}   {cpu_ms:6.2f} ms"
    )
    for row in rows:
        typer.echo(line.format(**row))


@app.command()
def functions(
    slices: Annotated[str, typer.Option(help="Names, with commas. Default: all of the catalogue.")] = "",
    catalogue: Annotated[Path | None, typer.Option(help="Catalogue file. Default: the one of the package.")] = None,
    available: Annotated[str, typer.Option(help="process, machine; both with a comma.")] = "process,machine",
    measured: Annotated[
        Path | None, typer.Option(help="migrations.csv of `mechanisms`, for this host's downtimes.")
    ] = None,
    as_json: Json = False,
) -> None:
    """5G network functions: which mechanism can move each of a slice without losing anything, and why."""
    from edgewright.migration.functions import MEASURED, costs_of, plan, read_catalogue
    from edgewright.migration.model import SHIPPED

    here = _several(available, "--available", MEASURED)
    costs = MEASURED if measured is None else costs_of(measured)
    read = read_catalogue(catalogue or SHIPPED / "functions.yaml")
    found = plan(read, slices.split(",") if slices else (), [one for one in MEASURED if one in here], costs)
    if as_json:
        typer.echo(json.dumps([one.__dict__ for one in found], indent=1))
        return
    for one in found:
        typer.echo(f"{one.slice:<8} {one.function:<11} {one.mechanism or 'not live':<9} {'; '.join(one.reasons)}")


def _several(text: str, option: str, known: Iterable[str]) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(known):
        raise InputError(option, ",".join(sorted(unknown)), f"of {', '.join(known)}")
    return names


@app.command()
def train(
    algorithm: Annotated[
        str, typer.Option(help="prospects, or of the paper's Table II: dqn-lstm, dqn, sarsa; several with commas.")
    ] = "dqn-lstm",
    scenario: ScenarioFile = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Of each seed. Default: 200,000; prospects 30,000,000.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Policies of each algorithm; the best is exported.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    out: Annotated[
        Path, typer.Option(help="The exported policy, .npz; its card lies beside it. Of several algorithms: a folder.")
    ] = Path("policy.npz"),
    figure: Annotated[Path | None, typer.Option(help="Draw the curves of the paper's algorithms here, .png.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Folder; a run found there is resumed.")] = None,
) -> None:
    """Train policies on drives in the twin, and export them."""
    from edgewright.migration.model import SHIPPED, read_scenario
    from edgewright.migration.training import PAPER_CONFIGS, STEPS, export_policy, train_policy

    algorithms = _several(algorithm, "--algorithm", ("prospects", *PAPER_CONFIGS))
    several = len(algorithms) > 1
    if several and out.suffix:
        raise InputError("--out", str(out), f"a folder, for {len(algorithms)} algorithms")
    if several:
        writable(out, "--out")
    if checkpoint is not None and "prospects" in algorithms:
        raise InputError("--checkpoint", str(checkpoint), "none for prospects")
    if not several:
        check_file(out, "--out")
    if figure is not None:
        check_picture(figure)
    chosen = scenario or SHIPPED / "highway.yaml"
    read, among, curves = read_scenario(chosen), range(seed, seed + seeds), {}
    for name in algorithms:
        target = out / f"{name}.npz" if several else out
        if name == "prospects":
            _train_prospects(chosen, steps, among, target)
            continue
        trained = train_policy(
            name,
            chosen,
            steps=steps or STEPS,
            seeds=among,
            checkpoint=checkpoint and checkpoint / name if several else checkpoint,
        )
        path = export_policy(trained, target, read)
        best, curves[name] = trained.curve.best, trained.curve
        typer.echo(
            f"{path}: best return {best.max():.1f} (mean of {seeds} seeds {best.mean():.1f}),"
            f" {trained.wall_s:.0f} s and {trained.compile_s:.0f} s to compile"
        )
    if figure is not None and curves:
        from edgewright.migration.figures import over_training

        typer.echo(over_training(curves, figure))


def _train_prospects(scenario: Path, steps: int | None, seeds: range, out: Path) -> None:
    from rich.progress import Progress

    from edgewright.migration.prospect_training import STEPS, train_prospects

    found = []
    with Progress() as bar:
        for seed in seeds:
            shown = bar.add_task(f"seed {seed}", total=1.0)

            def advance(share: float, gap: float, shown: TaskID = shown, seed: int = seed) -> None:
                bar.update(shown, completed=share, description=f"seed {seed}, {gap:.2f} below the optimum")

            found.append(train_prospects(scenario, steps=steps or STEPS, seed=seed, on_progress=advance))
    best = min(found, key=lambda trained: trained.card.gap)
    typer.echo(f"{best.export(out)}: a drive earns {best.card.gap:.2f} less than the optimum, which knows it whole")


@app.command()
def tune(
    policies: Annotated[str, typer.Option(help="Names, with commas.")] = "hysteresis,forecast",
    scenario: ScenarioFile = None,
    trials: Annotated[int, typer.Option(min=1, help="Draws of the parameters of each policy.")] = 60,
    seed: Seed = 0,
    jobs: Jobs = None,
    as_json: Json = False,
) -> None:
    """The same random search for the parameters of every rule, on drives of their own."""
    from rich.progress import Progress

    from edgewright.migration.model import SHIPPED, read_scenario
    from edgewright.migration.tuning import SPACES, Trial, search

    names = _several(policies, "--policies", SPACES)
    chosen = scenario or SHIPPED / "highway.yaml"
    read, found = read_scenario(chosen), {}
    with Progress(disable=as_json) as bar:
        for name in names:
            shown = bar.add_task(name, total=trials)

            def advance(trial: Trial, shown: TaskID = shown) -> None:
                bar.advance(shown)

            found[name] = search(name, read, chosen.parent, trials, seed=seed, jobs=jobs, on_trial=advance)[0]
    if as_json:
        typer.echo(json.dumps({name: trial.__dict__ for name, trial in found.items()}, indent=1))
        return
    for name, trial in found.items():
        values = ", ".join(f"{key}: {value:.4g}" for key, value in trial.parameters.items())
        typer.echo(f"{name:<10} {{{values}}}  reward {trial.reward:.1f}")


@app.command()
def evaluate(
    seeds: Annotated[int, typer.Option(min=1, help="Each is 100 drives over days of load of its own.")] = 10,
    scenario: ScenarioFile = None,
    out: Annotated[Path, typer.Option(help="Folder of the results; a stopped run goes on there.")] = Path(
        "results/migration-evaluation"
    ),
    jobs: Jobs = None,
    as_json: Json = False,
) -> None:
    """Every policy beside the clairvoyant optimum: reward, breaches of the SLA, migrations, with 95 % intervals."""
    import yaml

    from edgewright.cli.study import run_and_show
    from edgewright.migration.evaluation import OPTIMUM, fitting
    from edgewright.migration.model import SHIPPED, read_scenario

    writable(out, "--out")
    study = yaml.safe_load((SHIPPED / "evaluation.yaml").read_text(encoding="utf-8"))
    chosen = scenario or SHIPPED / study["scenarios"][0]
    fit, others = fitting(read_scenario(chosen))
    for name, reason in others.items():
        typer.echo(f"without {name}: {reason}", err=True)
    study["methods"] = [one for one in study["methods"] if one["name"] in (*fit, OPTIMUM)]
    study |= {"seeds": seeds, "quick": seeds < 10, "scenarios": [str(chosen.resolve())]}
    file = out / "evaluation.yaml"
    file.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    if run_and_show(file, out, jobs, as_json).failures:
        raise typer.Exit(1)
