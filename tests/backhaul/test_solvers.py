"""What every solver owes, and what the search reaches."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edgewright.backhaul.bounds import efficiency_bound, value_bound
from edgewright.backhaul.generate import Recipe, generate, traffic
from edgewright.backhaul.kernels.construction import enumerate_some
from edgewright.backhaul.kernels.flows import Aim, Flows, aim_of, flows_of
from edgewright.backhaul.model import Network, Objective, Problem, check, read_network
from edgewright.backhaul.rates import max_min_rates
from edgewright.backhaul.solvers import SOLVERS
from edgewright.cli import app
from edgewright.core.errors import InputError
from edgewright.core.registry import load

DATA = Path(os.environ.get("EDGEWRIGHT_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "backhaul"
OBJECTIVES = (
    Objective(),
    Objective("jain"),
    Objective("weighted", 0.0),
    Objective("weighted", 0.5),
    Objective("alpha", alpha=1.0),
    Objective("alpha", alpha=3.0),
)
BY_KIND = {"argvalues": OBJECTIVES, "ids": [objective.kind for objective in OBJECTIVES]}


def drawn(nodes: int = 20, paths: int = 1, seed: int = 0, matrices: int = 5) -> list[Problem]:
    network = generate(Recipe(nodes=nodes, paths=paths), seed=seed)
    return [
        Problem(network, np.array(matrix.demand_mbps))
        for matrix in traffic(len(network.flows), matrices, active=0.5, seed=seed)
    ]


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("objective", **BY_KIND)
def test_keeps_the_contract(name: str, objective: Objective) -> None:
    solve = load(SOLVERS[name])
    for one in drawn():
        problem = Problem(one.network, one.demand_mbps, objective)
        before = problem.demand_mbps.copy()
        first, again = solve(problem, seed=7), solve(problem, seed=7)
        assert check(problem, first) == []
        np.testing.assert_array_equal(first.choice, again.choice)
        np.testing.assert_array_equal(before, problem.demand_mbps)
        assert first.value <= value_bound(problem, "milp") + 1e-6
        limited = solve(problem, seed=7, time_limit_s=0.0)
        assert check(problem, limited) == []
        assert limited.status in ("time_limit", "optimal") or name == "random"


@pytest.mark.parametrize("name", SOLVERS)
def test_nobody_asks(name: str) -> None:
    problem = drawn()[0]
    idle = Problem(problem.network, np.zeros(len(problem.network.flows)))
    solution = load(SOLVERS[name])(idle)
    assert (solution.efficiency, solution.jain, solution.status) == (1.0, 1.0, "optimal")
    assert check(idle, solution) == []


@pytest.mark.parametrize("objective", **BY_KIND)
def test_enumeration_finds_the_best_of_all(objective: Objective, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled values against the objective's own, one combination after the other; at once, and in many parts."""
    network = generate(Recipe(nodes=9, paths=1), seed=2)
    for index, matrix in enumerate(traffic(len(network.flows), 4, active=0.9, demand_mbps=(500, 1500), seed=3)):
        monkeypatch.setattr("edgewright.backhaul.solvers.enumeration.BATCH", 1 if index % 2 else 1000)
        broken = frozenset({index}) if index > 1 else frozenset()
        problem = Problem(network, np.array(matrix.demand_mbps), objective, broken)
        choices = itertools.product(*(range(len(flow.paths)) for flow in network.flows))
        values = (objective.value(problem.demand_mbps, max_min_rates(problem, np.array(choice))) for choice in choices)
        found = load(SOLVERS["enumeration"])(problem)
        assert found.value == pytest.approx(max(values), abs=1e-9)


def test_enumeration_in_parts_is_that_at_once() -> None:
    """From nothing, so that what is found soon has the bound cut elsewhere than where a part ended."""
    for seed in range(40):
        network = generate(Recipe(nodes=8, paths=2), seed=seed)
        for matrix in traffic(len(network.flows), 2, active=0.8, demand_mbps=(300, 2500), seed=seed):
            flows, aim = (
                flows_of(Problem(network, np.array(matrix.demand_mbps))),
                aim_of(Problem(network, np.zeros(len(network.flows)))),
            )

            def found(most: int, flows: Flows = flows, aim: Aim = aim) -> float:
                now, best, value, done = flows.first.copy(), flows.first.copy(), -1.0, False
                while not done:
                    value, _, done = enumerate_some(now, best, value, flows, aim, most, most)
                return value

            assert [found(most) for most in range(1, 14)] == pytest.approx([found(10**9)] * 13, abs=1e-9)


def test_alpha_fairness_lies_between_efficiency_and_the_worst_served() -> None:
    demand, rates = np.array([100.0, 200.0, 0.0]), np.array([50.0, 180.0, 0.0])
    values = [Objective("alpha", alpha=alpha).value(demand, rates) for alpha in (0.0, 1.0, 2.0, 16.0)]
    assert Objective("alpha", alpha=1 + 1e-14).value(demand, rates) == pytest.approx(values[1])
    assert Objective("alpha", alpha=1 + 1e-5).value(demand, rates) == pytest.approx(values[1], abs=1e-5)
    assert values[0] == pytest.approx(230 / 300)
    assert values[1] == pytest.approx((0.5 * 0.9**2) ** (1 / 3))
    assert values[2] == pytest.approx(3 / (1 / 0.5 + 2 / 0.9))
    assert values == sorted(values, reverse=True)
    assert 0.5 < values[3] < 0.55
    with pytest.raises(InputError, match="alpha"):
        Objective("alpha", alpha=-1.0)


@pytest.mark.parametrize(
    "objective", OBJECTIVES[:1] + OBJECTIVES[2:], ids=lambda o: f"{o.kind}{o.gamma:g}{o.exponent:g}"
)
def test_search_finds_the_optimum_where_it_is_proven(objective: Objective) -> None:
    search, enumeration = load(SOLVERS["search"]), load(SOLVERS["enumeration"])
    gaps, proofs = [], []
    for seed in range(6):
        for one in drawn(seed=seed):
            problem = Problem(one.network, one.demand_mbps, objective)
            proven, found = enumeration(problem), search(problem)
            assert proven.status == "optimal"
            gaps.append(proven.value - found.value)
            if found.status == "optimal":
                proofs.append(gaps[-1])
                assert found.bound == found.value
    assert min(gaps) >= -1e-9
    assert len(proofs) > 10
    assert max(proofs) <= 1e-9
    assert np.mean(gaps) <= 0.001


def test_search_for_fairness_does_not_stay_where_it_began() -> None:
    search, enumeration = load(SOLVERS["search"]), load(SOLVERS["enumeration"])
    gaps = []
    for seed in range(3):
        network = generate(Recipe(nodes=20, paths=1), seed=seed)
        (matrix,) = traffic(len(network.flows), 1, active=1.0, seed=seed)
        problem = Problem(network, np.array(matrix.demand_mbps), Objective("jain"))
        gaps.append(enumeration(problem).value - search(problem).value)
    assert np.mean(gaps) <= 0.002


def test_search_is_never_below_the_greedy() -> None:
    search, greedy = load(SOLVERS["search"]), load(SOLVERS["subset-sum"])
    for problem in drawn(nodes=60, paths=3, seed=1):
        assert search(problem).value >= greedy(problem).value - 1e-12


def test_a_limit_that_is_never_reached_changes_nothing() -> None:
    search = load(SOLVERS["search"])
    for objective in (Objective(), Objective("jain")):
        problem = replace(drawn(nodes=60, paths=3, seed=1)[0], objective=objective)
        alone, limited = search(problem, seed=3), search(problem, seed=3, time_limit_s=1000.0)
        assert alone.choice.tolist() == limited.choice.tolist()
        assert alone.evaluations == limited.evaluations


def test_a_start_is_checked() -> None:
    problem = drawn()[0]
    found = load(SOLVERS["random"])(problem)
    everywhere = Problem(problem.network, np.full(len(problem.network.flows), 100.0))
    assert check(everywhere, load(SOLVERS["search"])(everywhere, start=found)) == []  # some have no path there
    with pytest.raises(InputError, match="start"):
        load(SOLVERS["search"])(problem, start=replace(found, choice=found.choice + 99))


def test_many_flows_start_from_the_linear_program() -> None:
    network = generate(Recipe(nodes=400, donors=20), seed=0)
    (matrix,) = traffic(len(network.flows), 1, seed=0)
    problem = Problem(network, np.array(matrix.demand_mbps))
    found, greedy = load(SOLVERS["search"])(problem), load(SOLVERS["subset-sum"])(problem)
    assert check(problem, found) == []
    assert found.value >= greedy.value
    assert load(SOLVERS["search"])(problem, start=found, evaluations=1).value >= found.value
    assert load(SOLVERS["search"])(problem, evaluations=1).value >= greedy.value


def test_a_limit_holds_for_what_the_search_starts_from() -> None:
    network = generate(Recipe(nodes=1000, donors=50, paths=2), seed=0)
    (matrix,) = traffic(len(network.flows), 1, seed=0)
    problem = Problem(network, np.array(matrix.demand_mbps))
    for time_limit_s in (0.0, 0.02):
        found = load(SOLVERS["search"])(problem, time_limit_s=time_limit_s)
        assert check(problem, found) == []
        assert found.status == "time_limit"
        assert time_limit_s > 0 or found.choice.max() == 0  # the greedy did not begin


def test_too_many_combinations_are_refused() -> None:
    with pytest.raises(InputError, match="combinations"):
        load(SOLVERS["enumeration"])(drawn(nodes=60, paths=3)[0])


def test_bounds_are_in_order() -> None:
    for problem in drawn(nodes=30, paths=2):
        split, whole = efficiency_bound(problem, "lp"), efficiency_bound(problem, "milp")
        assert split >= whole - 1e-6
        assert whole >= load(SOLVERS["search"])(problem).efficiency - 1e-6


@pytest.mark.parametrize("file", sorted(DATA.glob("*.json")) or [None], ids=lambda f: f.stem if f else "none")
def test_recorded_instances(file: Path | None) -> None:
    """Efficiency at least that of the greedy and of the recorded PPO; the LP bound is the recorded one."""
    if file is None:
        pytest.skip(f"no instances in {DATA}")
    network = read_network(file)
    search, greedy = load(SOLVERS["search"]), load(SOLVERS["subset-sum"])
    gaps = []
    for matrix in network.matrices:
        problem = Problem(network, np.array(matrix.demand_mbps))
        found, recorded = 100 * search(problem).efficiency, matrix.reference or {}
        assert found >= 100 * greedy(problem).efficiency - 1e-9
        for name in ("subsetsum", "ppo_best_eff"):
            assert found >= recorded.get(name, {}).get("eff_maxmin", 0.0) - 1e-3, (matrix.id, name)
        both = search(Problem(network, problem.demand_mbps, Objective("weighted", 0.0)))
        for name in ("ppo", "ppo_best_eff"):
            picked = recorded.get(name, {"eff_maxmin": 0.0, "jain_maxmin": 0.0})
            assert 200 * both.value >= picked["eff_maxmin"] + picked["jain_maxmin"] - 1e-3, (matrix.id, name)
        assert 100 * efficiency_bound(problem) == pytest.approx(recorded["lp_ub_eff"], abs=1e-3)
        if recorded.get("opt_maxmin_eff") is not None:
            gaps.append(recorded["opt_maxmin_eff"] - found)
    assert not gaps or np.mean(gaps) <= 0.1


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["backhaul", *arguments])
    return result.exit_code, result.output


def test_generated_file_is_solved(tmp_path: Path) -> None:
    file = tmp_path / "net.json"
    assert run("generate", "--out", str(file), "--nodes", "15", "--matrices", "3", "--seed", "5")[0] == 0
    code, output = run("solve", str(file), "--bound", "lp", "--json")
    assert code == 0
    rows = json.loads(output)["matrices"]
    assert [row["id"] for row in rows] == [0, 1, 2]
    network = read_network(file)
    for row, matrix in zip(rows, network.matrices, strict=True):
        assert [path is None for path in row["choice"]] == [demand == 0 for demand in matrix.demand_mbps]
        assert row["efficiency"] <= row["bound"] + 1e-9
    assert run("solve", str(file), "--matrix", "1")[0] == 0
    for wrong in (["solve", str(file), "--seed", "-1"], ["generate", "--out", str(file), "--seed", "-1"]):
        assert run(*wrong)[0] == 2
    code, output = run("generate", "--out", str(tmp_path))
    assert (code, "--out" in output) == (2, True)


BAD = [
    ({"nodes": 1}, "nodes"),
    ({"donors": (0, 0)}, "donors.1"),
    ({"donors": (99,)}, "donors.0"),
    ({"extra": 1}, "extra"),
    ({"matrices": ({"id": 0, "demand_mbps": (1.0,)},)}, "matrices.0.demand_mbps"),
    ({"flows": ()}, "flows"),
]


@pytest.mark.parametrize(("change", "field"), BAD)
def test_bad_file_names_the_field(tmp_path: Path, change: dict[str, object], field: str) -> None:
    network = generate(Recipe(nodes=8, paths=1), seed=0)
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(network.model_dump(mode="json") | change))
    with pytest.raises(InputError) as caught:
        read_network(file)
    assert (caught.value.source, caught.value.field) == (str(file), field)
    assert run("solve", str(file))[0] == 2


def test_a_path_must_follow_links() -> None:
    document = generate(Recipe(nodes=8, paths=1), seed=0).model_dump()
    document["links"] = document["links"][1:]
    with pytest.raises(ValueError, match="join"):
        Network.model_validate(document)
