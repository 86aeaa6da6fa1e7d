"""The training runs that tests look at."""

from __future__ import annotations

from synthetic import Bandit, Corridor

from edgewright.learning import (
    DqnConfig,
    Evaluation,
    PpoConfig,
    SarsaConfig,
    TabularConfig,
)

VALUE = {"hidden": (32,), "gamma": 0.5, "learning_rate": 3e-3, "epsilon_steps": 1000, "learning_starts": 100}
PPO = {"hidden": (32,), "gamma": 0.5, "learning_rate": 3e-3, "environments": 8, "rollout": 32, "batch_size": 64}
JUDGED = Evaluation(episodes=8)

# name -> twin, configuration, steps, best return, near enough
RUNS = {
    "dqn": (Bandit(forbidden=True), DqnConfig(**VALUE), 2000, 8.0, 0.1),
    "dueling, soft target": (
        Corridor(),
        DqnConfig(
            **{**VALUE, "gamma": 0.95, "epsilon_steps": 3000},
            dueling=True,
            target_tau=0.02,
            target_every=1,
            optimizer="adamw",
            epsilon_decay="exponential",
        ),
        5000,
        Corridor().best_return,
        1e-4,
    ),
    "one network per agent": (Bandit(count=2), DqnConfig(**VALUE, share_parameters=False), 2000, 8.0, 0.1),
    "lstm": (
        Bandit(count=2),
        DqnConfig(**{**VALUE, "hidden": ()}, lstm=16, lstm_layers=2, window=3, environments=2),
        3000,
        8.0,
        0.1,
    ),
    "sarsa": (Bandit(count=2, forbidden=True), SarsaConfig(**VALUE, window=2), 2000, 8.0, 0.3),
    "ppo": (Bandit(count=2, forbidden=True), PpoConfig(**PPO), 20_000, 8.0, 0.1),
    "ppo, own networks": (
        Bandit(count=2),
        PpoConfig(**{**PPO, "batch_size": 32}, share_parameters=False, window=2, lstm=8),
        20_000,
        8.0,
        0.1,
    ),
    "ppo, box": (Bandit(box=True), PpoConfig(**PPO, value_clip=0.2, entropy=1e-3), 50_000, 8.0, 0.8),
    "ppo, tanh": (Bandit(count=2, box=True), PpoConfig(**PPO, squash="tanh"), 50_000, 8.0, 0.8),
    "tabular": (
        Corridor(),
        TabularConfig(bins=(6,), low=(0.0,), high=(1.001,), gamma=0.95),
        5000,
        Corridor().best_return,
        1e-4,
    ),
    "tabular, own tables": (
        Bandit(count=2, arms=3, forbidden=True),
        TabularConfig(bins=(2, 2, 2), low=(0.0,) * 3, high=(1.01,) * 3, share_parameters=False, environments=4),
        4000,
        8.0,
        0.1,
    ),
}
