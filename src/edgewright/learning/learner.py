"""What every algorithm offers the training loop, and what the off-policy ones share."""

from __future__ import annotations

from typing import Any, Protocol

import jax
import jax.numpy as jnp

from edgewright.core.contracts import Discrete, Twin
from edgewright.core.errors import InputError
from edgewright.learning.card import Network
from edgewright.learning.config import Config, TabularConfig, ValueConfig

Array = Any
State = Any  # a pytree whose `statistics` the loop reads and clears
Policy = Any  # a pytree: what acts, is kept when best, and is exported


class Learner(Protocol):
    """One seed's training. Pure; the loop vmaps it over seeds."""

    @property
    def steps_per_round(self) -> int:
        """Environment steps, of all environments together."""
        ...

    @property
    def window(self) -> int: ...

    @property
    def network(self) -> Network | None:
        """Of the policy; None for a table."""
        ...

    def begin(self, key: Array) -> State: ...

    def round(self, state: State, key: Array, index: Array) -> State:
        """`index` counts rounds and is the same for all seeds (not batched), so that `lax.cond` on it branches."""
        ...

    def policy(self, state: State) -> Policy: ...

    def greedy(self, policy: Policy, window: Array, mask: Array) -> Array:
        """float32[E, A, W*O], bool[E, A, n] -> action [E, A] or [E, A, D]"""
        ...


def learner(twin: Twin, config: Config) -> Learner:
    """The algorithm of that configuration."""
    from edgewright.learning import dqn, ppo, tabular

    if isinstance(config, TabularConfig):
        return tabular.Tabular(twin, config)
    if isinstance(config, ValueConfig):
        return dqn.ValueLearner(twin, config)
    return ppo.Ppo(twin, config)


def discrete_actions(twin: Twin, algorithm: str) -> int:
    """The number of actions. Raises InputError for a twin with continuous actions."""
    if not isinstance(twin.spec.action, Discrete):
        raise InputError("twin.spec.action", twin.spec.action, f"Discrete, for {algorithm}")
    return twin.spec.action.n


def masked_max(values: Array, mask: Array) -> Array:
    """Highest value among allowed actions: [..., n] -> [...]"""
    return jnp.where(mask, values, -jnp.inf).max(-1)


def masked_argmax(values: Array, mask: Array) -> Array:
    """Best allowed action: [..., n] -> int32[...]"""
    return jnp.where(mask, values, -jnp.inf).argmax(-1).astype(jnp.int32)


def draw_allowed(key: Array, logits: Array, mask: Array) -> Array:
    """From the softmax of the allowed actions: [..., n] -> int32[...]

    By one random number a row: one for each action, as Gumbel's maximum takes, costs more than the network.
    """
    highest = masked_max(logits, mask)[..., None]
    below = jnp.cumsum(jnp.where(mask, jnp.exp(logits - highest), 0.0), -1)
    level = jax.random.uniform(key, (*logits.shape[:-1], 1)) * masked_max(below, mask)[..., None]
    reached = (below > level) & mask
    # Of logits that are no numbers nothing is reached.
    return jnp.where(reached.any(-1), reached.argmax(-1), mask.argmax(-1)).astype(jnp.int32)


def epsilon_greedy(key: Array, values: Array, mask: Array, epsilon: Array) -> Array:
    """Uniform over the allowed actions with probability epsilon, else the best allowed: [..., n] -> int32[...]"""
    uniform = jax.random.uniform(key, (*values.shape[:-1], values.shape[-1] + 1))
    explore, lottery = uniform[..., 0] < epsilon, uniform[..., 1:]
    return masked_argmax(jnp.where(explore[..., None], lottery, values), mask)


def epsilon_at(config: ValueConfig | TabularConfig, step: Array) -> Array:
    start, end = config.epsilon_start, config.epsilon_end
    if config.epsilon_decay == "linear":
        return start + (end - start) * jnp.clip(step / config.epsilon_steps, 0.0, 1.0)
    return end + (start - end) * jnp.exp(-step / config.epsilon_steps)
