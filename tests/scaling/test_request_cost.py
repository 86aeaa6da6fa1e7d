"""The cost of a request is learned where it was declared wrongly, and left alone where nothing is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.scaling.request_cost import SPAN, RequestCost


@given(cost=st.floats(0.3, 3.0), rate=st.integers(20, 200), noise=st.integers(0, 2**32 - 1))
def test_a_wrong_declaration_is_corrected(cost: float, rate: int, noise: int) -> None:
    rng, learned = np.random.default_rng(noise), RequestCost(np.array([0.005]))
    for _ in range(60):
        answered = rng.poisson(rate, 1).astype(float)
        found = learned.update(0.005 * cost * answered, answered, 1.0)
    assert found[0] == pytest.approx(0.005 * cost, rel=0.2)


def test_a_silent_service_keeps_what_is_declared() -> None:
    learned = RequestCost(np.array([0.005, 0.004]))
    for _ in range(100):
        found = learned.update(np.zeros(2), np.zeros(2), 1.0)
    assert np.array_equal(found, [0.005, 0.004])


def test_work_that_no_request_asks_for_moves_it_within_bounds() -> None:
    learned = RequestCost(np.array([0.005]))
    for _ in range(100):
        found = learned.update(np.array([1.0]), np.zeros(1), 1.0)
    assert found[0] == pytest.approx(0.005 * SPAN)


def test_small_changes_do_not_show() -> None:
    learned, seen = RequestCost(np.array([0.005])), set()
    rng = np.random.default_rng(0)
    for _ in range(200):
        answered = rng.poisson(60, 1).astype(float)
        seen.add(float(learned.update(0.0051 * answered, answered, 1.0)[0]))
    assert len(seen) <= 3
