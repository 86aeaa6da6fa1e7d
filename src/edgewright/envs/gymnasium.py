"""A twin as a Gymnasium environment, alone or many at once.

All agents act jointly: observations are concatenated, rewards averaged (each agent's own is in `info["rewards"]`).
`info["action_mask"]` is bool[A, n]. `options={"params": ...}` at reset fixes the scenario of that episode.
Environment i of `TwinVectorEnv` seeded with s goes through what `TwinEnv` seeded with s + i goes through.
"""

from __future__ import annotations

from typing import Any, cast

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from edgewright.core.contracts import Discrete, Twin, TwinSpec
from edgewright.core.errors import InputError
from edgewright.envs import registry

Array = Any
Floats = NDArray[np.float32]


def make_env(twin: str | Twin, *, render_mode: str | None = None, **options: Any) -> TwinEnv:
    """A twin, or the name of a registered one with its options."""
    return TwinEnv(registry.twin(twin, **options) if isinstance(twin, str) else twin, render_mode=render_mode)


def make_vector_env(
    twin: str | Twin, num_envs: int = 1, *, render_mode: str | None = None, **options: Any
) -> TwinVectorEnv:
    """As `make_env`, many at once."""
    made = registry.twin(twin, **options) if isinstance(twin, str) else twin
    return TwinVectorEnv(made, num_envs, render_mode=render_mode)


def spaces(spec: TwinSpec) -> tuple[gymnasium.spaces.Box, gymnasium.Space[Any]]:
    """Joint observation and action spaces: float32[A*O]; n, [n]*A, or float32[A*D]."""
    agents, action = spec.agent_count, spec.action
    observation = gymnasium.spaces.Box(-np.inf, np.inf, (agents * spec.observation_size,), np.float32)
    if not isinstance(action, Discrete):
        return observation, gymnasium.spaces.Box(action.low, action.high, (agents * action.size,), np.float32)
    if agents == 1:
        return observation, gymnasium.spaces.Discrete(action.n)
    return observation, gymnasium.spaces.MultiDiscrete([action.n] * agents)


class Stepper:
    """One environment as pure functions of its key, state and params."""

    def __init__(self, twin: Twin) -> None:
        self.twin = twin

    def reset(self, key: Array) -> tuple[Array, Array, Array, Array]:
        """-> key, state, params, observation; the params are drawn"""
        params = self.twin.sample(jax.random.split(key, 3)[1])
        return self.reset_with(key, params)

    def reset_with(self, key: Array, params: Array) -> tuple[Array, Array, Array, Array]:
        key, _, reset_key = jax.random.split(key, 3)
        state, observation = self.twin.reset(reset_key, params)
        return key, state, params, observation

    def mask(self, state: Array, params: Array) -> Array:
        return self.twin.mask(state, params)

    def step(self, key: Array, state: Array, action: Array, params: Array) -> tuple[Any, ...]:
        """-> key, state, observation, reward, terminated, truncated, info"""
        key, step_key = jax.random.split(key)
        state, observation, reward, terminated, truncated, info = self.twin.step(step_key, state, action, params)
        told = {**info, "rewards": reward, "action_mask": self.twin.mask(state, params)}
        return key, state, observation, reward.mean(), terminated, truncated, told

    def step_all(self, keys: Array, states: Array, actions: Array, params: Array) -> tuple[Any, ...]:
        """As `step` for all, then with key, state, params, observation and mask after resetting what ended."""
        keys, states, reached, *moved, info = jax.vmap(self.step)(keys, states, actions, params)
        _, terminated, truncated = moved
        ended = terminated | truncated

        def reset() -> Any:
            fresh = jax.vmap(self.reset)(keys)
            return jax.tree.map(
                lambda new, old: jax.vmap(jax.lax.select)(_spread(ended, new), new, old),
                fresh,
                (keys, states, params, reached),
            )

        keys, states, params, shown = jax.lax.cond(ended.any(), reset, lambda: (keys, states, params, reached))
        return keys, states, params, shown, *moved, reached, info, jax.vmap(self.mask)(states, params)


def _spread(condition: Array, like: Array) -> Array:
    return jnp.broadcast_to(condition.reshape(-1, *[1] * (like.ndim - 1)), like.shape)


class TwinEnv(gymnasium.Env[Floats, Any]):
    metadata = {"render_modes": []}

    def __init__(self, twin: Twin, *, render_mode: str | None = None) -> None:
        if render_mode is not None:
            raise InputError("render_mode", render_mode, "None: a twin draws nothing")
        self.twin, self.render_mode = twin, render_mode
        observation, self.action_space = spaces(twin.spec)
        self.observation_space = cast(gymnasium.Space[Floats], observation)
        stepper = Stepper(twin)
        self._reset, self._reset_with = jax.jit(stepper.reset), jax.jit(stepper.reset_with)
        self._step, self._mask = jax.jit(stepper.step), jax.jit(stepper.mask)
        self._key: Array = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None or self._key is None:
            self._key = jax.random.key(_entropy(self.np_random) if seed is None else seed)
        params = _params(options)
        made = self._reset(self._key) if params is None else self._reset_with(self._key, params)
        self._key, self._state, self._params, observation = made
        return _flat(observation), {"action_mask": np.asarray(self._mask(self._state, self._params))}

    def step(self, action: Any) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        if self._key is None:
            raise gymnasium.error.ResetNeeded("call reset before step")
        action = joint_action(self.twin.spec, np.asarray(action)[None])[0]
        self._key, self._state, observation, reward, terminated, truncated, info = self._step(
            self._key, self._state, action, self._params
        )
        told = {name: np.asarray(value) for name, value in info.items()}
        return _flat(observation), float(reward), bool(terminated), bool(truncated), told


class TwinVectorEnv(gymnasium.vector.VectorEnv[Floats, Any, NDArray[Any]]):
    """One compiled step for all; an ended environment is reset in the same step.

    The observation it ended on is then in `info["final_obs"]`, its info in `info["final_info"]`.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(self, twin: Twin, num_envs: int, *, render_mode: str | None = None) -> None:
        if render_mode is not None:
            raise InputError("render_mode", render_mode, "None: a twin draws nothing")
        if num_envs < 1:
            raise InputError("num_envs", num_envs, "a whole number >= 1")
        self.twin, self.num_envs, self.render_mode = twin, num_envs, render_mode
        self.single_observation_space, self.single_action_space = spaces(twin.spec)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        stepper = Stepper(twin)
        self._reset = jax.jit(jax.vmap(stepper.reset))
        self._reset_with = jax.jit(jax.vmap(stepper.reset_with, (0, None)))
        self._step, self._mask = jax.jit(stepper.step_all), jax.jit(jax.vmap(stepper.mask))
        self._keys: Array = None

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        """seed: that of environment 0, counting up, or one each."""
        super().reset(seed=seed if isinstance(seed, int) else None)
        if isinstance(seed, int):
            seeds: list[int | None] = [seed + i for i in range(self.num_envs)]
        else:
            seeds = list(seed) if seed is not None else [None] * self.num_envs
        if len(seeds) != self.num_envs:
            raise InputError("seed", seed, f"{self.num_envs} seeds, one per environment")
        if self._keys is None or any(seed is not None for seed in seeds):
            self._keys = jnp.stack(
                [
                    self._keys[i]
                    if seed is None and self._keys is not None
                    else jax.random.key(_entropy(self.np_random) if seed is None else seed)
                    for i, seed in enumerate(seeds)
                ]
            )
        params = _params(options)
        made = self._reset(self._keys) if params is None else self._reset_with(self._keys, params)
        self._keys, self._state, self._params, observation = made
        info = {"action_mask": np.array(self._mask(self._state, self._params)), "_action_mask": self._all(True)}
        return self._rows(np.array(observation)), info

    def step(self, actions: Any) -> tuple[Floats, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        if self._keys is None:
            raise gymnasium.error.ResetNeeded("call reset before step")
        action = joint_action(self.twin.spec, np.asarray(actions))
        made = self._step(self._keys, self._state, action, self._params)
        self._keys, self._state, self._params, *shown = made
        # Copies: callers write into what they get, and memory shared with JAX refuses that.
        shown = jax.tree.map(np.array, jax.device_get(shown))
        observation, reward, terminated, truncated, reached, told, mask = shown
        ended = terminated | truncated
        info: dict[str, Any] = {}
        for name, value in {**told, "action_mask": mask}.items():
            info[name], info[f"_{name}"] = value, self._all(True)
        if ended.any():
            final = np.full(self.num_envs, None, dtype=object)
            for i in np.flatnonzero(ended):
                final[i] = reached[i].reshape(-1)
            last: dict[str, Any] = {}
            for name, value in told.items():
                last[name], last[f"_{name}"] = value, ended
            info |= {"final_obs": final, "_final_obs": ended, "final_info": last, "_final_info": ended}
        return self._rows(observation), reward, terminated, truncated, info

    def _rows(self, observation: Array) -> Floats:
        return np.asarray(observation, np.float32).reshape(self.num_envs, -1)

    def _all(self, value: bool) -> NDArray[np.bool_]:
        return np.full(self.num_envs, value)


def joint_action(spec: TwinSpec, action: NDArray[Any]) -> NDArray[Any]:
    """What a library gives, [E, ...], as the twin takes it: int32[E, A] or float32[E, A, D]."""
    shape: tuple[int, ...] = (len(action), spec.agent_count)
    if isinstance(spec.action, Discrete):
        return action.reshape(shape).astype(np.int32)
    return action.reshape(*shape, spec.action.size).astype(np.float32)


def _params(options: dict[str, Any] | None) -> Any:
    for name in options or {}:
        if name != "params":
            raise InputError("options", name, "params")
    return (options or {}).get("params")


def _entropy(random: np.random.Generator) -> int:
    return int(random.integers(2**31))


def _flat(observation: Array) -> Floats:
    return np.array(observation, np.float32).reshape(-1)
