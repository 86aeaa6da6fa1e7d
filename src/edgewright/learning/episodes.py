"""Episodes of a twin in parallel environments: windows of observations, autoreset, running returns.

Shapes: E environments, A agents, W window, O observation size, n actions (1 for Box).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from edgewright.core.contracts import Twin
from edgewright.learning.parts import Parts

Array = Any


class Episodes(NamedTuple):
    """Where E environments stand."""

    state: Any  # pytree [E, ...]
    params: Any  # pytree [E, ...]
    window: Array  # float32[E, A, W*O], oldest observation first, zeros before the start
    mask: Array  # bool[E, A, n]
    gain: Array  # float32[E], return so far, mean over agents


class Moved(NamedTuple):
    """What one step brought, before any reset."""

    observation: Array  # float32[E, A, O]
    mask: Array  # bool[E, A, n], of the state reached
    reward: Array  # float32[E, A]
    terminated: Array  # bool[E]
    truncated: Array  # bool[E]
    gain: Array  # float32[E], the episode's return up to and with this step

    @property
    def ended(self) -> Array:
        return self.terminated | self.truncated


def begin(twin: Twin, key: Array, environments: int, window: int) -> Episodes:
    """Start every environment on a scenario of its own."""
    return _begin(twin, jax.random.split(key, environments), window)


def begin_on(twin: Twin, keys: Array, params: Any, window: int) -> Episodes:
    """Start on given scenarios: keys [E], params pytree [E, ...]."""
    state, observation = jax.vmap(twin.reset)(keys, params)
    mask = jax.vmap(twin.mask)(state, params)
    padding = ((0, 0), (0, 0), ((window - 1) * twin.spec.observation_size, 0))
    return Episodes(state, params, jnp.pad(observation, padding), mask, jnp.zeros(len(keys)))


def _begin(twin: Twin, keys: Array, window: int) -> Episodes:
    sample_keys, reset_keys = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
    return begin_on(twin, reset_keys, jax.vmap(twin.sample)(sample_keys), window)


def slide(window: Array, observation: Array) -> Array:
    """Drop the oldest observation of [..., W*O], append the newest [..., O]."""
    return jnp.concatenate([window[..., observation.shape[-1] :], observation], axis=-1)


def move(twin: Twin, key: Array, episodes: Episodes, action: Array) -> tuple[Episodes, Moved]:
    """One step of every environment; an ended episode stays where it ended (see `renew`)."""
    keys = jax.random.split(key, episodes.gain.shape[0])
    state, observation, reward, terminated, truncated, _ = jax.vmap(twin.step)(
        keys, episodes.state, action, episodes.params
    )
    mask = jax.vmap(twin.mask)(state, episodes.params)
    gain = episodes.gain + reward.mean(-1)
    moved = Moved(observation, mask, reward, terminated, truncated, gain)
    return Episodes(state, episodes.params, slide(episodes.window, observation), mask, gain), moved


def renew(twin: Twin, key: Array, episodes: Episodes, ended: Array, window: int) -> Episodes:
    """Replace ended episodes by new ones, each with newly drawn params.

    Drawing is skipped when nothing ended, over all seeds at once: under vmap a plain `lax.cond` would
    become a select that draws at every step, hence the batching rule.
    """

    parts, arrays = Parts.of(twin)  # which the function below must not close over where they are traced

    @jax.custom_batching.custom_vmap
    def renewed(arrays: Sequence[Array], keys: Array, ended: Array, episodes: Episodes) -> Episodes:
        def draw() -> Episodes:
            fresh = _begin(parts.with_arrays(arrays), keys, window)
            kept: Episodes = jax.tree.map(lambda new, old: _where(ended, new, old), fresh, episodes)
            return kept

        chosen: Episodes = jax.lax.cond(ended.any(), draw, lambda: episodes)
        return chosen

    @renewed.def_vmap
    def _(size: int, batched: Any, arrays: Sequence[Array], *of_seeds: Any) -> Any:
        def merge(x: Array, is_batched: bool) -> Array:
            x = x if is_batched else jnp.broadcast_to(x[None], (size, *x.shape))
            return x.reshape(-1, *x.shape[2:])

        merged = jax.tree.map(merge, of_seeds, tuple(batched[1:]))
        out = jax.tree.map(lambda x: x.reshape(size, -1, *x.shape[1:]), renewed(arrays, *merged))
        return out, jax.tree.map(lambda _: True, out)

    result: Episodes = renewed(arrays, jax.random.split(key, ended.shape[0]), ended, episodes)
    return result


def _where(condition: Array, new: Array, old: Array) -> Array:
    if jnp.issubdtype(new.dtype, jax.dtypes.prng_key):
        data = _where(condition, jax.random.key_data(new), jax.random.key_data(old))
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(new))
    return jnp.where(condition.reshape(-1, *[1] * (new.ndim - 1)), new, old)


class Groups(NamedTuple):
    """Which network serves which agents: one for all (shared), or one each.

    Arrays go from [E, A, ...] to [G, E*K, ...], G networks serving K agents each.
    """

    networks: int
    agents: int

    @classmethod
    def of(cls, twin: Twin, share_parameters: bool) -> Groups:
        count = twin.spec.agent_count
        return cls(1, count) if share_parameters else cls(count, 1)

    def split(self, x: Array) -> Array:
        environments = x.shape[0]
        x = jnp.moveaxis(x.reshape(environments, self.networks, self.agents, *x.shape[2:]), 1, 0)
        return x.reshape(self.networks, environments * self.agents, *x.shape[3:])

    def join(self, x: Array) -> Array:
        x = jnp.moveaxis(x.reshape(self.networks, -1, self.agents, *x.shape[2:]), 0, 1)
        return x.reshape(x.shape[0], self.networks * self.agents, *x.shape[3:])


class Statistics(NamedTuple):
    """Summed since the last report, float32[]."""

    gain: Array
    episodes: Array
    loss: Array
    updates: Array

    @classmethod
    def zero(cls) -> Statistics:
        return cls(*(jnp.zeros(()) for _ in range(4)))

    def with_episodes(self, moved: Moved) -> Statistics:
        gain = jnp.where(moved.ended, moved.gain, 0.0).sum()
        return self._replace(gain=self.gain + gain, episodes=self.episodes + moved.ended.sum())

    def with_loss(self, loss: Array, updates: Array | int = 1) -> Statistics:
        return self._replace(loss=self.loss + loss, updates=self.updates + updates)
