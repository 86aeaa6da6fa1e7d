"""Weights (.npz) and their card (.json), side by side: written whole, read without pickles. Needs no JAX."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.core.documents import Document
from edgewright.core.errors import InputError
from edgewright.core.files import replacing


def write_weights(path: str | Path, arrays: Mapping[str, Any], card: Document) -> Path:
    """-> the .npz path"""
    path = Path(path).with_suffix(".npz")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as new:
        np.savez(new, **arrays)
    with replacing(path.with_suffix(".json")) as new:
        new.write_text(card.model_dump_json(indent=1), encoding="utf-8")
    return path


def read_weights(path: Path) -> dict[str, Any]:
    """The arrays of an .npz file. Raises InputError where it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError("weights", str(error), "the .npz file beside the card", source=str(path)) from error
