"""A multilayer perceptron in few numpy calls is the plain formula."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from edgewright.learning.perceptron import Perceptron


def plain(layers, activation, x):
    for i, (weight, bias) in enumerate(layers):
        x = x @ weight + bias
        if i < len(layers) - 1:
            x = np.tanh(x) if activation == "tanh" else np.maximum(x, 0)
    return x


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("lead", [(), (3,)], ids=["one", "three"])
def test_is_the_plain_formula_for_any_number_of_rows(activation, lead):
    rng = np.random.default_rng(0)
    widths = (5, 8, 4, 2)
    layers = [
        (rng.normal(size=(*lead, a, b)).astype(np.float32), rng.normal(size=(*lead, 1, b)).astype(np.float32))
        for a, b in pairwise(widths)
    ]
    network = Perceptron(layers, activation)
    for rows in (1, 4, 1):
        x = rng.normal(size=(*lead, rows, 5)).astype(np.float32)
        np.testing.assert_allclose(network(x), plain(layers, activation, x), rtol=1e-4, atol=1e-5)


def test_an_infinite_input_spoils_nothing_but_what_it_reaches():
    rng = np.random.default_rng(1)
    layers = [(rng.normal(size=(3, 8)), rng.normal(size=8)), (rng.normal(size=(8, 2)), rng.normal(size=2))]
    x = np.array([[np.inf, 0.0, 1.0], [0.5, 0.5, 0.5]])
    with np.errstate(invalid="ignore"):
        found = Perceptron(layers, "tanh")(x)
    np.testing.assert_allclose(found, plain(layers, "tanh", np.array([[1e9, 0.0, 1.0], x[1]])), rtol=1e-5)
