"""Drives drawn from a scenario, for evaluation; the twin draws the same in JAX (`twin.py`). Shapes as in `model`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.core.contracts import Array, FloatArray
from edgewright.migration.loads import DAY, MOST, draw_days, published_days, read_csv
from edgewright.migration.mobility import along, distances, place
from edgewright.migration.model import DistanceRtt, Drive, PaperRtt, Scenario, TableRtt
from edgewright.migration.rewards import load

METRE = 1.0  # of the table of distances


def table_of(scenario: Scenario) -> FloatArray:
    """Distance of each node from every metre of the road, m, float[M, N]"""
    places = along(scenario.road_m, np.minimum(np.arange(0.0, scenario.length_m + METRE, METRE), scenario.length_m))
    return distances(places, np.array([node.at_m for node in scenario.nodes]))


def round_trips(xp: Any, distance_m: Array, speed_kmh: Array, scenario: Scenario) -> Array:
    """The part of the round-trip time that is no noise, ms, of any shape."""
    rtt = scenario.rtt
    match rtt:
        case PaperRtt():
            return distance_m / speed_kmh + rtt.noise_mean_ms
        case DistanceRtt():
            return rtt.base_ms + rtt.per_km_ms * distance_m / 1e3 + 0 * speed_kmh
        case TableRtt():
            return xp.interp(distance_m, xp.asarray(rtt.distance_m), xp.asarray(rtt.rtt_ms)) + 0 * speed_kmh


def days_of(scenario: Scenario, folder: Path, *, count: int, seed: int) -> FloatArray:
    """float[D, S, N, 2]: the trace of the scenario's file, or days drawn from the seed."""
    source = scenario.load
    if source.kind == "trace":
        return read_csv(folder / source.file, scenario.names)[None]
    if source.kind == "published":
        days = published_days(source.trace, count, len(scenario.nodes), seed=seed)
        return np.clip(source.level + np.array(source.swing) * days, 0.0, MOST)
    return draw_days(count, len(scenario.nodes), seed=seed, steps=DAY)


def observed(
    xp: Any, distance_m: Array, speed_kmh: Array, shares: Array, noise: Array, scenario: Scenario
) -> tuple[Array, Array]:
    """-> round-trip times, ms, and loads (eq. 2), [..., N]

    shares [..., N, 2]: of CPU and memory; noise [..., N, 3]: standard normal, for times, CPU and memory. Noise on
    shares is in points of a share: the paper's, of standard deviation 1, would leave 0 .. 1 six times in seven.
    """
    rtt = round_trips(xp, distance_m, speed_kmh, scenario) + scenario.rtt.noise_ms * noise[..., 0]
    shares = xp.clip(shares + scenario.load.noise * noise[..., 1:], 0.0, MOST)
    return xp.maximum(rtt, scenario.objective.rtt_min_ms), load(shares[..., 0], shares[..., 1])


def draw_drives(scenario: Scenario, days: FloatArray, count: int, *, seed: int) -> Iterator[Drive]:
    """Each at a speed, from an end of the road, on a day and from a time of its own."""
    rng = np.random.default_rng(seed)
    table, length_m = table_of(scenario), scenario.length_m
    for _ in range(count):
        speed = rng.uniform(scenario.speed.lowest_kmh, scenario.speed.highest_kmh)
        steps = scenario.steps_at(speed)
        driven = np.minimum(np.arange(steps + 1) * (speed / 3.6 * scenario.step_s), scenario.way_m)
        at = place(np, driven + length_m * rng.integers(2), length_m)
        day, first = days[rng.integers(len(days))], rng.integers(days.shape[1])
        shares = day[(first + np.arange(steps + 1)) % len(day)]
        noise = rng.normal(size=(*shares.shape[:2], 3))
        yield Drive(*observed(np, table[np.rint(at / METRE).astype(int)], speed, shares, noise, scenario), at)
