"""Hyper-parameters of every algorithm: frozen, validated, and plain data for the card."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from edgewright.core.errors import InputError

Activation = Literal["relu", "tanh"]
Algorithm = Literal["dqn", "sarsa", "ppo", "tabular"]


@dataclass(frozen=True, kw_only=True)
class ValueConfig:
    """What DQN and Deep SARSA share. "Step" means one step of one environment."""

    algorithm: ClassVar[Algorithm]

    hidden: tuple[int, ...] = (64, 64)
    activation: Activation = "relu"
    window: int = 1
    """Observations the network sees; zeros stand for those before the episode's start."""
    lstm: int = 0
    """Units of an LSTM over the window, before the hidden layers; 0 for none."""
    lstm_layers: int = 1
    """One above the other."""
    dueling: bool = False
    share_parameters: bool = True
    """One network trained on all agents' transitions; otherwise one network per agent."""
    environments: int = 1
    gamma: float = 0.99
    learning_rate: float = 1e-3
    optimizer: Literal["adam", "adamw"] = "adam"
    weight_decay: float = 0.01
    """AdamW only."""
    loss: Literal["huber", "squared"] = "huber"
    max_gradient_norm: float = 10.0
    """Global norm of one network's gradient."""
    replay_size: int = 20_000
    """Transitions kept, per network."""
    learning_starts: int = 500
    """Steps before the first update."""
    batch_size: int = 32
    update_every: int = 1
    """Rounds (one step of every environment) between updates."""
    gradient_steps: int = 1
    """Updates each time."""
    target_every: int = 500
    """Rounds between updates of the target network."""
    target_tau: float = 1.0
    """1 copies the network (hard); less moves the target by that part (soft)."""
    epsilon_start: float = 1.0
    epsilon_end: float = 0.05
    epsilon_steps: int = 5_000
    """Linear: reaches `epsilon_end` here. Exponential: the decay's time constant."""
    epsilon_decay: Literal["linear", "exponential"] = "linear"

    def __post_init__(self) -> None:
        check_network(self)
        check_fractions(self, "gamma", "target_tau", "epsilon_start", "epsilon_end")
        check_positive(self, "learning_rate", "max_gradient_norm", "epsilon_steps")
        check_counts(
            self, "environments", "replay_size", "batch_size", "update_every", "gradient_steps", "target_every"
        )
        check_choice(self, "optimizer", "adam", "adamw")
        check_choice(self, "loss", "huber", "squared")
        check_choice(self, "epsilon_decay", "linear", "exponential")
        check_not_negative(self, "weight_decay", "learning_starts")


@dataclass(frozen=True, kw_only=True)
class DqnConfig(ValueConfig):
    """Mnih et al. 2015; double: van Hasselt et al. 2016; dueling: Wang et al. 2016."""

    algorithm: ClassVar[Algorithm] = "dqn"

    double: bool = True


@dataclass(frozen=True, kw_only=True)
class SarsaConfig(ValueConfig):
    """Deep SARSA: bootstraps from the action really taken next (Zhao et al. 2016)."""

    algorithm: ClassVar[Algorithm] = "sarsa"


@dataclass(frozen=True, kw_only=True)
class PpoConfig:
    """Schulman et al. 2017, with separate actor and critic, and GAE (Schulman et al. 2016)."""

    algorithm: ClassVar[Algorithm] = "ppo"

    hidden: tuple[int, ...] = (64, 64)
    critic_hidden: tuple[int, ...] | None = None
    """None: as the actor."""
    activation: Activation = "tanh"
    window: int = 1
    lstm: int = 0
    lstm_layers: int = 1
    share_parameters: bool = True
    environments: int = 64
    rollout: int = 64
    """Steps of each environment between updates."""
    epochs: int = 10
    batch_size: int = 256
    """Transitions of one network in a minibatch; must divide what it collects in a rollout."""
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    value_clip: float | None = None
    """Clip the critic's change, too; None for not."""
    entropy: float = 0.0
    """Weight of the entropy bonus. With `squash="tanh"` it is that of the Gaussian before squashing."""
    learning_rate: float = 3e-4
    critic_learning_rate: float | None = None
    """None: as the actor."""
    max_gradient_norm: float = 0.5
    normalise_observations: bool = True
    normalise_advantages: bool = True
    squash: Literal["clip", "tanh"] = "clip"
    """How a Box action gets into its bounds."""
    initial_log_std: float = -0.5
    """Box: of the Gaussian over actions scaled to [-1, 1]."""

    def __post_init__(self) -> None:
        check_network(self)
        if self.critic_hidden is not None:
            check_widths("critic_hidden", self.critic_hidden)
        check_fractions(self, "gamma", "gae_lambda", "clip")
        check_counts(self, "environments", "rollout", "epochs", "batch_size")
        check_positive(self, "learning_rate", "max_gradient_norm")
        for name in ("value_clip", "critic_learning_rate"):
            if getattr(self, name) is not None:
                check_positive(self, name)
        check_not_negative(self, "entropy")
        check_choice(self, "squash", "clip", "tanh")
        if not math.isfinite(self.initial_log_std):
            raise InputError("initial_log_std", self.initial_log_std, "a finite number")


@dataclass(frozen=True, kw_only=True)
class TabularConfig:
    """Q-learning on observations cut into bins (Watkins and Dayan 1992)."""

    algorithm: ClassVar[Algorithm] = "tabular"

    bins: tuple[int, ...]
    """Bins of each observation entry; 1 ignores the entry."""
    low: tuple[float, ...]
    """Each entry's lower bound; what lies outside counts to the outermost bin."""
    high: tuple[float, ...]
    share_parameters: bool = True
    environments: int = 1
    gamma: float = 0.99
    learning_rate: float = 0.1
    epsilon_start: float = 1.0
    epsilon_end: float = 0.05
    epsilon_steps: int = 5_000
    epsilon_decay: Literal["linear", "exponential"] = "linear"

    def __post_init__(self) -> None:
        check_widths("bins", self.bins)
        if not self.bins or math.prod(self.bins) > 1_000_000:
            raise InputError("bins", self.bins, "one count per observation entry, at most 1,000,000 states in all")
        if not len(self.bins) == len(self.low) == len(self.high):
            raise InputError("low, high", (self.low, self.high), f"{len(self.bins)} numbers each, as bins")
        if not all(math.isfinite(a) and math.isfinite(b) and a < b for a, b in zip(self.low, self.high, strict=True)):
            raise InputError("low, high", (self.low, self.high), "finite, low < high for every entry")
        check_fractions(self, "gamma", "learning_rate", "epsilon_start", "epsilon_end")
        check_positive(self, "learning_rate", "epsilon_steps")
        check_counts(self, "environments")
        check_choice(self, "epsilon_decay", "linear", "exponential")


Config = DqnConfig | SarsaConfig | PpoConfig | TabularConfig


def as_dict(config: Config) -> dict[str, Any]:
    """The configuration as JSON-ready data, with its algorithm."""
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(config).items()}
    return {"algorithm": config.algorithm, **plain}


def from_dict(data: Mapping[str, Any]) -> Config:
    """The inverse of `as_dict`. Raises InputError for an unknown algorithm, key or value."""
    kinds: dict[str, Any] = {kind.algorithm: kind for kind in (DqnConfig, SarsaConfig, PpoConfig, TabularConfig)}
    if data.get("algorithm") not in kinds:
        raise InputError("algorithm", data.get("algorithm"), f"one of {sorted(kinds)}")
    kind = kinds[data["algorithm"]]
    known = set(kind.__dataclass_fields__)
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k != "algorithm"}
    for key in values:
        if key not in known:
            raise InputError(key, values[key], f"no such key; one of {sorted(known)}")
    try:
        made: Config = kind(**values)
        return made
    except TypeError as error:
        raise InputError("config", str(error), f"the fields of {kind.__name__}") from None


def check_network(config: ValueConfig | PpoConfig) -> None:
    check_widths("hidden", config.hidden)
    check_choice(config, "activation", "relu", "tanh")
    check_counts(config, "window", "lstm_layers")
    check_not_negative(config, "lstm")


def check_widths(field: str, widths: tuple[int, ...]) -> None:
    if not isinstance(widths, tuple) or not all(isinstance(width, int) and width >= 1 for width in widths):
        raise InputError(field, widths, "a tuple of whole numbers >= 1")


def check_counts(config: object, *fields: str) -> None:
    for field in fields:
        value = getattr(config, field)
        if not isinstance(value, int) or value < 1:
            raise InputError(field, value, "a whole number >= 1")


def check_positive(config: object, *fields: str) -> None:
    for field in fields:
        value = getattr(config, field)
        if not math.isfinite(value) or value <= 0:
            raise InputError(field, value, "a finite number > 0")


def check_not_negative(config: object, *fields: str) -> None:
    for field in fields:
        value = getattr(config, field)
        if not math.isfinite(value) or value < 0:
            raise InputError(field, value, "a finite number >= 0")


def check_fractions(config: object, *fields: str) -> None:
    for field in fields:
        value = getattr(config, field)
        if not 0 <= value <= 1:
            raise InputError(field, value, "a number in [0, 1]")


def check_choice(config: object, field: str, *allowed: str) -> None:
    if getattr(config, field) not in allowed:
        raise InputError(field, getattr(config, field), " or ".join(allowed))
