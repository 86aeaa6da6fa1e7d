"""How many requests come when: rate profiles, and Poisson arrivals drawn from them.

The same profile drives the twin, the load generator and a replay, so that all of them see the same load.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgewright.core.documents import Part
from edgewright.core.tables import number, read_rows

MAX_RATE_HZ = 10_000.0
Rate = Annotated[float, Field(ge=0, le=MAX_RATE_HZ)]
Seconds = Annotated[float, Field(gt=0, le=1e7)]


class Bursts(Part):
    """Random bursts on top of any profile, each multiplying the rate; the gaps between them are exponential."""

    mean_gap_s: Seconds = 30.0
    """Mean time from the end of a burst to the start of the next, s."""
    length_s: Seconds = 3.0
    """Rounded to whole seconds, at least one."""
    factor: Annotated[float, Field(gt=0, le=20)] = 1.8


class Constant(Part):
    kind: Literal["constant"]
    rate_hz: Rate


class Phase(Part):
    seconds: Seconds
    rate_hz: Rate


class Phases(Part):
    """Piecewise constant, repeated from the start when over."""

    kind: Literal["phases"]
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]


class Step(Part):
    kind: Literal["step"]
    before_hz: Rate
    after_hz: Rate
    at_s: Seconds


class Diurnal(Part):
    """A day squeezed into `period_s`: mean * (1 + amplitude * sin(2 pi (t / period + phase)))."""

    kind: Literal["diurnal"]
    mean_hz: Rate
    amplitude: Annotated[float, Field(ge=0, le=1)] = 0.6
    period_s: Seconds = 240.0
    phase: Annotated[float, Field(ge=0, le=1)] = 0.0


class FlashCrowd(Part):
    """base -> peak within rise_s, held for hold_s, back within fall_s."""

    kind: Literal["flash_crowd"]
    base_hz: Rate
    peak_hz: Rate
    at_s: Seconds
    rise_s: Seconds = 5.0
    hold_s: Seconds = 30.0
    fall_s: Seconds = 15.0


class Trace(Part):
    """Rates from a CSV file: one row a second, a header line, the rate in `column`."""

    kind: Literal["trace"]
    file: str
    column: str = "rate_hz"
    scale: Annotated[float, Field(gt=0)] = 1.0


Profile = Annotated[Constant | Phases | Step | Diurnal | FlashCrowd | Trace, Field(discriminator="kind")]


class Load(Part):
    profile: Profile
    bursts: Bursts | None = None


def rates(load: Load, seconds: int, rng: np.random.Generator, *, folder: Path | None = None) -> NDArray[np.float64]:
    """Rate of each second, float64[seconds], Hz. `folder` is where a trace's relative path starts."""
    t = np.arange(seconds, dtype=np.float64)
    rate = np.minimum(_shape(load.profile, t, folder), MAX_RATE_HZ)
    if load.bursts is not None:
        rate = rate * _burst_factor(load.bursts, seconds, rng)
    return rate


def arrivals(rate_hz: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Arrival times, s, of a Poisson process whose rate is constant within each second; sorted."""
    counts = rng.poisson(rate_hz)
    times = np.repeat(np.arange(rate_hz.size, dtype=np.float64), counts) + rng.random(int(counts.sum()))
    return np.sort(times)


def _shape(profile: Profile, t: NDArray[np.float64], folder: Path | None) -> NDArray[np.float64]:
    match profile:
        case Constant():
            return np.full(t.size, profile.rate_hz)
        case Phases():
            ends = np.cumsum([phase.seconds for phase in profile.phases])
            index = np.searchsorted(ends, np.mod(t, ends[-1]), side="right")
            level: NDArray[np.float64] = np.array([phase.rate_hz for phase in profile.phases])[index]
            return level
        case Step():
            return np.where(t < profile.at_s, profile.before_hz, profile.after_hz)
        case Diurnal():
            wave = np.sin(2 * math.pi * (t / profile.period_s + profile.phase))
            return profile.mean_hz * (1 + profile.amplitude * wave)
        case FlashCrowd():
            top = profile.at_s + profile.rise_s
            knots = [profile.at_s, top, top + profile.hold_s, top + profile.hold_s + profile.fall_s]
            return np.interp(t, knots, [profile.base_hz, profile.peak_hz, profile.peak_hz, profile.base_hz])
        case Trace():
            return _trace(profile, t, folder)


def _trace(profile: Trace, t: NDArray[np.float64], folder: Path | None) -> NDArray[np.float64]:
    path = (folder or Path()) / profile.file
    rows = read_rows(path, [profile.column])
    values = [
        number(row[profile.column], where, "a finite rate >= 0", path, lambda rate: rate >= 0) for where, row in rows
    ]
    return np.take(np.array(values) * profile.scale, t.astype(int), mode="wrap")


def _burst_factor(bursts: Bursts, seconds: int, rng: np.random.Generator) -> NDArray[np.float64]:
    factor = np.ones(seconds)
    length = max(1, round(bursts.length_s))
    at = rng.exponential(bursts.mean_gap_s)
    while at < seconds:
        factor[int(at) : int(at) + length] = bursts.factor
        at += length + rng.exponential(bursts.mean_gap_s)
    return factor
