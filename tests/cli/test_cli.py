from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import edgewright
from edgewright.cli import app
from edgewright.core.errors import CapacityError, InputError


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


@pytest.mark.parametrize("error", [InputError("x", 1, "2"), CapacityError("cpu", 2, 1, owner="x")])
def test_any_verb_is_told_the_same_way(error: Exception) -> None:
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
    assert code == 2
    assert str(error) in text


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
