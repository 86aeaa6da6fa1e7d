"""Finished cells on disk: one file each, written atomically by whoever ran it, found again by its key."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

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
