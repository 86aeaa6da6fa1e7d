"""An infeasible action is never sampled and never the maximum (in whole runs: see `test_reaches_the_optimum`)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edgewright.learning.learner import draw_allowed, epsilon_greedy, masked_argmax, masked_max


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


def test_draws_have_the_softmax_of_the_allowed_actions():
    logits, mask = jnp.asarray([1.0, 3.0, -2.0, 0.5, 90.0]), jnp.asarray([True, True, True, True, False])
    rows = 100_000
    drawn = np.asarray(draw_allowed(jax.random.key(0), jnp.tile(logits, (rows, 1)), jnp.tile(mask, (rows, 1))))
    expected = np.asarray(jax.nn.softmax(logits.at[4].set(-jnp.inf)))
    assert np.bincount(drawn, minlength=5) / rows == pytest.approx(expected, abs=4 * 0.5 / rows**0.5)
    # Many actions, few of them allowed, whose probabilities differ by far: sums are rounded.
    key, many = jax.random.key(1), (20_000, 342)
    allowed = jax.random.bernoulli(key, 0.05, many).at[:, 7].set(True)
    drawn = np.asarray(draw_allowed(key, 8 * jax.random.normal(key, many), allowed))
    assert np.asarray(allowed)[np.arange(many[0]), drawn].all()
