"""Cells run in fresh processes, one at a time each: one that fails, or dies, costs its own cell only."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import time
import traceback
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from edgewright.studies.capability import open_capability
from edgewright.studies.cells import cell_path, save_cell
from edgewright.studies.contract import Capability, Result, ScenarioSource
from edgewright.studies.plan import Task

# One thread a worker: the processes are the parallelism, and sums come out alike whatever `jobs` is.
# NPROC is what XLA sizes its pools by.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "NPROC")
_PATIENCE_S = 5.0  # for a worker without work to end by itself


@dataclass(frozen=True)
class Failure:
    method: str
    scenario: str
    seed: int
    error: str
    traceback: str


@dataclass(frozen=True)
class Workplace:
    """What every worker needs to know."""

    capability: str
    folder: Path
    """Of the study file."""
    sources: Mapping[str, ScenarioSource]
    cells: Path
    metrics: frozenset[str]
    """What every result must hold."""


def run_tasks(tasks: Sequence[Task], place: Workplace, jobs: int) -> Generator[tuple[Task, Failure | None]]:
    """Run all in `jobs` processes; yields each as it ends: its result is in `place.cells`, or there is a failure."""
    waiting = deque(tasks)
    workers: dict[Connection, tuple[SpawnProcess, Task]] = {}
    ended: list[SpawnProcess] = []

    def give(connection: Connection, process: SpawnProcess) -> None:
        task = waiting.popleft()
        workers[connection] = process, task
        with suppress(OSError):  # it died: its end of the pipe tells
            connection.send(task)

    try:
        while waiting or workers:
            while waiting and len(workers) < jobs:
                give(*_start(place))
            for connection in wait(list(workers)):
                assert isinstance(connection, Connection)
                process, task = workers.pop(connection)
                try:
                    failure = connection.recv()
                except (EOFError, OSError):
                    process.join()
                    connection.close()
                    error = f"the worker process ended with exit code {process.exitcode}"
                    yield task, Failure(task.method, task.scenario, task.seed, error, "")
                    continue
                if waiting:
                    give(connection, process)
                else:
                    connection.close()
                    ended.append(process)
                yield task, failure
    finally:
        for connection, (process, _) in workers.items():
            process.kill()
            connection.close()
            ended.append(process)
        for process in ended:
            process.join(_PATIENCE_S)
            process.kill()
            process.join()


def _start(place: Workplace) -> tuple[Connection, SpawnProcess]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, place), name="study-worker", daemon=True)
    with _environment():
        process.start()
    theirs.close()
    return ours, process


@contextmanager
def _environment() -> Iterator[None]:
    added = [name for name in _ONE_THREAD if name not in os.environ]
    os.environ.update(dict.fromkeys(added, "1"))
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _serve(connection: Connection, place: Workplace) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    worker = _Worker(place)
    while True:
        try:
            task = connection.recv()
        except EOFError:  # the parent has no more, or is gone
            return
        failure = worker.run(task)
        try:
            connection.send(failure)
        except OSError:
            return


class _Worker:
    def __init__(self, place: Workplace) -> None:
        self._place = place
        self._capability: Capability | None = None
        self._scenarios: dict[str, Any] = {}

    def run(self, task: Task) -> Failure | None:
        began = time.perf_counter()
        try:
            if self._capability is None:
                self._capability = open_capability(self._place.capability, self._place.folder)
            if task.scenario not in self._scenarios:
                self._scenarios[task.scenario] = self._capability.prepare(self._place.sources[task.scenario])
            scenario = self._scenarios[task.scenario]
            result = self._capability.run(scenario, task.policy, task.parameters, task.seed)
            result = _checked(result, self._place.metrics)
            save_cell(cell_path(self._place.cells, task.key), result, time.perf_counter() - began)
        except Exception as error:
            words = f"{type(error).__name__}: {error}"
            return Failure(task.method, task.scenario, task.seed, words, traceback.format_exc())
        return None


def _checked(result: Result, required: frozenset[str]) -> Result:
    metrics = {name: float(value) for name, value in result.metrics.items()}
    if missing := sorted(required - metrics.keys()):
        raise ValueError(f"the result lacks the metrics {missing}")
    infinite = [name for name, value in metrics.items() if math.isinf(value)]
    if infinite:
        raise ValueError(f"infinite metrics: {infinite}; NaN stands for undefined")
    return Result(metrics, result.series)
