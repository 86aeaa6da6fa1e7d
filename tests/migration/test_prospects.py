"""Prospects are what really follows; the policy that comes of them runs without JAX, where it was trained for."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.core.errors import InputError
from edgewright.learning.card import Network
from edgewright.learning.networks import forward
from edgewright.migration import prospect_training as training
from edgewright.migration.drives import days_of, draw_drives
from edgewright.migration.evaluation import run_policy
from edgewright.migration.model import SHIPPED, Problem, Scenario, read_scenario
from edgewright.migration.observation import Observation
from edgewright.migration.optimum import best_nodes
from edgewright.migration.policies import make_policy
from edgewright.migration.policies.prospects import Prospects
from edgewright.migration.prospects import choose
from edgewright.migration.twin import migration_twin

SMALL = {
    "name": "small",
    "nodes": [{"name": "a", "at_m": [0, 50]}, {"name": "b", "at_m": [300, 50]}],
    "road_m": [[0, 0], [300, 0]],
}


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return Scenario.model_validate_json(json.dumps(SMALL))


@pytest.fixture(scope="module")
def trained(scenario: Scenario, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[float, float]]]:
    told: list[tuple[float, float]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "DRIVES", 128)
        patch.setattr(training, "BATCH", 128)
        found = training.train_prospects(
            scenario, steps=12 * 128 * 27, days=16, on_progress=lambda share, gap: told.append((share, gap))
        )
    return found.export(tmp_path_factory.mktemp("policy") / "small.npz"), told


def test_ties_go_to_staying() -> None:
    assert choose(np, np.array([1.0, 0.5, 1.0, 0.5])).tolist() == [0, 0]
    assert choose(np, np.array([1.0, 0.5, 1.1, 0.5])).tolist() == [0, 0]  # from where one is nobody comes
    assert choose(np, np.array([0.0, 2.0, -0.5, 1.5])).tolist() == [1, 1]


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 4))
def test_values_are_what_a_walk_earns(seed: int, steps: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    stays = rng.normal(size=(2, steps, count))
    comes = stays - rng.uniform(0, 1, size=(2, steps, count))
    target = rng.integers(count, size=(2, steps, count))
    value, prospects = training.values(*map(jnp.asarray, (stays, comes, target)))
    for drive in range(2):
        for start in range(count):
            node, earned = start, 0.0
            for step in range(steps):
                to = target[drive, step, node]
                earned += stays[drive, step, to] if to == node else comes[drive, step, to]
                node = to
            assert float(value[drive, start]) == pytest.approx(earned, abs=1e-4)
            assert float(training.values(*map(jnp.asarray, (stays, comes)), None)[0][drive, start]) == pytest.approx(
                best_nodes(stays[drive], comes[drive], start)[1], abs=1e-4
            )
    last = np.concatenate([stays[:, -1], comes[:, -1]], -1)
    np.testing.assert_allclose(prospects[:, -1], last, atol=1e-5)


def test_it_learns(trained: tuple[Path, list[tuple[float, float]]], scenario: Scenario) -> None:
    path, told = trained
    assert [share for share, _ in told] == pytest.approx([(i + 1) / 12 for i in range(12)])
    days = days_of(scenario, SHIPPED, count=8, seed=123)
    problems = [Problem(drive, scenario.objective) for drive in draw_drives(scenario, days, 100, seed=5)]
    earned = {
        name: np.mean([run_policy(make_policy(name, scenario), problem).value for problem in problems])
        for name in ("never", "nearest", str(path))
    }
    assert earned[str(path)] > max(earned["never"], earned["nearest"])


def test_the_policy_is_the_network(trained: tuple[Path, list[tuple[float, float]]], scenario: Scenario) -> None:
    """As it was judged in training: the same drives, the same choices."""
    path, _ = trained
    policy = make_policy(str(path), scenario)
    assert isinstance(policy, Prospects)
    twin = migration_twin(scenario, days=2, seed=3)
    with np.load(path) as arrays:
        layers = [{name: arrays[f"{name}.{i}"] for name in ("weight", "bias")} for i in range(3)]
    card = policy.card
    network = Network(observation_size=4, outputs=4, hidden=card.hidden, window=card.window)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "DRIVES", 4)
        windows, *_ = training._drives(twin, jax.random.key(2))
    target = np.asarray(choose(jnp, forward(network, {"layers": layers}, windows)))
    params = jax.vmap(twin.sample)(jax.random.split(jax.random.key(2), 4))
    differ = 0
    for drive in range(4):
        memory, here = None, jax.tree.map(lambda x, drive=drive: x[drive], params)
        for step in range(twin.spec.horizon):
            rtt, load = twin.at(jnp.int32(step), here)
            node, memory, (reason,) = policy.decide(
                Observation(np.int64(1), np.asarray(rtt), np.asarray(load)), None, memory
            )
            differ += node != target[drive, step, 1]
            assert "expects" in reason
    assert differ <= 1  # rounding


def test_the_reason_says_how_much_is_expected(scenario: Scenario) -> None:
    policy = Prospects.__new__(Prospects)
    policy._limits, policy.card = (20.0, 12.0), type("Card", (), {"window": 1})()  # type: ignore[assignment]
    policy._network = lambda seen: np.array([[3.0, 1.0, 2.5, 0.5]])  # type: ignore[assignment]
    here = Observation(np.int64(0), np.ones(2), np.ones(2))
    assert policy.decide(here, None, None)[2] == ("expects 2.50 more than elsewhere, a migration deducted",)
    away = Observation(np.int64(1), np.ones(2), np.ones(2))
    assert policy.decide(away, None, None)[2] == ("expects 1.50 more there than here, the migration deducted",)


def test_a_parameter_of_another_name_is_refused(scenario: Scenario) -> None:
    for name in ("scenario", "name", "registry", "unknown"):
        with pytest.raises(InputError):
            make_policy("hysteresis", scenario, **{name: 1})


def test_a_policy_for_something_else_is_refused(
    trained: tuple[Path, list[tuple[float, float]]], tmp_path: Path
) -> None:
    path, _ = trained
    with pytest.raises(InputError, match="nodes"):
        make_policy(str(path), read_scenario(SHIPPED / "highway.yaml"))
    card = json.loads(path.with_suffix(".json").read_text())
    (tmp_path / "p.npz").write_bytes(path.read_bytes())
    small = Scenario.model_validate_json(json.dumps(SMALL))
    for change in ({"hidden": [64]}, {"window": 3}, {"format": "edgewright.prospects/2"}):
        (tmp_path / "p.json").write_text(json.dumps(card | change))
        with pytest.raises(InputError):
            make_policy(str(tmp_path / "p.npz"), small)


def test_the_same_seed_gives_the_same_policy(scenario: Scenario) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "DRIVES", 16)
        patch.setattr(training, "BATCH", 64)
        first, second, other = (
            training.train_prospects(scenario, steps=1, days=2, seed=seed).arrays for seed in (0, 0, 1)
        )
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not np.array_equal(first["weight.0"], other["weight.0"])
