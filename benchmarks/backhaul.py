"""Backhaul: what an evaluation costs, how near to the best solvers come and at what CPU, re-planning by few moves, and
all beside PPO: ours, and stable-baselines3's (`make compare` installs it).

    python benchmarks/backhaul.py [--quick] [--out FILE]

Every row is a mean over networks and traffic matrices drawn from seeds of its own; gaps are in points of efficiency.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from edgewright.backhaul.bounds import efficiency_bound
from edgewright.backhaul.generate import Recipe, generate, traffic
from edgewright.backhaul.kernels.flows import fill, flows_of
from edgewright.backhaul.model import Network, Problem, Solution
from edgewright.backhaul.replanning import replan
from edgewright.backhaul.solvers.ppo import STEPS, load_ppo
from edgewright.backhaul.solvers.random import random
from edgewright.backhaul.solvers.search import search
from edgewright.backhaul.solvers.subset_sum import subset_sum


def drawn(recipe: Recipe, networks: int, matrices: int, **load: Any) -> Iterator[Problem]:
    for seed in range(networks):
        network = generate(recipe, seed=seed)
        for matrix in traffic(len(network.flows), matrices, seed=seed, **load):
            problem = Problem(network, np.array(matrix.demand_mbps))
            if problem.active.size:
                yield problem


@njit
def fill_often(paths: Any, flows: Any, times: int) -> None:
    for _ in range(times):
        fill(paths, flows)


def evaluations() -> list[dict[str, float]]:
    """Microseconds of one evaluation of exact max-min rates, without the call from Python."""
    rows = []
    for nodes, donors in ((20, 3), (40, 3), (60, 3), (1000, 50)):
        taken, active = [], []
        for problem in drawn(Recipe(nodes=nodes, donors=donors), 2, 4):
            flows = flows_of(problem)
            paths = flows.first + random(problem).choice[problem.active]
            times = 20_000 if nodes < 1000 else 200
            fill_often(paths, flows, 1)
            spent = []
            for _ in range(3):
                began = time.perf_counter()
                fill_often(paths, flows, times)
                spent.append((time.perf_counter() - began) / times)
            taken.append(min(spent))
            active.append(problem.active.size)
        rows.append({"nodes": nodes, "flows": float(np.mean(active)), "us": 1e6 * float(np.mean(taken))})
        print("evaluation: {nodes:5d} nodes, {flows:5.1f} flows  {us:8.2f} us".format(**rows[-1]), flush=True)
    return rows


def quality(networks: int, matrices: int) -> list[dict[str, Any]]:
    """Distance to the MILP's bound, in points, and CPU, of greedy and search."""
    rows = []
    cases = [(60, 3, paths, demand, networks, matrices) for paths in (1, 3) for demand in ((250, 500), (500, 750))]
    cases.append((1000, 50, 3, (500, 750), min(networks, 3), 1))
    for nodes, donors, paths, demand, draws, each in cases:
        found: dict[str, list[float]] = {"bound": [], "greedy": [], "search": [], "greedy_ms": [], "search_ms": []}
        for problem in drawn(Recipe(nodes=nodes, donors=donors, paths=paths), draws, each, demand_mbps=demand):
            bound = efficiency_bound(problem, "milp", 30.0)
            greedy, best = subset_sum(problem), search(problem)
            found["bound"].append(100 * bound)
            found["greedy"].append(100 * (bound - greedy.efficiency))
            found["search"].append(100 * (bound - best.efficiency))
            found["greedy_ms"].append(1e3 * greedy.cpu_s)
            found["search_ms"].append(1e3 * best.cpu_s)
        rows.append({"nodes": nodes, "paths": paths, "demand_mbps": demand, "runs": len(found["bound"])})
        rows[-1] |= {name: float(np.mean(values)) for name, values in found.items()}
        told = "quality: {nodes} nodes, {paths} paths, {demand_mbps} Mb/s, {runs} runs: bound {bound:.2f} %, gap of "
        told += "greedy {greedy:.2f} ({greedy_ms:.2f} ms CPU), of search {search:.2f} ({search_ms:.1f} ms CPU)"
        print(told.format(**rows[-1]), flush=True)
    return rows


def replanning(trials: int) -> dict[str, Any]:
    """One link in use breaks; at most a fifth of the flows may move. Quality is a ratio to planning anew."""
    ratios, changed, curve = [], [], {}
    for trial, problem in enumerate(drawn(Recipe(nodes=40), trials, 1)):
        arrays, running = problem.network.arrays, search(problem).choice
        paths = arrays.flow_start[problem.active] + running[problem.active]
        crossed = [arrays.links_of(p) for p in paths]
        link = int(np.random.default_rng(trial).choice(np.unique(np.concatenate(crossed))))
        after = replace(problem, broken=frozenset({link}))
        most = problem.active.size // 5
        plans, anew = replan(after, running, moves=most), search(after).value
        ratios.append(plans[-1].value / anew)
        changed.append(float((plans[-1].choice != running).sum() / problem.active.size))
        for k in range(most + 1):
            curve.setdefault(k, []).append(plans[min(k, len(plans) - 1)].value / anew)
    row = {
        "trials": len(ratios),
        "quality_mean": float(np.mean(ratios)),
        "quality_lowest": float(min(ratios)),
        "at_least_098": float(np.mean(np.array(ratios) >= 0.98)),
        "changed_mean": float(np.mean(changed)),
        "changed_most": max(changed),
        "by_moves": {k: float(np.mean(values)) for k, values in curve.items()},
    }
    print("re-planning:", json.dumps(row), flush=True)
    return row


def beside_ppo(networks: int, matrices: int, steps: int) -> list[dict[str, Any]]:
    """Per cent carried, and ms of CPU of one allocation; both PPOs trained on the network for the document's task."""
    from edgewright.backhaul.training import kept_policy

    rows = []
    for nodes in (20, 40, 60):
        found: dict[str, list[tuple[float, float]]] = {}
        for seed in range(networks):
            network = generate(Recipe(nodes=nodes), seed=seed)
            ours: dict[str, Callable[..., Solution]] = {
                "subset-sum": subset_sum,
                **{f"search, {count} evaluations": partial(search, evaluations=count) for count in (100, 300, 3000)},
                "ppo": load_ppo(kept_policy(network, steps=steps, task="reference")),
            }
            methods = {name: lambda problem, solver=solver: solver(problem).efficiency for name, solver in ours.items()}
            if importlib.util.find_spec("stable_baselines3"):
                methods["ppo, stable-baselines3"] = other_ppo(network, steps)
            problems = [
                Problem(network, np.array(one.demand_mbps)) for one in traffic(len(network.flows), matrices, seed=seed)
            ]
            for name, method in methods.items():
                method(problems[0])  # compiles
                for problem in problems:
                    began = time.process_time()
                    carried = 100 * method(problem)
                    found.setdefault(name, []).append((carried, 1e3 * (time.process_time() - began)))
        for name, runs in found.items():
            carried, cpu_ms = np.mean(runs, axis=0).tolist()
            rows.append({"nodes": nodes, "method": name, "runs": len(runs), "carried": carried, "cpu_ms": cpu_ms})
            row = "beside PPO: {nodes} nodes, {runs} runs: {method:26s} {carried:6.2f} % in {cpu_ms:9.3f} ms CPU"
            print(row.format(**rows[-1]), flush=True)
    return rows


def other_ppo(network: Network, steps: int) -> Callable[[Problem], float]:
    """stable-baselines3's PPO, its policy in its own code, one environment step after the other."""
    import jax
    import torch
    from stable_baselines3 import PPO

    from edgewright.backhaul.twin import backhaul_twin
    from edgewright.envs.gymnasium import TwinEnv
    from edgewright.envs.stable_baselines import TwinVecEnv

    torch.set_num_threads(1)
    twin = backhaul_twin([network], features="reference", reward="reference", horizon=STEPS)
    learner = PPO("MlpPolicy", TwinVecEnv(twin, 8, seed=0), n_steps=256, seed=0, device="cpu").learn(steps)
    env = TwinEnv(twin)
    env.reset(seed=0)
    scenario = twin.sample(jax.random.key(0))

    def carried(problem: Problem) -> float:
        params = scenario._replace(demand_mbps=problem.demand_mbps.astype(np.float32))
        seen, info = env.reset(options={"params": params})
        for _ in range(STEPS):
            action, _ = learner.predict(seen)
            seen, _, _, _, info = env.step(action)
        return float(info["best"])

    return carried


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/backhaul.json"))
    parser.add_argument("--quick", action="store_true", help="a few runs of each: to see that it runs")
    options = parser.parse_args()
    warm = next(drawn(Recipe(), 1, 1))
    search(warm), replan(warm, random(warm).choice)  # compiles
    result = {
        "evaluation": evaluations(),
        "quality": quality(*((2, 2) if options.quick else (10, 5))),
        "replanning": replanning(20 if options.quick else 1000),
        "beside_ppo": beside_ppo(*((1, 2, 2_048) if options.quick else (2, 25, 20_000))),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1))
    print(f"saved {options.out}")


if __name__ == "__main__":
    main()
