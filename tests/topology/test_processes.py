"""Every process has what theory says, so closely that 2 % would be seen; and theory is what was computed otherwise."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.integrate import dblquad, quad
from scipy.spatial import KDTree
from shapely import Point, box, union_all

from edgewright.core.errors import InputError
from edgewright.topology import processes, statistics, theory
from edgewright.topology.gentrification import Area, Gentrification, fallen
from edgewright.topology.hard_core import survivors
from edgewright.topology.processes import KM2, Bounded, Ties
from edgewright.topology.regions import Window

TIMES = 600
WIDE = Window.box(-200.0, 100.0, 800.0, 900.0)
NARROW = Window.box(0.0, 0.0, 4_000.0, 36.0)
"""All of it is nearer to the border than the distances below."""
D, NEAR = 40.0, 20.0
PER_KM2 = 450.0
XY = np.array([[100.0, 300.0], [650.0, 500.0], [-80.0, 900.0]])
PEOPLE = Gentrification(
    XY, [Area(0, 0, people, radius, fade) for people, radius, fade in ((3e4, 400, 0.3), (6e4, 700, 0.2), (3e4, 400, 1))]
)
SLOPE = Bounded(lambda xy: 1e-6 * (xy[:, 0] + 1_000), 2e-3)
TIES: tuple[Ties, ...] = ("keep", "random")
Draw = Callable[[Window, np.random.Generator], np.ndarray]


def disc(rng: np.random.Generator, many: int) -> np.ndarray:
    away, turn = D * np.sqrt(rng.random(many)), rng.uniform(0, 2 * np.pi, many)
    return np.column_stack([away * np.cos(turn), away * np.sin(turn)])


def poisson(window: Window, rng: np.random.Generator) -> np.ndarray:
    return processes.poisson(window, PER_KM2, rng)


def sloped(window: Window, rng: np.random.Generator) -> np.ndarray:
    return SLOPE.poisson(window, 0.4, rng)


def hills(window: Window, rng: np.random.Generator) -> np.ndarray:
    return PEOPLE.poisson(window, 0.005, rng)


def matern_i(window: Window, rng: np.random.Generator) -> np.ndarray:
    return processes.matern_i(window, PER_KM2, NEAR, rng)


def matern_ii(window: Window, rng: np.random.Generator) -> np.ndarray:
    return processes.matern_ii(window, PER_KM2, D, rng)


def unlike(window: Window, rng: np.random.Generator, ties: Ties) -> np.ndarray:
    return processes.inhomogeneous_matern_ii(window, PEOPLE, 0.015, NEAR, rng, ties)


def thomas(window: Window, rng: np.random.Generator) -> np.ndarray:
    return processes.thomas(window, PER_KM2, 1.0, NEAR, rng)


def discs(window: Window, rng: np.random.Generator) -> np.ndarray:
    return processes.neyman_scott(window, PER_KM2, 1.0, disc, D, rng)


def integral(intensity: Any, window: Window) -> float:
    """By the middles of 1e6 cells."""
    west, south, east, north = window.bounds
    x = west + (np.arange(1000) + 0.5) / 1000 * (east - west)
    y = south + (np.arange(1000) + 0.5) / 1000 * (north - south)
    return float(intensity(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)).mean() * window.area_m2)


def even(per_km2: float) -> Callable[[Window], float]:
    return lambda window: per_km2 * window.area_km2


COUNTS: dict[str, tuple[Draw, Callable[[Window], float]]] = {
    "poisson": (poisson, even(PER_KM2)),
    "bounded": (sloped, lambda window: 0.4 * integral(SLOPE, window)),
    "gentrification": (hills, lambda window: 0.005 * integral(PEOPLE, window)),
    "matern-i": (matern_i, even(theory.matern_i_per_km2(PER_KM2, NEAR))),
    "matern-ii": (matern_ii, even(theory.matern_ii_per_km2(PER_KM2, D))),
    "unlike-keep": (
        partial(unlike, ties="keep"),
        lambda window: theory.Expected.of(window, PEOPLE, NEAR, "keep").count(0.015),
    ),
    "unlike-random": (
        partial(unlike, ties="random"),
        lambda window: theory.Expected.of(window, PEOPLE, NEAR).count(0.015),
    ),
    "thomas": (thomas, even(PER_KM2)),
    "neyman-scott": (discs, even(PER_KM2)),
}
PAIRS: dict[str, tuple[Draw, float, Callable[[np.ndarray], np.ndarray]]] = {
    "poisson": (poisson, PER_KM2, np.ones_like),
    "matern-i": (
        matern_i,
        theory.matern_i_per_km2(PER_KM2, NEAR),
        partial(theory.matern_i_pair_correlation, PER_KM2, NEAR),
    ),
    "matern-ii": (
        matern_ii,
        theory.matern_ii_per_km2(PER_KM2, D),
        partial(theory.matern_ii_pair_correlation, PER_KM2, D),
    ),
    "thomas": (thomas, PER_KM2, partial(theory.thomas_pair_correlation, PER_KM2, NEAR)),
}


def agrees(values: np.ndarray, mean: float) -> bool:
    """Within 4 standard errors, which are at most 0.4 %, and within 1.5 %."""
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert len(values) >= 500
    assert error <= 0.004 * mean
    return bool(abs(values.mean() - mean) < min(4 * error, 0.015 * mean))


def drawn(draw: Draw, window: Window) -> np.ndarray:
    return np.array([len(draw(window, np.random.default_rng([7, i]))) for i in range(TIMES)], float)


@pytest.mark.parametrize("name", COUNTS)
def test_the_mean_count_is_that_of_theory_and_2_percent_would_be_seen(name: str) -> None:
    draw, expected = COUNTS[name]
    counts, mean = drawn(draw, WIDE), expected(WIDE)
    assert agrees(counts, mean)
    assert not agrees(counts, 1.02 * mean)
    assert not agrees(counts, 0.98 * mean)


@pytest.mark.parametrize("name", ["poisson", "matern-i", "matern-ii", "unlike-keep", "unlike-random", "thomas"])
def test_it_is_as_dense_along_the_border(name: str) -> None:
    draw, expected = COUNTS[name]
    window = Window.box(-200.0, 420.0, 800.0, 456.0) if name.startswith("unlike") else NARROW
    counts = np.array([len(draw(window, np.random.default_rng([8, i]))) for i in range(3 * TIMES)], float)
    assert agrees(counts, expected(window))


@pytest.mark.parametrize("name", ["bounded", "gentrification"])
def test_poisson_counts_vary_as_much_as_their_mean(name: str) -> None:
    counts = drawn(COUNTS[name][0], WIDE)
    assert counts.var(ddof=1) / counts.mean() == pytest.approx(1.0, abs=4 * np.sqrt(2 / TIMES))


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_at_a_distance_and_the_variance_follow_from_the_pair_correlation(name: str) -> None:
    draw, per_km2, g = PAIRS[name]
    density = per_km2 / KM2
    radii = np.array([D, 2 * D, 3 * D])
    patterns = [draw(WIDE, np.random.default_rng([9, i])) for i in range(TIMES)]
    rings = np.array([np.diff(statistics.pair_sums(xy, WIDE, radii), prepend=0.0) for xy in patterns])
    counts = np.array([len(xy) for xy in patterns]) / (density * WIDE.area_m2)
    for ring, (low, high) in enumerate(zip([0.0, *radii[:-1]], radii, strict=True)):
        mean = quad(lambda t: 2 * np.pi * t * float(g(np.array(t))), low, high)[0]
        if mean == 0:
            assert not rings[:, ring].any()
            continue
        # How many points there are, whose mean another test is about, is taken out of how many pairs there are.
        values = rings[:, ring] / (density**2 * mean) - 2 * (counts - 1)
        assert agrees(values, 1.0), (ring, values.mean())
    wide, high = 1_000.0, 800.0
    t = np.linspace(0, 10 * D, 4_001)
    overlap = wide * high - 2 * t / np.pi * (wide + high) + t**2 / np.pi  # mean over all directions
    dispersion = 1 + density * np.trapezoid((g(t) - 1) * 2 * np.pi * t * overlap, t) / (wide * high)
    varied = counts.var(ddof=1) * density * WIDE.area_m2
    assert varied == pytest.approx(dispersion, rel=4 * np.sqrt(2 / TIMES))


@pytest.mark.parametrize("name", ["poisson", "matern-ii", "thomas"])
def test_a_region_of_several_pieces_with_a_hole_has_its_share(name: str) -> None:
    draw, expected = COUNTS[name]
    hole = Point(300, 500).buffer(250)
    window = Window(union_all([Point(300, 500).buffer(400) - hole, box(900, 0, 1100, 900)]))
    counts = []
    for i in range(2 * TIMES):
        xy = draw(window, np.random.default_rng([6, i]))
        counts.append(len(xy))
        assert not Window(hole.buffer(-1e-6)).contains(xy).any()
    assert agrees(np.array(counts, float), expected(window))


def test_nothing_is_lost_of_all_people_in_a_window_around_them() -> None:
    assert integral(PEOPLE, Window.box(-2000, -1200, 1500, 2300)) == pytest.approx(120e3, rel=1e-4)
    assert quad(lambda t: float(fallen(np.array(t))), 0, 1)[0] == pytest.approx(1 / 2)
    assert quad(lambda t: t * float(fallen(np.array(t))), 0, 1)[0] == pytest.approx(5 / 36)
    t = np.linspace(0, 1, 11)
    assert np.allclose(1 - fallen(t), -20 * t**7 + 70 * t**6 - 84 * t**5 + 35 * t**4)
    assert fallen(np.array([-3.0, 0.0, 1.0, 9.0])).tolist() == [1, 1, 0, 0]


def test_hills_by_their_grid_are_those_by_their_formula() -> None:
    xy = np.random.default_rng(0).uniform(-2000, 2000, (500, 2))
    t = (np.linalg.norm(xy[:, None] - XY, axis=-1) - PEOPLE.flat) / PEOPLE.fall
    assert np.allclose(PEOPLE(xy), (PEOPLE.top * fallen(t)).sum(axis=1), rtol=1e-9, atol=1e-15)


def test_eq_9_is_the_same_by_other_quadratures() -> None:
    flat = Bounded(lambda xy: np.full(len(xy), 1e-3), 1e-3)
    many = theory.matern_ii_per_km2(500.0, D) * WIDE.area_km2
    assert theory.Expected.of(WIDE, flat, D, "random").count(0.5) == pytest.approx(many, rel=1e-9)
    assert theory.Expected.of(WIDE, flat, D, "keep").count(0.5) == pytest.approx(400.0, rel=1e-9)
    # On a slope the half of the disc that is higher holds pi r^2 / 2 times what is here, and slope * 2 r^3 / 3.
    higher = partial(lambda here, c: c * (here * np.pi * D**2 / 2 + 1e-6 * 2 * D**3 / 3))
    for c in (0.2, 1.0):
        count = 800 * quad(lambda x, c=c: c * 1e-6 * x * np.exp(-higher(1e-6 * x, c)), 800, 1800)[0]
        for ties in TIES:
            assert theory.Expected.of(WIDE, SLOPE, D, ties).count(c) == pytest.approx(count, rel=1e-3)


def test_the_smallest_factor_gives_the_mean_and_too_many_are_refused() -> None:
    for ties in TIES:
        expected = theory.Expected.of(WIDE, PEOPLE, NEAR, ties)
        factor = expected.factor(300.0)
        assert expected.count(factor) == pytest.approx(300.0)
        assert expected.count(0.99 * factor) < 300.0
    with pytest.raises(InputError, match=r"density: got '900 cells in the mean', allowed: up to"):
        expected.factor(900.0)
    with pytest.raises(InputError, match="areas: got 'nothing in the region'"):
        theory.Expected.of(Window.box(9e4, 9e4, 9.1e4, 9.1e4), PEOPLE, D).factor(1.0)


def test_densities_before_thinning() -> None:
    low = theory.poisson_for_matern_i(15.0, 80.0)
    assert theory.matern_i_per_km2(low, 80.0) == pytest.approx(15.0)
    assert low < 1 / (np.pi * 0.08**2)  # the smaller of two
    assert theory.matern_ii_per_km2(theory.poisson_for_matern_ii(40.0, 80.0), 80.0) == pytest.approx(40.0)
    with pytest.raises(InputError, match=r"up to 18\.30 at 80 m"):
        theory.poisson_for_matern_i(19.0, 80.0)
    with pytest.raises(InputError, match=r"below 49\.74 at 80 m"):
        theory.poisson_for_matern_ii(50.0, 80.0)


@pytest.mark.parametrize("t", [0.0, 1.0, 60.0, 79.9, 80.0, 200.0])
def test_the_union_of_two_discs(t: float) -> None:
    half = min(t / 2, D)
    lens = dblquad(lambda y, x: 1.0, half, D, lambda x: -np.sqrt(D**2 - x**2), lambda x: np.sqrt(D**2 - x**2))[0] * 2
    assert float(theory.union_m2(D, np.array(t))) == pytest.approx(2 * np.pi * D**2 - lens, rel=1e-6)


coordinate = st.one_of(
    st.sampled_from([0.0, 0.7, 1.4, 10.0, 20.0, 30.0, 1e15, -1e9]), st.floats(-50, 50), st.floats(-1e12, 1e12)
)


@settings(max_examples=300)
@given(st.data(), st.sampled_from([0.0, 0.1, 0.7, 10.0, 14.2, 1e9]), st.sampled_from(["i", "ii", "ties"]))
def test_survivors_are_those_of_all_pairs(data: st.DataObject, distance: float, mode: str) -> None:
    xy = data.draw(arrays(float, st.tuples(st.integers(0, 30), st.just(2)), elements=coordinate))
    if data.draw(st.booleans()):
        xy = np.concatenate([xy, xy[::2]])
    if data.draw(st.booleans()):
        xy[:, 0] = 5.0
    few = arrays(float, len(xy), elements=st.sampled_from([0.0, 1.0, 2.0]))
    marks = None if mode == "i" else data.draw(few)
    ties = data.draw(few) if mode == "ties" else None
    assert survivors(xy, distance, marks, ties).tolist() == by_all_pairs(xy, distance, marks, ties).tolist()


def by_all_pairs(xy: np.ndarray, distance: float, marks: np.ndarray | None, ties: np.ndarray | None) -> np.ndarray:
    between = xy[:, None] - xy[None]
    deletes = (between**2).sum(axis=2) < distance**2
    np.fill_diagonal(deletes, False)
    if marks is not None:
        smaller = marks < marks[:, None]
        if ties is not None:
            smaller |= (marks == marks[:, None]) & (ties < ties[:, None])
        deletes &= smaller
    return np.asarray(~deletes.any(axis=1))


@pytest.mark.parametrize("side", [0.1, 0.7, 1 / 3, 125.0])
def test_survivors_on_the_borders_of_cells(side: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(1500):
        places = side * rng.integers(-2, 4, (5, 2)) * (1 + 2.2e-16 * rng.integers(-3, 4, (5, 2)))
        assert survivors(places, side, None, None).tolist() == by_all_pairs(places, side, None, None).tolist()


@pytest.mark.parametrize(("name", "distance"), [("matern-i", NEAR), ("matern-ii", D), ("unlike-random", NEAR)])
def test_no_two_points_are_within_the_distance(name: str, distance: float) -> None:
    for i in range(20):
        assert not KDTree(COUNTS[name][0](WIDE, np.random.default_rng(i))).query_pairs(np.nextafter(distance, 0))


def test_points_that_are_too_near_are_of_equal_intensity_where_ties_are_kept() -> None:
    xy = unlike(WIDE, np.random.default_rng(0), "keep")
    pairs = KDTree(xy).query_pairs(np.nextafter(NEAR, 0), output_type="ndarray")
    assert len(pairs) > 10
    assert (PEOPLE(xy[pairs[:, 0]]) == PEOPLE(xy[pairs[:, 1]])).all()


@pytest.mark.parametrize("name", COUNTS)
def test_the_same_seed_gives_the_same_points_all_in_the_window(name: str) -> None:
    first, again, other = (COUNTS[name][0](WIDE, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert WIDE.contains(first).all()


def test_densities_that_are_none_are_refused() -> None:
    rng = np.random.default_rng(0)
    for per_km2 in (-1.0, float("nan"), 1e12):
        with pytest.raises(InputError, match="points in the region"):
            processes.poisson(WIDE, per_km2, rng)
    with pytest.raises(InputError, match="points in the region"):
        processes.thomas(WIDE, 1e3, 1e9, D, rng)
    with pytest.raises(InputError, match="points in the region"):
        PEOPLE.poisson(WIDE, 1e9, rng)
    with pytest.raises(InputError, match="intensity"):
        Bounded(lambda xy: np.full(len(xy), 3.0), 2.0).poisson(Window.box(0, 0, 10, 10), 1.0, rng)
    assert len(processes.poisson(WIDE, 0.0, rng)) == 0
