"""A backhaul over time: what happens is the same for all, what is measured is what the network carries."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edgewright.backhaul.generate import Recipe, generate, traffic
from edgewright.backhaul.model import Network, Problem
from edgewright.backhaul.simulation import PLANNERS, Course, events, simulate, summarise
from edgewright.backhaul.solvers.search import search
from edgewright.cli import app
from edgewright.core.errors import InputError

COURSE = Course(seconds=120, failure_s=600, repair_s=20)


@pytest.fixture(scope="module")
def network() -> Network:
    drawn = generate(Recipe(nodes=25, paths=2), seed=4)
    return drawn.model_copy(update={"matrices": traffic(len(drawn.flows), 6, seed=5)})


def test_same_course_for_every_planner_and_again(network: Network) -> None:
    runs = [simulate(network, planner, COURSE, seed=2) for planner in PLANNERS.values()]
    courses = [[(m.at_s, m.what, m.link, m.broken) for m in run] for run in runs]
    assert courses[0] == courses[1] == courses[2]
    assert {m.what for m in runs[0]} == {"traffic", "failure", "repair", "planned", "end"}
    again = simulate(network, PLANNERS["search"], COURSE, seed=2)
    assert [m.efficiency for m in again] == [m.efficiency for m in runs[1]]
    assert [m.at_s for m in simulate(network, PLANNERS["stay"], COURSE, seed=3)] != [m.at_s for m in runs[0]]


def test_moments_follow_what_happened(network: Network) -> None:
    moments = simulate(network, PLANNERS["search"], COURSE, seed=2)
    times = [m.at_s for m in moments]
    assert times == sorted(times)
    assert times[-1] == COURSE.seconds
    for before, now in pairwise(moments):
        if now.what == "failure":
            assert now.link not in before.broken
            assert now.link in now.broken
            assert now.efficiency <= before.efficiency + 1e-9 or before.what != "planned"
        elif now.what == "repair":
            assert now.link in before.broken
            assert now.link not in now.broken
        if now.what == "planned":
            assert now.at_s == pytest.approx(before.at_s + COURSE.delay_s)
        else:
            assert now.moved == 0


def test_planning_carries_more_and_the_budget_holds(network: Network) -> None:
    found = {name: summarise(simulate(network, planner, COURSE, seed=2)) for name, planner in PLANNERS.items()}
    assert found["stay"].moved_per_plan == 0
    assert found["search"].efficiency > found["replan"].efficiency > found["stay"].efficiency
    for moment in simulate(network, PLANNERS["replan"], COURSE, seed=2):
        assert moment.moved <= max(1, 0.2 * len(network.flows))


def test_means_are_over_time(network: Network) -> None:
    """With one matrix, no failures and no delay, what is carried is what the search carries."""
    alone = network.model_copy(update={"matrices": network.matrices[:1]})
    told = summarise(simulate(alone, PLANNERS["search"], Course(50, failure_s=math.inf, delay_s=0)))
    solved = search(Problem(alone, np.array(alone.matrices[0].demand_mbps)))
    assert told.plans == 5
    assert told.moved_per_plan == 0
    assert told.efficiency == pytest.approx(solved.efficiency)
    assert told.worst_efficiency == pytest.approx(solved.efficiency)


@pytest.mark.parametrize(
    "wrong",
    [
        {"seconds": 0},
        {"interval_s": math.inf},
        {"repair_s": -1},
        {"delay_s": 10},
        {"failure_s": math.nan},
    ],
)
def test_wrong_courses_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Course(**wrong)


@pytest.mark.parametrize("course", [Course(1e9), Course(1e6, failure_s=30, repair_s=30)], ids=["matrices", "links"])
def test_too_many_events_are_refused(network: Network, course: Course) -> None:
    with pytest.raises(InputError, match="seconds"):
        events(network, network.matrices, course, seed=0)


def test_what_a_planner_loads_is_no_plans_cpu(network: Network) -> None:
    loading = [1.0]

    def planner(problem: Problem, running: np.ndarray) -> tuple[np.ndarray, float]:
        return running, loading.pop() if loading else 0.0

    assert sum(moment.cpu_s for moment in simulate(network, planner, COURSE)) == 0.0


def test_without_plans_there_is_no_mean_of_them(network: Network) -> None:
    told = summarise(simulate(network, PLANNERS["search"], Course(seconds=0.05)))
    assert told.plans == 0
    assert math.isnan(told.moved_per_plan)
    assert math.isnan(told.cpu_ms_per_plan)


def test_a_network_without_traffic_is_refused(network: Network) -> None:
    with pytest.raises(InputError, match="matrices"):
        simulate(network.model_copy(update={"matrices": ()}), PLANNERS["stay"], COURSE)


def test_on_the_command_line(network: Network, tmp_path: Path) -> None:
    file, picture = tmp_path / "net.json", tmp_path / "course.png"
    file.write_text(network.model_dump_json(exclude_none=True))
    arguments = ["backhaul", "simulate", str(file), "--seconds", "60", "--seeds", "2"]
    told = CliRunner().invoke(app, [*arguments, "--json", "--figure", str(picture)])
    assert told.exit_code == 0, told.output
    planners = json.loads(told.stdout)["planners"]
    assert list(planners) == list(PLANNERS)
    assert planners["search"]["efficiency"]["mean"] > planners["stay"]["efficiency"]["mean"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "worst efficiency" in CliRunner().invoke(app, [*arguments, "--planner", "stay"]).output
    unplanned = [*arguments, "--planner", "search", "--seconds", "0.05"]
    told = CliRunner().invoke(app, [*unplanned, "--json"])
    assert json.loads(told.stdout)["planners"]["search"]["cpu_ms_per_plan"] == {"mean": None, "low": None, "high": None}
    assert "nan" not in CliRunner().invoke(app, unplanned).output
    (tmp_path / "folder.png").mkdir()
    for wrong in (["--planner", "nobody"], ["--figure", str(tmp_path / "folder.png")]):
        refused = CliRunner().invoke(app, [*arguments, *wrong])
        assert (refused.exit_code, wrong[0] in refused.output) == (2, True)
