"""What a training run leaves: curves, parameters, and their export for numpy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgewright import __version__
from edgewright.core.contracts import BoolArray, Box, FloatArray, TwinSpec
from edgewright.core.errors import InputError
from edgewright.learning.card import BoxAction, Card, CurvePoint, DiscreteAction, Evaluated, Network, NetworkPart
from edgewright.learning.config import Config, PpoConfig, as_dict
from edgewright.learning.weights import write_weights


@dataclass
class Curve:
    """One row per chunk, one column per seed; NaN where no episode ended or nothing was evaluated."""

    rounds: int
    steps: list[int]
    training: list[FloatArray]
    evaluation: list[FloatArray]
    loss: list[FloatArray]
    best: FloatArray  # [S]
    best_step: FloatArray  # [S]

    @classmethod
    def empty(cls, seeds: int) -> Curve:
        return cls(0, [], [], [], [], np.full(seeds, -np.inf), np.zeros(seeds))

    def add(self, rounds: int, step: int, statistics: Any, judged: Any | None) -> BoolArray:
        """Append a row -> bool[S], whose parameters are now the best (all, where nothing is evaluated)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            training = np.asarray(statistics.gain, np.float64) / statistics.episodes
            loss = np.asarray(statistics.loss, np.float64) / statistics.updates
        evaluation = np.full_like(training, np.nan) if judged is None else np.asarray(judged, np.float64)
        self.rounds = rounds
        self.steps.append(step)
        self.training.append(training)
        self.evaluation.append(evaluation)
        self.loss.append(loss)
        measured = training if judged is None else evaluation
        better = measured > self.best
        self.best = np.where(better, measured, self.best)
        self.best_step = np.where(better, step, self.best_step)
        return np.asarray(better | (judged is None), bool)

    def stale(self, improvement: float) -> int:
        """Chunks since any seed last exceeded its earlier best by `improvement`."""
        best, since = np.full_like(self.best, -np.inf), 0
        for training, evaluation in zip(self.training, self.evaluation, strict=True):
            measured = np.where(np.isnan(evaluation), training, evaluation)
            better = measured > best + improvement
            best, since = np.where(better, measured, best), 0 if better.any() else since + 1
        return since


@dataclass(frozen=True)
class Training:
    """Parameters are numpy pytrees whose leaves start with [S, G] (seeds, networks)."""

    spec: TwinSpec
    config: Config
    network: Network | None
    seeds: tuple[int, ...]
    steps: int
    curve: Curve
    last: Any
    best: Any
    """Of the best evaluation; the last ones where nothing was evaluated."""
    evaluation: tuple[int, int] | None
    """Its seed and number of episodes."""
    stopped_by: str
    """steps, target, plateau or on_progress."""
    compile_s: float
    wall_s: float

    @property
    def best_seed(self) -> int:
        """The seed whose best return was highest."""
        return self.seeds[int(np.argmax(self.curve.best))]

    def export(
        self,
        path: str | Path,
        *,
        seed: int | None = None,
        which: str = "best",
        scenario: Mapping[str, Any] | None = None,
        action_values: tuple[float, ...] | None = None,
    ) -> Path:
        """Write `<path>.npz` (weights) and `<path>.json` (card), for `inference.load_network` -> the .npz path.

        seed: None for `best_seed`. which: "best" or "last". scenario: the caller's notes, kept in the card.
        action_values: what the discrete actions mean.
        """
        seed = self.best_seed if seed is None else seed
        if seed not in self.seeds:
            raise InputError("seed", seed, f"one of {self.seeds}")
        if which not in ("best", "last"):
            raise InputError("which", which, "best or last")
        at = self.seeds.index(seed)
        arrays = {name: leaf[at] for name, leaf in flatten(self.best if which == "best" else self.last)}
        card = self._card(at, which, dict(scenario or {}), action_values)
        return write_weights(path, arrays, card)

    def _card(self, at: int, which: str, scenario: dict[str, Any], action_values: tuple[float, ...] | None) -> Card:
        action = self.spec.action
        if isinstance(action, Box):
            if action_values is not None:
                raise InputError("action_values", action_values, "None, for continuous actions")
            squash = self.config.squash if isinstance(self.config, PpoConfig) else "clip"
            shown: BoxAction | DiscreteAction = BoxAction(
                size=action.size, low=action.low, high=action.high, squash=squash
            )
        else:
            if action_values is not None and len(action_values) != action.n:
                raise InputError("action_values", action_values, f"{action.n} numbers")
            shown = DiscreteAction(n=action.n, values=action_values)
        curve = self.curve
        points = zip(curve.steps, curve.training, curve.evaluation, strict=True)
        step = int(curve.best_step[at]) if which == "best" else self.steps
        judged = curve.best[at] if which == "best" else curve.evaluation[-1][at]
        evaluated = self.evaluation and Evaluated(
            seed=self.evaluation[0], episodes=self.evaluation[1], mean_return=float(judged), step=step
        )
        return Card(
            twin=self.spec.name,
            agents=self.spec.agents,
            share_parameters=self.config.share_parameters,
            observation_size=self.spec.observation_size,
            horizon=self.spec.horizon,
            action=shown,
            algorithm=self.config.algorithm,
            config=as_dict(self.config),
            network=NetworkPart(**asdict(self.network)) if self.network else None,
            seed=self.seeds[at],
            seeds=self.seeds,
            steps=self.steps,
            curve=tuple(
                CurvePoint(step=s, training_return=_finite(t[at]), evaluation_return=_finite(e[at]))
                for s, t, e in points
            ),
            evaluation=evaluated,
            edgewright=__version__,
            scenario=scenario,
        )


def flatten(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested dicts and tuples, named `network.layers.0.weight`."""
    if isinstance(tree, Mapping):
        children = [(str(key), tree[key]) for key in sorted(tree)]
    elif isinstance(tree, tuple):
        children = [(str(i), child) for i, child in enumerate(tree)]
    else:
        yield prefix.removesuffix("."), tree
        return
    for name, child in children:
        yield from flatten(child, f"{prefix}{name}.")


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
