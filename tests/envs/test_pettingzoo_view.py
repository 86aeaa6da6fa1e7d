"""PettingZoo's own test passes, and each agent gets its own observation, reward and mask."""

from __future__ import annotations

import numpy as np
import pytest
from pettingzoo.test import parallel_api_test, parallel_seed_test
from synthetic import Bandit, Corridor, Queue

from edgewright.envs.gymnasium import TwinEnv
from edgewright.envs.pettingzoo import parallel_env


@pytest.mark.parametrize("twin", [Queue(3, horizon=7), Queue(2, box=True, horizon=7), Corridor(length=3)], ids=str)
def test_passes_the_parallel_api_test(twin):
    parallel_api_test(parallel_env(twin), num_cycles=30)


def test_passes_the_seed_test():
    parallel_seed_test(lambda: parallel_env(Queue(2, horizon=7)), num_cycles=20)


def test_agents_see_what_the_joint_view_shows():
    twin = Queue(3)
    agents, joint = parallel_env(twin), TwinEnv(twin)
    seen, infos = agents.reset(seed=3)
    together, _ = joint.reset(seed=3)
    assert np.array_equal(np.concatenate(list(seen.values())), together)
    action = [2, 0, 1]
    seen, rewards, *_, infos = agents.step(dict(zip(agents.agents, action, strict=True)))
    together, reward, *_, info = joint.step(action)
    assert np.array_equal(np.concatenate(list(seen.values())), together)
    assert list(rewards.values()) == info["rewards"].tolist()
    assert np.mean(list(rewards.values())) == pytest.approx(reward)
    assert np.array_equal(np.stack([infos[a]["action_mask"] for a in agents.agents]), info["action_mask"])


def test_masks_fit_pettingzoo_samplers():
    env = parallel_env(Bandit(count=2, forbidden=True))
    _, infos = env.reset(seed=0)
    drawn = [env.action_space(a).sample(infos[a]["action_mask"]) for a in env.agents for _ in range(50)]
    assert 0 not in drawn
