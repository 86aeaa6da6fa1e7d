"""Every policy registered: deterministic, within the nodes, never better than the optimum; and the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edgewright.cli import app
from edgewright.core.errors import InputError
from edgewright.migration.drives import days_of, draw_drives
from edgewright.migration.evaluation import run_policy
from edgewright.migration.model import SHIPPED, Drive, Objective, Problem, check, read_scenario
from edgewright.migration.optimum import optimum
from edgewright.migration.policies import POLICIES, make_policy

HIGHWAY = read_scenario(SHIPPED / "highway.yaml")


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    days = days_of(HIGHWAY, SHIPPED, count=4, seed=11)
    return [Problem(drive, HIGHWAY.objective) for drive in draw_drives(HIGHWAY, days, 10, seed=12)]


@pytest.mark.parametrize("name", POLICIES)
def test_policies_keep_their_contract(name: str, problems: list[Problem]) -> None:
    for problem in problems:
        found = run_policy(make_policy(name, HIGHWAY), problem)
        assert check(problem, found) == []
        assert found.value <= optimum(problem).value + 1e-9
        again = run_policy(make_policy(name, HIGHWAY), problem)
        np.testing.assert_array_equal(again.nodes, found.nodes)


def test_policies_rank_as_they_should(problems: list[Problem]) -> None:
    worth = {name: np.mean([run_policy(make_policy(name, HIGHWAY), p).value for p in problems]) for name in POLICIES}
    assert worth["never"] < worth["nearest"] < worth["greedy"] < worth["forecast"]


def drive(rtt: list[list[float]], load: float = 2.0) -> Drive:
    table = np.array(rtt, dtype=np.float64)
    return Drive(table, np.full_like(table, load))


def test_rules_do_what_they_say() -> None:
    passing = drive([[2, 9], [3, 8], [5, 5.5], [8, 3], [9, 2], [9, 2], [9, 2]])
    problem = Problem(passing, Objective.improved())

    def nodes(name: str, **parameters: float) -> list[int]:
        return run_policy(make_policy(name, HIGHWAY, **parameters), problem).nodes.tolist()

    assert nodes("never") == [0, 0, 0, 0, 0, 0]
    assert nodes("nearest") == [0, 0, 0, 1, 1, 1]
    assert nodes("hysteresis", margin=0.5, patience=1) == [0, 0, 0, 1, 1, 1]
    assert nodes("hysteresis", margin=0.5, patience=3) == [0, 0, 0, 0, 0, 1]
    assert nodes("forecast", ahead=5, window=3)[2] == 1  # before the others see it


@pytest.mark.parametrize(
    ("name", "parameters", "field"),
    [
        ("best", {}, "policy"),
        ("hysteresis", {"margin": -1.0}, "parameters.margin"),
        ("hysteresis", {"patience": 0}, "parameters.patience"),
        ("forecast", {"speed": 1}, "parameters.speed"),
    ],
)
def test_bad_parameters_are_named(name: str, parameters: dict[str, float], field: str) -> None:
    with pytest.raises(InputError) as caught:
        make_policy(name, HIGHWAY, **parameters)
    assert caught.value.field == field


def test_on_the_command_line(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["migration", "list", "--json"])
    assert json.loads(told.output)["methods"] == [*POLICIES, "optimum"]
    options = ["--seeds", "1", "--jobs", "1", "--out", str(tmp_path / "out"), "--json"]
    told = CliRunner().invoke(app, ["migration", "evaluate", *options])
    assert told.exit_code == 0, told.output
    gaps = [row for row in json.loads(told.stdout)["entries"] if row["metric"] == "gap"]
    means = {row["method"]: row["average"]["value"] for row in gaps}
    assert means["optimum"] == 0.0
    assert all(gap > 0 for method, gap in means.items() if method != "optimum")


def test_one_drive_is_drawn(tmp_path: Path) -> None:
    def rows(*more: str) -> list[dict[str, float]]:
        told = CliRunner().invoke(app, ["migration", "simulate", "--json", *more])
        assert told.exit_code == 0, told.output
        return json.loads(told.stdout)

    figure = tmp_path / "drive.png"
    found = rows("--seed", "6", "--figure", str(figure))
    assert [row["policy"] for row in found] == [*POLICIES, "optimum"]
    assert max(row["reward"] for row in found) == found[-1]["reward"]
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert rows("--seed", "6") == found
    assert rows("--seed", "7") != found
    bad = CliRunner().invoke(app, ["migration", "simulate", "--figure", "drive.txt"])
    assert bad.exit_code == 2
