"""What the study compares at the GPU's door: two rules, the trained network, the optimum."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from gpu_queue import CLOUD_VALUE, DEADLINE, EDGE_VALUE, LIMIT, QUANTUM_MS, SIZE, GpuQueue, Params

from edgewright.core.errors import InputError
from edgewright.envs.gymnasium import make_env
from edgewright.learning import load_network
from edgewright.studies import Cell, Metric, Result, ScenarioSource

HELD_OUT = 1_000_000  # training never draws from these keys

Decide = Callable[[Any, Any], int]
"""(observation float32[6], mask bool[1, 2]) -> 0 cloud, 1 edge"""


def on_time(params: Params, *, seed: int) -> Decide:
    """Admit what would still be done by its deadline: the admission test of a real-time scheduler."""

    def decide(seen: Any, mask: Any) -> int:
        kind = int(seen[1])
        return int(queue(seen) + SIZE[kind] <= DEADLINE[kind])

    return decide


def reserve(params: Params, *, seed: int, limit_ms: float) -> Decide:
    """The same, and analytics only while less than `limit_ms` of work waits: room is kept for alerts."""
    admits = on_time(params, seed=seed)
    return lambda seen, mask: int(admits(seen, mask) and (seen[1] == 0 or queue(seen) * QUANTUM_MS < limit_ms))


def trained(params: Params, *, seed: int, folder: str) -> Decide:
    """The network that `run.py` trained with the cell's seed."""
    network = load_network(Path(folder) / f"seed-{seed}.npz", spec=GpuQueue().spec)
    return lambda seen, mask: int(network.act(seen[None], mask)[0][0])


def optimum(params: Params, *, seed: int, discount: float = 0.99) -> Decide:
    """Value iteration on the exact decision process. It knows the scenario, as the network does."""
    best = _best(params, discount)
    return lambda seen, mask: int(best[queue(seen), int(seen[1]), int(seen[2])])


def queue(seen: Any) -> int:
    return round(seen[0] * 32)


@functools.cache
def _best(params: Params, discount: float) -> Any:
    """Where to admit, bool[queue, kind, phase]"""
    queues = np.arange(LIMIT + 1)
    less = queues[:, None] - queues  # [queue before the wait, queue after it]
    moves = []
    for gap in params.gap:
        p = 1 / (1 + gap)
        move = np.where(less >= 0, p * (1 - p) ** np.maximum(less, 0), 0)
        move[:, 0] = (1 - p) ** queues
        moves.append(move)
    kinds = np.array([1 - params.analytics, params.analytics])
    phases = np.array([[1 - params.switch, params.switch], [params.switch, 1 - params.switch]])
    done_at = queues[:, None] + SIZE  # [queue, kind]
    edge = np.where(done_at > LIMIT, -np.inf, np.where(done_at <= DEADLINE, EDGE_VALUE, 0))
    value = np.zeros((LIMIT + 1, 2, 2))  # [queue, kind, phase]
    for _ in range(1500):
        ahead = discount * np.stack([moves[i] @ value[:, :, i] @ kinds for i in (0, 1)], -1) @ phases.T
        admit = edge[:, :, None] + ahead[np.minimum(done_at, LIMIT)]
        refuse = CLOUD_VALUE[None, :, None] + ahead[:, None]
        value = np.maximum(admit, refuse)
    return admit > refuse


METHODS = {"on-time": on_time, "reserve": reserve, "trained": trained, "optimum": optimum}


class GpuStudy:
    """An `edgewright.studies.Capability`."""

    version = "1"
    metrics = (
        Metric("value", "Value per request", "", "higher", ".3f"),
        Metric("alerts", "Alerts answered on time", "%", "higher", ".1f"),
        Metric("cloud", "Analytics sent to the cloud", "%", "lower", ".0f"),
    )

    def __init__(self) -> None:
        self._env = make_env(GpuQueue(horizon=1000))

    def prepare(self, source: ScenarioSource) -> Params:
        try:
            calm, busy, share = (float(source.data[key]) for key in ("calm_gap_ms", "busy_gap_ms", "analytics"))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("scenario", str(error), "the numbers calm_gap_ms, busy_gap_ms and analytics") from None
        return Params((calm / QUANTUM_MS, busy / QUANTUM_MS), share, 0.02)

    def run(self, scenario: Params, method: str, parameters: Mapping[str, Any], seed: int) -> Result:
        if method not in METHODS:
            raise InputError("method", method, f"one of {sorted(METHODS)}")
        decide = METHODS[method](scenario, seed=seed, **parameters)
        params = jax.tree.map(np.float32, scenario)._replace(gap=np.float32(scenario.gap))
        # The same seed is the same requests, whatever is decided: the twin draws them from its key alone.
        seen, info = self._env.reset(seed=HELD_OUT + seed, options={"params": params})
        rewards, kinds, at_edge = [], [], []
        over = False
        while not over:
            action = decide(seen, info["action_mask"])
            seen, reward, _, over, info = self._env.step(action)
            rewards.append(reward)
            kinds.append(bool(info["analytics"]))
            at_edge.append(bool(info["on_time"]))
        analytics, served = np.array(kinds), np.array(at_edge)
        return Result(
            {
                "value": float(np.mean(rewards)),
                "alerts": 100 * float(served[~analytics].mean()),
                "cloud": 100 * float(1 - served[analytics].mean()),
            }
        )

    def figures(self, cells: Sequence[Cell], folder: Path) -> list[Path]:
        return []


STUDY = GpuStudy()
