"""Networks as plain pytrees: multilayer perceptrons, an LSTM over a window, a dueling head.

`Network` describes one (numpy is enough to read it); `initialise` and `forward` need JAX.
"""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp

from edgewright.learning.card import Network
from edgewright.learning.lstm import lstm

Array = Any
Parameters = Any


def initialise(network: Network, key: Array, *, output_gain: float = 1.0) -> Parameters:
    """Uniform weights of variance gain^2 / fan-in (gain sqrt 2, `output_gain` at the end), zero biases, float32."""
    keys = iter(jax.random.split(key, len(network.hidden) + 1 + 2 * network.lstm_layers))
    parameters: dict[str, Any] = {}
    if network.lstm:
        units = network.lstm
        bias = jnp.zeros(4 * units).at[units : 2 * units].set(1.0)  # remember, until told otherwise
        first, *more = [
            {
                "input": _uniform(next(keys), (inputs, 4 * units), 1.0),
                "recurrent": _uniform(next(keys), (units, 4 * units), 1.0),
                "bias": bias,
            }
            for inputs in (network.observation_size, *[units] * (network.lstm_layers - 1))
        ]
        parameters["lstm"] = first
        if more:
            parameters["lstm_above"] = tuple(more)
    widths = network.widths
    layers = []
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
        gain = output_gain if i == len(widths) - 2 else 2**0.5
        layers.append({"weight": _uniform(next(keys), (fan_in, fan_out), gain), "bias": jnp.zeros(fan_out)})
    parameters["layers"] = tuple(layers)
    return parameters


def forward(network: Network, parameters: Parameters, window: Array) -> Array:
    """float32[..., W*O] (oldest observation first) -> float32[..., outputs]"""
    x = window
    if network.lstm:
        steps = window.reshape(-1, network.window, network.observation_size).swapaxes(0, 1)
        for layer in (parameters["lstm"], *parameters.get("lstm_above", ())):
            steps = lstm(layer, steps)
        x = steps[-1].reshape(*window.shape[:-1], network.lstm)
    activation = jax.nn.relu if network.activation == "relu" else jnp.tanh
    *hidden, last = parameters["layers"]
    for layer in hidden:
        x = activation(x @ layer["weight"] + layer["bias"])
    x = x @ last["weight"] + last["bias"]
    if network.dueling:
        # Wang et al. 2016, eq. 9: Q = V + A - mean(A); V is the first output.
        advantage = x[..., 1:]
        x = x[..., :1] + advantage - advantage.mean(-1, keepdims=True)
    return x


def _uniform(key: Array, shape: tuple[int, int], gain: float) -> Array:
    # Not orthogonal: on a CPU a batched QR inside a jitted function waits for pool threads that wait for it.
    limit = gain * (3.0 / shape[0]) ** 0.5
    return jax.random.uniform(key, shape, minval=-limit, maxval=limit)
