"""Views of any twin for other libraries: Gymnasium, PettingZoo, stable-baselines3.

Importing this registers the Gymnasium ids, as Gymnasium 1.x wants it; `gymnasium.make` imports it by itself when
asked for "edgewright.envs:edgewright/Scaling-v0".
"""

from edgewright.envs.registry import TWINS, register, twin

__all__ = ["TWINS", "register", "twin"]

register()
