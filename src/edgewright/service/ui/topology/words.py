"""A topology's numbers, and what is wrong with what was asked, as a visitor reads them. Pure functions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from typing import Any

from edgewright.service.ui.shapes import Refusal
from edgewright.service.ui.topology.shapes import TopologyState

PROCESSES = {
    "inhomogeneous-matern-ii": (
        "Where people live, spaced apart",
        "Inhomogeneous Matérn II: denser where more people live.",
    ),
    "inhomogeneous-poisson": ("Where people live", "Inhomogeneous Poisson: cells may stand side by side."),
    "poisson": ("Anywhere", "Poisson: equally likely at any place."),
    "matern-i": ("Anywhere, spaced apart", "Matérn I: of two too close to each other, both go."),
    "matern-ii": ("Anywhere, spaced apart, denser", "Matérn II: of two too close to each other, one goes."),
    "thomas": ("In clusters", "Thomas: five cells around each of random middles, in the mean."),
}
"""What a visitor chooses by, and what it does."""
OF_AREAS = ("inhomogeneous-matern-ii", "inhomogeneous-poisson")
STEPS = {
    "place": "Find the place and its people",
    "cells": "Spread the cells",
    "rings": "Group them under switches and rings",
    "files": "Write the map",
}
CELLS = {"macro_cell": "macro", "micro_cell": "micro", "pico_cell": "pico", "small_cell": "small"}
FIELDS = {"radius_m": "radius_km", "density": "per_km2", "cities": "city", "around": "micro"}
"""What the API calls a field that has another name on the page."""


def cells(state: TopologyState) -> str:
    """ "7,856 macro and 120 small cells"; "" before there is any."""
    kinds = [f"{many:,} {CELLS.get(kind, kind)}" for kind, many in state.cells.items()]
    return f"{' and '.join(filter(None, [', '.join(kinds[:-1]), kinds[-1]]))} cells" if kinds else ""


def numbers(state: TopologyState) -> list[str]:
    """What is told of one that is ready."""
    switches = ", ".join(f"{many:,} {name.upper()}" for name, many in state.switches.items())
    rings = ", ".join(f"{many:,} {name}" for name, many in state.rings.items())
    took = "" if state.seconds is None else f"made in {state.seconds:.0f} s"
    wide = f"{state.area_km2:,.0f}" if state.area_km2 >= 100 else f"{state.area_km2:.3g}"
    density = f"{wide} km², {state.per_km2:.2f} macro cells per km²"
    return [part for part in (cells(state), f"{switches} switches", f"{rings} rings", density, took) if part]


def standing(state: TopologyState) -> str:
    """What an unfinished one is at."""
    if state.phase == "waiting":
        return "Waits for the one before it"
    step = STEPS.get(state.step or "", "Starting")
    return f"{step}, {state.seconds:.0f} s" if state.seconds is not None else step


def name_for(text: str, taken: Collection[str]) -> str:
    """A free name made of what was given."""
    plain = unicodedata.normalize("NFKD", text.partition(",")[0]).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:50].strip("-") or "topology"
    number = 1
    while (free := name if number == 1 else f"{name}-{number}") in taken:
        number += 1
    return free


def places(text: str) -> list[dict[str, float]]:
    """A line a place: lon, lat, population and, if wanted, radius in metres and dispersion. Raises ValueError, in
    words.
    """
    found = []
    names = ("lon", "lat", "population", "radius_m", "dispersion")
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            values = [float(part) for part in line.split(",")]
        except ValueError:
            values = []
        if not 3 <= len(values) <= len(names):
            raise ValueError(f"Line {number}: three to five numbers with commas, as in -3.70, 40.42, 3200000.")
        found.append(dict(zip(names, values, strict=False)))
    return found


def field_of(refusal: Refusal, fields: Collection[str]) -> str | None:
    """Beside which field of the form a refusal belongs."""
    first = (refusal.field or "").partition(".")[0]
    first = FIELDS.get(first, first)
    return first if first in fields else None


def problem(refusal: Refusal) -> str:
    """A refusal as the page says it beside the field."""
    given, allowed = refusal.given, refusal.allowed or ""
    match (refusal.field or "").partition(".")[0]:
        case "city" if alike := re.search(r", as (.*)$", allowed):
            return f"No city called {given} is known. Did you mean {alike[1]}?"
        case "city" if "NAME" in allowed:
            return f"No city called {given} is known. Name it as Madrid or Madrid,ES."
        case "cities":
            return "This installation knows no cities: install edgewright[data], or choose a box and areas of your own."
        case "areas" if given == 0:
            return "No town is known there: give areas of your own under Advanced, or spread the cells anywhere."
        case "density":
            return f"So many do not fit: {allowed}. Fewer, or a shorter distance under Advanced."
        case "name" if "no topology has" in allowed:
            return f"There is a topology called {given} already."
        case "name" if "pattern" in allowed:
            return "Lower-case letters, digits and hyphens, 63 at most."
        case "micro" | "pico" | "small" if "within" in str(given):
            return "So many find no room: fewer, a lower density, or macro cells anywhere, spaced apart."
    return f"Not possible: {given}. Allowed: {allowed}." if allowed else refusal.message


def number(value: Any, low: float, high: float, *, whole: bool = False) -> str | None:
    """What is wrong with a number that was typed; None: nothing."""
    kind = "A whole number" if whole else "A number"
    if not isinstance(value, int | float) or (whole and value != int(value)):
        return f"{kind}, please."
    return None if low <= value <= high else f"{kind} from {low:,g} to {high:,g}."
