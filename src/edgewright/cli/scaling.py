"""`edgewright scaling`: train, evaluate, tune and run policies that scale the services of a slice."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgewright.cli.options import Jobs, Json, Seed, writable
from edgewright.core.errors import InputError

if TYPE_CHECKING:
    from edgewright.scaling.model import Scenario

app = typer.Typer(no_args_is_help=True, help="Vertical scaling of the services inside a slice.")

ScenarioFile = Annotated[Path | None, typer.Option("--scenario", help="Scenario file. Default: one of the package.")]


@app.command("list")
def list_policies(as_json: Json = False) -> None:
    """Policies, scenarios of the package, and what shipped policies were trained on."""
    from importlib.resources import files

    from edgewright.scaling.curves import CurvesCard
    from edgewright.scaling.policies import POLICIES
    from edgewright.scaling.policies.learned import SHIPPED, read_card, shipped

    scenarios = sorted(p.name for p in (files("edgewright.scaling") / "scenarios").iterdir() if p.name != "replay.csv")
    policies = []
    for name in POLICIES:
        row: dict[str, Any] = {"name": name, "kind": "rule"}
        if name in SHIPPED:
            card = read_card(shipped(name))
            row = {"name": name, "kind": "learned"}
            if isinstance(card, CurvesCard):
                row |= {"steps": card.states, "config": card.model_dump()}
            else:
                row |= {"steps": card.steps, "config": card.config, "notes": card.scenario}
        policies.append(row)
    if as_json:
        typer.echo(json.dumps({"policies": policies, "scenarios": scenarios}, indent=1))
        return
    for row in policies:
        trained = f", {row['steps']:,} training steps a seed" if "steps" in row else ""
        typer.echo(f"{row['name']:<12} {row['kind']}{trained}")
    typer.echo("scenarios: " + ", ".join(scenarios))


@app.command()
def train(
    algorithm: Annotated[str, typer.Option(help="curves, ppo, dqn or sarsa.")] = "curves",
    steps: Annotated[int, typer.Option(min=1, help="Environment steps of each seed; for curves, states.")] = 2_400_000,
    seeds: Annotated[int, typer.Option(min=1, help="Policies trained side by side; the best is exported.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    services: Annotated[int, typer.Option(min=1, help="Services in the training scenarios.")] = 3,
    reward: Annotated[str, typer.Option(help="slo, or reference (the published task).")] = "slo",
    out: Annotated[Path, typer.Option(help="The exported policy, .npz; its card lies beside it.")] = Path("policy.npz"),
    checkpoint: Annotated[Path | None, typer.Option(help="Folder; a run found there is resumed.")] = None,
) -> None:
    """Train a policy on random scenarios of the twin and export it for numpy."""
    from edgewright.scaling.training import export_policy, train_policy

    if reward not in ("slo", "reference"):
        raise InputError("--reward", reward, "slo or reference")
    if algorithm == "curves":
        if seeds != 1 or reward != "slo" or checkpoint is not None or services != 3:
            raise InputError("--algorithm", algorithm, "no --seeds, --reward, --checkpoint or --services beside it")
        _train_curves(steps, seed, out)
        return
    trained = train_policy(
        algorithm,
        steps=steps,
        seeds=range(seed, seed + seeds),
        services=services,
        reward="slo" if reward == "slo" else "reference",
        checkpoint=checkpoint,
    )
    path = export_policy(trained, out, "slo" if reward == "slo" else "reference")
    best = trained.curve.best.max()
    typer.echo(f"{path}: {algorithm}, best evaluation return {best:.2f}, {trained.wall_s:.0f} s")
    typer.echo(f"run it: edgewright scaling evaluate --policy {path}, or name the file as a loop's policy")


def _train_curves(states: int, seed: int, out: Path) -> None:
    from rich.progress import Progress

    from edgewright.scaling.curve_training import train_curves

    with Progress() as bar:
        shown = bar.add_task("states, curves, fit", total=1.0)
        trained = train_curves(states, seed=seed, on_progress=lambda share: bar.update(shown, completed=share))
    path = trained.export(out)
    typer.echo(f"{path}: {trained.card.states:,} states, regret {trained.card.regret:.3f} late requests per decision")
    typer.echo(f"run it: edgewright scaling evaluate --policy {path}, or name the file as a loop's policy")


@app.command()
def evaluate(
    policy: Annotated[list[Path] | None, typer.Option(help="Exported policies to compare, too.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0, 1, ... of every cell.")] = 20,
    out: Annotated[Path, typer.Option(help="Folder of the results; a stopped run goes on there.")] = Path(
        "results/scaling-evaluation"
    ),
    jobs: Jobs = None,
    as_json: Json = False,
) -> None:
    """All policies on five profiles in the reference twin: tables with intervals, figures, and who beats whom."""
    import yaml

    from edgewright.cli.study import run_and_show
    from edgewright.scaling.comparison import MEASURES, against, as_text, at_equal_cost
    from edgewright.scaling.policies.learned import SHIPPED
    from edgewright.scaling.tuning import folder
    from edgewright.studies.cells import read_results

    study = yaml.safe_load((folder() / "evaluation.yaml").read_text(encoding="utf-8"))
    study["seeds"], study["quick"] = seeds, seeds < 10
    study["scenarios"] = [str(folder() / name) for name in study["scenarios"]]
    # The suffix stays in the name: `curves-7.npz` is a file's policy, `curves-7` the shipped curves at another price.
    given = {path.name: path for path in policy or ()}
    for path in policy or ():
        if path.suffix != ".npz" or given[path.name] != path:
            raise InputError("--policy", str(path), "an exported .npz file, each with a name of its own")
    study["methods"] += [{"name": name, "policy": str(path.resolve())} for name, path in given.items()]
    writable(out, "--out")
    file = out / "evaluation.yaml"
    file.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    result = run_and_show(file, out, jobs, as_json)
    if result.failures:
        raise typer.Exit(1)
    learned = [*SHIPPED, *given]
    values = read_results(result.folder, MEASURES)
    comparison, equal_cost = against(values, learned), at_equal_cost(values)
    told = {"policies": comparison, "curves_at_equal_cost": equal_cost}
    (out / "comparison.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
    if not as_json:
        typer.echo(as_text(comparison, equal_cost))


@app.command()
def tune(
    policies: Annotated[str, typer.Option(help="Names, with commas.")] = "threshold,hpa,vpa,model,curves,dqn,ppo",
    trials: Annotated[int, typer.Option(min=1, help="Draws of the parameters of each policy.")] = 60,
    seed: Seed = 0,
    jobs: Jobs = None,
    as_json: Json = False,
) -> None:
    """The same random search for every policy's parameters, on the tuning scenarios."""
    from rich.progress import Progress

    from edgewright.scaling.tuning import search

    found: dict[str, Any] = {}
    with Progress(disable=as_json) as bar:
        for name in policies.split(","):
            shown = bar.add_task(name, total=trials)
            best = search(name, trials, seed=seed, jobs=jobs, on_trial=partial(_advance, bar, shown))[0]
            found[name] = best.__dict__
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    for name, row in found.items():
        values = ", ".join(f"{key}: {value:.4g}" for key, value in row["parameters"].items())
        typer.echo(f"{name:<10} {{{values}}}  late {row['late_percent']:.2f} %, {row['reserved_cpu_s']:.0f} CPU s")


@app.command()
def calibrate(
    scenario: ScenarioFile = None,
    service: Annotated[str | None, typer.Option(help="Which service. Default: the first.")] = None,
    seconds: Annotated[int, typer.Option(min=1, help="Length of one live run.")] = 12,
    repetitions: Annotated[int, typer.Option(min=1, help="Live runs of every checked point.")] = 3,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="Write the scenario with the fitted behaviour here.")] = None,
    as_json: Json = False,
) -> None:
    """Fit the twin to the live service on six points (quota, rate) and check it on eighteen others."""
    from edgewright.scaling import calibration
    from edgewright.scaling.live import running

    read, base = _scenario(scenario)
    chosen = next((s for s in read.services if s.name == (service or read.services[0].name)), None)
    if chosen is None:
        raise InputError("--service", service, f"one of {list(read.names)}")
    if out is not None:
        if out.is_dir():
            raise InputError("--out", str(out), "a file")
        writable(out.parent, "--out")
    rows: list[dict[str, Any]] = []
    with _work() as work, running(read, base, work, [chosen]) as live:
        points = []
        for quota, rate in calibration.FIT_POINTS:
            points.append(calibration.measure_point(live, chosen.name, quota, rate, seconds, seed))
            _say(as_json, f"fit   {quota:4.2f} CPU {rate:4.0f}/s  live {1e3 * points[-1].mean_s:7.1f} ms")
        fitted = calibration.fit(points, chosen.behaviour, read.slo.timeout_s)
        _say(as_json, f"fitted: {_fitted(fitted)}")

        def show(check: calibration.Check) -> None:
            low, high = check.interval_s
            verdict = ("ok" if check.holds else "FAILS") if check.judged else "over 100 ms, not judged"
            _say(
                as_json,
                f"check {check.quota_cpu:4.2f} CPU {check.rate_hz:4.0f}/s  live {1e3 * check.live_mean_s:7.1f} "
                f"[{1e3 * low:.1f}, {1e3 * high:.1f}]  twin {1e3 * check.twin_s:7.1f} ms  "
                f"{check.error:+.0%}  {verdict}",
            )
            rows.append({**check.__dict__, "error": check.error, "judged": check.judged, "holds": check.holds})

        calibration.check(
            live,
            chosen.name,
            fitted,
            calibration.CHECK_POINTS,
            seconds=seconds,
            repetitions=repetitions,
            seed=seed + 1000,
            on_point=show,
        )
    if out is not None:
        calibration.save(read, fitted, out)
    judged = [row for row in rows if row["judged"]]
    if as_json:
        typer.echo(json.dumps({"behaviour": fitted.model_dump(), "checks": rows}, indent=1))
    else:
        typer.echo(f"{sum(row['holds'] for row in judged)} of {len(judged)} judged points hold")


@app.command()
def live(
    policies: Annotated[
        str, typer.Option(help="Names or exported files, with commas.")
    ] = "threshold,hpa,model,curves,curves-60,dqn,ppo",
    scenario: ScenarioFile = None,
    seconds: Annotated[int, typer.Option(min=1, help="Length of one run.")] = 120,
    repetitions: Annotated[int, typer.Option(min=1, help="Runs of each policy, in alternating order.")] = 3,
    load: Annotated[
        float | None,
        typer.Option(
            min=0.001, help="Factor on all loads. Default: 1, less on a host on which requests take more CPU."
        ),
    ] = None,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("results/scaling-live"),
    as_json: Json = False,
) -> None:
    """Each policy, as `evaluate` names and tunes it, on the same recorded arrivals against real services."""
    from edgewright.scaling.live_study import compare
    from edgewright.scaling.tuning import folder, tuned

    read, base = _scenario(scenario or folder() / "live.yaml")
    writable(out, "--out")
    table = compare(
        read,
        base,
        policies.split(","),
        seconds=seconds,
        repetitions=repetitions,
        seed=seed,
        out=out,
        load=load,
        methods=tuned(),
        say=lambda text: _say(as_json, text),
    )
    typer.echo(json.dumps(table.rows, indent=1) if as_json else table.text())


@app.command()
def memory(
    scenario: ScenarioFile = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs in the twin.")] = 20,
    repetitions: Annotated[int, typer.Option(min=0, help="Runs on this host; 0 for the twin alone.")] = 3,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Memory limits that follow the working set against fixed ones: kills and bytes reserved."""
    from edgewright.scaling.memory_study import as_text, in_twin, on_host
    from edgewright.scaling.tuning import folder

    read, base = _scenario(scenario or folder() / "memory.yaml")
    rows = in_twin(read, seeds, base)
    if repetitions:
        with _work() as work:
            rows += on_host(read, base, work, repetitions, seed, lambda text: _say(as_json, text))
    typer.echo(json.dumps(rows, indent=1) if as_json else as_text(rows))


def _scenario(path: Path | None) -> tuple[Scenario, Path]:
    """-> the scenario, and the folder its relative paths start from"""
    from importlib.resources import files

    from edgewright.scaling.model import read_scenario

    chosen = path or Path(str(files("edgewright") / "demo" / "demo.yaml"))
    return read_scenario(chosen), chosen.resolve().parent


@contextmanager
def _work() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="edgewright-") as name:
        yield Path(name)


def _advance(bar: Any, task: Any, _: Any) -> None:
    bar.advance(task)


def _say(quiet: bool, text: str) -> None:
    if not quiet:
        typer.echo(text)


def _fitted(behaviour: Any) -> str:
    return f"cpu_ms {behaviour.cpu_ms:.2f}, cpu_cv {behaviour.cpu_cv:.2f}, overhead_ms {behaviour.overhead_ms:.2f}"
