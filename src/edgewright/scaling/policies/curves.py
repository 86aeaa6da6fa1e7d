"""Takes the limit whose cost a network predicts to be least; runs without JAX.

Cost: late requests of this second and the next, and both seconds' reserved cores at a price. The price is the knob
between a tight SLO and little CPU; it is not part of the training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgewright.core.contracts import BoolArray, FloatArray
from edgewright.core.documents import read
from edgewright.core.errors import InputError
from edgewright.learning.weights import read_layers
from edgewright.scaling.compiled import decide_by_curves, services
from edgewright.scaling.curves import CANDIDATES, INPUTS, MODEL_LATE, RATIOS, SPAN, CurvesCard
from edgewright.scaling.model import Action, Scenario
from edgewright.scaling.observation import Observation, idle
from edgewright.scaling.policies.trained_for import require_interval, require_slo

_RATIOS = RATIOS.astype(np.float64)
_NOTHING = np.empty((0, 0))  # remembered at first
ROUNDING = 1e-4  # guard and kernel round limits; the guard makes up for it


class CostCurves:
    """See the module; belongs to one thread. Raises InputError for a file that does not fit, with the reason."""

    def __init__(self, scenario: Scenario, path: Path, price: float | None) -> None:
        source = str(path)
        self.card = read(CurvesCard, path.with_suffix(".json"))
        for field, mine in (("inputs", INPUTS), ("candidates", CANDIDATES), ("span", SPAN)):
            if getattr(self.card, field) != mine:
                raise InputError(field, getattr(self.card, field), f"{mine}, as this version has", source=source)
        require_slo(scenario, self.card.slo_response_ms, source)
        require_interval(scenario, source)
        self.price = float(self.card.price if price is None else price)
        self._layers = read_layers(path, (INPUTS, *self.card.hidden, 2 * CANDIDATES))
        self.decide(idle(scenario), None, None)  # compiles, where nobody waits for an answer

    def decide(
        self, observation: Observation, mask: BoolArray | None, memory: FloatArray | None
    ) -> tuple[Action, Any, tuple[str, ...]]:
        seen = services(observation, MODEL_LATE)
        late_allowed = float(observation.slo_late_allowed)
        memory = _NOTHING if memory is None else memory
        memory, found = decide_by_curves(*seen, late_allowed, memory, self._layers, _RATIOS, self.price, ROUNDING)
        reasons = tuple(
            [
                f"{rate:.0f}/s: expects {few:.1f} late in 2 s at {limit:.3f}, {more:.1f} at {middle:.3f}"
                for rate, (limit, few, more, middle) in zip(memory[:, 0].tolist(), found.tolist(), strict=True)
            ]
        )
        return Action(found[:, 0].copy()), memory, reasons
