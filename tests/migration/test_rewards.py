"""Equations 1 to 8 literally, and each departure from them as an option of its own."""

from __future__ import annotations

import numpy as np
import pytest

from edgewright.migration.model import Objective
from edgewright.migration.rewards import breach, load, part, penalty, worth


def row(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


@pytest.mark.parametrize(
    ("values", "rewards"),
    [
        (row(3, 5, 6), (0.683333, -0.283333, -0.633333)),
        (row(3, 3.1, 6), (0.683333, 0.618656, -0.633333)),
        (row(10, 12, 15), (-0.066667, -0.483333, -1.016667)),
    ],
)
def test_reward_of_a_value(values: np.ndarray, rewards: tuple[float, ...]) -> None:
    assert part(values, 1.0, 20.0) == pytest.approx(rewards, abs=1e-6)


def test_load() -> None:
    assert load(0.0, 0.0) == 1.0
    assert load(0.5, 0.75) == pytest.approx(8.0)
    assert load(0.711325, 0.711325) == pytest.approx(12.0, abs=1e-4)


def test_penalty_is_for_the_worst_above_the_maximum_alone() -> None:
    assert penalty(np, row(19, 25, 21), 20.0, 1.0).tolist() == [0.0, 0.5, 0.0]
    assert penalty(np, row(19, 20, 5), 20.0, 1.0).tolist() == [0.0, 0.0, 0.0]


def test_a_step_of_the_paper() -> None:
    terms = Objective.paper().terms(1.0)
    rtt, loads = row(3, 5, 25), row(2, 4, 13)
    stays, comes = worth(np, rtt, loads, terms)
    np.testing.assert_allclose(stays, part(rtt, 1.0, 20.0) + part(loads, 1.0, 12.0) - row(0, 0, 1.0))
    np.testing.assert_allclose(comes, stays)  # a migration costs nothing
    assert breach(rtt, loads, terms).tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("option", "stayed", "came"),
    [
        ({"charge": 0.5}, (0, 0), (-0.5, -0.5)),
        ({"breach_penalty": 5.0}, (0, -5.0), (0, -5.0)),
        # Of the earned 2.2428; the second node earns less than a breach of both costs, and cannot gain.
        ({"downtime_s": 0.3}, (0, 0), (-0.3 * (1 + 2.24282051), 0)),
    ],
)
def test_each_departure_is_an_option(option: dict[str, float], stayed: tuple[float], came: tuple[float]) -> None:
    rtt, loads = row(3, 25), row(2, 13)
    paper = worth(np, rtt, loads, Objective.paper().terms(1.0))
    other = worth(np, rtt, loads, Objective(**option).terms(1.0))
    np.testing.assert_allclose(other[0] - paper[0], stayed, atol=1e-6)
    np.testing.assert_allclose(other[1] - paper[1], came, atol=1e-6)


def test_the_improved_objective() -> None:
    assert Objective.improved() == Objective(charge=0.5, downtime_s=0.3, breach_penalty=5.0)
    assert Objective.paper() == Objective()
