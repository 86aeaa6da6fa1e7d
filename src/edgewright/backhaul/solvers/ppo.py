"""A policy trained by PPO moves one flow at a time, and the best allocation on its way is the answer (D4.2, Fig. 16).

Actions are drawn from the policy: the likeliest one alone would be taken for ever once it changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import cast, get_args

import numpy as np

from edgewright.backhaul.kernels.flows import aim_of, flows_of
from edgewright.backhaul.kernels.policy import Course, View, play
from edgewright.backhaul.model import Network, Problem, Solution, Status
from edgewright.backhaul.observation import Features, observation_size, size_of
from edgewright.backhaul.solvers.solution import paths_of, solved
from edgewright.core.errors import InputError
from edgewright.learning.compiled import plain
from edgewright.learning.inference import load_network

STEPS = 300
BATCH = 20  # moves between two looks at the clock


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
        network = load_network(path)
        self.source, card = str(path), network.card
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
        if (card.observation_size, network.outputs) != (expected, flows * paths):
            given = (card.observation_size, network.outputs)
            raise InputError("observation_size, action", given, f"{(expected, flows * paths)}", source=self.source)
        if (net := plain(network)) is None:
            raise InputError("network", card.network, "a perceptron without memory", source=self.source)
        self.net = net

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
        flows, aim, active = flows_of(problem), aim_of(problem), problem.active
        demand, choice = np.zeros(self.flows, np.float32), np.zeros(self.flows, np.int64)
        demand[active] = problem.demand_mbps[active]
        if start is not None:
            choice[active] = paths_of(problem, flows, start) - flows.first
        left, fair = np.zeros((2, self.flows, self.paths), np.float32)
        scale = float(problem.network.arrays.capacity_mbps.max())
        view = View(active, demand, scale, self.features == "paths", left, fair)
        course = Course(choice, flows.first + choice[active], np.zeros(2))
        first = int(np.random.default_rng(seed).integers(2**31 - 1))
        used, more = 0, True
        status: Status = "feasible"
        while more and used <= steps:
            if time.monotonic() >= deadline:
                status = "time_limit"
                break
            until = steps + 1 if time_limit_s is None else min(used + BATCH, steps + 1)
            used, more = play(course, used, until, first, flows, aim, view, self.net)
        return solved(problem, course.best, flows, evaluations=used, began=began, status=status)
