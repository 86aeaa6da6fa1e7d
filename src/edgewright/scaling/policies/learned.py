"""Policies trained on the twin, run without JAX from an exported file; see `curves.py` for cost curves."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
from pydantic import Field

from edgewright.core.contracts import BoolArray
from edgewright.core.documents import read
from edgewright.core.errors import InputError
from edgewright.learning.card import BoxAction, Card
from edgewright.learning.compiled import plain
from edgewright.learning.inference import NumpyNetwork, load_network
from edgewright.scaling.actions import MODEL_LATE, SMOOTHING, ActionMap, Kind
from edgewright.scaling.compiled import decide_by_network, services
from edgewright.scaling.curves import CurvesCard
from edgewright.scaling.model import Action, Scenario
from edgewright.scaling.observation import (
    FRAME_SIZE,
    Features,
    Observation,
    first_history,
    flatten,
    frame,
    idle,
    push,
)
from edgewright.scaling.policies.curves import CostCurves
from edgewright.scaling.policies.trained_for import require_interval, require_slo

SHIPPED = ("curves", "dqn", "ppo")
CURVES_FORMAT = "edgewright.curves/"
Price = Annotated[float, Field(ge=0)] | None


class Learned:
    """One network for every service (parameters shared), or one each where the file says so."""

    def __init__(self, scenario: Scenario, path: Path, price: float | None) -> None:
        self.network: NumpyNetwork = load_network(path)
        card, source = self.network.card, str(path)
        notes = card.scenario
        if card.twin != "scaling":
            raise InputError("twin", card.twin, "a policy trained on the scaling twin", source=source)
        self.features = cast(Features, notes.get("features"))
        self.kind = cast(Kind, notes.get("kind"))
        if self.features not in tuple(FRAME_SIZE) or self.kind not in ("reference", "residual"):
            raise InputError(
                "scenario", notes, "the features and the kind of actions it was trained with", source=source
            )
        size = FRAME_SIZE[self.features]
        self.frames, rest = divmod(card.observation_size, size)
        if self.frames < 1 or rest:
            raise InputError("observation_size", card.observation_size, f"a multiple of {size}", source=source)
        if not card.share_parameters and len(card.agents) != len(scenario.services):
            allowed = f"{len(card.agents)} services, as trained"
            raise InputError("services", len(scenario.services), allowed, source=source)
        require_interval(scenario, source)
        self.actions = ActionMap(self.kind, card.action.kind == "discrete")
        if card.action_space != self.actions.spec:
            raise InputError("action", card.action_space, f"{self.actions.spec}", source=source)
        self.price = _note(notes, "price", 0.0, source) if price is None else float(price)
        if self.features == "slo" and "slo_response_ms" in notes:
            require_slo(scenario, _note(notes, "slo_response_ms", 0.0, source), source)
        self._nothing = (None, np.empty((0, self.frames, size), np.float32), np.empty(0))  # remembered at first
        self._compiled = self._for_compiled()
        self.decide(idle(scenario), None, None)  # compiles, where nobody waits for an answer

    def decide(
        self, observation: Observation, mask: BoolArray | None, memory: Any
    ) -> tuple[Action, Any, tuple[str, ...]]:
        inner, history, rate = memory or self._nothing
        if self._compiled is None or mask is not None:
            newest, arrived = frame(np, observation, self.features, self.price), np.asarray(observation.arrived_hz)
            history = push(np, history, newest) if history.size else first_history(np, newest, self.frames)
            rate = rate + SMOOTHING * (arrived - rate) if rate.size else arrived
            if self.actions.discrete and mask is None:
                mask = self.actions.mask(np, observation)
            raw, inner = self.network.act(flatten(history), mask if self.actions.discrete else None, inner)
            cpu = self.actions.limits(np, raw.T, observation, rate)
        else:
            seen, slice_cpu = services(observation, MODEL_LATE), float(observation.slice_cpu)
            history, rate, cpu = decide_by_network(
                *seen, slice_cpu, self.features, self.price, history, rate, *self._compiled
            )
        late_allowed = float(observation.slo_late_allowed)
        columns = (rate, observation.cpu_per_request_s, observation.late, observation.backlog, cpu)
        rows = zip(*[column.tolist() for column in columns], strict=True)
        return Action(cpu), (inner, history, rate), tuple([_reason(late_allowed, row) for row in rows])

    def _for_compiled(self) -> tuple[Any, ...] | None:
        """The network as `decide_by_network` takes it; None where it is of another kind."""
        net, action = plain(self.network), self.network.card.action
        if self.kind != "residual" or net is None:
            return None
        return *net, self.actions.discrete, isinstance(action, BoxAction) and action.squash == "tanh"


def _reason(late_allowed: float, row: tuple[float, ...]) -> str:
    """What the network reacted to, in words; the network itself gives none."""
    rate_hz, work_s, late, backlog, cpu = row
    demand = rate_hz * work_s
    text = f"demand {demand:.2f} CPU x {cpu / max(demand, 1e-3):.1f}"
    if late > late_allowed:
        text += f"; {late:.0%} late"
    if backlog >= 3:
        text += f"; {backlog:.0f} waiting"
    return text


def _note(notes: Mapping[str, Any], name: str, default: float, source: str) -> float:
    found = notes.get(name, default)
    if isinstance(found, bool) or not isinstance(found, int | float) or found < 0:
        raise InputError(f"scenario.{name}", found, "a number >= 0", source=source)
    return float(found)


def from_file(scenario: Scenario, path: Path, price: Price = None) -> Learned | CostCurves:
    """`price` of a core that the policy obeys (in its own unit, see its card); None: the one its card recommends."""
    if isinstance(read_card(path), CurvesCard):
        return CostCurves(scenario, path, price)
    return Learned(scenario, path, price)


def read_card(path: Path) -> Card | CurvesCard:
    """What lies beside the weights, of the kind that its format says."""
    file = path.with_suffix(".json")
    curves = file.exists() and CURVES_FORMAT in file.read_text(encoding="utf-8", errors="replace")
    return read(CurvesCard, file) if curves else read(Card, file)


def shipped(algorithm: str) -> Path:
    """The file of a policy that comes with the package."""
    return Path(str(files("edgewright.scaling.policies") / "trained" / f"{algorithm}.npz"))


def curves(scenario: Scenario, price: Price = None) -> CostCurves:
    return CostCurves(scenario, shipped("curves"), price)


def dqn(scenario: Scenario, price: Price = None) -> Learned:
    return Learned(scenario, shipped("dqn"), price)


def ppo(scenario: Scenario, price: Price = None) -> Learned:
    return Learned(scenario, shipped("ppo"), price)
