"""Learned policies: refused where they do not fit, better than the published rule, small to train and quick to run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgewright.core.errors import InputError
from edgewright.scaling.evaluation import measure, rollout
from edgewright.scaling.events import SimulatedSlice
from edgewright.scaling.model import Action, Scenario, read_scenario
from edgewright.scaling.policies import make_policy
from edgewright.scaling.policies.learned import SHIPPED, shipped
from edgewright.scaling.tuning import folder


def copied(tmp_path: Path, **changes: object) -> str:
    """The shipped PPO policy under another card."""
    shutil.copy(shipped("ppo"), tmp_path / "p.npz")
    card = json.loads(shipped("ppo").with_suffix(".json").read_text())
    for key, value in changes.items():
        card[key] = value
    (tmp_path / "p.json").write_text(json.dumps(card))
    return str(tmp_path / "p.npz")


def test_a_copy_decides_as_the_shipped_one(tmp_path: Path, scenario: Callable[..., Scenario]) -> None:
    two = scenario(60, 30, duration_s=30)
    a, b = rollout(two, "ppo", 1), rollout(two, copied(tmp_path), 1)
    assert np.array_equal(a.limit_cpu, b.limit_cpu)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"twin": "migration"}, "twin"),
        ({"observation_size": 12}, "observation_size"),
        ({"scenario": {}}, "scenario"),
        ({"scenario": {"features": "slo", "kind": "residual", "price": "high"}}, "scenario.price"),
        ({"action": {"kind": "box", "size": 1, "low": -1.0, "high": 1.0, "squash": "clip"}}, "action"),
        ({"share_parameters": False}, "network"),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    change: dict[str, object], field: str, tmp_path: Path, scenario: Callable[..., Scenario]
) -> None:
    with pytest.raises(InputError) as error:
        make_policy(copied(tmp_path, **change), scenario(60, 30))
    assert field in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_other_slo_or_interval_is_refused(scenario: Callable[..., Scenario]) -> None:
    with pytest.raises(InputError, match="response_ms"):
        make_policy("ppo", scenario(60, slo={"response_ms": 500.0}))
    with pytest.raises(InputError, match="interval_s"):
        make_policy("ppo", scenario(60, control={"interval_s": 5.0}))
    with pytest.raises(InputError, match="one of"):
        make_policy("none", scenario(60))


@pytest.mark.parametrize("name", ["curves", "ppo", "dqn"])
def test_better_than_the_published_rule(name: str) -> None:
    """The document's test: at least 20 % lower mean response than the published threshold rule."""
    document = read_scenario(folder() / "document.yaml")
    runs = {p: [measure(document, rollout(document, p, seed)) for seed in range(5)] for p in (name, "threshold")}
    mean = {p: np.mean([run["response_mean_ms"] for run in rows]) for p, rows in runs.items()}
    assert mean[name] <= 0.8 * mean["threshold"]


@pytest.mark.parametrize("name", SHIPPED)
def test_runs_without_jax(name: str) -> None:
    program = """
import sys, numpy as np
from edgewright.scaling.tuning import folder
from edgewright.scaling.model import read_scenario
from edgewright.scaling.events import SimulatedSlice
from edgewright.scaling.control import Controller
from edgewright.scaling.policies import make_policy
scenario = read_scenario(folder() / "document.yaml")
simulated, controller = SimulatedSlice(scenario, 0), Controller(scenario, make_policy(sys.argv[1], scenario))
for _ in range(3):
    simulated.apply(controller.step(simulated.run()).allowed)
sys.exit("jax" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program, name], check=False).returncode == 0


@pytest.mark.parametrize(("algorithm", "reward"), [("ppo", "slo"), ("dqn", "reference")])
def test_training_exports_a_policy_that_runs(
    algorithm: str, reward: str, tmp_path: Path, scenario: Callable[..., Scenario]
) -> None:
    from edgewright.scaling.training import export_policy, train_policy

    kind = "slo" if reward == "slo" else "reference"
    trained = train_policy(algorithm, steps=2_000, services=2, reward=kind, episodes=8, show_progress=False)  # type: ignore[arg-type]
    path = export_policy(trained, tmp_path / "policy", kind)  # type: ignore[arg-type]
    two = scenario(60, 30, duration_s=20)
    assert rollout(two, str(path), 0).limit_cpu.shape == (20, 2)


@pytest.mark.parametrize("policy", ["dqn", "ppo"])
def test_compiled_decides_as_numpy(policy: str, scenario: Callable[..., Scenario]) -> None:
    """A mask that allows everything takes numpy's way; a rate at the edge of the model's grid may round either way."""
    three = scenario(90, 40, 3, duration_s=30)
    learned, simulated = make_policy(policy, three), SimulatedSlice(three, 6)
    everything = np.ones((3, 21), bool)
    compiled = plain = None
    for limits in np.random.default_rng(0).uniform(0.05, 1.0, (40, 3)):
        simulated.apply(Action(limits))
        seen = simulated.run()
        fast, compiled, reasons = learned.decide(seen, None, compiled)
        slow, plain, expected = learned.decide(seen, everything, plain)
        assert fast.cpu == pytest.approx(slow.cpu, rel=1e-4)
        assert reasons == expected
        assert np.allclose(compiled[1], plain[1], atol=1e-5)


@pytest.mark.parametrize("policy", SHIPPED)
def test_an_observation_that_lacks_a_service_is_an_error(scenario: Callable[..., Scenario], policy: str) -> None:
    two = scenario(60, 30)
    seen = SimulatedSlice(two, 0).run()
    with pytest.raises(ValueError):
        make_policy(policy, two).decide(replace(seen, late=seen.late[:1]), None, None)
