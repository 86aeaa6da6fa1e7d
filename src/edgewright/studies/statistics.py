"""Averages over seeds with percentile-bootstrap confidence intervals (Efron and Tibshirani 1993, chapter 13).

The interquartile mean and the stratified bootstrap are those recommended for a handful of runs by Agarwal et al.,
"Deep reinforcement learning at the edge of the statistical precipice" (NeurIPS 2021).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from edgewright.core.contracts import FloatArray

CONFIDENCE = 0.95
RESAMPLES = 5000

Average = Callable[[Any], Any]
"""[..., n] -> [...]"""


class Interval(NamedTuple):
    """An estimate and the bounds of its confidence interval; NaN where there are fewer than two values."""

    value: float
    low: float
    high: float


UNDEFINED = Interval(math.nan, math.nan, math.nan)


def interquartile_mean(values: Any) -> Any:
    """Mean of the middle half, [..., n] -> [...]: a quarter (rounded down) is cut off at each end."""
    from scipy.stats import trim_mean

    return trim_mean(values, 0.25, axis=-1)


def mean(values: Any) -> Any:
    return np.mean(values, axis=-1)


AVERAGES: dict[str, Average] = {"interquartile_mean": interquartile_mean, "mean": mean}


def interval(values: FloatArray, average: Average = interquartile_mean, *, seed: int = 0) -> Interval:
    """Average of [n] values; NaNs are left out."""
    return _interval([(values,)], lambda sample: average(sample[0][0]), seed)


def paired_difference(
    values: FloatArray, baseline: FloatArray, average: Average = interquartile_mean, *, seed: int = 0
) -> Interval:
    """Average of `values` less that of `baseline`, both [n] by the same seeds; pairs are resampled together."""
    return _interval([(values, baseline)], lambda sample: average(sample[0][0]) - average(sample[0][1]), seed)


def paired_ratio(
    values: FloatArray, baseline: FloatArray, average: Average = interquartile_mean, *, seed: int = 0
) -> Interval:
    """Average of `values` over that of `baseline`; undefined unless every baseline is > 0 and every value >= 0."""
    return overall_ratio([(values, baseline)], average, seed=seed)


def paired(columns: Sequence[FloatArray], statistic: Callable[[FloatArray], FloatArray], *, seed: int = 0) -> Interval:
    """Any statistic, [m, ..., n] -> [...], of m columns [n] by the same seeds, which are resampled together."""
    return _interval([tuple(columns)], lambda sample: statistic(np.asarray(sample[0])), seed)


def overall_ratio(
    strata: Sequence[tuple[FloatArray, FloatArray]], average: Average = interquartile_mean, *, seed: int = 0
) -> Interval:
    """Geometric mean over strata (scenarios) of their paired ratios; seeds are resampled within each stratum."""
    if any(not (b[~np.isnan(b)] > 0).all() or not (v[~np.isnan(v)] >= 0).all() for v, b in strata):
        return UNDEFINED

    def statistic(sample: Sequence[Sequence[Any]]) -> Any:
        with np.errstate(divide="ignore"):  # an average of 0 is a ratio of 0
            return np.exp(np.mean([np.log(average(v) / average(b)) for v, b in sample], axis=0))

    return _interval(strata, statistic, seed)


def _interval(strata: Sequence[tuple[FloatArray, ...]], statistic: Any, seed: int) -> Interval:
    """strata: columns [n] that belong together row by row; statistic: the same, [..., n] each -> [...]"""
    whole = []
    for columns in strata:
        rows = np.asarray(columns, np.float64)
        whole.append(rows[:, ~np.isnan(rows).any(axis=0)])
    if not whole or any(rows.shape[1] == 0 for rows in whole):
        return UNDEFINED
    value = float(statistic(whole))
    if any(rows.shape[1] < 2 for rows in whole):
        return Interval(value, math.nan, math.nan)
    rng = np.random.default_rng(seed)
    picks = [rng.integers(rows.shape[1], size=(RESAMPLES, rows.shape[1])) for rows in whole]
    drawn = statistic([rows[:, pick] for rows, pick in zip(whole, picks, strict=True)])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    # The quantile's interpolation may miss equal values by one rounding.
    return Interval(value, min(float(low), value), max(float(high), value))
