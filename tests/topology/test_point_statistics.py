"""Summaries of patterns: against all pairs, against theory, and in windows of any shape."""

from __future__ import annotations

import numpy as np
import pytest
from shapely.geometry import Point, Polygon

from edgewright.core.errors import InputError
from edgewright.topology import processes, theory
from edgewright.topology.processes import KM2, Bounded
from edgewright.topology.regions import Window
from edgewright.topology.statistics import inhomogeneous_k, pair_sums, poisson_envelope, ripley_k, summary

BOX = Window.box(-300.0, 50.0, 700.0, 750.0)
DISC = Window(Point(0, 0).buffer(500, quad_segs=64).difference(Point(100, 0).buffer(150)))
RADII = np.array([15.0, 40.0, 90.0, 130.0])


def pattern(window: Window, per_km2: float = 400.0, seed: int = 0) -> np.ndarray:
    return processes.poisson(window, per_km2, np.random.default_rng(seed))


@pytest.mark.parametrize("weighted", [False, True])
def test_pairs_in_a_box_are_those_of_all_pairs(weighted: bool) -> None:
    xy = np.concatenate([pattern(BOX), [[-300.0, 50.0], [699.0, 749.0], [0.0, 100.0], [0.0, 100.0], [15.0, 100.0]]])
    weights = np.random.default_rng(1).uniform(0.5, 2, len(xy)) if weighted else np.ones(len(xy))
    between = np.abs(xy[:, None] - xy)
    parts = weights[:, None] * weights / ((1000 - between[..., 0]) * (700 - between[..., 1]))
    np.fill_diagonal(parts, 0.0)
    sums = [parts[(between**2).sum(axis=2) <= r**2].sum() for r in RADII]
    assert np.allclose(pair_sums(xy, BOX, RADII, weights if weighted else None), sums, rtol=1e-12)


@pytest.mark.parametrize("window", [BOX, DISC, Window(Polygon([(0, 0), (900, 100), (300, 800)]))])
def test_chance_has_no_clusters_in_any_window(window: Window) -> None:
    found = [summary(pattern(window, seed=i), window, RADII) for i in range(60)]
    error = np.std([s.l_m for s in found], axis=0) / np.sqrt(60)
    assert (np.abs(np.mean([s.l_m for s in found], axis=0) - RADII) < 4 * error + 0.001 * RADII).all()
    assert np.mean([s.pair_correlation for s in found], axis=0) == pytest.approx(1.0, abs=0.05)
    assert np.mean([s.clark_evans for s in found]) == pytest.approx(1.0, abs=0.02)
    assert np.mean([s.nearest - s.nearest_poisson for s in found], axis=0) == pytest.approx(0.0, abs=0.015)
    assert np.mean([s.per_km2 for s in found]) == pytest.approx(400, rel=0.03)


def test_a_box_turned_has_the_k_of_the_box() -> None:
    xy = pattern(BOX)
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    corners = np.array([(-300.0, 50.0), (700.0, 50.0), (700.0, 750.0), (-300.0, 750.0)])
    turned = Window(Polygon(corners @ turn).buffer(1e-6))
    assert np.allclose(ripley_k(xy @ turn, turned, RADII), ripley_k(xy, BOX, RADII), rtol=2e-3)


def test_clusters_and_gaps_are_seen_beyond_the_envelope() -> None:
    envelope = poisson_envelope(280, BOX, RADII, seed=3)
    assert (envelope.low_m < RADII).all()
    assert (envelope.high_m > RADII).all()
    assert np.array_equal(envelope.low_m, poisson_envelope(280, BOX, RADII, seed=3).low_m)
    rng = np.random.default_rng(0)
    near = summary(processes.thomas(BOX, 80.0, 5.0, 15.0, rng), BOX, RADII)
    assert (near.l_m > envelope.high_m)[:3].all()
    assert near.clark_evans < 0.9
    apart = summary(processes.matern_ii(BOX, theory.poisson_for_matern_ii(400.0, 25.0), 25.0, rng), BOX, RADII)
    assert apart.l_m[0] == apart.pair_correlation[0] == apart.nearest[0] == 0
    assert (apart.l_m < envelope.low_m)[:2].all()
    assert apart.clark_evans > 1.1
    assert apart.nearest_m > 25


def test_where_density_differs_k_is_that_of_chance_once_it_is_given() -> None:
    slope = Bounded(lambda xy: 1e-6 * (xy[:, 0] + 300) + 1e-4, 1.1e-3)
    found, blind = [], []
    for i in range(200):
        xy = slope.poisson(BOX, 1.0, np.random.default_rng(i))
        found.append(inhomogeneous_k(xy, BOX, RADII, slope(xy)))
        blind.append(ripley_k(xy, BOX, RADII))
    error = np.std(found, axis=0) / np.sqrt(200)
    assert (np.abs(np.mean(found, axis=0) - np.pi * RADII**2) < 4 * error).all()
    assert (error < 0.02 * np.pi * RADII**2).all()
    assert (np.mean(blind, axis=0) > 1.1 * np.pi * RADII**2).all()


def test_nearest_distances_are_censored_by_the_border() -> None:
    window = Window.box(0, 0, 100, 100)
    # The first two see each other; the third is nearer to the border than to any.
    found = summary(np.array([[40.0, 50.0], [50.0, 50.0], [95.0, 50.0]]), window, np.array([4.9, 9.9, 10.0, 50.0]))
    assert found.nearest.tolist() == [0.0, 0.0, 1.0, 1.0]
    assert found.nearest_m == 10.0
    assert found.clark_evans == pytest.approx(10 * 2 * np.sqrt(3e-4))
    assert found.per_km2 == pytest.approx(3e-4 * KM2)


@pytest.mark.parametrize(
    ("xy", "radii", "told"),
    [
        (np.empty((0, 2)), RADII, "points"),
        (np.array([[0.0, 100.0]]), RADII, "points"),
        (np.zeros((3, 3)), RADII, "points"),
        (np.array([[0.0, 100.0], [0.0, np.nan]]), RADII, "1 outside"),
        (np.array([[0.0, 100.0], [9e9, 0.0]]), RADII, "1 outside"),
        (np.full((2, 2), 100.0), np.array([10.0, 350.1]), "half the window's shorter side"),
        (np.full((2, 2), 100.0), np.array([20.0, 10.0]), "rising"),
        (np.full((2, 2), 100.0), np.array([0.0, 10.0]), "rising"),
        (np.full((2, 2), 100.0), np.array([10.0, np.nan]), "rising"),
        (np.full((2, 2), 100.0), np.empty(0), "rising"),
    ],
)
def test_patterns_and_radii_that_are_none_are_refused(xy: np.ndarray, radii: np.ndarray, told: str) -> None:
    with pytest.raises(InputError, match=told):
        summary(xy, BOX, radii)


def test_other_bad_input_is_refused() -> None:
    xy = pattern(BOX)
    for intensity in (np.ones(3), np.zeros(len(xy)), np.full(len(xy), np.inf)):
        with pytest.raises(InputError, match="intensity"):
            inhomogeneous_k(xy, BOX, RADII, intensity)
    with pytest.raises(InputError, match="39 or more"):
        poisson_envelope(10, BOX, RADII, simulations=38)
    with pytest.raises(InputError, match="2 or more"):
        poisson_envelope(1, BOX, RADII)
    thin = Window(Polygon([(0, 0), (0, 1), (1000, 1001), (1000, 1000)]))
    with pytest.raises(InputError, match="a direction in which the window holds no such pair"):
        ripley_k(pattern(thin, 1e5), thin, RADII)
