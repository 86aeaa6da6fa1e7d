"""A recurrent layer, with gates in the order input, forget, cell, output (Hochreiter and Schmidhuber 1997; Gers 2000).

parameters: input float32[I, 4U], recurrent float32[U, 4U], bias float32[4U].
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from edgewright.learning import lstm_cpu

Array = Any
Parameters = Any


def lstm(parameters: Parameters, steps: Array) -> Array:
    """Hidden states, float32[W, B, U], from inputs float32[W, B, I]. On a CPU it can be differentiated once."""
    if jax.default_backend() != "cpu":
        return scanned(parameters, steps)
    parameters, steps = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), (parameters, steps))
    units = len(parameters["recurrent"])
    wanted = {"input": (steps.shape[-1], 4 * units), "recurrent": (units, 4 * units), "bias": (4 * units,)}
    given = {name: parameters[name].shape for name in wanted}
    if given != wanted or steps.ndim != 3:
        raise ValueError(f"steps {steps.shape} and {given}: an LSTM takes steps [W, B, I] and {wanted}")
    return _on_a_cpu({name: parameters[name] for name in wanted}, steps)


def scanned(parameters: Parameters, steps: Array) -> Array:
    """As the textbook has it, for any device."""

    def advance(memory: tuple[Array, Array], x: Array) -> tuple[tuple[Array, Array], Array]:
        hidden, cell = memory
        i, f, g, o = jnp.split(x + hidden @ parameters["recurrent"], 4, axis=-1)
        cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
        return (hidden, cell), hidden

    nothing = jnp.zeros((steps.shape[1], parameters["recurrent"].shape[0]))
    return jax.lax.scan(advance, (nothing, nothing), steps @ parameters["input"] + parameters["bias"])[1]


@jax.custom_vjp
def _on_a_cpu(parameters: Parameters, steps: Array) -> Array:
    return _forward(parameters, steps)[0]


def _forward(parameters: Parameters, steps: Array) -> tuple[Array, Any]:
    weights = (parameters["input"], parameters["recurrent"], parameters["bias"])
    units, shape = len(parameters["recurrent"]), steps.shape[:2]
    sizes = [(*shape, units), (*shape, 4 * units), (*shape, units)]
    hidden, gates, cells = lstm_cpu.call(lstm_cpu.FORWARD, sizes, *weights, steps)
    return hidden, (*weights[:2], steps, hidden, gates, cells)


def _backward(kept: Any, wanted: Array) -> tuple[Parameters, Array]:
    input_, recurrent, _, _, gates, _ = kept
    sizes = [input_.shape, recurrent.shape, recurrent.shape[1:], gates.shape]
    by_input, by_recurrent, by_bias, by_z = lstm_cpu.call(lstm_cpu.BACKWARD, sizes, *kept[1:], wanted)
    # Left to XLA, which leaves it out where nobody asks.
    return {"input": by_input, "recurrent": by_recurrent, "bias": by_bias}, by_z @ input_.T


_on_a_cpu.defvjp(_forward, _backward)
