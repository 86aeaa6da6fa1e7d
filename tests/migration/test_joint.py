"""The joint assignment is the best of all where totals are concave, and bounded where they are not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.core.errors import InputError
from edgewright.migration.joint import JointProblem, assign, load_worth
from edgewright.migration.model import Objective


@settings(max_examples=150)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 3), st.booleans())
def test_nothing_is_better(seed: int, services: int, nodes: int, concave: bool) -> None:
    rng = np.random.default_rng(seed)
    own = rng.normal(size=(services, nodes))
    shared = rng.normal(size=(nodes, services))
    if concave:
        added = -np.sort(-rng.normal(size=(nodes, services)), axis=1)
        shared = added.cumsum(1) / np.arange(1, services + 1)
    shared[1:, int(rng.integers(1, services + 1)) :] = -np.inf  # the first node takes all
    problem = JointProblem(own, shared)
    found = assign(problem)
    best = max(problem.value(np.array(nodes_of)) for nodes_of in itertools.product(range(nodes), repeat=services))
    assert found.value == pytest.approx(problem.value(found.nodes), abs=1e-9)
    assert found.value <= best + 1e-9 <= found.bound + 2e-9
    if concave:
        assert found.status == "optimal"
        assert found.value == pytest.approx(best, abs=1e-9)


def test_moving_one_makes_room_for_another() -> None:
    """Both are better off on the first node alone than together: the one that loses less by it goes."""
    terms = Objective.improved().terms(1.0)
    shared = load_worth(np.array([0.3, 0.3]), np.array([0.3, 0.3]), (0.3, 0.3), 2, terms)
    assert (np.diff(shared, axis=1) < 0).all()
    together = assign(JointProblem(np.array([[1.0, 0.9], [1.0, 0.2]]), shared))
    assert together.nodes.tolist() == [1, 0]


def test_a_full_node_takes_no_more() -> None:
    terms = Objective.improved().terms(1.0)
    shared = load_worth(np.array([0.55, 0.0]), np.array([0.1, 0.0]), (0.2, 0.01), 4, terms)
    assert np.isfinite(shared).sum(1).tolist() == [2, 4]
    assert np.isfinite(load_worth(np.array([0.1]), np.array([0.1]), (0.3, 0.01), 3, terms)).sum() == 2  # 0.1 + 3 * 0.3
    found = assign(JointProblem(np.array([[90.0, 0.0]] * 4), shared))
    assert sorted(found.nodes.tolist()) == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("own", "shared", "field"),
    [
        (np.zeros((3, 2)), np.zeros((2, 1)), "shared"),
        (np.zeros((1, 2)), np.array([[-np.inf, 0.0], [0.0, 0.0]]), "shared"),
        (np.full((1, 2), np.nan), np.zeros((2, 1)), "own"),
        (np.zeros((1, 2)), np.array([[np.inf], [0.0]]), "shared"),
        (np.zeros((1, 3)), np.zeros((2, 1)), "own, shared"),
    ],
)
def test_what_cannot_be_is_refused(own: np.ndarray, shared: np.ndarray, field: str) -> None:
    with pytest.raises(InputError) as caught:
        JointProblem(own, shared)
    assert caught.value.field == field
