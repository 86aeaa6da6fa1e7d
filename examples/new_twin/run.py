"""Train ten networks on the twin, then compare them with two rules and the optimum."""

from __future__ import annotations

import argparse
from pathlib import Path

from gpu_queue import GpuQueue
from rich.console import Console

from edgewright.learning import DqnConfig, Evaluation, train
from edgewright.studies import run_study
from edgewright.studies.tables import as_rich

HERE = Path(__file__).resolve().parent


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--steps", type=int, default=40_000, help="training steps of each network")
    options.add_argument("--seeds", type=int, default=10, help="networks; the study needs ten")
    options.add_argument("--jobs", type=int, default=None, help="processes of the study; one a core")
    chosen = options.parse_args()

    config = DqnConfig(gamma=0.98, learning_rate=5e-4, environments=4, batch_size=64, epsilon_steps=10_000)
    training = train(
        GpuQueue(), config, seeds=range(chosen.seeds), steps=chosen.steps, evaluate=Evaluation(), chunk_steps=5_000
    )
    for seed in training.seeds:
        training.export(HERE / "trained" / f"seed-{seed}", seed=seed)

    result = run_study(HERE / "study.yaml", out=HERE / "results", jobs=chosen.jobs)
    console = Console()
    for table in as_rich(result.entries):
        console.print(table)
    console.print(result.caption, f"-> {result.folder}")
    if result.failures:
        raise SystemExit(result.failures[0].traceback)


if __name__ == "__main__":
    main()
