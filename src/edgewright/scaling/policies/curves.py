"""Takes the limit whose cost a network predicts to be least; runs with numpy alone.

Cost: late requests of this second and the next, and both seconds' reserved cores at a price. The price is the knob
between a tight SLO and little CPU; it is not part of the training.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.core import scalars
from edgewright.core.contracts import BoolArray
from edgewright.core.documents import read
from edgewright.core.errors import InputError
from edgewright.learning.perceptron import Perceptron
from edgewright.learning.weights import read_weights
from edgewright.scaling.curves import (
    CANDIDATES,
    INPUTS,
    RATIOS,
    SPAN,
    CurvesCard,
    Memory,
    candidates,
    inputs,
    middle,
    remember,
)
from edgewright.scaling.model import Action, Scenario
from edgewright.scaling.observation import Observation, each
from edgewright.scaling.policies.trained_for import require_interval, require_slo

_RATIOS: list[float] = RATIOS.tolist()
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
        self.price = self.card.price if price is None else price
        self._network = Perceptron(_layers(path, (INPUTS, *self.card.hidden, 2 * CANDIDATES)), "relu")

    def decide(
        self, observation: Observation, mask: BoolArray | None, memory: list[Memory] | None
    ) -> tuple[Action, Any, tuple[str, ...]]:
        services, late_allowed = each(observation), float(observation.slo_late_allowed)
        if memory is None:
            memory = [remember(scalars, None, one) for one in services]
        else:
            memory = [remember(scalars, old, one) for old, one in zip(memory, services, strict=True)]
        centre = [middle(scalars, now, one) for now, one in zip(memory, services, strict=True)]
        known = zip(memory, services, centre, strict=True)
        out = self._network(np.array([inputs(scalars, now, one, cpu) for now, one, cpu in known], np.float32))
        late = np.exp(out[:, :CANDIDATES])
        limits = candidates(np, np.array(centre), observation.min_cpu, observation.max_cpu)
        cost = late + (out[:, CANDIDATES:] + limits) * self.price
        wanted, reasons = [], []
        rows = zip(memory, services, centre, late.tolist(), cost, cost.argmin(1).tolist(), strict=True)
        for now, one, cpu, lates, costs, chosen in rows:
            if one.late > late_allowed:  # the guard keeps its limit at least: choose among what it will allow
                first = bisect_left(_RATIOS, one.limit_cpu / cpu - ROUNDING) % CANDIDATES
                chosen = first + int(costs[first:].argmin())
            limit = scalars.clip(cpu * _RATIOS[chosen], one.min_cpu, one.max_cpu)
            few, more = lates[chosen], lates[CANDIDATES // 2]
            wanted.append(limit)
            reasons.append(
                f"{now.fast_hz:.0f}/s: expects {few:.1f} late in 2 s at {limit:.3f}, {more:.1f} at {cpu:.3f}"
            )
        return Action(np.array(wanted)), memory, tuple(reasons)


def _layers(path: Path, widths: tuple[int, ...]) -> list[tuple[Any, Any]]:
    arrays = read_weights(path.with_suffix(".npz"))

    def take(name: str, shape: tuple[int, ...]) -> Any:
        found = arrays.get(name)
        if found is None or found.shape != shape or not np.isfinite(found).all():
            given = "nothing" if found is None else f"shape {found.shape}"
            raise InputError(name, given, f"finite numbers of shape {shape}", source=str(path))
        return found

    pairs = enumerate(itertools.pairwise(widths))
    return [(take(f"weight.{i}", (fan_in, fan_out)), take(f"bias.{i}", (fan_out,))) for i, (fan_in, fan_out) in pairs]
