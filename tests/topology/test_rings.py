"""Rings keep every limit over any cells, and are as few as the limits let them where all is near."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgewright.core.errors import InputError
from edgewright.topology import antennas
from edgewright.topology import rings as module
from edgewright.topology.places import EARTH_M, to_metres
from edgewright.topology.rings import LEVELS, Limit, Limits, check, grouped, rings

DATA = Path(__file__).parents[3] / "shared/data/antennas"
limit = st.builds(Limit, st.integers(1, 9), st.floats(0, 60_000))
limits = st.builds(Limits, *[limit] * len(LEVELS))


def places(most: int = 60) -> st.SearchStrategy[np.ndarray]:
    """Also several at one place, and on a line."""
    metres = st.one_of(st.sampled_from([0.0, 1e3, 2e4]), st.floats(-5e4, 5e4, allow_subnormal=False))
    return arrays(float, st.tuples(st.integers(1, most), st.just(2)), elements=metres)


@given(places(), limits)
def test_every_limit_holds(cells: np.ndarray, limits: Limits) -> None:
    made = rings(cells, limits)
    assert check(made) == []
    below = len(cells)
    for level in made.levels.values():
        assert set(level.group) == set(range(len(level)))
        assert len(level.group) == below
        below = len(level)


@settings(max_examples=30)
@given(places(30), limits)
def test_every_limit_holds_where_blocks_are_taken_one_by_one(cells: np.ndarray, limits: Limits) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "AT_ONCE", 4)
        assert check(rings(cells, limits)) == []


@given(places(), st.integers(1, 9))
def test_no_more_groups_than_needed_where_all_is_near(cells: np.ndarray, members: int) -> None:
    assert grouped(cells, Limit(members, 1e6)).max() + 1 == -(-len(cells) // members)


def test_what_is_far_apart_is_never_together() -> None:
    cells = np.array([[0.0, 0.0], [9_000.0, 0.0], [18_000.0, 0.0], [500_000.0, 0.0]])
    assert len(set(grouped(cells, Limit(6, 9_000.0)))) == 3
    assert len(set(grouped(cells, Limit(6, 18_000.0)))) == 2
    assert grouped(cells, Limit(6, 8_999.0)).tolist() == [0, 1, 2, 3]


def test_the_check_sees_what_is_wrong() -> None:
    cells = np.array([[0.0, 0.0], [9_000.0, 0.0], [11_000.0, 0.0]])
    made = rings(cells, replace(Limits(), m1=Limit(3, 20_000.0)))
    (far,) = check(replace(made, limits=Limits()))
    assert (far.field, far.value, far.allowed) == ("m1[0].distance_m", 11_000.0, "<= 10000")
    (many,) = check(replace(made, limits=replace(Limits(), m1=Limit(2, 20_000.0))))
    assert (many.field, many.value, many.allowed) == ("m1[0].members", 3, "1 .. 2")


@pytest.mark.parametrize("cells", [np.empty((0, 2)), np.zeros((3, 3)), np.zeros(4), np.array([[0.0, np.nan]])])
def test_cells_that_are_none_are_refused(cells: np.ndarray) -> None:
    with pytest.raises(InputError, match="one or more places of two finite numbers"):
        rings(cells)


@pytest.mark.parametrize(("members", "distance_m"), [(0, 1.0), (1, -1.0), (1, float("nan")), (1, float("inf"))])
def test_impossible_limits_are_refused(members: int, distance_m: float) -> None:
    with pytest.raises(InputError, match=r"members|distance_m"):
        Limit(members, distance_m)


@pytest.mark.skipif(not DATA.is_dir(), reason="no antennas of real regions here")
def test_the_published_example_comes_out() -> None:
    """All antennas of Cobo Calleja: 5GEN."""
    found = antennas.read(DATA / "Cobo-Calleja.csv")
    made = rings(to_metres(found.lon, found.lat))
    assert made.counts() == {
        "cells": 463,
        "m1": 78,
        "access_rings": 13,
        "m2": 4,
        "aggregation_rings": 1,
        "m3": 1,
    }


@pytest.mark.skipif(not DATA.is_dir(), reason="no antennas of real regions here")
@pytest.mark.parametrize("name", ["Valle-Ayora-Cofrentes", "Madrid-center"])
def test_limits_hold_over_real_regions(name: str) -> None:
    found = antennas.read(DATA / f"{name}.csv")
    assert check(rings(to_metres(found.lon, found.lat))) == []


@given(st.floats(-179, 179), st.floats(-60, 60), st.floats(0, 2 * np.pi), st.floats(1, 50_000))
def test_metres_are_those_of_the_sphere(lon: float, lat: float, towards: float, far_m: float) -> None:
    step = np.degrees(far_m / EARTH_M)
    there = lon + step * np.sin(towards) / np.cos(np.radians(lat)), lat + step * np.cos(towards)
    xy = to_metres(np.array([lon, (there[0] + 180) % 360 - 180]), np.array([lat, there[1]]))
    a, b, dlon = np.radians(lat), np.radians(there[1]), np.radians(there[0] - lon)
    haversine = np.sin((b - a) / 2) ** 2 + np.cos(a) * np.cos(b) * np.sin(dlon / 2) ** 2
    sphere_m = 2 * EARTH_M * np.arcsin(np.sqrt(haversine))
    assert np.hypot(*(xy[1] - xy[0])) == pytest.approx(sphere_m, rel=1e-3, abs=1e-3)
