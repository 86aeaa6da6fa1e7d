"""Few flows change after a link breaks, and nearly nothing is lost against planning anew."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from edgewright.backhaul.generate import Recipe, generate, traffic
from edgewright.backhaul.model import NO_PATH, Problem, check
from edgewright.backhaul.replanning import replan
from edgewright.backhaul.solvers.search import search
from edgewright.core.errors import InputError


def broken(seed: int) -> tuple[Problem, np.ndarray]:
    """A problem of 40 nodes after a link in use broke, and the allocation from before."""
    network = generate(Recipe(nodes=40), seed=seed)
    (matrix,) = traffic(len(network.flows), 1, seed=seed)
    problem = Problem(network, np.array(matrix.demand_mbps))
    running = search(problem)
    arrays = network.arrays
    paths = arrays.flow_start[problem.active] + running.choice[problem.active]
    used = np.unique(np.concatenate([arrays.links_of(p) for p in paths]))
    link = int(np.random.default_rng(seed).choice(used))
    return replace(problem, broken=frozenset({link})), running.choice


def test_a_fifth_of_the_flows_is_enough() -> None:
    ratios = []
    for seed in range(40):
        problem, running = broken(seed)
        moves = problem.active.size // 5
        plans = replan(problem, running, moves=moves)
        for k, plan in enumerate(plans):
            assert check(problem, plan) == []
            assert (plan.choice[problem.active] != running[problem.active]).sum() <= k
        assert all(a.value <= b.value for a, b in pairwise(plans))
        anew = search(problem)
        ratios.append(plans[-1].value / anew.value)
    assert np.mean(ratios) >= 0.98


def test_nothing_changes_where_nothing_is_gained() -> None:
    problem, running = broken(0)
    whole = replace(problem, broken=frozenset())
    plans = replan(whole, running)
    assert (plans[0].choice == search(whole).choice).all()
    assert len(plans) == 1 or plans[-1].value > plans[0].value


def test_the_step_that_gains_nothing_is_counted() -> None:
    problem, running = broken(0)
    plans = replan(problem, running)
    up_to_it = replan(problem, running, moves=len(plans) - 1)
    assert [plan.value for plan in up_to_it] == [plan.value for plan in plans]
    assert plans[-1].evaluations > up_to_it[-1].evaluations


def test_a_flow_without_a_path_gets_one_for_nothing() -> None:
    problem, running = broken(1)
    running = running.copy()
    running[problem.active[0]] = NO_PATH
    (plan,) = replan(problem, running, moves=0)
    assert check(problem, plan) == []
    assert (plan.choice[problem.active[1:]] == running[problem.active[1:]]).all()


def test_bad_input_is_refused() -> None:
    problem, running = broken(2)
    with pytest.raises(InputError, match="running"):
        replan(problem, running[1:])
    with pytest.raises(InputError, match="moves"):
        replan(problem, running, moves=-1)
