"""Flows split over their paths: what any allocation must keep, and that nothing carries more."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from edgewright.backhaul.bounds import efficiency_bound
from edgewright.backhaul.generate import Recipe, generate, traffic
from edgewright.backhaul.model import Problem
from edgewright.backhaul.solvers.search import search
from edgewright.backhaul.splitting import First, split
from edgewright.cli import app
from edgewright.core.errors import InputError


def problem_of(seed: int, nodes: int = 15, broken: frozenset[int] = frozenset(), unit: float = 1.0) -> Problem:
    network = generate(Recipe(nodes=nodes, paths=2), seed=seed)
    (matrix,) = traffic(len(network.flows), 1, active=0.7, seed=seed)
    links = tuple(link.model_copy(update={"capacity_mbps": unit * link.capacity_mbps}) for link in network.links)
    demand = unit * np.array(matrix.demand_mbps)
    return Problem(network.model_copy(update={"links": links}), demand, broken=broken)


def load_of(problem: Problem, mbps: np.ndarray) -> np.ndarray:
    """float[L], Mb/s"""
    load, arrays = np.zeros(problem.capacity_mbps.size), problem.network.arrays
    for path in np.flatnonzero(mbps):
        load[arrays.links_of(path)] += mbps[path]
    return load


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.sets(st.integers(0, 12), max_size=4))
def test_keeps_capacities_and_demands_and_carries_the_bound(seed: int, broken: set[int]) -> None:
    problem = problem_of(seed, broken=frozenset(broken))
    arrays, capacity, demand = problem.network.arrays, problem.capacity_mbps, problem.demand_mbps
    most, fairest = split(problem), split(problem, "share")
    for found in (most, fairest):
        assert (load_of(problem, found.mbps) <= capacity + 1e-3).all()
        rates = np.add.reduceat(found.mbps, arrays.flow_start[:-1])
        np.testing.assert_allclose(rates, found.rates_mbps, atol=1e-6)
        assert (rates <= demand + 1e-3).all()
    assert most.efficiency == pytest.approx(efficiency_bound(problem, "lp"), abs=1e-6)
    assert most.bound == pytest.approx(efficiency_bound(problem, "lp"), abs=1e-9)
    assert most.efficiency >= search(problem).efficiency - 1e-6
    assert most.efficiency >= fairest.efficiency - 1e-6
    assert fairest.smallest_share >= most.smallest_share - 1e-6
    alive = [
        f
        for f in problem.active
        if any((capacity[arrays.links_of(p)] > 0).all() for p in range(*arrays.flow_start[f : f + 2]))
    ]
    for found in (most, fairest):
        least = min((found.rates_mbps[f] / demand[f] for f in alive), default=0.0)
        assert least == pytest.approx(found.smallest_share, abs=1e-12)
        assert 0 <= found.smallest_share <= 1


@pytest.mark.parametrize("first", ["efficiency", "share"])
@pytest.mark.parametrize("unit", [1e-9, 1e-6, 1e-3, 1e3, 1e6, 1e9])
def test_the_same_in_every_unit(unit: float, first: First) -> None:
    for seed in (0, 1):
        usual, problem = problem_of(seed, nodes=30), problem_of(seed, nodes=30, unit=unit)
        found, expected = split(problem, first), split(usual, first)
        assert found.efficiency == pytest.approx(expected.efficiency, abs=1e-6)
        assert found.smallest_share == pytest.approx(expected.smallest_share, abs=1e-6)
        assert (load_of(problem, found.mbps) <= problem.capacity_mbps * (1 + 1e-6)).all()
        assert efficiency_bound(problem, "lp") == pytest.approx(efficiency_bound(usual, "lp"), abs=1e-6)
        whole = efficiency_bound(usual, "milp")
        assert efficiency_bound(problem, "milp") == pytest.approx(whole, abs=2e-4)  # the gap that HiGHS leaves is 1e-4


@pytest.mark.parametrize("first", ["efficiency", "share"])
def test_nobody_asks_or_nobody_can(first: First) -> None:
    problem = problem_of(0)
    idle = split(Problem(problem.network, 0 * problem.demand_mbps), first)
    assert (idle.efficiency, idle.jain, idle.smallest_share) == (1.0, 1.0, 1.0)
    cut = split(problem_of(0, broken=frozenset(range(len(problem.network.links)))), first)
    assert (cut.efficiency, cut.smallest_share) == (0.0, 0.0)
    assert not np.signbit([cut.smallest_share, *cut.mbps]).any()


def test_out_of_time_is_said() -> None:
    with pytest.raises(InputError, match="time_limit_s"):
        split(problem_of(1, nodes=400), time_limit_s=1e-6)


def test_another_failure_is_not_blamed_on_time() -> None:
    problem = problem_of(0)
    slow = problem.network.links[0].model_copy(update={"capacity_mbps": 1e-300})
    network = problem.network.model_copy(update={"links": (slow, *problem.network.links[1:])})
    with pytest.raises(InputError, match="HiGHS") as caught:
        split(Problem(network, problem.demand_mbps), time_limit_s=60.0)
    assert caught.value.field == "demand_mbps"


def test_on_the_command_line(tmp_path: Path) -> None:
    file = str(tmp_path / "net.json")
    assert CliRunner().invoke(app, ["backhaul", "generate", "--out", file, "--matrices", "3"]).exit_code == 0
    told = CliRunner().invoke(app, ["backhaul", "solve", file, "--split", "share", "--json"])
    assert told.exit_code == 0, told.output
    for row in json.loads(told.stdout)["matrices"]:
        for rate, of_paths in zip(row["rates_mbps"], row["split_mbps"], strict=True):
            assert rate == pytest.approx(sum(of_paths or []), abs=1e-6)
    assert "smallest share" in CliRunner().invoke(app, ["backhaul", "solve", file, "--split", "efficiency"]).stdout
    beside = (["--solver", "random"], ["--objective", "jain"], ["--seed", "1"])
    for wrong in (["--split", "half"], *(["--split", "share", *option] for option in beside)):
        refused = CliRunner().invoke(app, ["backhaul", "solve", file, *wrong])
        assert (refused.exit_code, "--split" in refused.output) == (2, True)
    for option in ("--gamma", "--alpha"):  # of another objective
        refused = CliRunner().invoke(app, ["backhaul", "solve", file, "--split", "share", option, "0.5"])
        assert (refused.exit_code, option in refused.output) == (2, True)
