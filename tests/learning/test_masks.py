"""An infeasible action is never sampled and never the maximum, in any algorithm."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import PPO, VALUE
from synthetic import Bandit

from edgewright.learning import DqnConfig, PpoConfig, SarsaConfig, TabularConfig, train
from edgewright.learning.learner import epsilon_greedy, masked_argmax, masked_max


class Trap(Bandit):
    """Paying 1000 for the forbidden action: one that slips through shows in the return."""

    def step(self, key, state, action, params):
        state, seen, reward, *rest = super().step(key, state, action, params)
        return state, seen, jnp.where(action == 0, 1000.0, reward), *rest


@pytest.mark.parametrize(
    ("config", "steps"),
    [
        (DqnConfig(**VALUE), 1200),
        (SarsaConfig(**VALUE), 1200),
        (PpoConfig(**PPO), 2000),
        (TabularConfig(bins=(2,) * 4, low=(0.0,) * 4, high=(1.01,) * 4), 1200),
    ],
    ids=["dqn", "sarsa", "ppo", "tabular"],
)
def test_training_never_takes_a_masked_action(config, steps):
    run = train(Trap(forbidden=True), config, steps=steps, chunk_steps=steps)
    assert run.curve.training[0][0] <= 8.0


def test_choice_among_allowed_actions():
    values = jnp.asarray([[5.0, 1.0, 2.0]] * 4000)
    mask = jnp.asarray([[False, True, True]] * 4000)
    assert (masked_argmax(values, mask) == 2).all()
    assert (masked_max(values, mask) == 2.0).all()
    chosen = np.asarray(epsilon_greedy(jax.random.key(0), values, mask, jnp.asarray(1.0)))
    share = np.bincount(chosen, minlength=3) / 4000
    assert share[0] == 0
    assert share[1:] == pytest.approx([0.5, 0.5], abs=0.05)
    # Values below what a lottery draws do not matter, nor do allowed values of -1e30.
    assert (masked_argmax(jnp.full((4, 3), -1e30), mask[:4]) == 1).all()
