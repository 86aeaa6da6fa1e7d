"""Few flows change after a link breaks, and nearly nothing is lost against planning anew."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from edgewright.backhaul.generate import Recipe, generate, traffic
from edgewright.backhaul.model import NO_PATH, Flow, Link, Network, Path, Problem, check
from edgewright.backhaul.replanning import replan
from edgewright.backhaul.solvers.search import search
from edgewright.backhaul.solvers.subset_sum import subset_sum
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


def parallel(broken: set[int]) -> Problem:
    """A flow over one full link that it shares with another, or by either of two more ways that may be broken."""
    ways = [(2, 1, 0), (2, 3, 0), (2, 4, 0)]
    links = [Link(u=u, v=v, band="mmwave", capacity_mbps=100) for _, u, v in ways]
    links += [Link(u=2, v=via, band="mmwave", capacity_mbps=100) for _, via, _ in ways]
    flows = (
        Flow(source=1, paths=(Path(band="mmwave", nodes=(1, 0)),)),
        Flow(source=2, paths=tuple(Path(band="mmwave", nodes=nodes) for nodes in reversed(ways))),
    )
    network = Network(name="parallel", nodes=5, donors=(0,), links=tuple(links), flows=flows)
    return Problem(network, np.array([100.0, 100.0]), broken=frozenset(broken))


def test_a_flow_leaves_a_broken_path_even_where_that_gains_nothing() -> None:
    """Whether the second flow gets half of the link or nothing, as much is carried."""
    problem = parallel({1, 2})
    assert replan(problem, np.array([0, 0]))[-1].choice.tolist() == [0, 2]
    assert search(problem).choice.tolist() == [0, 2]
    assert subset_sum(problem).choice.tolist() == [0, 2]


def test_a_flow_without_a_whole_path_does_not_wander() -> None:
    problem = parallel({3, 4, 5})
    (plan,) = replan(problem, np.array([0, 1]))
    assert plan.choice.tolist() == [0, 1]
    assert plan.evaluations < 20
    assert search(problem).efficiency == 0.5
