"""Antennas of a region, from files of OpenCelliD.

A file has 14 columns: radio, mcc, net, area, cell, unit, lon, lat, range, samples, changeable, created, updated,
averageSignal; with a line of headings or without. Source: OpenCelliD, "Database format".
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from edgewright.core.contracts import FloatArray, IntArray
from edgewright.core.errors import InputError
from edgewright.core.infrastructure import KINDS
from edgewright.core.infrastructure.model import radio_bits
from edgewright.core.tables import opened
from edgewright.topology.build import Cells
from edgewright.topology.places import Plane
from edgewright.topology.regions import Region
from edgewright.topology.rings import Limit, grouped

COLUMNS = (
    "radio",
    "mcc",
    "net",
    "area",
    "cell",
    "unit",
    "lon",
    "lat",
    "range",
    "samples",
    "changeable",
    "created",
    "updated",
    "averageSignal",
)
Radio = Literal["CDMA", "GSM", "UMTS", "LTE", "NR"]
_DEGREES = re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]*)?([eE]-[0-9]{1,2})?")
RADIOS: tuple[Radio, ...] = get_args(Radio)


@dataclass(frozen=True)
class Antennas:
    """What was read, and what was left out and why."""

    ids: tuple[str, ...]
    """[N], radio-mcc-net-area-cell."""
    radio: tuple[Radio, ...]  # [N]
    mcc: IntArray  # int64[N], code of the country
    net: IntArray  # int64[N], code of the operator in its country
    lon: FloatArray  # float64[N], degrees
    lat: FloatArray  # float64[N]
    left_out: dict[str, int]
    """Rows by reason: radio, net, region."""

    def __len__(self) -> int:
        return len(self.lon)


def read(
    path: str | Path,
    *,
    radios: Collection[str] = (),
    nets: Collection[int] = (),
    region: Region | None = None,
) -> Antennas:
    """Those of these radios and operators within the region; all where none is named.

    Raises InputError that names the line for a row of another length, no number, or a place that is none on Earth, and
    where nothing is left. Columns that are not used are not judged; mcc, net, area and cell are, for the ids.
    """
    for radio in radios:
        if radio not in RADIOS:
            raise InputError("radio", radio, f"one of {', '.join(RADIOS)}")
    left_out = {"radio": 0, "net": 0, "region": 0}
    kept: list[tuple[str, Radio, int, int, float, float]] = []
    for line, name, radio, mcc, net, lon, lat in _rows(Path(path)):
        if radio not in RADIOS:
            raise InputError(f"line {line}, radio", radio, f"one of {', '.join(RADIOS)}", source=str(path))
        if radios and radio not in radios:
            left_out["radio"] += 1
        elif nets and net not in nets:
            left_out["net"] += 1
        else:
            kept.append((name, radio, mcc, net, lon, lat))
    lon_of, lat_of = np.array([row[4] for row in kept]), np.array([row[5] for row in kept])
    inside = region.contains(lon_of, lat_of) if region else np.ones(len(kept), bool)
    left_out["region"] = int((~inside).sum())
    if not inside.any():
        raise InputError("antennas", left_out, "at least one that is not left out", source=str(path))
    names, radio_of, mcc_of, net_of, _, _ = zip(*compress(kept, inside), strict=True)
    mcc, net_of_all = np.array([mcc_of, net_of], np.int64)
    return Antennas(_unique(names), radio_of, mcc, net_of_all, lon_of[inside], lat_of[inside], left_out)


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    """One that comes again gets a number."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return tuple(found)


def cells(found: Antennas, *, merged_m: float | None = None) -> Cells:
    """Each antenna a cell; or each site, antennas of one operator of which no two are farther apart than `merged_m`, in
    their middle, named after the first and with the technologies of all.
    """
    plane = Plane.around(found.lon, found.lat)
    xy = plane.to_metres(found.lon, found.lat)
    radio = np.array([radio_bits((name,)) for name in found.radio], np.uint8)
    site = np.arange(len(found))
    if merged_m is not None:
        first = 0
        operators, of = np.unique(np.column_stack([found.mcc, found.net]), axis=0, return_inverse=True)
        for operator in range(len(operators)):
            own = np.flatnonzero(of == operator)
            site[own] = first + grouped(xy[own], Limit(len(own), merged_m))
            first = site[own].max() + 1
    numbers, first_of, site = np.unique(site, return_index=True, return_inverse=True)
    many = np.bincount(site)
    together = np.zeros(len(numbers), np.uint8)
    np.bitwise_or.at(together, site, radio)
    order = np.argsort(first_of)
    return Cells(
        tuple(found.ids[i] for i in first_of[order]),
        np.full(len(numbers), KINDS.index("cell"), np.int8),
        together[order],
        np.column_stack([np.bincount(site, weights=column) / many for column in xy.T])[order],
        plane,
    )


def _rows(path: Path) -> Iterator[tuple[int, str, str, int, int, float, float]]:
    """Line, name, radio, country, operator, longitude and latitude of each."""
    with opened(path) as file:
        reader = csv.reader(file, strict=True)
        last, first = 0, True
        for row in reader:
            line, last = last + 1, reader.line_num
            if last > line:
                raise InputError(f"line {line}", "a quote that does not end there", "a row", source=str(path))
            if not row:
                continue
            headings, first = first and tuple(row) == COLUMNS, False
            if headings:
                continue
            if len(row) != len(COLUMNS):
                allowed = f"the {len(COLUMNS)} columns of OpenCelliD"
                raise InputError(f"line {line}", f"{len(row)} columns", allowed, source=str(path))
            yield line, "-".join(row[:5]), row[0], *_numbers(row, line, path)


def _numbers(row: list[str], line: int, path: Path) -> tuple[int, int, float, float]:
    def refuse(column: str, allowed: str) -> InputError:
        given = row[COLUMNS.index(column)]
        return InputError(f"line {line}, {column}", given, allowed, source=str(path))

    for column, given, digits in zip(COLUMNS[1:5], row[1:5], (5, 5, 20, 20), strict=True):
        if not (given.isascii() and given.isdigit() and len(given) <= digits):
            raise refuse(column, f"a whole number of up to {digits} digits")
    places = []
    for column, most in (("lon", 180.0), ("lat", 90.0)):
        text = row[COLUMNS.index(column)]
        if not _DEGREES.fullmatch(text):
            raise refuse(column, "a number of degrees")
        place = float(text)
        if not -most <= place <= most:
            raise refuse(column, f"-{most:g} .. {most:g} degrees")
        places.append(place)
    return int(row[1]), int(row[2]), places[0], places[1]
