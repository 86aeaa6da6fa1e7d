"""A scenario is read strictly; `check` judges limits on its own."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from edgewright.core.errors import InputError
from edgewright.scaling.model import Scenario, check, read_scenario

SHIPPED = sorted(
    [Path(str(files("edgewright") / "demo" / "demo.yaml"))]
    + [p for p in Path(str(files("edgewright.scaling") / "scenarios")).glob("*.yaml") if p.stem != "evaluation"]
)
GOOD: dict[str, Any] = yaml.safe_load(SHIPPED[0].read_text())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_shipped_scenarios_are_sound(path: Path) -> None:
    scenario = read_scenario(path)
    assert check(scenario, np.array([s.cpu.initial for s in scenario.services])) == []


def broken(change: Callable[[dict[str, Any]], Any], tmp_path: Path) -> InputError:
    data = yaml.safe_load(yaml.safe_dump(GOOD))
    change(data)
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(InputError) as error:
        read_scenario(path)
    assert str(path) in str(error.value)
    return error.value


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda d: d.update(colour="red"), "colour"),
        (lambda d: d["slice"].update(cpu=-1), "slice.cpu"),
        (lambda d: d["slice"].update(cpu="1.5"), "slice.cpu"),
        (lambda d: d["slo"].update(response_ms=0), "slo.response_ms"),
        (lambda d: d["services"][0]["cpu"].update(initial=2.0), "services.0.cpu.initial"),
        (lambda d: d["services"][1].update(name="localization-a"), "services.name"),
        (lambda d: d["services"][1].update(name="Bad Name"), "services.1.name"),
        (lambda d: d["slice"].update(cpu=1.0), "slice.cpu"),
        (lambda d: d["services"][0]["load"]["profile"].update(kind="chaos"), "services.0.load.profile"),
        (lambda d: d["services"][0]["load"]["bursts"].update(factor=0), "services.0.load.bursts.factor"),
        (lambda d: d["services"][0]["run"].update(command=[]), "services.0.run.command"),
        (lambda d: d.update(services=[]), "services"),
    ],
)
def test_errors_name_the_field(change: Callable[[dict[str, Any]], Any], field: str, tmp_path: Path) -> None:
    assert broken(change, tmp_path).field == field


def test_check_finds_every_violation(scenario: Callable[..., Scenario]) -> None:
    two = scenario(30, 30)
    assert check(two, np.array([0.5, 0.5])) == []
    found = check(two, np.array([0.01, 1.6]), np.array([1e9, 2e9]))
    assert [v.field for v in found] == [
        "a.cpu", "b.cpu", "slice.cpu", "a.memory_bytes", "b.memory_bytes", "slice.memory_bytes",
    ]  # fmt: skip
    assert check(two, np.array([np.nan, 0.5]))
