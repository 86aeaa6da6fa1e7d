"""A multilayer perceptron on a few rows, with as few numpy calls as can be: those are what a decision costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Perceptron:
    """G networks of the same shape, K rows each: float32[G, K, in] -> float32[G, K, out]; without G where it is one.

    layers: weight float32[G, in, out] and bias float32[G, out] or [G, 1, out] each (without G where it is one);
    the activation follows each but the last. The answer is overwritten by the next call: it belongs to one thread.
    """

    def __init__(self, layers: Sequence[tuple[Any, Any]], activation: Literal["relu", "tanh"]) -> None:
        self._relu = activation == "relu"
        *hidden, last = layers
        self._matrices = [*(_with_bias(*layer, row=True) for layer in hidden), _with_bias(*last, row=False)]
        self._multiply: Any = np.dot if self._matrices[0].ndim == 2 else np.matmul  # dot costs a third of matmul
        self._buffers: dict[int, list[Floats]] = {}

    def __call__(self, x: Any) -> Floats:
        rows = x.shape[-2]
        buffers = self._buffers.get(rows)
        if buffers is None:
            buffers = self._buffers[rows] = self._make_buffers(rows)
        now = buffers[0]
        now[..., :-1] = x
        last = len(self._matrices)
        for i, matrix in enumerate(self._matrices, 1):
            now = self._multiply(now, matrix, out=buffers[i])
            if i < last:
                if self._relu:
                    np.maximum(now, _ZERO, out=now)
                else:
                    np.tanh(now, out=now)
                now[..., -1] = 1.0
        return now

    def _make_buffers(self, rows: int) -> list[Floats]:
        first = self._matrices[0]
        lead = first.shape[:-2]
        widths = [first.shape[-2], *(matrix.shape[-1] for matrix in self._matrices)]
        return [np.ones((*lead, rows, width), np.float32) for width in widths]


_ZERO = np.zeros((), np.float32)  # an array is taken faster than a number


def _with_bias(weight: Any, bias: Any, row: bool) -> Floats:
    """Weight and bias as one matrix [in + 1, out]: the last input is 1. `row`: with room for the next layer's 1."""
    fan_in, fan_out = weight.shape[-2:]
    matrix = np.zeros((*weight.shape[:-2], fan_in + 1, fan_out + row), np.float32)
    matrix[..., :-1, :fan_out] = weight
    matrix[..., -1, :fan_out] = np.reshape(bias, (*weight.shape[:-2], fan_out))
    return matrix
