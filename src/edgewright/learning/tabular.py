"""Q-learning with a table over binned observations."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from edgewright.core.contracts import Twin
from edgewright.core.errors import InputError
from edgewright.learning.config import TabularConfig
from edgewright.learning.episodes import Episodes, Groups, Statistics, begin, move, renew
from edgewright.learning.learner import discrete_actions, epsilon_at, epsilon_greedy, masked_argmax, masked_max

Array = Any


class TabularState(NamedTuple):
    table: Array  # float32[G, states, n]
    episodes: Episodes
    statistics: Statistics


class Tabular:
    def __init__(self, twin: Twin, config: TabularConfig) -> None:
        self.twin, self.config = twin, config
        self.actions = discrete_actions(twin, config.algorithm)
        if len(config.bins) != twin.spec.observation_size:
            raise InputError("bins", config.bins, f"{twin.spec.observation_size} counts, one per observation entry")
        self.groups = Groups.of(twin, config.share_parameters)
        self.steps_per_round, self.window, self.network = config.environments, 1, None

    def begin(self, key: Array) -> TabularState:
        table = jnp.zeros((self.groups.networks, math.prod(self.config.bins), self.actions))
        episodes = begin(self.twin, key, self.config.environments, 1)
        return TabularState(table, episodes, Statistics.zero())

    def round(self, state: TabularState, key: Array, index: Array) -> TabularState:
        choose_key, move_key, renew_key = jax.random.split(key, 3)
        before, split = state.episodes, self.groups.split
        epsilon = epsilon_at(self.config, index * self.config.environments)
        values = self._values(state.table, before.window)
        action = epsilon_greedy(choose_key, values, before.mask, epsilon)
        after, moved = move(self.twin, move_key, before, action)
        following = masked_max(self._values(state.table, after.window), moved.mask)
        wanted = moved.reward + self.config.gamma * jnp.where(moved.terminated[:, None], 0.0, following)
        error = wanted - jnp.take_along_axis(values, action[..., None], -1)[..., 0]
        cells = split(self._cells(before.window))

        def learn(table: Array, cells: Array, action: Array, error: Array) -> Array:
            # The mean over transitions of one cell: a step no larger than the learning rate.
            visits = jnp.zeros_like(table).at[cells, action].add(1.0)
            return table + self.config.learning_rate * (
                jnp.zeros_like(table).at[cells, action].add(error) / jnp.maximum(visits, 1.0)
            )

        table = jax.vmap(learn)(state.table, cells, split(action), split(error))
        episodes = renew(self.twin, renew_key, after, moved.ended, 1)
        statistics = state.statistics.with_episodes(moved).with_loss(jnp.square(error).mean())
        return TabularState(table, episodes, statistics)

    def policy(self, state: TabularState) -> Any:
        return {"table": state.table}

    def greedy(self, policy: Any, window: Array, mask: Array) -> Array:
        return masked_argmax(self._values(policy["table"], window), mask)

    def _values(self, table: Array, observation: Array) -> Array:
        """float32[E, A, O] -> float32[E, A, n]"""
        cells = self.groups.split(self._cells(observation))
        return self.groups.join(jax.vmap(lambda t, c: t[c])(table, cells))

    def _cells(self, observation: Array) -> Array:
        """float32[..., O] -> int32[...]"""
        config = self.config
        bins = jnp.asarray(config.bins)
        low, high = jnp.asarray(config.low), jnp.asarray(config.high)
        cell = jnp.clip(((observation - low) * (bins / (high - low))).astype(jnp.int32), 0, bins - 1)
        strides = [math.prod(config.bins[i + 1 :]) for i in range(len(config.bins))]
        return (cell * jnp.asarray(strides)).sum(-1)
