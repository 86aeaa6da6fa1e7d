"""A decision of a loop: the guard allows what is sound and gains, whatever a planner says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from edgewright.backhaul.control import LEAST_GAIN, decide, value_of
from edgewright.backhaul.generate import Recipe, generate, traffic
from edgewright.backhaul.model import NO_PATH, Network, Objective, Problem, read_network
from edgewright.backhaul.rates import expected_rates
from edgewright.backhaul.scenario import LoopScenario, parse_scenario, read_scenario
from edgewright.backhaul.simulation import PLANNERS
from edgewright.backhaul.solvers.search import search
from edgewright.core.contracts import IntArray
from edgewright.core.errors import InputError

ROOT = Path(__file__).parents[2]
SIX = read_network(ROOT / "examples" / "emulated_backhaul" / "network.json")
DEMAND = np.array([6.0, 14.0, 12.0, 8.0])
FAIR = Objective("alpha")
FIRST = np.zeros(4, dtype=np.int64)


def saying(choice: list[int]):
    """A planner that always wants the same."""
    return lambda problem, running: (np.array(choice), 0.0)


def test_a_flow_on_a_broken_path_is_moved_and_told_why() -> None:
    problem = Problem(SIX, DEMAND, FAIR, frozenset({5}))
    found = decide(problem, FIRST, PLANNERS["replan"], most_moves=1)
    assert [(move.flow, move.before, move.after) for move in found.moves] == [(3, 0, 2)]
    assert found.moves[0].reason == "its old path is broken: 0.0 → 6.0 of 8.0 Mb/s"
    assert value_of(problem, found.allowed) == pytest.approx(found.value_wanted)
    assert found.kept == ""


def test_what_gains_nothing_is_kept() -> None:
    problem = Problem(SIX, DEMAND, FAIR)
    found = decide(problem, FIRST, saying([1, 0, 0, 0]))
    assert found.kept.startswith("no gain")
    assert (found.allowed == FIRST).all()
    assert found.moves == ()
    assert decide(problem, FIRST, PLANNERS["stay"]).kept == "the paths in force are the best known"


def test_more_moves_than_allowed_are_kept_and_broken_paths_do_not_count() -> None:
    problem = Problem(SIX, DEMAND, FAIR, frozenset({0}))  # flows 0 and 2 are broken
    assert decide(problem, FIRST, saying([1, 0, 1, 0]), most_moves=0).kept == ""
    worst = np.array([1, 1, 0, 0])
    whole = Problem(SIX, DEMAND, FAIR)
    assert decide(whole, worst, saying([0, 0, 0, 0]), most_moves=1).kept == "2 flows would move, 1 may"
    assert decide(whole, worst, saying([0, 0, 0, 0]), most_moves=2).kept == ""


def test_no_flow_is_put_on_a_broken_path() -> None:
    problem = Problem(SIX, DEMAND, FAIR, frozenset({0, 5}))
    found = decide(problem, FIRST, saying([2, 0, 1, 1]))  # flow 3 from one broken path to another
    assert found.allowed.tolist() == [2, 0, 1, 0]
    assert found.wanted.tolist() == [2, 0, 1, 1]


@pytest.mark.parametrize("answer", [[9, 0, 0, 0], [0, 0], [0, 0, 0, -2]])
def test_an_answer_that_is_none_is_kept(answer: list[int]) -> None:
    found = decide(Problem(SIX, DEMAND, FAIR), FIRST, saying(answer))
    assert "no path of each" in found.kept
    assert (found.allowed == FIRST).all()


@pytest.mark.parametrize("planner", sorted(PLANNERS))
@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_allowed_gains_and_avoids_what_is_broken(planner: str, seed: int) -> None:
    network = generate(Recipe(nodes=12, donors=2), seed=seed)
    matrices = traffic(len(network.flows), 3, seed=seed)
    rng = np.random.default_rng(seed)
    running: IntArray = np.maximum(search(Problem(network, np.array(matrices[0].demand_mbps))).choice, 0)
    for matrix in matrices:
        broken = frozenset(rng.choice(len(network.links), 4, replace=False).tolist())
        problem = Problem(network, np.array(matrix.demand_mbps), FAIR, broken)
        before = running.copy()
        found = decide(problem, running, PLANNERS[planner])
        assert (running == before).all()
        assert {move.flow for move in found.moves} == set(np.flatnonzero(found.allowed != running).tolist())
        if found.moves:
            assert value_of(problem, found.allowed) > value_of(problem, running) + LEAST_GAIN
        for move in found.moves:
            links = network.arrays.links_of(network.arrays.flow_start[move.flow] + move.after)
            assert broken.isdisjoint(links.tolist())
            assert move.reason
        running = found.allowed


def test_a_flow_without_a_path_gets_nothing_and_is_given_one() -> None:
    problem = Problem(SIX, DEMAND, FAIR)
    none = np.full(4, NO_PATH)
    assert expected_rates(problem, none).tolist() == [0.0] * 4
    found = decide(problem, none, PLANNERS["replan"], most_moves=1)
    assert len(found.moves) == 4
    assert found.moves[0].reason.startswith("had no path")


# The scenario


def scenario(network: Network | str, **more: object) -> dict[str, object]:
    data = network if isinstance(network, str) else network.model_dump(mode="json")
    return {"format": "edgewright.backhaul-loop/1", "name": "one", "network": data, **more}


def test_network_in_a_file_beside_the_scenario_or_in_it(tmp_path: Path) -> None:
    (tmp_path / "net.json").write_text(SIX.model_dump_json())
    (tmp_path / "loop.yaml").write_text(yaml.safe_dump(scenario("net.json", planner="search")))
    read = read_scenario(tmp_path / "loop.yaml")
    assert read.network == SIX
    inline = parse_scenario(yaml.safe_dump(scenario(SIX, planner="search")), source="body", yaml_syntax=True)
    assert inline == read


def test_demo_is_a_scenario() -> None:
    demo = read_scenario(ROOT / "src" / "edgewright" / "demo" / "backhaul.yaml")
    assert demo.driver == "auto"
    assert demo.aim == Objective("alpha", alpha=1.0)


@pytest.mark.parametrize(
    ("field", "more"),
    [
        ("planner", {"planner": "best"}),
        ("moves_share", {"moves_share": 0.0}),
        ("driver", {"driver": "real"}),
        ("objective", {"objective": "most"}),
        ("interval_s", {"interval_s": 0.001}),
        ("hold_s", {"hold_s": 0}),
        ("name", {"name": "Not A Name"}),
        ("speed", {"speed": 1}),
        ("network", {"network": "net.json"}),
        ("network.matrices", {"network": SIX.model_copy(update={"matrices": ()}).model_dump(mode="json")}),
    ],
)
def test_bad_scenario_names_the_field(field: str, more: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        parse_scenario(yaml.safe_dump(scenario(SIX) | more), source="body", yaml_syntax=True)
    assert caught.value.field == field
    assert caught.value.source == "body"


def test_missing_network_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").write_text(yaml.safe_dump(scenario("nowhere.json")))
    with pytest.raises(InputError, match=r"nowhere\.json"):
        read_scenario(tmp_path / "loop.yaml")


def test_only_replan_has_a_budget() -> None:
    made = LoopScenario.model_validate_json(LoopScenario(name="one", network=SIX, moves_share=0.5).model_dump_json())
    problem = Problem(SIX, DEMAND)
    assert [made.most_moves(name, problem) for name in ("replan", "search", "stay")] == [2, None, None]
    assert LoopScenario(name="one", network=SIX, moves_share=0.1).most_moves("replan", problem) == 1
