import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from edgewright.studies import statistics
from edgewright.studies.statistics import (
    interquartile_mean,
    interval,
    mean,
    overall_ratio,
    paired_difference,
    paired_ratio,
)

samples = arrays(np.float64, st.integers(2, 30), elements=st.floats(-1e6, 1e6))
positive = arrays(np.float64, st.integers(2, 30), elements=st.floats(0.1, 1e4))


def test_the_interquartile_mean_leaves_a_quarter_off_each_end():
    assert interquartile_mean(np.array([-1e9, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1e9])) == 3.5
    assert interquartile_mean(np.array([[1.0, 2.0, 3.0], [5.0, 7.0, 9.0]])) == pytest.approx([2.0, 7.0])


def test_intervals_agree_with_scipy():
    values = np.random.default_rng(5).lognormal(size=25)
    ours = interval(values, mean)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=1).confidence_interval
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.05 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.05 * width)


@settings(max_examples=30)
@given(samples, st.floats(-1e3, 1e3))
def test_an_interval_holds_its_estimate_and_moves_with_the_data(values, shift):
    found, moved = interval(values), interval(values + shift)
    assert found.low <= found.value <= found.high
    assert values.min() <= found.low + 1e-6
    assert found.high <= values.max() + 1e-6
    assert moved == pytest.approx(np.array(found) + shift, abs=1e-6 * (1 + np.abs(values).max()))
    assert interval(values) == found  # seeded


@settings(max_examples=30)
@given(positive, st.floats(0.01, 100))
def test_a_fixed_ratio_is_found_without_doubt(values, factor):
    assert paired_ratio(factor * values, values) == pytest.approx((factor,) * 3)
    assert paired_difference(values + factor, values) == pytest.approx((factor,) * 3, abs=1e-8 * values.max())


def test_pairing_takes_out_what_the_seeds_share():
    rng = np.random.default_rng(0)
    load = rng.lognormal(0, 1, 20)
    ours, theirs = 0.9 * load + rng.normal(0, 0.01, 20), load
    paired = paired_difference(ours, theirs)
    assert paired.high < 0
    assert paired.high - paired.low < (interval(ours).high - interval(ours).low) / 3


def test_over_scenarios_the_ratio_is_a_geometric_mean():
    base = np.arange(1.0, 11.0)
    assert overall_ratio([(2 * base, base), (8 * base, base)]).value == pytest.approx(4.0)
    assert overall_ratio([(0 * base, base)]) == (0, 0, 0)
    one = (base + 1, base)
    assert overall_ratio([one]) == paired_ratio(*one)


def test_what_is_missing_is_left_out_with_its_pair():
    values, base = np.array([1.0, np.nan, 3.0, 9.0]), np.array([2.0, 5.0, 6.0, np.nan])
    assert paired_ratio(values, base, mean).value == 0.5
    assert interval(values, mean).value == pytest.approx(13 / 3)


def test_what_cannot_be_said_is_nan():
    assert all(map(math.isnan, interval(np.array([np.nan]))))
    one = interval(np.array([4.0]))
    assert one.value == 4.0
    assert math.isnan(one.low)
    assert math.isnan(paired_ratio(np.array([1.0, 2.0]), np.array([0.0, 1.0])).value)


@pytest.mark.parametrize("average", statistics.AVERAGES.values())
def test_intervals_cover_the_truth_about_as_often_as_they_say(average, monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 1000)
    rng = np.random.default_rng(1)
    hits = np.zeros(2)
    for _ in range(400):
        load, noise = rng.lognormal(0, 0.3, 20), rng.normal(1.5, 0.2, (2, 20))
        alone = interval(noise[0], average)
        paired = paired_ratio(load * noise[0], load * (noise[1] / 1.5), average)
        hits += alone.low <= 1.5 <= alone.high, paired.low <= 1.5 <= paired.high
    # The percentile bootstrap of 20 values is known to be a little short of 95 %.
    assert (hits / 400 > 0.88).all(), hits
    assert (hits / 400 < 0.985).all(), hits
