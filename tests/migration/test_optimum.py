"""The optimum is one: no plan is better, and the independent judge agrees."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.migration.model import Drive, Objective, Problem, check
from edgewright.migration.optimum import optimum, solution_of


def problem(seed: int, steps: int, nodes: int, objective: Objective | None = None) -> Problem:
    rng = np.random.default_rng(seed)
    shape = steps + 1, nodes
    drive = Drive(rng.uniform(1, 25, shape), rng.uniform(1, 14, shape))
    return Problem(drive, objective or Objective.improved(), start=int(rng.integers(nodes)))


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 3), st.booleans())
def test_no_plan_is_better(seed: int, steps: int, nodes: int, paper: bool) -> None:
    given_one = problem(seed, steps, nodes, Objective.paper() if paper else None)
    best = optimum(given_one)
    assert check(given_one, best) == []
    plans = itertools.product(range(nodes), repeat=steps)
    values = [solution_of(given_one, np.array(plan)).value for plan in plans]
    assert best.value == pytest.approx(max(values))
    assert best.bound == pytest.approx(best.value)


def test_check_finds_what_is_wrong() -> None:
    given_one = problem(1, 20, 3)
    best = optimum(given_one)
    assert [v.field for v in check(given_one, solution_of(given_one, np.full(20, 3) % 4 % 3))] == []
    from dataclasses import replace

    assert [v.field for v in check(given_one, replace(best, value=best.value + 1, bound=None))] == ["value"]
    assert [v.field for v in check(given_one, replace(best, bound=best.value - 1))] == ["value"]
    assert [v.field for v in check(given_one, replace(best, migrations=best.migrations + 1))] == ["migrations"]
    assert [v.field for v in check(given_one, replace(best, nodes=best.nodes + 7))] == ["nodes.0"]
    assert [v.field for v in check(given_one, replace(best, nodes=best.nodes[:-1]))] == ["nodes"]
