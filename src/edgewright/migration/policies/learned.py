"""A trained network decides, with numpy alone."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.core.contracts import BoolArray
from edgewright.core.errors import InputError
from edgewright.learning.inference import load_network
from edgewright.migration.model import Scenario
from edgewright.migration.observation import Observation, features, require_trained_for
from edgewright.migration.policies.prospects import Prospects

PROSPECTS_FORMAT = "edgewright.prospects/"


class Learned:
    """Belongs to one thread."""

    def __init__(self, scenario: Scenario, path: Path) -> None:
        self.network = load_network(path)
        card, objective = self.network.card, scenario.objective
        if card.twin != "migration":
            raise InputError("twin", card.twin, "a policy trained on the migration twin", source=str(path))
        require_trained_for(scenario, card.scenario, str(path))
        self._limits = objective.rtt_max_ms, objective.load_max

    def decide(self, observation: Observation, mask: BoolArray | None, memory: Any) -> tuple[int, Any, tuple[str, ...]]:
        seen = features(np, observation, *self._limits)[None]
        values, memory = self.network.values(seen, memory)
        action, here = int(values[0].argmax()), int(observation.node)
        node = here if action == 0 else action - 1
        waits = float(values[0, 0])
        told = f"worth {values[0, action]:.1f} by what it has learned, to wait {waits:.1f}"
        return node, memory, (told,)


def from_file(scenario: Scenario, path: Path) -> Learned | Prospects:
    card = path.with_suffix(".json")
    if card.exists() and PROSPECTS_FORMAT in card.read_text(encoding="utf-8", errors="replace"):
        return Prospects(scenario, path)
    return Learned(scenario, path)


def shipped(algorithm: str) -> Path:
    """The file of a policy that comes with the package, trained for the highway."""
    return Path(str(files("edgewright.migration.policies") / "trained" / f"{algorithm}.npz"))


def prospects(scenario: Scenario) -> Prospects:
    return Prospects(scenario, shipped("prospects"))


def dqn(scenario: Scenario) -> Learned:
    return Learned(scenario, shipped("dqn"))


def dqn_lstm(scenario: Scenario) -> Learned:
    return Learned(scenario, shipped("dqn-lstm"))


def sarsa(scenario: Scenario) -> Learned:
    return Learned(scenario, shipped("sarsa"))
