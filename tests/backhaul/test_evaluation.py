"""Evaluation: configurations hold what they say, methods meet the same problems, studies can be run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from edgewright.backhaul.evaluation import STUDY, Case, compare, study_files
from edgewright.cli import app
from edgewright.core.errors import InputError
from edgewright.core.files import cache_folder
from edgewright.studies import run_study
from edgewright.studies.model import read_study

SMALL = "{format: edgewright.backhaul-case/1, name: small, nodes: 10, paths: 1, matrices: 4, "


@pytest.mark.parametrize("name", study_files())
def test_studies_that_are_shipped_can_be_run(name: str) -> None:
    study = read_study(study_files()[name])
    for scenario in study.scenarios:
        case = Case.model_validate(scenario)
        for method in study.methods:
            STUDY.check(case, method.policy or method.name, method.parameters)


def test_every_flow_keeps_a_path_when_links_break() -> None:
    case = Case(name="x", nodes=20, broken=5, matrices=20)
    problems, again = case.problems(3), case.problems(3)
    assert [problem.broken for problem in problems] == [problem.broken for problem in again]
    assert len({problem.broken for problem in problems}) > 1
    for problem in problems:
        arrays = problem.network.arrays
        whole = np.array([problem.capacity_mbps[arrays.links_of(p)].min() > 0 for p in range(arrays.flow_start[-1])])
        assert len(problem.broken) == 5
        assert np.logical_or.reduceat(whole, arrays.flow_start[:-1]).all()
    with pytest.raises(InputError, match="broken"):
        Case(name="x", nodes=5, donors=1, broken=50).problems(0)


def test_one_band_alone() -> None:
    both, alone = Case(name="x", nodes=20).network(0), Case(name="x", nodes=20, bands="mmwave").network(0)
    assert (
        {path.band for flow in alone.flows for path in flow.paths} == {link.band for link in alone.links} == {"mmwave"}
    )
    assert set(alone.links) < set(both.links)


@pytest.mark.parametrize(
    ("field", "value"), [("demand_mbps", (5, 2)), ("donors", 40), ("gamma", 3.0), ("active", 0.0), ("speed", 1)]
)
def test_bad_cases_are_refused(field: str, value: object) -> None:
    with pytest.raises((InputError, ValueError), match=field):
        Case.model_validate({"format": "edgewright.backhaul-case/1", "name": "x", field: value})


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("ppo", {"trained": "brokn"}),
        ("ppo", {"task": "speed"}),
        ("ppo", {"steps": "x"}),
        ("search", {"evaluations": 0}),
        ("random", {"steps": 1}),
        ("speed", {}),
    ],
)
def test_bad_parameters_are_refused_before_anything_runs(method: str, parameters: dict[str, object]) -> None:
    with pytest.raises(InputError):
        STUDY.check(Case(name="x"), method, parameters)
    with pytest.raises(InputError, match="objective"):
        STUDY.check(Case(name="x", objective="alpha"), "ppo", {})


def test_methods_meet_the_same_problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy is trained in passing, on links that break, and kept; brute force is never beaten."""
    monkeypatch.setenv("EDGEWRIGHT_JAX_CACHE", str(cache_folder() / "jax"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "study.yaml"
    file.write_text(
        "format: edgewright.study/1\nname: small\ncapability: backhaul\nseeds: 2\nquick: true\nmethods:\n"
        "  - {name: random}\n  - {name: search}\n  - {name: enumeration}\n"
        "  - {name: ppo, parameters: {training_steps: 1, steps: 20, trained: broken}}\n"
        f"scenarios:\n  - {SMALL} broken: 1}}\n"
    )
    result = run_study(file, out=tmp_path / "out", jobs=1)
    assert not result.failures
    assert {path.stem for path in result.figures} >= {"training"}
    rows = {row["method"]: row for row in compare(result.folder)}
    assert set(rows) == {"search"}
    assert rows["search"]["value"] >= 0
    assert rows["search"]["cpu"] > 0
    assert len(list((tmp_path / "cache").rglob("*.npz"))) == 2  # a policy for each network
    table = parquet.read_table(result.folder / "results.parquet").to_pydict()
    found = {name: value for name, value in zip(table["method"], table["value_percent"], strict=True) if name != "ppo"}
    assert found["enumeration"] >= max(found.values()) - 1e-9


def test_on_the_command_line(tmp_path: Path) -> None:
    wrong = CliRunner().invoke(app, ["backhaul", "evaluate", "--only", "speed"])
    assert (wrong.exit_code, "--only" in wrong.output) == (2, True)
    file = tmp_path / "file"
    file.write_text("")
    wrong = CliRunner().invoke(app, ["backhaul", "evaluate", "--out", str(file)])
    assert (wrong.exit_code, "--out" in wrong.output) == (2, True)
    wrong = CliRunner().invoke(app, ["backhaul", "generate", "--out", str(tmp_path / "net.json"), "--demand", "²-³"])
    assert (wrong.exit_code, "--demand" in wrong.output) == (2, True)
