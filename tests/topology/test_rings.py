"""Rings keep every limit over any cells, and are as few as the limits let them where all is near."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import pdist

from edgewright.core.errors import InputError
from edgewright.topology import antennas
from edgewright.topology import rings as module
from edgewright.topology.places import EARTH_M, Plane
from edgewright.topology.rings import LEVELS, Level, Limit, Limits, check, grouped, rings

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
    with pytest.raises(InputError, match="one or more places of two numbers within"):
        rings(cells)


@pytest.mark.parametrize(("members", "distance_m"), [(0, 1.0), (1, -1.0), (1, float("nan")), (1, float("inf"))])
def test_impossible_limits_are_refused(members: int, distance_m: float) -> None:
    with pytest.raises(InputError, match=r"members|distance_m"):
        Limit(members, distance_m)


@pytest.mark.skipif(not DATA.is_dir(), reason="no antennas of real regions here")
def test_the_published_example_comes_out() -> None:
    """All antennas of Cobo Calleja: 5GEN."""
    found = antennas.read(DATA / "Cobo-Calleja.csv")
    made = rings(antennas.cells(found).xy)
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
    assert check(rings(antennas.cells(found).xy)) == []


@given(st.floats(-180, 180), st.floats(-90, 90), arrays(float, (6, 2), elements=st.floats(-1, 1)))
def test_metres_are_those_of_the_sphere(lon: float, lat: float, offsets: np.ndarray) -> None:
    """Between any two of six places within some 35 km, anywhere on Earth."""
    a, b = np.radians(lon), np.radians(lat)
    up = np.array([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)])
    sides = np.linalg.svd(up[None])[2][1:]
    places = up + 25_000.0 / EARTH_M * offsets @ sides
    places /= np.linalg.norm(places, axis=1, keepdims=True)
    x, y, z = places.T
    degrees = np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))
    plane = Plane.around(*degrees)
    xy = plane.to_metres(*degrees)
    wanted = 2 * EARTH_M * np.arcsin(np.clip(pdist(places) / 2, 0, 1))
    np.testing.assert_allclose(pdist(xy), wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(plane.to_metres(*plane.to_degrees(xy)), xy, atol=1e-6)


def test_a_region_too_wide_for_a_plane_is_refused() -> None:
    with pytest.raises(InputError, match="region: got '556 km around its middle', allowed: up to 500 km"):
        Plane(5.0, 0.0).to_metres(np.array([0.0, 10.0]), np.array([0.0, 0.0]))


def test_equal_places_stay_together_and_ties_are_everywhere_the_same() -> None:
    same = np.full((11, 2), 0.1)
    made = rings(same, Limits(access_ring=Limit(6, 0.0)))
    assert made.counts()["access_rings"] == 1
    many = np.zeros((20_000, 2))
    assert grouped(many, Limit(6, 10.0)).max() + 1 == 3_334
    square = np.stack(np.meshgrid(np.arange(4.0), np.arange(3.0)), -1).reshape(-1, 2)
    assert grouped(square, Limit(4, 10.0)).tolist() == [0, 0, 1, 2, 0, 1, 1, 2, 0, 1, 2, 2]


@pytest.mark.parametrize(
    ("level", "field"),
    [
        (lambda m1: Level(m1.group[:-1], m1.xy), "m1.group"),
        (lambda m1: Level(m1.group - 1, m1.xy), "m1.group"),
        (lambda m1: Level(m1.group, m1.xy[:1]), "m1.group"),
        (lambda m1: Level(m1.group, m1.xy + 1.0), "m1[0].xy"),
        (lambda m1: Level(m1.group * 0, m1.xy), "m1[0].distance_m"),
    ],
)
def test_groups_that_are_none_are_found(level: Callable[[Level], Level], field: str) -> None:
    made = rings(np.array([[0.0, 0.0], [5.0, 0.0], [1e6, 0.0]]))
    wrong = replace(made, levels=made.levels | {"m1": level(made.levels["m1"])})
    assert check(wrong)[0].field == field
