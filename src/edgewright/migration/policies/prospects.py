"""Goes where a network expects the most from the next step on; runs without JAX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgewright.core.contracts import BoolArray, FloatArray
from edgewright.core.documents import read
from edgewright.learning.perceptron import Perceptron
from edgewright.learning.weights import read_layers
from edgewright.migration.model import Scenario
from edgewright.migration.observation import Observation, require_trained_for
from edgewright.migration.prospects import ProspectsCard, choose, row


class Prospects:
    """Belongs to one thread. Raises InputError for a file that does not fit, with the reason."""

    def __init__(self, scenario: Scenario, path: Path) -> None:
        self.card = read(ProspectsCard, path.with_suffix(".json"))
        require_trained_for(scenario, self.card.scenario, str(path))
        outputs = 2 * len(scenario.nodes)
        widths = (self.card.window * outputs, *self.card.hidden, outputs)
        self._network = Perceptron(read_layers(path, widths), "relu")
        self._limits = scenario.objective.rtt_max_ms, scenario.objective.load_max

    def decide(
        self, observation: Observation, mask: BoolArray | None, memory: FloatArray | None
    ) -> tuple[int, Any, tuple[str, ...]]:
        newest = row(np, np.asarray(observation.rtt_ms), np.asarray(observation.load), *self._limits)[None]
        before = np.repeat(newest, self.card.window, 0) if memory is None else memory
        memory = np.concatenate([before[1:], newest])
        expected = self._network(memory.reshape(1, -1))[0]
        here = int(observation.node)
        node = int(choose(np, expected)[here])
        stays, comes = np.split(expected, 2)
        if node != here:
            return (
                node,
                memory,
                (f"expects {comes[node] - stays[here]:.2f} more there than here, the migration deducted",),
            )
        elsewhere = np.delete(comes, here)
        gain = f"{stays[here] - elsewhere.max():.2f} more than" if elsewhere.size else "no less than"
        return node, memory, (f"expects {gain} elsewhere, a migration deducted",)
