"""The recurrent layer and its own gradient against the textbook's recurrence and automatic differentiation."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edgewright.learning.card import Network
from edgewright.learning.lstm import lstm, scanned
from edgewright.learning.networks import forward, initialise


def textbook(network: Network, parameters: Any, window: Any) -> Any:
    steps = window.reshape(len(window), network.window, network.observation_size).swapaxes(0, 1)
    for layer in (parameters["lstm"], *parameters.get("lstm_above", ())):

        def advance(memory: Any, x: Any, layer: Any = layer) -> Any:
            hidden, cell = memory
            gates = x @ layer["input"] + layer["bias"] + hidden @ layer["recurrent"]
            i, f, g, o = jnp.split(gates, 4, axis=-1)
            cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
            hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
            return (hidden, cell), hidden

        zeros = jnp.zeros((len(window), network.lstm))
        steps = jax.lax.scan(advance, (zeros, zeros), steps)[1]
    (last,) = parameters["layers"]
    return steps[-1] @ last["weight"] + last["bias"]


@pytest.mark.parametrize("window", [1, 2, 5])
@pytest.mark.parametrize("layers", [1, 2])
def test_values_and_gradients_are_the_textbooks(window: int, layers: int) -> None:
    network = Network(
        observation_size=3, outputs=2, hidden=(), activation="relu", window=window, lstm=4, lstm_layers=layers
    )
    parameters = initialise(network, jax.random.key(1))
    rng = np.random.default_rng(0)
    seen, wanted = (jnp.asarray(rng.normal(size=(6, size)), jnp.float32) for size in (window * 3, 2))

    def loss(function: Any) -> Any:
        return jax.value_and_grad(lambda p, x: (function(network, p, x) * wanted).sum(), (0, 1))(parameters, seen)

    for ours, theirs in zip(jax.tree.leaves(loss(forward)), jax.tree.leaves(loss(textbook)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


def layer(rng: np.random.Generator, *many: int, inputs: int = 3, units: int = 5) -> Any:
    sizes = {"input": (inputs, 4 * units), "recurrent": (units, 4 * units), "bias": (4 * units,)}
    return {name: jnp.asarray(rng.normal(size=(*many, *size)), jnp.float32) for name, size in sizes.items()}


@pytest.mark.parametrize("function", [lstm, scanned])
def test_many_at_once_are_each_alone(function: Any) -> None:
    """Under vmap twice, once with weights that all share."""
    rng = np.random.default_rng(1)
    parameters, steps = layer(rng, 2), jnp.asarray(rng.normal(size=(2, 3, 4, 6, 3)), jnp.float32)

    def gain(parameters: Any, steps: Any) -> Any:
        return jax.value_and_grad(lambda p, x: jnp.square(function(p, x)).sum(), (0, 1))(parameters, steps)

    many = jax.jit(jax.vmap(jax.vmap(gain, (None, 0))))(parameters, steps)
    for i in range(2):
        for j in range(3):
            alone = jax.jit(gain)(jax.tree.map(lambda x, i=i: x[i], parameters), steps[i, j])
            for ours, theirs in zip(jax.tree.leaves(many), jax.tree.leaves(alone), strict=True):
                np.testing.assert_allclose(ours[i, j], theirs, rtol=1e-5, atol=1e-5)


def test_far_values_saturate_and_what_is_no_number_is_not_hidden() -> None:
    rng = np.random.default_rng(2)
    parameters = layer(rng)
    steps = jnp.asarray(rng.normal(size=(4, 6, 3)) * np.array([1e-20, 1.0, 1e3, 1e20])[:, None, None], jnp.float32)
    np.testing.assert_allclose(jax.jit(lstm)(parameters, steps), scanned(parameters, steps), atol=2e-6)
    lost = jax.jit(lstm)(parameters, steps.at[1, 2, 0].set(jnp.nan))
    assert np.isnan(lost[1:, 2]).all()
    assert np.isfinite(lost[:, [0, 1, 3, 4, 5]]).all()


def test_other_types_are_taken_and_other_shapes_are_not() -> None:
    rng = np.random.default_rng(3)
    parameters, steps = layer(rng), rng.integers(-3, 3, (4, 6, 3)).astype(np.int8)
    np.testing.assert_allclose(lstm(parameters, steps), scanned(parameters, steps), atol=2e-6)
    for wrong in ({"bias": parameters["bias"][:1]}, {"input": parameters["input"][1:]}):
        with pytest.raises(ValueError, match="an LSTM takes steps"):
            lstm(parameters | wrong, steps)
    with pytest.raises(ValueError, match="an LSTM takes steps"):
        lstm(parameters, steps[0])


def test_threads_that_come_first_together_do_not_disturb_each_other() -> None:
    """In a process of its own, where nothing is compiled or known to XLA yet."""
    program = """
import threading, numpy as np
from edgewright.learning.lstm import lstm, scanned
p = {"input": np.ones((3, 8), "f"), "recurrent": np.ones((2, 8), "f"), "bias": np.ones(8, "f")}
x, found = np.ones((4, 5, 3), "f"), []
threads = [threading.Thread(target=lambda: found.append(lstm(p, x))) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len(found) == 4 and all(np.allclose(y, scanned(p, x), atol=1e-6) for y in found)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
