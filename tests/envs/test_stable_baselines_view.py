"""stable-baselines3 trains on our twins, and on the same twin reaches what our learners reach."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from synthetic import Bandit, Queue

from edgewright.learning import DqnConfig, PpoConfig, train
from edgewright.learning.inference import load_network

pytestmark = pytest.mark.compare
sb3 = pytest.importorskip("stable_baselines3", reason="the [compare] extra (stable-baselines3) is not installed")

SEEDS = (0, 1, 2, 3, 4)
EPISODES = 32


def test_the_view_keeps_truncation_and_the_last_observation():
    from edgewright.envs.gymnasium import TwinVectorEnv
    from edgewright.envs.stable_baselines import vec_env

    twin = Bandit(horizon=3)
    again = vec_env(twin, 2, seed=7)
    again.reset()
    again.seed(5)
    view, plain = vec_env(twin, 2, seed=5), TwinVectorEnv(twin, 2)
    first = view.reset()
    assert np.array_equal(first, plain.reset(seed=5)[0])
    assert np.array_equal(again.reset(), first)  # a new seed holds from the next reset on
    for _ in range(3):
        seen, reward, done, infos = view.step(np.zeros(2, int))
        wanted, rewards, _, truncated, info = plain.step(np.zeros(2, int))
        assert np.array_equal(seen, wanted)
        assert np.array_equal(reward, rewards)
        assert np.array_equal(done, truncated)
    assert done.all()
    assert infos[0]["TimeLimit.truncated"]
    assert infos[0]["episode"]["l"] == 3
    assert np.array_equal(infos[1]["terminal_observation"], info["final_obs"][1])


class Keep:
    def predict(self, seen, deterministic):
        return np.ones(len(seen), int), None


class Exported:
    """The last parameters of a seed, under stable-baselines3's name for deciding."""

    def __init__(self, training, seed, folder):
        self.network = load_network(training.export(folder / f"{seed}", seed=seed, which="last"))

    def predict(self, seen, deterministic):
        return self.network.act(seen)[0], None


def _judge(model, twin) -> float:
    """Mean return of the greedy policy."""
    from edgewright.envs.stable_baselines import vec_env

    env = vec_env(twin, EPISODES, seed=10_000)
    seen, returns = env.reset(), []
    while len(returns) < EPISODES:
        seen, _, _, infos = env.step(model.predict(seen, deterministic=True)[0])
        returns += [info["episode"]["r"] for info in infos if info]
    return float(np.mean(returns))


def _theirs(algorithm: str, seed: int) -> float:
    """Return of what stable-baselines3 has learned."""
    import torch

    from edgewright.envs.stable_baselines import vec_env

    torch.set_num_threads(1)
    twin = Queue(1)
    common = {"seed": 100 * seed, "learning_rate": 1e-3, "policy_kwargs": {"net_arch": [32, 32]}, "device": "cpu"}
    if algorithm == "dqn":
        model = sb3.DQN(
            "MlpPolicy",
            vec_env(twin, 1, seed=0),
            batch_size=32,
            target_update_interval=500,
            train_freq=1,
            learning_starts=500,
            buffer_size=20_000,
            exploration_fraction=1 / 3,
            **common,  # the seed of the environments, too
        )
    else:
        model = sb3.PPO("MlpPolicy", vec_env(twin, 8, seed=0), n_steps=256, batch_size=128, n_epochs=5, **common)
    return _judge(model.learn(STEPS[algorithm]), twin)


STEPS = {"dqn": 12_000, "ppo": 32_768}
CONFIGS = {
    "dqn": DqnConfig(hidden=(32, 32), double=False, target_every=500, epsilon_steps=4000, learning_starts=500),
    "ppo": PpoConfig(
        hidden=(32, 32),
        environments=8,
        rollout=256,
        batch_size=128,
        learning_rate=1e-3,
        epochs=5,
        normalise_observations=False,
    ),
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("algorithm", ["dqn", "ppo"])
def test_returns_within_a_margin_of_stable_baselines3(algorithm, tmp_path):
    """Interquartile means over five seeds, same networks, same hyper-parameters, same number of steps."""
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:  # theirs takes minutes
        theirs = sorted(pool.map(_theirs, [algorithm] * len(SEEDS), SEEDS))
    twin, steps = Queue(1), STEPS[algorithm]
    ours = train(twin, CONFIGS[algorithm], seeds=SEEDS, steps=steps, chunk_steps=steps)
    mine = sorted(_judge(Exported(ours, seed, tmp_path), twin) for seed in SEEDS)
    assert np.mean(theirs[1:4]) > _judge(Keep(), twin) + 2.0  # they learned, too
    assert np.mean(mine[1:4]) >= np.mean(theirs[1:4]) - 1.5, (mine, theirs)
