from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
import yaml
from typer.testing import CliRunner

import edgewright
from edgewright.cli import app
from edgewright.core.errors import CapacityError, InputError
from edgewright.drivers.host import HostError
from edgewright.drivers.linux.cgroups import Unavailable


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, done.output


def test_version() -> None:
    assert run("--version") == (0, f"edgewright {edgewright.__version__}\n")


def test_doctor_for_machines() -> None:
    code, text = run("doctor", "--json")
    assert code == 0
    assert {"name", "title", "available", "reason"} == set(json.loads(text)[0])


def test_doctor_for_people() -> None:
    code, text = run("doctor")
    assert code == 0
    assert "SCHED_DEADLINE" in text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["up", "--role", "boss"], "role"),
        (["up", "--role", "ui"], "api_url"),
        (["up", "--port", "99999"], "port"),
        (["up", "--scenario", "/none.yaml", "--role", "loops"], "/none.yaml"),
    ],
)
def test_bad_input_is_exit_code_2_and_a_message(words: list[str], told: str, tmp_path: Path) -> None:
    code, text = run(*words, "--data", str(tmp_path))
    assert code == 2
    assert told in text
    assert "Traceback" not in text


def test_unusable_database_is_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "edgewright.sqlite").write_text("not a database " * 1000)
    code, text = run("up", "--data", str(tmp_path), "--role", "loops")
    assert code == 1
    assert "not a database" in text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError("x", 1, "2"), 2),
        (CapacityError("cpu", 2, 1, owner="x"), 2),
        (HostError("a", "does not start"), 1),
        (Unavailable("no cgroups here"), 1),
    ],
)
def test_any_verb_is_told_the_same_way(error: Exception, status: int) -> None:
    """Whatever a group raises: the application handles it for all."""
    group = typer.Typer()

    @group.command()
    def fail() -> None:
        raise error

    app.add_typer(group, name="failing")
    try:
        code, text = run("failing", "fail")
    finally:
        app.registered_groups.pop()
    assert code == status
    assert str(error) in text


@pytest.mark.parametrize(
    "words",
    [
        ["tune", "--trials", "0"],
        ["tune", "--jobs", "-1"],
        ["evaluate", "--jobs", "0"],
        ["evaluate", "--seeds", "0"],
        ["train", "--services", "0"],
        ["train", "--seeds", "0"],
        ["calibrate", "--seconds", "0"],
        ["calibrate", "--repetitions", "0"],
        ["live", "--repetitions", "0"],
        ["memory", "--seeds", "0"],
    ],
)
def test_counts_are_checked_before_anything_runs(words: list[str]) -> None:
    code, text = run("scaling", *words)
    assert code == 2
    assert words[1] in text
    assert "Traceback" not in text


def test_calibrate_tries_its_output_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgewright.scaling.live.running", lambda *_: pytest.fail("it measured"))
    (tmp_path / "file").touch()
    for out in (tmp_path / "file" / "scenario.yaml", tmp_path):
        code, text = run("scaling", "calibrate", "--out", str(out))
        assert code == 2
        assert "--out" in text


@pytest.fixture
def studied(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The study files that `scaling evaluate` would run; each has a failed cell."""
    files: list[Path] = []

    def fake(file: Path, out: Path, *_: object) -> SimpleNamespace:
        files.append(file)
        return SimpleNamespace(failures=["one"], folder=out)

    monkeypatch.setattr("edgewright.cli.study.run_and_show", fake)
    return files


def test_evaluate_fails_where_cells_did(studied: list[Path], tmp_path: Path) -> None:
    policy = tmp_path / "curves-7.npz"
    assert run("scaling", "evaluate", "--out", str(tmp_path), "--policy", str(policy)) == (1, "")
    methods = yaml.safe_load(studied[0].read_text())["methods"]
    assert methods[-1] == {"name": "curves-7.npz", "policy": str(policy)}  # no price of the shipped curves
    assert not (tmp_path / "comparison.json").exists()


def test_evaluate_refuses_policies_that_it_could_not_tell_apart(studied: list[Path], tmp_path: Path) -> None:
    for given in (["a/p.npz", "b/p.npz"], ["curves-7"]):
        words = [word for path in given for word in ("--policy", str(tmp_path / path))]
        code, text = run("scaling", "evaluate", "--out", str(tmp_path), *words)
        assert code == 2
        assert "--policy" in text
    assert not studied


def test_help_imports_nothing_heavy() -> None:
    heavy = ["numpy", "fastapi", "sqlalchemy", "nicegui", "jax", "numba", "uvicorn", "matplotlib"]
    code = (
        "import sys; from edgewright.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        f"sys.exit(', '.join(name for name in {heavy} if name in sys.modules) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
