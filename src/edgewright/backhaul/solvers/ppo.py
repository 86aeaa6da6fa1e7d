"""A policy trained by PPO moves one flow at a time, and the best allocation on its way is the answer (D4.2, Fig. 16).

Actions are drawn from the policy: the likeliest one alone would be taken for ever once it changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import cast, get_args

import numpy as np

from edgewright.backhaul.kernels.flows import aim_of, evaluate, flows_of, room
from edgewright.backhaul.model import Network, Problem, Solution, Status
from edgewright.backhaul.observation import (
    Allocation,
    Features,
    flow_and_path,
    mask,
    observation_size,
    observe,
    options_of,
    size_of,
)
from edgewright.backhaul.solvers.solution import paths_of, solved
from edgewright.core.contracts import IntArray
from edgewright.core.errors import InputError
from edgewright.learning.inference import NumpyNetwork, load_network

STEPS = 300


def load_ppo(path: Path) -> Callable[..., Solution]:
    """The solver of an exported policy. Raises InputError where the file is not one of the backhaul."""
    policy = Policy(path)

    def ppo(
        problem: Problem,
        *,
        seed: int = 0,
        start: Solution | None = None,
        time_limit_s: float | None = None,
        steps: int = STEPS,
    ) -> Solution:
        """From every flow on its first path, or from `start`. Raises InputError for a network of another size."""
        return policy.solve(problem, seed, start, time_limit_s, steps)

    return ppo


class Policy:
    """Belongs to one thread."""

    def __init__(self, path: Path) -> None:
        self.network: NumpyNetwork = load_network(path)
        self.source = str(path)
        card = self.network.card
        notes = card.scenario
        if card.twin != "backhaul":
            raise InputError("twin", card.twin, "a policy trained on the backhaul twin", source=self.source)
        flows, fewest, paths = (notes.get(name) for name in ("flows", "fewest_flows", "paths"))
        features = notes.get("features")
        if not (
            isinstance(flows, int)
            and isinstance(fewest, int)
            and isinstance(paths, int)
            and features in get_args(Features)
        ):
            allowed = "flows, fewest_flows, paths and features of its training"
            raise InputError("scenario", notes, allowed, source=self.source)
        self.flows, self.fewest, self.paths, self.features = flows, fewest, paths, cast(Features, features)
        expected = observation_size(self.features, flows, paths)
        if (card.observation_size, self.network.outputs) != (expected, flows * paths):
            given = (card.observation_size, self.network.outputs)
            raise InputError("observation_size, action", given, f"{(expected, flows * paths)}", source=self.source)

    def require(self, network: Network) -> None:
        flows, paths, _, _ = size_of([network])
        if not self.fewest <= flows <= self.flows or paths > self.paths:
            allowed = f"{self.fewest} .. {self.flows} flows of at most {self.paths} paths, as the policy was trained"
            raise InputError("network", f"{flows} flows of at most {paths} paths", allowed, source=self.source)

    def solve(
        self, problem: Problem, seed: int, start: Solution | None, time_limit_s: float | None, steps: int
    ) -> Solution:
        began, deadline = time.process_time(), time.monotonic() + (np.inf if time_limit_s is None else time_limit_s)
        self.require(problem.network)
        flows, active, rng = flows_of(problem), problem.active, np.random.default_rng(seed)
        _, _, hops, links = size_of([problem.network])
        options = options_of(problem.network, (self.flows, self.paths, hops, links))
        options.capacity_mbps[:-1] = problem.capacity_mbps
        demand = np.zeros(self.flows, dtype=np.float32)
        demand[active] = problem.demand_mbps[active]
        choice = np.zeros(self.flows, dtype=np.int64)
        if start is not None:
            choice[active] = paths_of(problem, flows, start) - flows.first
        best: IntArray = flows.first + choice[active]
        offered, aim = flows.demand.sum(), aim_of(problem)
        value = best_value = evaluate(best, flows, offered, aim)
        rates = np.zeros(self.flows, dtype=np.float32)
        left, fair = np.zeros((2, self.flows, self.paths), dtype=np.float32)
        paths = best
        used = 1
        status: Status = "feasible"
        while used <= steps and best_value < 1.0 - 1e-9:
            if time.monotonic() >= deadline:
                status = "time_limit"
                break
            rates[active] = flows.rates
            if self.features == "paths":
                room(paths, flows, active, left, fair)
            now = Allocation(choice, rates, np.float32(value), np.float32(best_value), left, fair)
            logits, _ = self.network.values(observe(np, now, demand, options, self.features)[None])
            allowed = mask(np, choice, demand, options)
            if not allowed.any():
                break
            # The largest of logits with Gumbel noise, -log of an exponential, is a draw from their softmax.
            noise = rng.standard_exponential(allowed.size, dtype=np.float32)
            noisy = logits[0] - np.log(np.maximum(noise, 1e-30))
            flow, path = flow_and_path(np.where(allowed, noisy, -np.inf).argmax(), self.flows)
            choice[flow] = path
            paths = flows.first + choice[active]
            value = evaluate(paths, flows, offered, aim)
            used += 1
            if value > best_value:
                best_value, best = value, paths
        return solved(problem, best, flows, evaluations=used, began=began, status=status)
