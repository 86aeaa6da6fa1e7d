"""A twin as a stable-baselines3 VecEnv: a thin view on `TwinVectorEnv`. Needs the `[compare]` extra."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from edgewright.core.contracts import Twin
from edgewright.core.errors import InputError
from edgewright.envs import registry
from edgewright.envs.gymnasium import TwinVectorEnv


def vec_env(twin: str | Twin, num_envs: int, *, seed: int, **options: Any) -> TwinVecEnv:
    """A twin, or the name of a registered one with its options. Episode returns are in `infos[i]["episode"]`."""
    return TwinVecEnv(registry.twin(twin, **options) if isinstance(twin, str) else twin, num_envs, seed=seed)


class TwinVecEnv(VecEnv):  # type: ignore[misc, unused-ignore]
    """Environment i is seeded with seed + i. stable-baselines3 knows no action masks: it may take masked actions."""

    def __init__(self, twin: Twin, num_envs: int, *, seed: int) -> None:
        self.envs = TwinVectorEnv(twin, num_envs)
        self.render_mode = None
        super().__init__(num_envs, self.envs.single_observation_space, self.envs.single_action_space)
        self.seed(seed)

    def reset(self) -> Any:
        """With the seeds given since the last reset, where there are any, as stable-baselines3's own views do."""
        seed = self._seeds[0]
        self._reset_seeds()
        self._gain, self._length = np.zeros(self.num_envs), np.zeros(self.num_envs, int)
        return self.envs.reset(seed=seed)[0]

    def step_async(self, actions: Any) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[Any, Any, Any, list[dict[str, Any]]]:
        observation, reward, terminated, truncated, info = self.envs.step(self._actions)
        ended = terminated | truncated
        self._gain += reward
        self._length += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for i in np.flatnonzero(ended):
            infos[i] = {
                "terminal_observation": info["final_obs"][i],
                "TimeLimit.truncated": bool(truncated[i] and not terminated[i]),
                "episode": {"r": self._gain[i], "l": int(self._length[i])},
            }
            self._gain[i], self._length[i] = 0.0, 0
        return observation, reward, ended, infos

    def close(self) -> None:
        self.envs.close()

    def get_attr(self, attr_name: str, indices: int | Iterable[int] | None = None) -> list[Any]:
        return [getattr(self.envs, attr_name)] * len(self._rows(indices))

    def set_attr(self, attr_name: str, value: Any, indices: int | Iterable[int] | None = None) -> None:
        raise InputError("set_attr", attr_name, "nothing: a twin's environments are one compiled program")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise InputError("env_method", method_name, "nothing: a twin's environments are one compiled program")

    def env_is_wrapped(self, wrapper_class: Any, indices: int | Iterable[int] | None = None) -> list[bool]:
        return [False] * len(self._rows(indices))

    def _rows(self, indices: int | Iterable[int] | None) -> Sequence[int]:
        return list(self._get_indices(indices))
