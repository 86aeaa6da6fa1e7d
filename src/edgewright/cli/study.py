"""`edgewright study`: compare methods over scenarios and seeds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgewright.cli.options import Jobs, Json

if TYPE_CHECKING:
    from edgewright.studies import StudyResult


def command(
    file: Annotated[Path, typer.Argument(help="The study file (see docs/studies.md).")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results. Default: results/<name of the study>.")
    ] = None,
    jobs: Jobs = None,
    as_json: Json = False,
) -> None:
    """Run a study file: methods x scenarios x seeds. A stopped run is continued by the same command."""
    result = run_and_show(file, out, jobs, as_json)
    if result.failures:
        raise typer.Exit(1)


def run_and_show(file: Path, out: Path | None, jobs: int | None, as_json: bool) -> StudyResult:
    """Run a study with a bar, print its table; an interrupt ends the command."""
    result = run(file, out, jobs, quiet=as_json)
    if as_json:
        import json

        told = {**result.table, "folder": str(result.folder), "figures": [str(path) for path in result.figures]}
        typer.echo(json.dumps(told, indent=1))
    else:
        show(result)
    return result


def run(file: Path, out: Path | None, jobs: int | None, *, quiet: bool) -> StudyResult:
    try:
        return _run(file, out, jobs, quiet=quiet)
    except KeyboardInterrupt:
        typer.echo("stopped; what is finished is kept, and the same command goes on from there", err=True)
        raise typer.Exit(130) from None


def _run(file: Path, out: Path | None, jobs: int | None, *, quiet: bool) -> StudyResult:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from edgewright.studies import Progress, run_study

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Bar(*columns, console=Console(stderr=True), disable=quiet, speed_estimate_period=600) as bar:
        shown = bar.add_task("reading", total=None)

        def tell(progress: Progress) -> None:
            words = f"{progress.last.method}, {progress.last.scenario}" if progress.last else "running"
            if progress.failed:
                words += f" [red]({progress.failed} failed)[/]"
            if progress.last is None:
                bar.reset(shown, total=progress.total, completed=progress.found, description=words)
            else:
                bar.update(shown, completed=progress.done, description=words)

        return run_study(file, out=out, jobs=jobs, on_progress=tell)


def show(result: StudyResult) -> None:
    from rich.console import Console

    from edgewright.studies.tables import as_rich

    console = Console()
    for table in as_rich(result.entries):
        console.print(table)
    console.print(result.caption, markup=False, style="dim")
    causes = Counter((failure.method, failure.error) for failure in result.failures)
    for (method, error), count in causes.most_common(5):
        console.print(f"failed: {method}, {count} cells: {error} (see failures.json)", markup=False, style="red")
    console.print(f"{result.folder}: table.md, results.parquet, {len(result.figures)} figures", markup=False)
