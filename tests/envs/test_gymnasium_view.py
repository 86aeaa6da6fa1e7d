"""Gymnasium's own checker passes, seeds are honoured exactly, and many environments equal as many single ones."""

from __future__ import annotations

import subprocess
import sys
import warnings

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from synthetic import Bandit, Constant, Corridor, Queue

from edgewright.core.errors import InputError
from edgewright.envs import registry
from edgewright.envs.gymnasium import TwinEnv, TwinVectorEnv, make_env, make_vector_env


@pytest.mark.parametrize("twin", [Queue(1), Queue(3), Queue(2, box=True), Corridor()], ids=str)
def test_passes_the_checker(twin):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(observation space m|render modes).*")
        check_env(TwinEnv(twin))


@pytest.mark.parametrize("twin", [Queue(3, horizon=5), Corridor(length=3, horizon=9)], ids=["truncated", "terminated"])
def test_many_equal_as_many_single_ones(twin):
    """Autoreset included: a single environment reset without a seed goes on as the many do."""
    many, single = TwinVectorEnv(twin, 3), [TwinEnv(twin) for _ in range(3)]
    assert many.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    shown, info = many.reset(seed=11)
    many.action_space.seed(0)
    for i, env in enumerate(single):
        seen, told = env.reset(seed=11 + i)
        assert np.array_equal(shown[i], seen)
        assert np.array_equal(info["action_mask"][i], told["action_mask"])
    ends = 0
    for _ in range(12):
        actions = many.action_space.sample()
        shown, reward, terminated, truncated, info = many.step(actions)
        assert shown in many.observation_space
        for i, env in enumerate(single):
            seen, r, term, trunc, told = env.step(actions[i])
            assert (r, term, trunc) == (reward[i], terminated[i], truncated[i])
            assert np.array_equal(told["rewards"], info["rewards"][i])
            if term or trunc:
                ends += 1
                assert info["_final_obs"][i]
                assert np.array_equal(info["final_obs"][i], seen)
                assert np.array_equal(info["final_info"]["action_mask"][i], told["action_mask"])
                seen, told = env.reset()
            assert np.array_equal(shown[i], seen)
            assert np.array_equal(info["action_mask"][i], told["action_mask"])
    assert ends > 0


def test_seeds_are_honoured():
    env = TwinEnv(Queue(2))
    first, again, other = (env.reset(seed=seed)[0] for seed in (4, 4, 5))
    step = [env.reset(seed=seed) and env.step([1, 1])[0] for seed in (4, 4, 5)]
    assert np.array_equal(first, again)
    assert np.array_equal(first, other)  # its start is the same in every scenario
    assert np.array_equal(step[0], step[1])
    assert not np.array_equal(step[0], step[2])
    many = TwinVectorEnv(Queue(2), 2)
    many.reset(seed=[9, 4])
    assert np.array_equal(many.step(np.ones((2, 2), int))[0][1], step[0])


def test_params_can_be_fixed():
    twin = Queue(1)
    params = twin.sample(jax.random.key(1))._replace(arrivals=np.full(1, 9.0, np.float32))
    env = TwinEnv(twin)
    env.reset(seed=0, options={"params": params})
    arrived = np.mean([env.step(1)[0][2] for _ in range(20)]) * 10
    assert arrived == pytest.approx(9.0, abs=3.0)
    with pytest.raises(InputError, match="scenario"):
        env.reset(options={"scenario": 1})


def test_rewards_of_all_agents():
    env = TwinEnv(Bandit(count=2))
    observation, _ = env.reset(seed=1)
    right = observation.reshape(2, 4).argmax(-1)
    _, reward, *_, info = env.step([right[0], (right[1] + 1) % 4])
    assert reward == 0.5
    assert info["rewards"].tolist() == [1.0, 0.0]


def test_a_step_before_a_reset_is_refused():
    for env in (TwinEnv(Constant()), TwinVectorEnv(Constant(), 2)):
        with pytest.raises(gymnasium.error.ResetNeeded):
            env.step(np.zeros(2, int))
    with pytest.raises(InputError, match="num_envs"):
        TwinVectorEnv(Constant(), 0)


def test_registered_names(monkeypatch):
    monkeypatch.setitem(registry.TWINS, "Queue-v0", "synthetic:Queue")
    registry.register()
    try:
        env = gymnasium.make("edgewright/Queue-v0", count=2)
        assert env.reset(seed=0)[0].shape == (10,)
        many = gymnasium.make_vec("edgewright/Queue-v0", num_envs=4, count=2)
        assert isinstance(many.unwrapped, TwinVectorEnv)
        assert many.reset(seed=0)[0].shape == (4, 10)
    finally:
        gymnasium.registry.pop("edgewright/Queue-v0")
    with pytest.raises(InputError, match="Scaling-v0"):
        make_env("Nothing-v0")
    with pytest.raises(InputError, match="render_mode"):
        make_vector_env(Constant(), 2, render_mode="human")


@pytest.mark.parametrize("name", registry.TWINS)
def test_every_registered_twin_passes_the_checker(name):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(observation space m|render modes|env checker).*")
        check_env(gymnasium.make(f"edgewright.envs:edgewright/{name}").unwrapped)


def test_ids_are_found_without_importing_jax():
    code = (
        "import sys, gymnasium, edgewright.envs; spec = gymnasium.spec('edgewright/Scaling-v0');"
        "print(spec.vector_entry_point, 'jax' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["edgewright.envs.gymnasium:make_vector_env", "False"]
