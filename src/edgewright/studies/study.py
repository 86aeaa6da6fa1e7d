"""Running a study file: the cells that are not there yet, then table, figures and manifest in one folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edgewright.core.errors import InputError
from edgewright.core.files import replacing
from edgewright.studies.cells import cell_path, load_cell
from edgewright.studies.plan import Task, make_plan
from edgewright.studies.report import StudyResult, report
from edgewright.studies.workers import Failure, Workplace, run_tasks


@dataclass(frozen=True)
class Progress:
    """Before the first cell, and after each."""

    done: int
    total: int
    found: int
    """Of those done, cells that an earlier run left."""
    failed: int
    last: Task | None


def run_study(
    path: str | Path,
    *,
    out: str | Path | None = None,
    jobs: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> StudyResult:
    """Run a study file, or what is left of it; `out` (results/<name> by default) is where a run is continued.

    jobs: processes, by default one a core; results do not depend on it. They are spawned: a script that calls this
    needs `if __name__ == "__main__"`. A cell that fails is in `failures` and is tried again by the next run.
    Raises InputError for a study or scenario that is not sound, before anything runs.
    """
    plan = make_plan(path)
    if jobs is not None and jobs < 1:
        raise InputError("jobs", jobs, "a whole number >= 1")
    folder = Path(out) if out is not None else Path("results") / plan.study.name
    cells = folder / "cells"
    try:
        cells.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("out", str(folder), f"a folder that can be written ({error})") from None
    with replacing(folder / "study.yaml") as new:
        shutil.copyfile(plan.path, new)

    required = frozenset(metric.name for metric in (*plan.metrics, *plan.capability.metrics))

    def finished(task: Task) -> bool:
        cell = load_cell(cell_path(cells, task.key))
        return cell is not None and required <= cell[0].keys()

    missing = [task for task in plan.tasks if not finished(task)]
    found = done = len(plan.tasks) - len(missing)
    failures: list[Failure] = []
    tell = on_progress or (lambda progress: None)
    tell(Progress(done, len(plan.tasks), found, 0, None))
    place = Workplace(plan.study.capability, plan.path.parent, plan.sources, cells, required)
    with closing(run_tasks(missing, place, jobs or len(os.sched_getaffinity(0)))) as ending:
        for task, failure in ending:
            done += 1
            if failure is not None:
                failures.append(failure)
            tell(Progress(done, len(plan.tasks), found, len(failures), task))
    return report(plan, folder, failures, computed=len(missing))
