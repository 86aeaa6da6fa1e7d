"""What a study leaves in its folder: results, table, figures, failures, manifest."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from edgewright import __version__
from edgewright.core.contracts import FloatArray
from edgewright.core.files import replacing
from edgewright.studies import figures, tables
from edgewright.studies.cells import cell_path, load_cell, load_series
from edgewright.studies.contract import Cell
from edgewright.studies.plan import Plan, Task
from edgewright.studies.workers import Failure

_LIBRARIES = ("numpy", "scipy", "numba", "jax", "jaxlib", "optax", "networkx", "highspy", "pyarrow")


@dataclass(frozen=True)
class StudyResult:
    folder: Path
    caption: str
    entries: tuple[tables.Entry, ...]
    table: Mapping[str, Any]
    """As in table.json."""
    failures: tuple[Failure, ...]
    computed: int
    """Cells run this time; the others were found."""
    figures: tuple[Path, ...]


def report(plan: Plan, folder: Path, failures: Sequence[Failure], *, computed: int) -> StudyResult:
    study = plan.study
    methods = [method.name for method in study.methods]
    order = {(m, s): i for i, (m, s) in enumerate((m, s) for s in plan.sources for m in methods)}
    tasks = sorted(plan.tasks, key=lambda task: order[task.method, task.scenario])  # stable: seeds stay in order
    failed = {(f.method, f.scenario, f.seed): f for f in failures}
    failures = [failed[at] for at in ((t.method, t.scenario, t.seed) for t in tasks) if at in failed]
    stored = {task.key: load_cell(cell_path(folder / "cells", task.key)) for task in tasks}
    measured = {key: cell[0] if cell else {} for key, cell in stored.items()}

    values: dict[tuple[str, str, str], FloatArray] = {}
    for method, scenario in order:
        cells = [measured[t.key] for t in tasks if (t.method, t.scenario) == (method, scenario)]
        for metric in plan.metrics:
            numbers = [cell.get(metric.name, np.nan) for cell in cells]
            values[method, scenario, metric.name] = np.array(numbers, np.float64)
    found = tables.entries(
        values, methods, list(plan.sources), plan.metrics, baseline=study.baseline, average=study.average
    )
    table = tables.as_json(found, study, len(failures))
    caption = tables.caption(study, len(failures))

    _write_results(plan, tasks, measured, failed, folder)
    _write_text(folder / "table.md", tables.as_markdown(found, study.name, caption))
    _write_json(folder / "table.json", table)
    _write_json(folder / "failures.json", [asdict(failure) for failure in failures])
    wall_s = {key: cell[1] for key, cell in stored.items() if cell is not None}
    _write_json(folder / "manifest.json", _manifest(plan, wall_s, len(failures), computed))
    drawn = _draw(plan, tasks, found, values, measured, folder)
    return StudyResult(folder, caption, tuple(found), table, tuple(failures), computed, tuple(drawn))


def _write_results(
    plan: Plan,
    tasks: Sequence[Task],
    measured: Mapping[str, Mapping[str, float]],
    failed: Mapping[tuple[str, str, int], Failure],
    folder: Path,
) -> None:
    import pyarrow as pa
    from pyarrow import csv, parquet

    names = dict.fromkeys(metric.name for metric in (*plan.metrics, *plan.capability.metrics))
    names |= dict.fromkeys(name for cell in measured.values() for name in cell)
    errors = [failed.get((task.method, task.scenario, task.seed)) for task in tasks]
    columns: dict[str, Any] = {
        "method": pa.array([task.method for task in tasks], pa.string()),
        "scenario": pa.array([task.scenario for task in tasks], pa.string()),
        "seed": pa.array([task.seed for task in tasks], pa.int64()),
    }
    for name in names:
        columns[name] = pa.array([measured[task.key].get(name) for task in tasks], pa.float64())
    columns["error"] = pa.array([failure and failure.error for failure in errors], pa.string())
    table = pa.table(columns)
    with replacing(folder / "results.parquet") as new:
        parquet.write_table(table, new)
    with replacing(folder / "results.csv") as new:
        csv.write_csv(table, new)


def _draw(
    plan: Plan,
    tasks: Sequence[Task],
    found: Sequence[tables.Entry],
    values: tables.Values,
    measured: Mapping[str, Mapping[str, float]],
    folder: Path,
) -> list[Path]:
    wanted, known = plan.study.figures, {metric.name: metric for metric in plan.metrics}
    place = folder / "figures"
    place.mkdir(exist_ok=True)
    for old in place.glob("*.png"):  # none may stay that the table no longer agrees with
        old.unlink()
    drawn = [
        figures.by_method(found, values, known[name], place / f"{name}.png")
        for name in (known if wanted.metrics is None else wanted.metrics)
    ]
    drawn += [
        figures.trade_off(found, known[pair.x], known[pair.y], place / f"{pair.x}-{pair.y}.png")
        for pair in wanted.trade_offs
    ]
    finished = [task for task in tasks if measured[task.key]]
    if wanted.capability and finished:
        cells = folder / "cells"
        drawn += plan.capability.figures(
            [
                Cell(t.method, t.scenario, t.seed, measured[t.key], load_series(cell_path(cells, t.key)))
                for t in finished
            ],
            place,
        )
    return drawn


def _manifest(plan: Plan, wall_s: Mapping[str, float], failed: int, computed: int) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {}
    for task in plan.tasks:
        if task.key in wall_s:
            seconds.setdefault(task.method, []).append(wall_s[task.key])
    return {
        "format": "edgewright.study-manifest/1",
        "study": plan.study.model_dump(mode="json"),
        "scenarios": {name: source.data for name, source in plan.sources.items()},
        "seeds": list(plan.study.seeds),
        "cells": {"all": len(plan.tasks), "run_this_time": computed, "failed": failed},
        "median_cell_s": {method: float(np.median(times)) for method, times in seconds.items()},
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "edgewright": __version__,
            "capability": plan.capability.version,
            "python": platform.python_version(),
            **{name: found for name in _LIBRARIES if (found := _version(name))},
        },
        "platform": platform.platform(),
    }


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _write_json(path: Path, data: Any) -> None:
    _write_text(path, json.dumps(data, indent=1, ensure_ascii=False, default=str) + "\n")


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as new:
        new.write_text(text, encoding="utf-8")
