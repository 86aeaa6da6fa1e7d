"""Antennas of a region, from files of OpenCelliD.

A file has 14 columns: radio, mcc, net, area, cell, unit, lon, lat, range, samples, changeable, created, updated,
averageSignal; with a line of headings or without. Source: OpenCelliD, "Database format".
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from edgewright.core.contracts import FloatArray, IntArray
from edgewright.core.errors import InputError
from edgewright.core.tables import opened

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
class Region:
    """Between two meridians and two parallels, in degrees."""

    west: float
    south: float
    east: float
    north: float

    def __post_init__(self) -> None:
        for field, low, high, most in (("lon", self.west, self.east, 180.0), ("lat", self.south, self.north, 90.0)):
            if not -most <= low < high <= most:
                raise InputError(f"region.{field}", (low, high), f"from less to more, within -{most:g} .. {most:g}")


@dataclass(frozen=True)
class Antennas:
    """What was read, and what was left out and why."""

    radio: tuple[Radio, ...]
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
    where nothing is left. Columns that are not used are not judged.
    """
    for radio in radios:
        if radio not in RADIOS:
            raise InputError("radio", radio, f"one of {', '.join(RADIOS)}")
    left_out = {"radio": 0, "net": 0, "region": 0}
    kept: list[tuple[Radio, int, float, float]] = []
    for line, radio, net, lon, lat in _rows(Path(path)):
        if radio not in RADIOS:
            raise InputError(f"line {line}, radio", radio, f"one of {', '.join(RADIOS)}", source=str(path))
        if radios and radio not in radios:
            left_out["radio"] += 1
        elif nets and net not in nets:
            left_out["net"] += 1
        elif region and not (region.west <= lon <= region.east and region.south <= lat <= region.north):
            left_out["region"] += 1
        else:
            kept.append((radio, net, lon, lat))
    if not kept:
        raise InputError("antennas", left_out, "at least one that is not left out", source=str(path))
    radio_of, net_of, lon_of, lat_of = zip(*kept, strict=True)
    return Antennas(radio_of, np.array(net_of, np.int64), np.array(lon_of), np.array(lat_of), left_out)


def _rows(path: Path) -> Iterator[tuple[int, str, int, float, float]]:
    """Line, radio, operator, longitude and latitude of each."""
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
            yield line, row[0], *_numbers(row, line, path)


def _numbers(row: list[str], line: int, path: Path) -> tuple[int, float, float]:
    def refuse(column: str, allowed: str) -> InputError:
        given = row[COLUMNS.index(column)]
        return InputError(f"line {line}, {column}", given, allowed, source=str(path))

    if not re.fullmatch("[0-9]{1,5}", row[2]):
        raise refuse("net", "a whole number of up to five digits")
    places = []
    for column, most in (("lon", 180.0), ("lat", 90.0)):
        text = row[COLUMNS.index(column)]
        if not _DEGREES.fullmatch(text):
            raise refuse(column, "a number of degrees")
        place = float(text)
        if not -most <= place <= most:
            raise refuse(column, f"-{most:g} .. {most:g} degrees")
        places.append(place)
    return int(row[2]), places[0], places[1]
