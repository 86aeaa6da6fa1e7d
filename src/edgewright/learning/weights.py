"""Weights (.npz) and their card (.json), side by side: written whole, read without pickles. Needs no JAX."""

from __future__ import annotations

import itertools
import zipfile
import zlib
from collections.abc import Mapping, Sequence
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


def read_layers(path: Path, widths: Sequence[int]) -> tuple[tuple[Any, Any], ...]:
    """A perceptron's, weight.i float32[in, out] and bias.i float32[out]. Raises InputError where they are others."""
    arrays = read_weights(path.with_suffix(".npz"))

    def take(name: str, shape: tuple[int, ...]) -> Any:
        found = arrays.get(name)
        if found is None or found.shape != shape or found.dtype.kind not in "fiu" or not np.isfinite(found).all():
            given = "nothing" if found is None else f"{found.dtype.name} of shape {found.shape}"
            raise InputError(name, given, f"finite numbers of shape {shape}", source=str(path))
        return np.ascontiguousarray(found, np.float32)

    pairs = enumerate(itertools.pairwise(widths))
    return tuple((take(f"weight.{i}", pair), take(f"bias.{i}", pair[1:])) for i, pair in pairs)
