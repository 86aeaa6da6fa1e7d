"""Trains migration policies on the JAX twin and exports them for numpy; the only file that ties twin and learners."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from edgewright.core.errors import InputError
from edgewright.learning import DqnConfig, Evaluation, Progress, SarsaConfig, Training, train
from edgewright.migration.model import Scenario
from edgewright.migration.observation import trained_for
from edgewright.migration.twin import migration_twin

STEPS = 200_000
WINDOW = 4

_PAPER = {
    "learning_rate": 1e-3,
    "gamma": 0.99,
    "replay_size": 20_000,
    "target_every": 20,
    "epsilon_start": 1.0,
    "epsilon_end": 0.1,
    "epsilon_steps": STEPS,
    "batch_size": 32,
    "learning_starts": 1_000,
}
PAPER_CONFIGS: dict[str, DqnConfig | SarsaConfig] = {
    "dqn-lstm": DqnConfig(window=WINDOW, lstm=24, lstm_layers=2, hidden=(), double=False, **_PAPER),  # type: ignore[arg-type]
    "dqn": DqnConfig(hidden=(24, 24), double=False, **_PAPER),  # type: ignore[arg-type]
    "sarsa": SarsaConfig(hidden=(24, 24), **_PAPER),  # type: ignore[arg-type]
}
"""Table II of the paper; `dqn` is its agent without the LSTM."""


def train_policy(
    algorithm: str,
    scenario: str | Path | Scenario = "highway",
    *,
    steps: int = STEPS,
    seeds: Sequence[int] = (0,),
    days: int = 64,
    episodes: int = 64,
    checkpoint: Path | None = None,
    on_progress: Callable[[Progress], bool | None] | None = None,
    show_progress: bool | None = None,
    chunk_steps: int | None = None,
) -> Training:
    """Train on random drives over days of load drawn for training. Raises InputError."""
    if algorithm not in PAPER_CONFIGS:
        raise InputError("algorithm", algorithm, f"one of {sorted(PAPER_CONFIGS)}")
    return train(
        migration_twin(scenario, days=days),
        PAPER_CONFIGS[algorithm],
        seeds=seeds,
        steps=steps,
        evaluate=Evaluation(episodes=episodes, seed=12_345),
        checkpoint=checkpoint,
        on_progress=on_progress,
        show_progress=show_progress,
        chunk_steps=chunk_steps or max(steps // 20, 1),
    )


def export_policy(training: Training, path: Path, scenario: Scenario) -> Path:
    """Write weights (.npz) and card (.json) of the best seed; what it was trained for stands in the card."""
    return training.export(path, scenario={"scenario": scenario.name, **trained_for(scenario)})
