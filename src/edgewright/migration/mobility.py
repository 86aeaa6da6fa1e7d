"""Where a user is, step by step: along a road, or as a SUMO trace says. Shapes: T steps, N nodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from edgewright.core.contracts import Array, FloatArray
from edgewright.core.errors import InputError
from edgewright.core.tables import number

FINITE = "a finite number"


def place(xp: Any, driven_m: Array, length_m: float) -> Array:
    """How far along the road one is after so many metres, there and back."""
    return length_m - xp.abs(length_m - xp.mod(driven_m, 2 * length_m))


def along(road_m: Sequence[tuple[float, float]], driven_m: FloatArray) -> FloatArray:
    """The places float[..., 2], m, after so many metres from the road's first corner; past its end, on the way back."""
    corners = np.array(road_m, dtype=np.float64)
    at_m = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(corners, axis=0).T))])
    here_m = place(np, driven_m, at_m[-1])
    return np.stack([np.interp(here_m, at_m, corners[:, axis]) for axis in (0, 1)], -1)


def distances(places_m: FloatArray, nodes_m: FloatArray) -> FloatArray:
    """float[T, 2] and float[N, 2] -> m, float[T, N]"""
    return np.hypot(*np.moveaxis(places_m[:, None] - nodes_m[None], -1, 0))  # type: ignore[no-any-return]


def read_fcd(path: str | Path, step_s: float = 1.0) -> dict[str, tuple[float, FloatArray]]:
    """Vehicles and persons of a SUMO floating-car-data file (`--fcd-output`) -> by id: when its first place is, s, and
    its places float[T, 2], m, every `step_s`.

    Raises InputError naming the file and the time step for what cannot be read, times that do not rise, and a vehicle
    that is missing in between.
    """
    seen: dict[str, list[tuple[float, float, float]]] = {}
    last = -np.inf
    try:
        for _, element in ElementTree.iterparse(path, events=("end",)):  # noqa: S314 - a file of the user; expat bounds entities
            if element.tag != "timestep":
                continue
            time_s = number(element.get("time"), "timestep", FINITE, path)
            if time_s <= last:
                raise InputError(f"timestep {time_s:g}", time_s, f"times that rise, above {last:g}", source=str(path))
            last = time_s
            for one in element:
                name, where = str(one.get("id")), f"timestep {time_s:g}, {one.tag} {one.get('id')}"
                x, y = (number(one.get(axis), f"{where}, {axis}", FINITE, path) for axis in ("x", "y"))
                seen.setdefault(name, []).append((time_s, x, y))
            element.clear()
    except InputError:
        raise
    except (OSError, ValueError, LookupError, ElementTree.ParseError) as error:
        raise InputError("file", str(error), "a floating-car-data file of SUMO", source=str(path)) from None
    if not seen:
        raise InputError("timestep", "no vehicle", "at least one vehicle or person", source=str(path))
    return {name: _every(path, name, np.array(rows), step_s) for name, rows in seen.items() if len(rows) > 1}


def _every(path: str | Path, name: str, rows: FloatArray, step_s: float) -> tuple[float, FloatArray]:
    times = rows[:, 0]
    gaps = np.diff(times)
    if gaps.max() > 1.5 * np.median(gaps):
        at = times[int(gaps.argmax())]
        raise InputError(
            f"timestep {at:g}, {name}", f"nothing for {gaps.max():g} s", "a trace without gaps", source=str(path)
        )
    when = np.arange(times[0], times[-1] + 1e-9, step_s)
    return float(times[0]), np.stack([np.interp(when, times, rows[:, axis]) for axis in (1, 2)], -1)
