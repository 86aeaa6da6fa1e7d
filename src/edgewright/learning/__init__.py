"""Training policies on twins (JAX) and running them (numpy alone, `edgewright.learning.inference`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewright.core.registry import load

if TYPE_CHECKING:
    from edgewright.learning.config import DqnConfig, PpoConfig, SarsaConfig, TabularConfig
    from edgewright.learning.inference import NumpyNetwork, load_network
    from edgewright.learning.progress import Progress
    from edgewright.learning.trainer import Evaluation, Stop, train
    from edgewright.learning.training import Training

_PLACES = {
    "DqnConfig": "config",
    "PpoConfig": "config",
    "SarsaConfig": "config",
    "TabularConfig": "config",
    "NumpyNetwork": "inference",
    "load_network": "inference",
    "Progress": "progress",
    "Evaluation": "trainer",
    "Stop": "trainer",
    "train": "trainer",
    "Training": "training",
}

__all__ = [
    "DqnConfig",
    "Evaluation",
    "NumpyNetwork",
    "PpoConfig",
    "Progress",
    "SarsaConfig",
    "Stop",
    "TabularConfig",
    "Training",
    "load_network",
    "train",
]


def __getattr__(name: str) -> Any:
    # Nothing heavy is imported until it is used.
    if name not in _PLACES:
        raise AttributeError(name)
    return load(f"edgewright.learning.{_PLACES[name]}:{name}")
