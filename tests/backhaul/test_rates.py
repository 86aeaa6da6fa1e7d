"""Max-min fair rates: the conditions that define them, whatever the network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.backhaul.generate import Recipe, generate, traffic
from edgewright.backhaul.kernels.flows import Aim, evaluate, flows_of
from edgewright.backhaul.kernels.standing import evaluate_changed, nobody
from edgewright.backhaul.model import NO_PATH, Network, Objective, Problem, check
from edgewright.backhaul.rates import max_min_rates
from edgewright.backhaul.solvers.random import random


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Of all sizes of demand and capacity, with ties, idle flows and broken links."""
    network = generate(
        Recipe(nodes=draw(st.integers(5, 30)), paths=draw(st.integers(1, 3))), seed=draw(st.integers(0, 99))
    )
    size = st.sampled_from([1e-3, 1.0, 250.0, 500.0, 1e6]) | st.floats(0.1, 1e5)
    capacities = draw(st.lists(size, min_size=len(network.links), max_size=len(network.links)))
    links = [
        link.model_copy(update={"capacity_mbps": capacity})
        for link, capacity in zip(network.links, capacities, strict=True)
    ]
    network = Network.model_validate(network.model_dump() | {"links": tuple(link.model_dump() for link in links)})
    demand = draw(st.lists(st.just(0.0) | size, min_size=len(network.flows), max_size=len(network.flows)))
    broken = draw(st.frozensets(st.integers(0, len(links) - 1), max_size=4))
    return Problem(network, np.array(demand), Objective(), broken)


@settings(max_examples=150)
@given(problems(), st.integers(0, 99))
def test_every_flow_has_what_it_asks_or_a_full_link_on_which_nobody_has_more(problem: Problem, seed: int) -> None:
    assert check(problem, random(problem, seed=seed)) == []


@settings(max_examples=50)
@given(problems(), st.integers(0, 99), st.randoms(use_true_random=False))
def test_the_order_of_flows_does_not_matter(problem: Problem, seed: int, rng: object) -> None:
    choice = random(problem, seed=seed).choice
    rates = max_min_rates(problem, choice)
    order = np.arange(choice.size)
    rng.shuffle(order)  # type: ignore[attr-defined]
    document = problem.network.model_dump()
    document["flows"] = tuple(document["flows"][i] for i in order)
    document["matrices"] = ()
    turned = replace(problem, network=Network.model_validate(document), demand_mbps=problem.demand_mbps[order])
    np.testing.assert_allclose(max_min_rates(turned, choice[order]), rates[order], rtol=1e-9, atol=1e-9)


@settings(max_examples=150)
@given(problems(), st.lists(st.integers(0, 999), min_size=1, max_size=30), st.integers(1, 4))
def test_what_a_change_reaches_is_all_that_changes(problem: Problem, draws: list[int], at_once: int) -> None:
    """Flows that change paths one after the other, some at once: each time as if filled anew."""
    flows, anew, aim = flows_of(problem), flows_of(problem), Aim(0.4, 0.0, 1e-3)
    paths, standing, offered = flows.first.copy(), nobody(flows), float(flows.demand.sum())
    for step, drawn in enumerate(draws):
        if paths.size:
            flow = drawn % paths.size
            paths[flow] = flows.first[flow] + drawn % flows.options[flow]
        if step % at_once == 0:
            value = evaluate_changed(paths, standing, flows, offered, aim)
            assert value == pytest.approx(evaluate(paths, anew, offered, aim), abs=1e-9)
            np.testing.assert_allclose(flows.rates, anew.rates, rtol=1e-9, atol=1e-8)  # beside demands of up to 1e6


def test_three_flows_of_the_textbook() -> None:
    """Two links in a row of 10 and 4: who crosses both is held to half of the narrow one, the others take the rest."""
    network = Network.model_validate(
        {
            "name": "line",
            "nodes": 4,
            "donors": (0,),
            "links": (
                {"u": 0, "v": 1, "band": "sub6", "capacity_mbps": 10.0},
                {"u": 1, "v": 2, "band": "sub6", "capacity_mbps": 4.0},
                {"u": 2, "v": 3, "band": "sub6", "capacity_mbps": 100.0},
            ),
            "flows": (
                {"source": 1, "paths": ({"band": "sub6", "nodes": (1, 0)},)},
                {"source": 2, "paths": ({"band": "sub6", "nodes": (2, 1, 0)},)},
                {"source": 3, "paths": ({"band": "sub6", "nodes": (3, 2, 1, 0)},)},
            ),
        }
    )
    problem = Problem(network, np.array([20.0, 20.0, 20.0]))
    np.testing.assert_allclose(max_min_rates(problem, np.zeros(3, dtype=int)), [6.0, 2.0, 2.0])
    modest = replace(problem, demand_mbps=np.array([20.0, 1.0, 20.0]))
    np.testing.assert_allclose(max_min_rates(modest, np.zeros(3, dtype=int)), [6.0, 1.0, 3.0])
    cut = replace(problem, broken=frozenset({1}))
    np.testing.assert_allclose(max_min_rates(cut, np.zeros(3, dtype=int)), [10.0, 0.0, 0.0])


def test_the_judge_sees_what_is_unfair() -> None:
    network = generate(Recipe(nodes=20), seed=3)
    (matrix,) = traffic(len(network.flows), 1, active=1.0, seed=4)
    problem = Problem(network, np.array(matrix.demand_mbps))
    fair = random(problem)
    assert check(problem, fair) == []
    held = int(np.flatnonzero(fair.rates_mbps < problem.demand_mbps - 1)[0])
    less, more = fair.rates_mbps.copy(), fair.rates_mbps.copy()
    less[held] *= 0.9
    more[held] += 1.0
    for rates in (less, more):
        assert any(v.field.startswith(("rates_mbps", "links")) for v in check(problem, replace(fair, rates_mbps=rates)))
    nowhere = fair.choice.copy()
    nowhere[held] = NO_PATH
    assert any(v.field == f"choice.{held}" for v in check(problem, replace(fair, choice=nowhere)))
    with pytest.raises(ValueError, match="no path"):
        max_min_rates(problem, nowhere)
