"""A policy's network inside compiled code."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from edgewright.learning.inference import NumpyNetwork
from edgewright.learning.perceptron import Floats


class Plain(NamedTuple):
    """A perceptron that all agents share, without memory."""

    mean: Floats  # [O] of the normaliser; empty where there is none
    scale: Floats  # [O]
    layers: tuple[tuple[Floats, Floats], ...]  # weight [in, out], bias [out]
    relu: bool  # else tanh


def plain(network: NumpyNetwork) -> Plain | None:
    """None where it is of another kind."""
    if network.card.network is None or network.networks > 1 or network.window > 1 or network.network.lstm:
        return None
    nothing = np.empty(0, np.float32)
    return Plain(
        *(network.normaliser or (nothing, nothing)), tuple(network.layers), network.network.activation == "relu"
    )


@njit(error_model="numpy")
def normalised(x: Floats, mean: Floats, scale: Floats) -> Floats:
    """[A, O] -> [A, O]"""
    if mean.size:
        x = np.minimum(np.maximum((x - mean) * scale, np.float32(-10)), np.float32(10))
    return x


@njit(error_model="numpy")
def forward(x: Floats, layers: tuple[tuple[Floats, Floats], ...], relu: bool) -> Floats:
    """[A, in] -> [A, out]"""
    for n in range(len(layers)):
        weight, bias = layers[n]
        out = np.dot(x, weight) + bias
        if n < len(layers) - 1:
            out = np.maximum(out, np.float32(0)) if relu else np.tanh(out)
        x = out
    return x
