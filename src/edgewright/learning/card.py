"""What is written beside a policy's weights, and read back strictly. Needs no JAX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from edgewright.core.contracts import Box, Discrete, TwinSpec
from edgewright.core.documents import Document, Part
from edgewright.core.errors import InputError


@dataclass(frozen=True)
class Network:
    """Layers of one network; `window` observations in, oldest first."""

    observation_size: int
    outputs: int
    hidden: tuple[int, ...] = (64, 64)
    activation: Literal["relu", "tanh"] = "relu"
    window: int = 1
    lstm: int = 0
    lstm_layers: int = 1
    dueling: bool = False

    @property
    def widths(self) -> tuple[int, ...]:
        """Of the linear layers, input first."""
        first = self.lstm or self.window * self.observation_size
        return (first, *self.hidden, self.outputs + int(self.dueling))


class DiscreteAction(Part):
    kind: Literal["discrete"] = "discrete"
    n: int
    values: tuple[float, ...] | None = None
    """What the actions mean, in the unit the twin's owner names in `scenario`."""


class BoxAction(Part):
    kind: Literal["box"] = "box"
    size: int
    low: float
    high: float
    squash: Literal["clip", "tanh"]


class NetworkPart(Part):
    observation_size: int
    outputs: int
    hidden: tuple[int, ...]
    activation: Literal["relu", "tanh"]
    window: int
    lstm: int
    lstm_layers: int = 1
    dueling: bool


class CurvePoint(Part):
    """Means over the episodes ended since the last point, and over agents; None where none ended."""

    step: int
    training_return: float | None = None
    evaluation_return: float | None = None


class Evaluated(Part):
    """How the kept parameters did on scenarios that training never drew; they were kept because they did best there."""

    seed: int
    episodes: int
    mean_return: float
    step: int


class Card(Document):
    format: Literal["edgewright.policy/1"] = "edgewright.policy/1"
    twin: str
    agents: tuple[str, ...]
    share_parameters: bool
    """True: the network serves any number of agents. False: one network per agent, in this order."""
    observation_size: int
    horizon: int
    action: Annotated[DiscreteAction | BoxAction, Field(discriminator="kind")]
    algorithm: Literal["dqn", "sarsa", "ppo", "tabular"]
    config: dict[str, Any]
    network: NetworkPart | None
    """None for a table."""
    seed: int
    """The training run these parameters come from."""
    seeds: tuple[int, ...]
    """All runs trained together."""
    steps: int
    curve: tuple[CurvePoint, ...]
    evaluation: Evaluated | None
    edgewright: str
    scenario: dict[str, Any] = Field(default_factory=dict)
    """The caller's own notes: scenario, units, reward."""

    def require(self, spec: TwinSpec, *, source: str | None = None) -> None:
        """Raise InputError naming the first thing in which the policy and a twin differ.

        With shared parameters the number of agents and their names may differ.
        """
        pairs: list[tuple[str, object, object]] = [
            ("twin", self.twin, spec.name),
            ("observation_size", self.observation_size, spec.observation_size),
            ("action", self.action_space, spec.action),
        ]
        if not self.share_parameters:
            pairs.append(("agents", self.agents, spec.agents))
        for field, mine, theirs in pairs:
            if mine != theirs:
                raise InputError(field, mine, f"{theirs!r}, as the twin has", source=source)

    @property
    def action_space(self) -> Discrete | Box:
        action = self.action
        if isinstance(action, DiscreteAction):
            return Discrete(action.n)
        return Box(action.size, action.low, action.high)
