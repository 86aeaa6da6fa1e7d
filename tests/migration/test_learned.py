"""A policy is trained, exported, and decides with numpy as it did in the twin."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

from edgewright.cli import app
from edgewright.core.errors import InputError
from edgewright.migration.drives import days_of, draw_drives
from edgewright.migration.evaluation import run_policy
from edgewright.migration.model import SHIPPED, Problem, read_scenario
from edgewright.migration.observation import Observation, features
from edgewright.migration.policies import make_policy
from edgewright.migration.training import PAPER_CONFIGS
from edgewright.migration.twin import migration_twin

HIGHWAY = read_scenario(SHIPPED / "highway.yaml")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("policy") / "dqn.npz"
    told = CliRunner().invoke(app, ["migration", "train", "--algorithm", "dqn", "--steps", "20000", "--out", str(out)])
    assert told.exit_code == 0, told.output
    return out


def test_it_has_learned(policy: Path) -> None:
    days = days_of(HIGHWAY, SHIPPED, count=4, seed=21)
    problems = [Problem(drive, HIGHWAY.objective) for drive in draw_drives(HIGHWAY, days, 20, seed=22)]

    def worth(name: str) -> float:
        return float(np.mean([run_policy(make_policy(name, HIGHWAY), problem).value for problem in problems]))

    assert worth(str(policy)) > worth("nearest") > worth("never")


def test_a_scenario_that_it_was_not_trained_for_is_refused(policy: Path) -> None:
    more = HIGHWAY.nodes[0].model_copy(update={"name": "edge-4", "at_m": (3000.0, 50.0)})
    with pytest.raises(InputError, match="nodes"):
        make_policy(str(policy), HIGHWAY.model_copy(update={"nodes": (*HIGHWAY.nodes, more)}))
    other = HIGHWAY.model_copy(update={"objective": HIGHWAY.objective.model_copy(update={"rtt_max_ms": 30.0})})
    with pytest.raises(InputError, match="rtt_max_ms"):
        make_policy(str(policy), other)
    with pytest.raises(InputError, match="parameters"):
        make_policy(str(policy), HIGHWAY, margin=1.0)


def test_an_episode_ends_as_the_paper_says() -> None:
    """A breach of the hosting node ends an episode of training; the end of the road cuts one off."""
    twin = migration_twin(HIGHWAY, days=2)
    whole = migration_twin(HIGHWAY, days=2, random_start=False, ends_on_breach=False)
    step = jax.jit(jax.vmap(twin.step))
    keys = jax.random.split(jax.random.key(0), 64)
    params = jax.vmap(twin.sample)(keys)
    state, _ = jax.vmap(twin.reset)(keys, params)
    ends = {"terminated": 0, "truncated": 0}
    for _ in range(HIGHWAY.most_steps):
        state, _, _, terminated, truncated, info = step(keys, state, jnp.zeros((64, 1), jnp.int32), params)
        np.testing.assert_array_equal(terminated, info["breach"])
        ends["terminated"] += int(terminated.sum())
        ends["truncated"] += int(truncated.sum())
    assert min(ends.values()) > 0
    assert set(np.asarray(params.start)) == {0, 1, 2}
    again = whole.sample(jax.random.key(1))
    first, _ = whole.reset(jax.random.key(1), again)
    assert int(first.node) == int(whole.at(jnp.int32(0), again)[0].argmin())
    *_, terminated, _, _ = whole.step(jax.random.key(1), first, jnp.array([3]), again)
    assert not bool(terminated)


def test_both_see_the_same() -> None:
    seen = Observation(np.int64(1), np.array([3.0, 50.0, 20.0]), np.array([1.0, 6.0, 99.0]))
    expected = [0, 1, 0, 0.15, 2.0, 1.0, 1 / 12, 0.5, 2.0]
    for xp in (np, jnp):
        np.testing.assert_allclose(features(xp, seen, 20.0, 12.0), expected, rtol=1e-6)


def test_hyper_parameters_are_those_of_table_two() -> None:
    for config in PAPER_CONFIGS.values():
        assert (config.learning_rate, config.gamma, config.batch_size, config.replay_size) == (1e-3, 0.99, 32, 20_000)
        assert (config.target_every, config.epsilon_start, config.epsilon_end) == (20, 1.0, 0.1)
        assert (config.environments, config.epsilon_steps) == (1, 200_000)
    lstm = PAPER_CONFIGS["dqn-lstm"]
    assert (lstm.window, lstm.lstm, lstm.lstm_layers, lstm.hidden) == (4, 24, 2, ())
