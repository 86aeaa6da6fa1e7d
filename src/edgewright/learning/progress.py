"""How far a training run is, and a bar that shows it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from edgewright.learning.training import Curve


@dataclass(frozen=True)
class Progress:
    """After a chunk. Steps are those of one seed."""

    steps: int
    total_steps: int
    steps_per_s: float
    elapsed_s: float
    curve: Curve

    @property
    def remaining_s(self) -> float:
        return (self.total_steps - self.steps) / self.steps_per_s


@contextmanager
def progress_bar(total: int, done: int, shown: bool | None) -> Iterator[Callable[[Progress], None]]:
    """Yields what to call after each chunk. shown: None for only when the standard error is a terminal."""
    if not (sys.stderr.isatty() if shown is None else shown):
        yield lambda progress: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("training", total=total, completed=done)

        def show(progress: Progress) -> None:
            curve = progress.curve
            last = curve.evaluation[-1] if np.isfinite(curve.evaluation[-1]).all() else curve.training[-1]
            words = f"return {last.mean():.3g}, {progress.steps_per_s:,.0f} steps/s"
            bar.update(task, completed=progress.steps, description=words)

        yield show
