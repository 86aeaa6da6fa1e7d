"""The recurrent layer and its own gradient against the textbook's recurrence and automatic differentiation."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edgewright.learning.card import Network
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
