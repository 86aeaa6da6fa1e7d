"""A twin as a PettingZoo ParallelEnv: one agent per twin's agent, all of them until the episode ends."""

from __future__ import annotations

from typing import Any

import gymnasium
import jax
import numpy as np
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from edgewright.core.contracts import Discrete, Twin
from edgewright.envs import registry
from edgewright.envs.gymnasium import Stepper, joint_action


def parallel_env(twin: str | Twin, **options: Any) -> TwinParallelEnv:
    """A twin, or the name of a registered one with its options."""
    return TwinParallelEnv(registry.twin(twin, **options) if isinstance(twin, str) else twin)


class TwinParallelEnv(ParallelEnv[str, NDArray[Any], Any]):  # type: ignore[misc]
    """`infos[agent]["action_mask"]` is int8[n], as PettingZoo's samplers take it."""

    def __init__(self, twin: Twin) -> None:
        spec = self.spec = twin.spec
        self.twin, self.render_mode = twin, None
        self.metadata = {"name": f"edgewright_{spec.name}", "render_modes": []}
        self.possible_agents = list(spec.agents)
        self.agents: list[str] = []
        observation = gymnasium.spaces.Box(-np.inf, np.inf, (spec.observation_size,), np.float32)
        self.observation_spaces = dict.fromkeys(spec.agents, observation)
        self.action_spaces = {agent: self._action_space() for agent in spec.agents}
        stepper = Stepper(twin)
        self._reset, self._reset_with = jax.jit(stepper.reset), jax.jit(stepper.reset_with)
        self._step, self._mask = jax.jit(stepper.step), jax.jit(stepper.mask)
        self._key: Any = None

    def observation_space(self, agent: str) -> gymnasium.spaces.Box:
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> gymnasium.Space[Any]:
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[Any]], dict[str, dict[str, Any]]]:
        """options: {"params": ...} fixes the scenario."""
        if seed is not None or self._key is None:
            fresh = np.random.SeedSequence().generate_state(1)[0] >> 1
            self._key = jax.random.key(int(fresh) if seed is None else seed)
        params = (options or {}).get("params")  # others are ignored: parallel_api_test passes one
        made = self._reset(self._key) if params is None else self._reset_with(self._key, params)
        self._key, self._state, self._params, observation = made
        self.agents = list(self.possible_agents)
        return self._by_agent(observation), self._infos(self._mask(self._state, self._params))

    def step(self, actions: dict[str, Any]) -> tuple[dict[str, Any], ...]:
        if not self.agents:
            return {}, {}, {}, {}, {}
        action = joint_action(self.spec, np.stack([np.asarray(actions[agent]) for agent in self.agents])[None])[0]
        self._key, self._state, observation, _, terminated, truncated, info = self._step(
            self._key, self._state, action, self._params
        )
        agents = self.agents
        rewards = {agent: float(r) for agent, r in zip(agents, np.asarray(info["rewards"]), strict=True)}
        if terminated or truncated:
            self.agents = []
        return (
            self._by_agent(observation),
            rewards,
            dict.fromkeys(agents, bool(terminated)),
            dict.fromkeys(agents, bool(truncated)),
            self._infos(info["action_mask"]),
        )

    def _by_agent(self, values: Any) -> dict[str, NDArray[Any]]:
        return dict(zip(self.possible_agents, np.array(values, np.float32), strict=True))

    def _infos(self, mask: Any) -> dict[str, dict[str, Any]]:
        rows = np.asarray(mask).astype(np.int8)
        return {agent: {"action_mask": row} for agent, row in zip(self.possible_agents, rows, strict=True)}

    def _action_space(self) -> gymnasium.Space[Any]:
        action = self.spec.action
        if isinstance(action, Discrete):
            return gymnasium.spaces.Discrete(action.n)
        return gymnasium.spaces.Box(action.low, action.high, (action.size,), np.float32)
