"""Finished cells on disk: one file each, written atomically by whoever ran it, found again by its key; and the table of
all of them."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.core.contracts import FloatArray
from edgewright.core.files import replacing
from edgewright.studies.contract import Result

_HEADER = "cell"
_SERIES = "series_"


def cell_path(folder: Path, key: str) -> Path:
    return folder / f"{key}.npz"


def save_cell(path: Path, result: Result, wall_s: float) -> None:
    header = json.dumps({"metrics": dict(result.metrics), "wall_s": wall_s}).encode()
    arrays = {_SERIES + name: np.asarray(array) for name, array in (result.series or {}).items()}
    with replacing(path) as new:
        np.savez_compressed(new, allow_pickle=False, **{_HEADER: np.frombuffer(header, np.uint8)}, **arrays)


def load_cell(path: Path) -> tuple[dict[str, float], float] | None:
    """-> metrics, wall time in s; None where there is none, or it cannot be read (it is then run again)."""
    try:
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(file[_HEADER].tobytes())
            for name in file.files:  # damaged series would end the report on every rerun
                file[name]
        return {name: float(value) for name, value in header["metrics"].items()}, float(header["wall_s"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def load_series(path: Path) -> Mapping[str, Any]:
    with np.load(path, allow_pickle=False) as file:
        return {name.removeprefix(_SERIES): file[name] for name in file.files if name.startswith(_SERIES)}


def read_results(folder: Path, metrics: Sequence[str]) -> dict[tuple[str, str, str], FloatArray]:
    """(method, scenario, metric) -> float64[seeds] in their order, from a study's results.parquet; NaN where a cell
    failed.
    """
    from pyarrow import parquet

    columns = parquet.read_table(folder / "results.parquet").to_pydict()
    found: dict[tuple[str, str, str], dict[int, float]] = {}
    for row, (method, scenario, seed) in enumerate(
        zip(columns["method"], columns["scenario"], columns["seed"], strict=True)
    ):
        for name in metrics:
            found.setdefault((method, scenario, name), {})[seed] = columns[name][row]
    return {key: np.array([of[seed] for seed in sorted(of)], np.float64) for key, of in found.items()}
