"""Training and decision speed beside stable-baselines3, on one twin, one machine, one run.

    python benchmarks/learning.py [--out FILE] [--quick] [--turns N]

Needs the [compare] extra. Compiling is timed apart; CPU time is that of the whole process. Both sides have the same
twin, network (2x64), batch size and gradient work per step; they run in turns, and the median is told.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgewright import __version__
from edgewright.learning import DqnConfig, PpoConfig, Training, load_network, train

SEEDS = (0, 1, 2, 3, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/learning.json"))
    parser.add_argument("--quick", action="store_true", help="a tenth of the steps: to see that it runs")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--skip-parity", action="store_true")
    parser.add_argument("--torch-threads", type=int, default=1, help="one is the faster for networks this small")
    options = parser.parse_args()
    try:
        import stable_baselines3
        import torch
    except ImportError as error:
        sys.exit(f"{error}: install the [compare] extra")
    from edgewright.scaling.twin import scaling_twin

    torch.set_num_threads(options.torch_threads)
    part = 0.1 if options.quick else 1.0
    # The published task (NANCY D4.2 4.3.3), one frame: what a learner costs beside the twin, not what a twin costs.
    twin = scaling_twin(1, kind="reference", features="reference", reward="reference", horizon=60, history=1)
    result: dict[str, Any] = {
        "edgewright": __version__,
        "stable_baselines3": stable_baselines3.__version__,
        "torch": torch.__version__,
        "machine": platform.processor() or platform.machine(),
        "torch_threads": torch.get_num_threads(),
        "twin": twin.spec.name,
        "rates": rates(twin, part, options.turns),
        "decision": decision(),
    }
    if not options.skip_parity:
        result["parity"] = parity(twin, part)
    report(result)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1))
    print(f"saved {options.out}")


def rates(twin: Any, part: float, turns: int) -> dict[str, Any]:
    """Steps per second, all sides in turns."""
    from stable_baselines3 import DQN, PPO
    from stable_baselines3.common.vec_env import DummyVecEnv

    from edgewright.envs.gymnasium import TwinEnv
    from edgewright.envs.stable_baselines import vec_env

    net = {"net_arch": [64, 64]}

    def singles(count: int) -> Any:
        return DummyVecEnv([lambda: TwinEnv(twin)] * count)

    def theirs(make: Callable[[], Any], steps: int) -> Callable[[], tuple[int, float]]:
        model = make()
        model.learn(1)  # compiles the environment's step, fills caches

        def run() -> tuple[int, float]:
            before = model.num_timesteps
            model.learn(steps, reset_num_timesteps=False)
            return model.num_timesteps - before, 0.0

        return run

    def ours(config: Any, steps: int, seeds: tuple[int, ...] = (0,)) -> Callable[[], tuple[int, float]]:
        def run() -> tuple[int, float]:
            training = train(twin, config, seeds=seeds, steps=steps, show_progress=False, chunk_steps=steps)
            return training.steps * len(seeds), training.compile_s

        return run

    dqn = {"batch_size": 32, "learning_rate": 1e-3}
    # 10 epochs in batches of 64 over 16,384 steps a rollout: stable-baselines3's own defaults for 8 environments.
    ppo = {"batch_size": 64, "learning_rate": 3e-4}
    sides = {
        "dqn, ours": ours(DqnConfig(double=False, learning_starts=0, **dqn), int(50_000 * part)),
        "dqn, ours, 8 seeds": ours(
            DqnConfig(double=False, learning_starts=0, **dqn), int(20_000 * part), tuple(range(8))
        ),
        "dqn, stable-baselines3": theirs(
            lambda: DQN(
                "MlpPolicy",
                singles(1),
                train_freq=1,
                learning_starts=0,
                buffer_size=20_000,
                target_update_interval=500,
                policy_kwargs=net,
                seed=0,
                device="cpu",
                **dqn,
            ),
            int(5_000 * part),
        ),
        "ppo, ours, 256 envs": ours(
            PpoConfig(environments=256, rollout=64, epochs=10, **ppo), max(16_384, int(160_000 * part))
        ),
        "ppo, stable-baselines3, 8 envs": theirs(
            lambda: PPO(
                "MlpPolicy", singles(8), n_steps=2048, n_epochs=10, policy_kwargs=net, seed=0, device="cpu", **ppo
            ),
            max(16_384, int(32_768 * part)),
        ),
        "ppo, stable-baselines3, our vector view of 256": theirs(
            lambda: PPO(
                "MlpPolicy",
                vec_env(twin, 256, seed=0),
                n_steps=64,
                n_epochs=10,
                policy_kwargs=net,
                seed=0,
                device="cpu",
                **ppo,
            ),
            16_384,
        ),
        "ppo, ours, 256 envs, batches of 1024": ours(
            PpoConfig(environments=256, rollout=64, epochs=10, batch_size=1024), max(16_384, int(160_000 * part))
        ),
        "ppo, stable-baselines3, our vector view of 256, batches of 1024": theirs(
            lambda: PPO(
                "MlpPolicy",
                vec_env(twin, 256, seed=0),
                n_steps=64,
                n_epochs=10,
                batch_size=1024,
                policy_kwargs=net,
                seed=0,
                device="cpu",
            ),
            16_384,
        ),
    }
    told: dict[str, Any] = {name: {"steps_per_s": [], "cpu_us_per_step": [], "compile_s": []} for name in sides}
    for turn in range(turns):
        for name, run in sides.items():
            wall, cpu = time.perf_counter(), time.process_time()
            steps, compile_s = run()
            wall, cpu = time.perf_counter() - wall - compile_s, time.process_time() - cpu
            one = told[name]
            one["steps_per_s"].append(steps / wall)
            one["compile_s"].append(compile_s)
            if compile_s < 1.0:  # what compiled in this turn tells nothing of the CPU a step needs
                one["cpu_us_per_step"].append(cpu / steps * 1e6)
            print(f"turn {turn + 1}: {name:64s} {steps / wall:12,.0f} steps/s   compiled in {compile_s:5.1f} s")
    return told


def parity(twin: Any, part: float) -> dict[str, Any]:
    """Greedy returns after the same number of steps, five seeds a side, on the same 32 scenarios, without masks."""
    from stable_baselines3 import DQN, PPO

    from edgewright.envs.stable_baselines import vec_env

    def judge(model: Any) -> float:
        env = vec_env(twin, 32, seed=10_000)
        seen, returns = env.reset(), []
        while len(returns) < 32:
            seen, _, _, infos = env.step(model.predict(seen, deterministic=True)[0])
            returns += [info["episode"]["r"] for info in infos if info]
        return float(np.mean(returns))

    net, steps = {"net_arch": [64, 64]}, {"dqn": int(20_000 * part), "ppo": max(16_384, int(100_000 * part))}
    exploring = int(0.4 * steps["dqn"])
    ours = {
        "dqn": DqnConfig(double=False, learning_rate=1e-3, epsilon_steps=exploring),
        "ppo": PpoConfig(environments=8, rollout=256, batch_size=64, learning_rate=3e-4, normalise_observations=False),
    }

    def other(name: str, seed: int) -> Any:
        if name == "dqn":
            return DQN(
                "MlpPolicy",
                vec_env(twin, 1, seed=0),
                learning_rate=1e-3,
                buffer_size=20_000,
                learning_starts=500,
                batch_size=32,
                train_freq=1,
                target_update_interval=500,
                exploration_fraction=0.4,
                policy_kwargs=net,
                seed=1000 * seed,  # the environments' too
                device="cpu",
            )
        env = vec_env(twin, 8, seed=0)
        return PPO("MlpPolicy", env, n_steps=256, batch_size=64, policy_kwargs=net, seed=1000 * seed, device="cpu")

    told: dict[str, Any] = {}
    for name, config in ours.items():
        count = steps[name]
        run = train(twin, config, seeds=SEEDS, steps=count, chunk_steps=count)
        told[name] = {
            "steps": count,
            "ours": [judge(Exported(run, seed)) for seed in SEEDS],
            "stable_baselines3": [judge(other(name, seed).learn(count)) for seed in SEEDS],
        }
        print(name, told[name])
    return told


class Exported:
    """The last parameters of a seed, as they run in production, under stable-baselines3's name for deciding."""

    def __init__(self, training: Training, seed: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self._network = load_network(training.export(Path(folder) / "policy", seed=seed, which="last"))

    def predict(self, seen: Any, deterministic: bool) -> tuple[Any, None]:
        return self._network.act(seen)[0], None


def decision() -> dict[str, Any]:
    """Microseconds of one greedy decision for three agents, 2x64, numpy."""
    from edgewright.scaling.twin import scaling_twin

    twin = scaling_twin(services=3)
    training = train(twin, DqnConfig(learning_starts=10_000), steps=10, show_progress=False)
    with tempfile.TemporaryDirectory() as folder:
        network = load_network(training.export(Path(folder) / "policy"), spec=twin.spec)
    size = twin.spec.observation_size
    observation = np.random.default_rng(0).normal(size=(3, size)).astype(np.float32)
    mask = np.ones((3, network.outputs), bool)

    def percentiles(decide: Callable[[], Any]) -> dict[str, float]:
        taken = []
        for _ in range(20_000):
            start = time.perf_counter_ns()
            decide()
            taken.append(time.perf_counter_ns() - start)
        p50, p99 = np.percentile(taken[1000:], [50, 99]) / 1e3
        return {"p50_us": float(p50), "p99_us": float(p99)}

    return {
        "observation_size": size,
        "values": percentiles(lambda: network.values(observation)),
        "act": percentiles(lambda: network.act(observation, mask)),
    }


def report(result: dict[str, Any]) -> None:
    rate = {name: statistics.median(told["steps_per_s"]) for name, told in result["rates"].items()}
    print(f"\n{'':66s}{'steps/s':>12s}{'CPU us/step':>13s}")
    for name, told in result["rates"].items():
        cpu = statistics.median(told["cpu_us_per_step"]) if told["cpu_us_per_step"] else float("nan")
        print(f"{name:66s}{rate[name]:12,.0f}{cpu:13.1f}")
    result["ratios"] = {
        f"{a} / {b}": rate[a] / rate[b]
        for a, b in (
            ("dqn, ours", "dqn, stable-baselines3"),
            ("ppo, ours, 256 envs", "ppo, stable-baselines3, 8 envs"),
            ("ppo, ours, 256 envs", "ppo, stable-baselines3, our vector view of 256"),
            (
                "ppo, ours, 256 envs, batches of 1024",
                "ppo, stable-baselines3, our vector view of 256, batches of 1024",
            ),
        )
    }
    for name, ratio in result["ratios"].items():
        print(f"{ratio:8.1f} x  {name}")
    for name, told in result["decision"].items():
        print(f"decision, 3 agents, {name}: {told}")


if __name__ == "__main__":
    main()
