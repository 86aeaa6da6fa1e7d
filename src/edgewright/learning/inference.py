"""Running a trained policy with numpy alone (no JAX is imported here or below).

A forward pass reuses its buffers: one `NumpyNetwork` belongs to one thread.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewright.core.contracts import BoolArray, TwinSpec
from edgewright.core.documents import read
from edgewright.core.errors import InputError
from edgewright.learning.card import BoxAction, Card, Network
from edgewright.learning.perceptron import Floats, Perceptron
from edgewright.learning.weights import read_weights


def load_network(path: str | Path, *, spec: TwinSpec | None = None) -> NumpyNetwork:
    """Read `<path>.npz` and `<path>.json`, as `Training.export` wrote them.

    spec: the twin it is to act in. Raises InputError naming what is missing or differs.
    """
    path = Path(path).with_suffix(".npz")
    card = read(Card, path.with_suffix(".json"))
    if spec is not None:
        card.require(spec, source=str(path.with_suffix(".json")))
    return NumpyNetwork(card, read_weights(path), source=str(path))


class NumpyNetwork:
    """A policy's network: observation float32[A, O] -> values float32[A, n].

    The values are Q-values (DQN, SARSA, tabular), logits (PPO, discrete) or the mean action before it is brought
    into its bounds (PPO, Box: [A, D]). With shared parameters A is any number; otherwise that of the card.
    """

    def __init__(self, card: Card, arrays: dict[str, Any], *, source: str) -> None:
        self.card = card
        self.agents = None if card.share_parameters else len(card.agents)
        self.networks = self.agents or 1
        self._arrays, self._source = arrays, source
        self.window = 1
        self._table: _Table | None = None
        if card.network is None:
            self._table = _Table(card, self._take("table", None), source)
            self.outputs = self._table.actions
            return
        network = Network(**card.network.model_dump())
        self.network = network
        self.window, self.outputs = network.window, network.outputs
        layers = [
            (self._take(f"network.layers.{i}.weight", (a, b)), self._take(f"network.layers.{i}.bias", (b,)))
            for i, (a, b) in enumerate(itertools.pairwise(network.widths))
        ]
        if network.dueling:
            weight, bias = layers[-1]
            layers[-1] = _without_dueling(weight), _without_dueling(bias)
        self.layers = layers
        self._perceptron = Perceptron(layers, network.activation)
        if network.lstm:
            gates, above = 4 * network.lstm, range(network.lstm_layers - 1)
            self._lstm = [
                (
                    self._take(f"network.{name}.input", (inputs, gates)),
                    self._take(f"network.{name}.recurrent", (network.lstm, gates)),
                    self._take(f"network.{name}.bias", (gates,)),
                )
                for name, inputs in [
                    ("lstm", network.observation_size),
                    *((f"lstm_above.{layer}", network.lstm) for layer in above),
                ]
            ]
        self.normaliser: tuple[Floats, Floats] | None = None  # mean and scale
        if "normaliser.mean" in arrays:
            shape = (network.observation_size,)
            mean, variance = self._take("normaliser.mean", shape), self._take("normaliser.variance", shape)
            self.normaliser = (mean, 1.0 / np.sqrt(variance + np.float32(1e-8)))
        if isinstance(card.action, BoxAction):
            expected, low, high = card.action.size, card.action.low, card.action.high
            self._half, self._centre = (np.array(value / 2, np.float32) for value in (high - low, high + low))
            self._bounds = np.array(low, np.float32), np.array(high, np.float32)
        else:
            expected = card.action.n
        if network.outputs != expected:
            raise InputError("network.outputs", network.outputs, f"{expected}, as the action has", source=source)
        if network.observation_size != card.observation_size:
            raise InputError(
                "network.observation_size",
                network.observation_size,
                f"{card.observation_size}, as the card has",
                source=source,
            )

    def values(self, observation: Any, memory: Floats | None = None) -> tuple[Floats, Floats | None]:
        """-> values, memory for the next call (None for a window of 1). Start an episode with memory None."""
        observation = np.asarray(observation, np.float32)
        if observation.ndim != 2 or observation.shape[1] != self.card.observation_size:
            raise InputError("observation", observation.shape, f"[agents, {self.card.observation_size}]")
        agents = observation.shape[0]
        if self.agents is not None and agents != self.agents:
            raise InputError("observation", observation.shape, f"{self.agents} agents: {self.card.agents}")
        if self._table is not None:
            return self._table.values(observation), None
        if self.window > 1:
            before = np.zeros((agents, self.window, observation.shape[1]), np.float32) if memory is None else memory
            memory = np.concatenate([before[:, 1:], observation[:, None]], axis=1)
            x: Floats = memory
        else:
            memory, x = None, observation
        if self.normaliser is not None:
            mean, scale = self.normaliser
            if self.networks > 1:
                # One normaliser per agent, whatever the window.
                mean, scale = (v.reshape(agents, *[1] * (x.ndim - 2), -1) for v in (mean, scale))
            x = _clip((x - mean) * scale, *_NORMALISED)
        if self.network.lstm:
            x = self._recur(x)
        x = x.reshape(agents, -1) if self.networks == 1 else x.reshape(self.networks, agents // self.networks, -1)
        return self._perceptron(x).reshape(agents, -1).copy(), memory

    def act(
        self, observation: Any, mask: BoolArray | None = None, memory: Floats | None = None
    ) -> tuple[NDArray[Any], Floats | None]:
        """The greedy action, int64[A] or float32[A, D], and the memory. A masked action is never taken."""
        values, memory = self.values(observation, memory)
        action = self.card.action
        if isinstance(action, BoxAction):
            unit = np.tanh(values) if action.squash == "tanh" else _clip(values, *_UNIT)
            return _clip(unit * self._half + self._centre, *self._bounds), memory  # rounding leaves them
        if mask is not None:
            values[~np.asarray(mask, bool)] = -np.inf
        return values.argmax(-1), memory

    def _recur(self, window: Floats) -> Floats:
        """[A, W, O] -> [A, units], the last hidden state"""
        agents = window.shape[0]
        x: Floats = window
        for weight_in, weight, bias in self._lstm:
            gates = x.reshape(self.networks, -1, x.shape[-1]) @ weight_in + bias
            gates = gates.reshape(agents, self.window, -1)
            hidden = cell = np.zeros((agents, self.network.lstm), np.float32)
            states = []
            for t in range(self.window):
                recurrent = (hidden.reshape(self.networks, -1, hidden.shape[-1]) @ weight).reshape(agents, -1)
                i, f, g, o = np.split(gates[:, t] + recurrent, 4, axis=-1)
                cell = _sigmoid(f) * cell + _sigmoid(i) * np.tanh(g)
                hidden = _sigmoid(o) * np.tanh(cell)
                states.append(hidden)
            x = np.stack(states, axis=1)
        return hidden

    def _take(self, name: str, shape: tuple[int, ...] | None) -> Any:
        """[networks, *shape], without the first axis where one network serves all; biases get a row axis."""
        if name not in self._arrays:
            raise InputError(name, "nothing", "an array of this name", source=self._source)
        if self._arrays[name].dtype.kind not in "fiu":
            raise InputError(name, self._arrays[name].dtype.name, "numbers", source=self._source)
        array = np.ascontiguousarray(self._arrays[name], np.float32)
        if shape is not None and array.shape != (self.networks, *shape):
            raise InputError(name, array.shape, f"{(self.networks, *shape)}, as the card says", source=self._source)
        if not np.isfinite(array).all():
            raise InputError(name, "NaN or infinity", "finite numbers", source=self._source)
        if self.networks == 1:
            return array[0]
        return array[:, None, :] if shape is not None and len(shape) == 1 else array


class _Table:
    """Q-values by the bins an observation falls into."""

    def __init__(self, card: Card, table: Any, source: str) -> None:
        config = card.config
        for field in ("bins", "low", "high"):
            if np.shape(config.get(field, ())) != (card.observation_size,):
                allowed = f"{card.observation_size} numbers, one per entry of the observation"
                raise InputError(f"config.{field}", config.get(field), allowed, source=source)
        self.bins = np.asarray(config["bins"], np.int64)
        self.low = np.asarray(config["low"], np.float32)
        self.scale = (self.bins / (np.asarray(config["high"], np.float32) - self.low)).astype(np.float32)
        self.strides = np.concatenate([np.cumprod(self.bins[::-1])[-2::-1], [1]])
        self.table, self.actions = table, int(table.shape[-1])
        if table.ndim < 2 or table.shape[-2] != self.bins.prod():
            raise InputError("table", table.shape, f"{self.bins.prod()} rows, as config.bins says", source=source)

    def values(self, observation: Floats) -> Floats:
        cells = np.clip(((observation - self.low) * self.scale).astype(np.int64), 0, self.bins - 1)
        state = cells @ self.strides
        found = self.table[state] if self.table.ndim == 2 else self.table[np.arange(len(state)), state]
        return np.array(found)


# Arrays: numpy takes them faster than numbers.
_UNIT = np.array(-1, np.float32), np.array(1, np.float32)
_NORMALISED = np.array(-10, np.float32), np.array(10, np.float32)


def _clip(x: Floats, low: Floats, high: Floats) -> Floats:
    """np.clip in a third of its time, where x is small."""
    clipped: Floats = np.minimum(np.maximum(x, low), high)
    return clipped


def _without_dueling(layer: Any) -> Floats:
    """Weight or bias of a dueling head [..., 1 + n] -> of its Q-values [..., n]: Q = V + A - mean(A) is linear."""
    value, advantage = np.split(np.asarray(layer, np.float64), [1], axis=-1)
    values: Floats = (value + advantage - advantage.mean(-1, keepdims=True)).astype(np.float32)
    return values


def _sigmoid(x: Floats) -> Floats:
    half = np.float32(0.5)
    result: Floats = half * np.tanh(half * x) + half
    return result
