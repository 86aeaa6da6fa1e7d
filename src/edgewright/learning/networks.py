"""Networks as plain pytrees: multilayer perceptrons, an LSTM over a window, a dueling head.

`Network` describes one (numpy is enough to read it); `initialise` and `forward` need JAX.
"""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp

from edgewright.learning.card import Network

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
            steps = _lstm(layer, steps)
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


@jax.custom_vjp
def _lstm(parameters: Parameters, steps: Array) -> Array:
    """Hidden states, float32[W, B, units], from inputs float32[W, B, in]; gates in the order input, forget, cell,
    output.

    Unrolled, and with a gradient of its own: on a CPU many small products cost more than one large one, so that inputs
    and weights' gradients have a single product for all steps.
    """
    return _lstm_forward(parameters, steps)[0]


def _lstm_forward(parameters: Parameters, steps: Array) -> tuple[Array, Any]:
    units = parameters["recurrent"].shape[0]
    # One kind of squashing for all: sigmoid(z) = tanh(z/2)/2 + 1/2.
    half = jnp.full(4 * units, 0.5).at[2 * units : 3 * units].set(1.0)
    gates: list[tuple[Array, ...]] = []
    states: list[tuple[Array, Array]] = []  # cell, and squashed
    hidden: list[Array] = []
    for step, x in enumerate(steps @ parameters["input"] + parameters["bias"]):
        z = x + hidden[-1] @ parameters["recurrent"] if step else x
        i, f, g, o = jnp.split(half * jnp.tanh(half * z) + (1 - half), 4, axis=-1)
        cell = f * states[-1][0] + i * g if step else i * g
        gates.append((i, f, g, o))
        states.append((cell, jnp.tanh(cell)))
        hidden.append(o * states[-1][1])
    out = jnp.stack(hidden)
    return out, (parameters, steps, out, gates, states)


def _lstm_backward(kept: Any, wanted: Array) -> tuple[Parameters, Array]:
    """Of the loss by parameters and inputs, from that by the hidden states."""
    parameters, steps, out, gates, states = kept
    last = len(gates) - 1
    by_z: list[Array] = []  # from the last step to the first
    by_hidden = by_cell = jnp.zeros_like(out[0])
    for step in range(last, -1, -1):
        (i, f, g, o), (_, squashed) = gates[step], states[step]
        by_hidden = wanted[step] if step == last else wanted[step] + by_hidden
        by_cell = by_cell + by_hidden * o * (1 - squashed**2)
        by_f = by_cell * states[step - 1][0] * f * (1 - f) if step else jnp.zeros_like(f)
        by_o = by_hidden * squashed * o * (1 - o)
        by_z.append(jnp.concatenate([by_cell * g * i * (1 - i), by_f, by_cell * i * (1 - g**2), by_o], -1))
        if step:
            by_hidden, by_cell = by_z[-1] @ parameters["recurrent"].T, by_cell * f
    whole = jnp.stack(by_z[::-1])

    def product(left: Array, right: Array) -> Array:
        return left.reshape(-1, left.shape[-1]).T @ right.reshape(-1, right.shape[-1])

    changes = {
        "input": product(steps, whole),
        "recurrent": product(out[:-1], whole[1:]),
        "bias": whole.sum((0, 1)),
    }
    return changes, whole @ parameters["input"].T


_lstm.defvjp(_lstm_forward, _lstm_backward)


def _uniform(key: Array, shape: tuple[int, int], gain: float) -> Array:
    # Not orthogonal: on a CPU a batched QR inside a jitted function waits for pool threads that wait for it.
    limit = gain * (3.0 / shape[0]) ** 0.5
    return jax.random.uniform(key, shape, minval=-limit, maxval=limit)
