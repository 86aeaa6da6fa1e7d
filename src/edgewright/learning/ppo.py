"""Proximal policy optimisation with generalised advantages, for discrete and continuous actions.

Shapes: G networks, T rollout steps, N = E*K columns (environments by agents of one network).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from edgewright.core.contracts import Box, Twin
from edgewright.core.errors import InputError
from edgewright.learning.card import Network
from edgewright.learning.config import PpoConfig
from edgewright.learning.episodes import Episodes, Groups, Statistics, begin, move, renew, slide
from edgewright.learning.learner import draw_allowed, masked_argmax
from edgewright.learning.networks import forward, initialise

Array = Any

_LIMIT = 10.0  # of a normalised observation


class Normaliser(NamedTuple):
    """Running moments of the observations, float32[O]; Chan et al. 1979."""

    mean: Array
    variance: Array
    count: Array

    def __call__(self, observation: Array) -> Array:
        return jnp.clip((observation - self.mean) * jax.lax.rsqrt(self.variance + 1e-8), -_LIMIT, _LIMIT)

    def updated(self, observations: Array) -> Normaliser:
        """With float32[B, O] more."""
        count = observations.shape[0]
        total = self.count + count
        change = observations.mean(0) - self.mean
        moments = self.variance * self.count + observations.var(0) * count + change**2 * self.count * count / total
        return Normaliser(self.mean + change * count / total, moments / total, total)


class PpoState(NamedTuple):
    """Leaves of all but the episodes have a leading axis G."""

    actor: Any  # {"network", "log_std" for Box}
    critic: Any
    optimizers: Any
    normaliser: Normaliser
    episodes: Episodes
    statistics: Statistics


class Rollout(NamedTuple):
    """[T, G, N, ...] as it is collected, [B, ...] in a minibatch."""

    window: Array
    action: Array  # int32, or float32[..., D] before it is brought into bounds
    mask: Array
    log_probability: Array
    observation: Array  # reached, before any reset
    reward: Array
    terminated: Array
    ended: Array


class Samples(NamedTuple):
    window: Array
    action: Array
    mask: Array
    log_probability: Array
    value: Array
    advantage: Array
    target: Array


class Ppo:
    def __init__(self, twin: Twin, config: PpoConfig) -> None:
        self.twin, self.config, self.window = twin, config, config.window
        self.groups = Groups.of(twin, config.share_parameters)
        self.steps_per_round = config.environments * config.rollout
        self.collected = self.steps_per_round * self.groups.agents
        if self.collected % config.batch_size:
            raise InputError(
                "batch_size", config.batch_size, f"a divisor of the {self.collected} transitions of a rollout"
            )
        self.box = twin.spec.action if isinstance(twin.spec.action, Box) else None
        outputs = self.box.size if self.box else twin.spec.action.n  # type: ignore[union-attr]
        shape = {
            "observation_size": twin.spec.observation_size,
            "activation": config.activation,
            "window": config.window,
            "lstm": config.lstm,
            "lstm_layers": config.lstm_layers,
        }
        self.network = Network(outputs=outputs, hidden=config.hidden, **shape)  # type: ignore[arg-type]
        critic_hidden = config.hidden if config.critic_hidden is None else config.critic_hidden
        self.critic = Network(outputs=1, hidden=critic_hidden, **shape)  # type: ignore[arg-type]
        critic_rate = config.critic_learning_rate or config.learning_rate
        # One flat vector: a few operations a minibatch instead of a few for every layer.
        self.optimizers = tuple(
            optax.flatten(optax.chain(optax.clip_by_global_norm(config.max_gradient_norm), optax.adam(rate, eps=1e-5)))
            for rate in (config.learning_rate, critic_rate)
        )

    def begin(self, key: Array) -> PpoState:
        network_key, episode_key = jax.random.split(key)

        def one(key: Array) -> tuple[Any, Any]:
            actor_key, critic_key = jax.random.split(key)
            actor = {"network": initialise(self.network, actor_key, output_gain=0.01)}
            if self.box:
                actor["log_std"] = jnp.full(self.box.size, self.config.initial_log_std)
            return actor, initialise(self.critic, critic_key)

        networks = self.groups.networks
        actor, critic = jax.vmap(one)(jax.random.split(network_key, networks))
        shape = (networks, self.twin.spec.observation_size)
        return PpoState(
            actor=actor,
            critic=critic,
            optimizers=(jax.vmap(self.optimizers[0].init)(actor), jax.vmap(self.optimizers[1].init)(critic)),
            normaliser=Normaliser(jnp.zeros(shape), jnp.ones(shape), jnp.full(networks, 1e-4)),
            episodes=begin(self.twin, episode_key, self.config.environments, self.window),
            statistics=Statistics.zero(),
        )

    def round(self, state: PpoState, key: Array, index: Array) -> PpoState:
        roll_key, learn_key = jax.random.split(key)

        def step(carry: tuple[Episodes, Statistics], key: Array) -> tuple[tuple[Episodes, Statistics], Rollout]:
            episodes, statistics = carry
            choose_key, move_key, renew_key = jax.random.split(key, 3)
            split = self.groups.split
            windows, masks = split(episodes.window), split(episodes.mask)
            keys = jax.random.split(choose_key, self.groups.networks)
            chosen, log_probability = jax.vmap(self._sample)(keys, state.actor, state.normaliser, windows, masks)
            after, moved = move(self.twin, move_key, episodes, self._bounded(self.groups.join(chosen)))
            shape = moved.reward.shape
            rollout = Rollout(
                windows,
                chosen,
                masks,
                log_probability,
                *(
                    split(x)
                    for x in (
                        moved.observation,
                        moved.reward,
                        jnp.broadcast_to(moved.terminated[:, None], shape),
                        jnp.broadcast_to(moved.ended[:, None], shape),
                    )
                ),
            )
            episodes = renew(self.twin, renew_key, after, moved.ended, self.window)
            return (episodes, statistics.with_episodes(moved)), rollout

        (episodes, statistics), rollout = jax.lax.scan(
            step, (state.episodes, state.statistics), jax.random.split(roll_key, self.config.rollout)
        )
        rollout = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), rollout)
        keys = jax.random.split(learn_key, self.groups.networks)
        actor, critic, optimizers, normaliser, loss = jax.vmap(self._learn)(
            keys, state.actor, state.critic, state.optimizers, state.normaliser, rollout
        )
        return PpoState(actor, critic, optimizers, normaliser, episodes, statistics.with_loss(loss.mean()))

    def policy(self, state: PpoState) -> Any:
        policy = dict(state.actor)
        if self.config.normalise_observations:
            policy["normaliser"] = {"mean": state.normaliser.mean, "variance": state.normaliser.variance}
        return policy

    def greedy(self, policy: Any, window: Array, mask: Array) -> Array:
        def outputs(policy: Any, window: Array) -> Array:
            if "normaliser" in policy:
                moments = policy["normaliser"]
                window = self._normalised(Normaliser(moments["mean"], moments["variance"], jnp.zeros(())), window)
            return forward(self.network, policy["network"], window)

        values = self.groups.join(jax.vmap(outputs)(policy, self.groups.split(window)))
        return self._bounded(values) if self.box else masked_argmax(values, mask)

    def _learn(
        self, key: Array, actor: Any, critic: Any, optimizers: Any, normaliser: Normaliser, rollout: Rollout
    ) -> tuple[Any, Any, Any, Normaliser, Array]:
        """Epochs of minibatches on one network's rollout [T, N, ...]."""
        config = self.config
        windows = self._normalised(normaliser, rollout.window)
        reached = self._normalised(normaliser, slide(rollout.window, rollout.observation))
        values, following = (forward(self.critic, critic, x)[..., 0] for x in (windows, reached))
        advantages = _advantages(rollout, values, following, config.gamma, config.gae_lambda)
        samples = jax.tree.map(
            lambda x: x.reshape(self.collected, *x.shape[2:]),
            Samples(
                windows,
                rollout.action,
                rollout.mask,
                rollout.log_probability,
                values,
                advantages,
                advantages + values,
            ),
        )

        def epoch(carry: Any, key: Array) -> tuple[Any, Array]:
            order = jax.random.permutation(key, self.collected).reshape(-1, config.batch_size)
            return jax.lax.scan(minibatch, carry, order)

        def minibatch(carry: Any, chosen: Array) -> tuple[Any, Array]:
            actor, critic, (actor_memory, critic_memory) = carry
            batch = jax.tree.map(lambda x: x[chosen], samples)
            loss, (actor_gradient, critic_gradient) = jax.value_and_grad(self._loss, (0, 1))(actor, critic, batch)
            change, actor_memory = self.optimizers[0].update(actor_gradient, actor_memory, actor)
            actor = optax.apply_updates(actor, change)
            change, critic_memory = self.optimizers[1].update(critic_gradient, critic_memory, critic)
            critic = optax.apply_updates(critic, change)
            return (actor, critic, (actor_memory, critic_memory)), loss

        carry, losses = jax.lax.scan(epoch, (actor, critic, optimizers), jax.random.split(key, config.epochs))
        if config.normalise_observations:
            size = self.network.observation_size
            normaliser = normaliser.updated(rollout.window[..., -size:].reshape(-1, size))
        return *carry, normaliser, losses.mean()

    def _loss(self, actor: Any, critic: Any, batch: Samples) -> Array:
        config = self.config
        outputs = forward(self.network, actor["network"], batch.window)
        log_probability, entropy = self._judge(actor, outputs, batch.mask, batch.action)
        advantage = batch.advantage
        if config.normalise_advantages:
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        ratio = jnp.exp(log_probability - batch.log_probability)
        clipped = jnp.clip(ratio, 1 - config.clip, 1 + config.clip)
        gain = jnp.minimum(ratio * advantage, clipped * advantage).mean()
        value = forward(self.critic, critic, batch.window)[..., 0]
        error = jnp.square(value - batch.target)
        if config.value_clip is not None:
            near = batch.value + jnp.clip(value - batch.value, -config.value_clip, config.value_clip)
            error = jnp.maximum(error, jnp.square(near - batch.target))
        loss = 0.5 * error.mean() - gain
        return loss - config.entropy * entropy.mean() if config.entropy else loss

    def _sample(self, key: Array, actor: Any, normaliser: Normaliser, window: Array, mask: Array) -> Any:
        """[N, W*O] -> action [N] or [N, D], log-probability [N]"""
        outputs = forward(self.network, actor["network"], self._normalised(normaliser, window))
        if self.box:
            action = outputs + jnp.exp(actor["log_std"]) * jax.random.normal(key, outputs.shape)
        else:
            action = draw_allowed(key, outputs, mask)
        return action, self._judge(actor, outputs, mask, action)[0]

    def _judge(self, actor: Any, outputs: Array, mask: Array, action: Array) -> tuple[Array, Array]:
        """Log-probability and entropy. The Jacobian of `tanh` cancels in the ratio and is left out."""
        if self.box:
            log_std = actor["log_std"]
            deviation = (action - outputs) * jnp.exp(-log_std)
            log_probability = -(0.5 * deviation**2 + log_std + 0.5 * jnp.log(2 * jnp.pi)).sum(-1)
            return log_probability, (log_std + 0.5 * jnp.log(2 * jnp.pi * jnp.e)).sum()
        # Large and finite: a masked action has probability 0 and takes no part in the entropy.
        logs = jax.nn.log_softmax(jnp.where(mask, outputs, -1e9))
        log_probability = jnp.take_along_axis(logs, action[..., None], -1)[..., 0]
        return log_probability, -(jnp.exp(logs) * jnp.where(mask, logs, 0.0)).sum(-1)

    def _bounded(self, action: Array) -> Array:
        if self.box is None:
            return action
        unit = jnp.tanh(action) if self.config.squash == "tanh" else jnp.clip(action, -1.0, 1.0)
        return self.box.low + (unit + 1.0) * ((self.box.high - self.box.low) / 2)

    def _normalised(self, normaliser: Normaliser, window: Array) -> Array:
        if not self.config.normalise_observations:
            return window
        steps = window.reshape(*window.shape[:-1], self.window, -1)
        return normaliser(steps).reshape(window.shape)


def _advantages(rollout: Rollout, values: Array, following: Array, gamma: float, decay: float) -> Array:
    """GAE (Schulman et al. 2016, eq. 16), [T, N]. A termination stops the bootstrap, any end the sum."""
    errors = rollout.reward + gamma * jnp.where(rollout.terminated, 0.0, following) - values

    def step(later: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        error, ended = now
        advantage = error + gamma * decay * jnp.where(ended, 0.0, later)
        return advantage, advantage

    _, advantages = jax.lax.scan(step, jnp.zeros_like(errors[0]), (errors, rollout.ended), reverse=True)
    return advantages
