"""Trains backhaul policies on the JAX twin and exports them for numpy; the only file that ties twin and learners."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from edgewright.backhaul.model import Network, Objective
from edgewright.backhaul.observation import Features, Task, size_of
from edgewright.backhaul.twin import Load, backhaul_twin
from edgewright.core.errors import InputError
from edgewright.core.files import cache_folder, locked
from edgewright.learning import Evaluation, PpoConfig, Progress, Training, train
from edgewright.studies.versions import code_version

FEATURES: dict[Task, Features] = {"gain": "paths", "reference": "reference"}
CONFIGS: dict[Task, PpoConfig] = {
    "gain": PpoConfig(
        environments=64, rollout=50, batch_size=800, epochs=4, hidden=(128, 128), gamma=0.9, learning_rate=5e-4
    ),
    # The document names no more than PPO: what stable-baselines3 does by default, with its rollout over 8 environments.
    "reference": PpoConfig(environments=8, rollout=256, batch_size=64, epochs=10, normalise_observations=False),
}


def train_policy(
    networks: Sequence[Network],
    *,
    steps: int,
    seeds: Sequence[int] = (0,),
    objective: Objective = Objective(),
    load: Load = Load(),
    task: Task = "gain",
    episodes: int = 64,
    checkpoint: Path | None = None,
    on_progress: Callable[[Progress], bool | None] | None = None,
    show_progress: bool | None = None,
    chunk_steps: int | None = None,
) -> Training:
    """Train on random traffic in the given networks; the policy takes networks of as many flows.

    `task="reference"`: the published observation, reward, steps of an episode and learner.
    """
    if task not in CONFIGS:
        raise InputError("task", task, f"one of {sorted(CONFIGS)}")
    return train(
        backhaul_twin(
            networks,
            objective=objective,
            features=FEATURES[task],
            reward=task,
            horizon=100 if task == "gain" else 300,
            load=load,
        ),
        CONFIGS[task],
        seeds=seeds,
        steps=steps,
        # The reference's return says nothing of quality: it is full wherever the best so far is met.
        evaluate=Evaluation(episodes=episodes, seed=12_345) if task == "gain" else None,
        checkpoint=checkpoint,
        on_progress=on_progress,
        show_progress=show_progress,
        chunk_steps=chunk_steps or max(steps // 20, 1),
    )


def export_policy(
    training: Training,
    path: Path,
    networks: Sequence[Network],
    objective: Objective = Objective(),
    load: Load = Load(),
    task: Task = "gain",
) -> Path:
    """Write weights (.npz) and card (.json) of the best seed; what it was trained on stands in the card."""
    flows, paths, _, _ = size_of(networks)
    notes = {
        "flows": flows,
        "fewest_flows": min(len(network.flows) for network in networks),
        "paths": paths,
        "features": FEATURES[task],
        "reward": task,
        "objective": asdict(objective),
        "load": asdict(load),
        "networks": [{"name": network.name, "nodes": network.nodes} for network in networks],
    }
    return training.export(path, scenario=notes)


def kept_policy(
    network: Network, *, steps: int, seed: int = 0, objective: Objective = Objective(), load: Load = Load(), task: Task
) -> Path:
    """The file of a policy for one network, trained at the first call with these arguments and kept in the user's cache
    folder from then on. Of processes that ask at once, one trains and the others wait.
    """
    told = (network.model_dump_json(), steps, seed, asdict(objective), asdict(load), task)
    key = f"{code_version('core', 'learning', 'backhaul')}-{sha256(repr(told).encode()).hexdigest()[:24]}"
    path = cache_folder() / "backhaul-policies" / f"{key}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock")):
        if not path.with_suffix(".json").exists():
            training = train_policy(
                [network], steps=steps, seeds=(seed,), objective=objective, load=load, task=task, show_progress=False
            )
            export_policy(training, path, [network], objective, load, task)
    return path
