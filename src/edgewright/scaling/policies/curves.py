"""Takes the limit whose cost a network predicts to be least; runs with numpy alone.

Cost: late requests of this second and the next, and both seconds' reserved cores at a price. The price is the knob
between a tight SLO and little CPU; it is not part of the training.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.core import scalars
from edgewright.core.contracts import BoolArray
from edgewright.core.documents import read
from edgewright.core.errors import InputError
from edgewright.learning.weights import read_weights
from edgewright.scaling.curves import (
    CANDIDATES,
    INPUTS,
    SPAN,
    CurvesCard,
    Layers,
    Memory,
    candidates,
    inputs,
    middle,
    predict,
    remember,
)
from edgewright.scaling.model import Action, Scenario
from edgewright.scaling.observation import Observation, each
from edgewright.scaling.policies.trained_for import require_interval, require_slo


class CostCurves:
    """See the module. Raises InputError for a file that does not fit the scenario, with the reason."""

    def __init__(self, scenario: Scenario, path: Path, price: float | None) -> None:
        source = str(path)
        self.card = read(CurvesCard, path.with_suffix(".json"))
        for field, mine in (("inputs", INPUTS), ("candidates", CANDIDATES), ("span", SPAN)):
            if getattr(self.card, field) != mine:
                raise InputError(field, getattr(self.card, field), f"{mine}, as this version has", source=source)
        require_slo(scenario, self.card.slo_response_ms, source)
        require_interval(scenario, source)
        self.price = self.card.price if price is None else price
        self._layers = _layers(path, (INPUTS, *self.card.hidden, 2 * CANDIDATES))

    def decide(
        self, observation: Observation, mask: BoolArray | None, memory: list[Memory] | None
    ) -> tuple[Action, Any, tuple[str, ...]]:
        services = each(observation)
        known = memory or (None,) * len(services)
        memory = [remember(scalars, old, one) for old, one in zip(known, services, strict=True)]
        centre = [middle(scalars, old, one) for old, one in zip(memory, services, strict=True)]
        seen = [inputs(scalars, old, *rest) for old, *rest in zip(memory, services, centre, strict=True)]
        limit = candidates(np, np.array(centre), observation)
        late, following = predict(np, self._layers, np.array(seen, np.float32))
        cost = late + self.price * (limit + following)
        # The guard keeps the limit of a service that misses its SLO: choose among what it will allow.
        missed = observation.late > observation.slo_late_allowed
        if missed.any():
            held = missed[:, None] & (limit < observation.limit_cpu[:, None])
            cost = np.where(held & ~held.all(axis=1, keepdims=True), np.inf, cost)
        chosen = cost.argmin(axis=1)
        rows = np.arange(chosen.size)
        wanted = limit[rows, chosen]
        expected, at_model = late[rows, chosen].tolist(), late[:, CANDIDATES // 2].tolist()
        reasons = tuple(
            f"{old.fast_hz:.0f}/s: expects {few:.1f} late in 2 s at {cpu:.3f}, {more:.1f} at {model:.3f}"
            for old, few, cpu, more, model in zip(memory, expected, wanted.tolist(), at_model, centre, strict=True)
        )
        return Action(wanted), memory, reasons


def _layers(path: Path, widths: tuple[int, ...]) -> Layers:
    arrays = read_weights(path.with_suffix(".npz"))
    layers = []
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
        layer = {}
        for name, shape in (("weight", (fan_in, fan_out)), ("bias", (fan_out,))):
            found = arrays.get(f"{name}.{i}")
            if found is None or found.shape != shape or not np.isfinite(found).all():
                given = "nothing" if found is None else f"shape {found.shape}"
                raise InputError(f"{name}.{i}", given, f"finite numbers of shape {shape}", source=str(path))
            layer[name] = found
        layers.append(layer)
    return layers
