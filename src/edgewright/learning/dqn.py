"""Deep Q-networks (double, dueling) and Deep SARSA: one loop, two bootstraps.

A transition is one float32 row, so that a batch is one gather:
window | next observation | reward | discount | action | next mask | next action (SARSA).
`discount` is gamma, or 0 where the twin terminated; a truncated episode bootstraps from the observation it ended on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from edgewright.core.contracts import Twin
from edgewright.learning.card import Network
from edgewright.learning.config import DqnConfig, SarsaConfig, ValueConfig
from edgewright.learning.episodes import Episodes, Groups, Moved, Statistics, begin, move, renew, slide
from edgewright.learning.learner import (
    discrete_actions,
    epsilon_at,
    epsilon_greedy,
    masked_argmax,
    masked_max,
)
from edgewright.learning.networks import forward, initialise

Array = Any


class ValueState(NamedTuple):
    """Leaves of the networks, the optimiser and the replay have a leading axis G (networks)."""

    online: Any
    target: Any
    optimizer: Any
    replay: Array  # float32[G, C, row]
    episodes: Episodes
    action: Array  # int32[E, A], chosen and not yet taken (SARSA)
    statistics: Statistics


class Batch(NamedTuple):
    window: Array  # float32[B, W*O]
    next_window: Array  # float32[B, W*O]
    reward: Array  # float32[B]
    discount: Array  # float32[B]
    action: Array  # int32[B]
    next_mask: Array  # bool[B, n]
    next_action: Array  # int32[B]


class ValueLearner:
    """DQN or Deep SARSA, as the configuration says."""

    def __init__(self, twin: Twin, config: ValueConfig) -> None:
        self.twin, self.config = twin, config
        self.actions = discrete_actions(twin, config.algorithm)
        self.on_policy = isinstance(config, SarsaConfig)
        self.double = isinstance(config, DqnConfig) and config.double
        self.groups = Groups.of(twin, config.share_parameters)
        self.window = config.window
        self.steps_per_round = config.environments
        self.network = Network(
            observation_size=twin.spec.observation_size,
            outputs=self.actions,
            hidden=config.hidden,
            activation=config.activation,
            window=config.window,
            lstm=config.lstm,
            lstm_layers=config.lstm_layers,
            dueling=config.dueling,
        )
        self.rows_per_round = config.environments * self.groups.agents
        # A whole number of rounds, at least the batch's worth of one: writes never wrap around the end.
        self.capacity = -(-config.replay_size // self.rows_per_round) * self.rows_per_round
        step = optax.adam(config.learning_rate)
        if config.optimizer == "adamw":
            step = optax.adamw(config.learning_rate, weight_decay=config.weight_decay)
        self.optimizer = optax.chain(optax.clip_by_global_norm(config.max_gradient_norm), step)

    def begin(self, key: Array) -> ValueState:
        network_key, episode_key, action_key = jax.random.split(key, 3)
        keys = jax.random.split(network_key, self.groups.networks)
        online = jax.vmap(lambda k: initialise(self.network, k))(keys)
        size = self.network.window * self.network.observation_size
        row = size + self.network.observation_size + 3 + self.actions + int(self.on_policy)
        episodes = begin(self.twin, episode_key, self.config.environments, self.window)
        return ValueState(
            online=online,
            target=online,
            optimizer=jax.vmap(self.optimizer.init)(online),
            replay=jnp.zeros((self.groups.networks, self.capacity, row)),
            episodes=episodes,
            action=self._explore(action_key, online, episodes.window, episodes.mask, jnp.zeros(())),
            statistics=Statistics.zero(),
        )

    def round(self, state: ValueState, key: Array, index: Array) -> ValueState:
        choose_key, move_key, renew_key, draw_key = jax.random.split(key, 4)
        config, before = self.config, state.episodes
        step = index * config.environments
        if self.on_policy:
            action = state.action
        else:
            action = self._explore(choose_key, state.online, before.window, before.mask, step)
        after, moved = move(self.twin, move_key, before, action)
        episodes = renew(self.twin, renew_key, after, moved.ended, self.window)

        next_action = state.action
        if self.on_policy:
            # Chosen twice: where the episode ended (a truncated one bootstraps from it) and where the next begins.
            both = jax.tree.map(
                lambda a, b: jnp.concatenate([a, b]), (after.window, after.mask), (episodes.window, episodes.mask)
            )
            at_end, at_start = jnp.split(self._explore(choose_key, state.online, both[0], both[1], step), 2)
            next_action = jnp.where(moved.ended[:, None], at_start, at_end)
            rows = self._rows(before.window, action, moved, at_end)
        else:
            rows = self._rows(before.window, action, moved, None)
        position = index * self.rows_per_round % self.capacity
        replay = jax.lax.dynamic_update_slice_in_dim(state.replay, self.groups.split(rows), position, axis=1)
        state = state._replace(
            replay=replay,
            episodes=episodes,
            action=next_action,
            statistics=state.statistics.with_episodes(moved),
        )
        filled = jnp.minimum((index + 1) * self.rows_per_round, self.capacity)
        due = ((index + 1) % config.update_every == 0) & (step + config.environments >= config.learning_starts)
        networks, loss = jax.lax.cond(
            due,
            lambda: self._update(state, draw_key, filled),
            lambda: ((state.online, state.optimizer), jnp.zeros(())),
        )
        online, optimizer = networks
        target = jax.lax.cond(
            (index + 1) % config.target_every == 0,
            lambda: optax.incremental_update(online, state.target, config.target_tau),
            lambda: state.target,
        )
        statistics = state.statistics.with_loss(loss, due)
        return state._replace(online=online, optimizer=optimizer, target=target, statistics=statistics)

    def policy(self, state: ValueState) -> Any:
        return {"network": state.online}

    def greedy(self, policy: Any, window: Array, mask: Array) -> Array:
        return masked_argmax(self._values(policy["network"], window), mask)

    def _values(self, parameters: Any, window: Array) -> Array:
        """float32[E, A, W*O] -> float32[E, A, n]"""
        values = jax.vmap(lambda p, x: forward(self.network, p, x))(parameters, self.groups.split(window))
        return self.groups.join(values)

    def _explore(self, key: Array, parameters: Any, window: Array, mask: Array, step: Array) -> Array:
        return epsilon_greedy(key, self._values(parameters, window), mask, epsilon_at(self.config, step))

    def _rows(self, window: Array, action: Array, moved: Moved, next_action: Array | None) -> Array:
        """float32[E, A, row]"""
        discount = jnp.where(moved.terminated, 0.0, self.config.gamma)[:, None]
        columns = [moved.reward, jnp.broadcast_to(discount, action.shape), action.astype(jnp.float32)]
        parts = [window, moved.observation, jnp.stack(columns, -1), moved.mask.astype(jnp.float32)]
        if next_action is not None:
            parts.append(next_action[..., None].astype(jnp.float32))
        return jnp.concatenate(parts, -1)

    def _unpack(self, rows: Array) -> Batch:
        """float32[B, row] -> Batch"""
        size, observed = self.network.window * self.network.observation_size, self.network.observation_size
        window, rest = rows[:, :size], rows[:, size:]
        reward, discount, action = rest[:, observed], rest[:, observed + 1], rest[:, observed + 2]
        mask = rest[:, observed + 3 : observed + 3 + self.actions] > 0.5
        next_window = slide(window, rest[:, :observed])
        return Batch(
            window, next_window, reward, discount, action.astype(jnp.int32), mask, rest[:, -1].astype(jnp.int32)
        )

    def _update(self, state: ValueState, key: Array, filled: Array) -> tuple[Any, Array]:
        """Gradient steps of every network on its own transitions, drawn with replacement."""

        def one(key: Array, networks: Any, target: Any, replay: Array) -> tuple[Any, Array]:
            online, memory = networks
            chosen = jax.random.randint(key, (self.config.batch_size,), 0, filled)
            loss, gradient = jax.value_and_grad(self._loss)(online, target, self._unpack(replay[chosen]))
            change, memory = self.optimizer.update(gradient, memory, online)
            return (optax.apply_updates(online, change), memory), loss

        def step(networks: Any, key: Array) -> tuple[Any, Array]:
            keys = jax.random.split(key, self.groups.networks)
            networks, loss = jax.vmap(one)(keys, networks, state.target, state.replay)
            return networks, loss.mean()

        networks, losses = jax.lax.scan(
            step, (state.online, state.optimizer), jax.random.split(key, self.config.gradient_steps)
        )
        return networks, losses.mean()

    def _loss(self, online: Any, target: Any, batch: Batch) -> Array:
        values = forward(self.network, online, batch.window)
        chosen = _pick(values, batch.action)
        following = forward(self.network, target, batch.next_window)
        if self.on_policy:
            bootstrap = _pick(following, batch.next_action)
        elif self.double:
            judged = forward(self.network, online, batch.next_window)
            bootstrap = _pick(following, masked_argmax(judged, batch.next_mask))
        else:
            bootstrap = masked_max(following, batch.next_mask)
        # After a terminal state nothing follows, even where no action is allowed there (-inf).
        following_value = jnp.where(batch.discount > 0, batch.discount * bootstrap, 0.0)
        wanted = jax.lax.stop_gradient(batch.reward + following_value)
        if self.config.loss == "huber":
            return jnp.asarray(optax.huber_loss(chosen, wanted).mean())
        return jnp.square(chosen - wanted).mean()


def _pick(values: Array, action: Array) -> Array:
    return jnp.take_along_axis(values, action[:, None], axis=-1)[:, 0]
