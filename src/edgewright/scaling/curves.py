"""Cost curves: what each candidate limit of a service will cost, as a network predicts it from recent seconds.

Over `xp` (jax.numpy in training, numpy live): candidates, inputs and their memory. The network is trained by
supervised learning on curves that the twin computes from a state by trying every candidate under the same random
draws (`curve_training.py`); the policy takes the cheapest candidate (`policies/curves.py`).

Shapes: A services, K candidates, F inputs.
"""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple

import numpy as np

from edgewright.core.contracts import Array
from edgewright.core.documents import Document
from edgewright.scaling.observation import Observation, OneService
from edgewright.scaling.queueing import limit_for, queued_cpu_s

CANDIDATES = 25
SPAN = 1.7  # candidates lie between the queueing model's limit / SPAN and * SPAN, 4.5 % apart
RATIOS = SPAN ** np.linspace(-1, 1, CANDIDATES, dtype=np.float32)
MODEL_LATE = 0.1  # share of late requests that the queueing model is asked for
DRAIN_HZ = 0.3  # cores that a backlog of one CPU-second adds
FAST, SLOW, LONG = 0.56, 0.2, 0.06  # weights of the newest second
INPUTS = 15

Layers = list[dict[str, Any]]  # weight float32[in, out], bias float32[out]


class Memory(NamedTuple):
    """What is remembered of each service, float[A]."""

    fast_hz: Array  # arrivals per second, smoothed
    slow_hz: Array
    dispersion: Array  # squared surprise of arrivals over their number: 1 for a steady Poisson stream
    late: Array  # share of late requests, smoothed


class CurvesCard(Document):
    """What is written beside the weights."""

    format: Literal["edgewright.curves/1"] = "edgewright.curves/1"
    inputs: int
    hidden: tuple[int, ...]
    candidates: int
    span: float
    slo_response_ms: float
    """Of the training scenarios."""
    states: int
    """From which curves were computed for training."""
    seed: int
    regret: float
    """On states kept apart: mean cost over the best candidate in hindsight, late requests per decision."""
    price: float
    """Late requests that a reserved core-second is worth, where the caller says nothing."""
    edgewright: str


def at_other_price(method: str) -> bool:
    """Whether a method of an evaluation is the cost curves at another price than their card's: `curves-PRICE`."""
    return re.fullmatch(r"curves-[0-9.]+", method) is not None


def remember(xp: Any, memory: Memory | None, seen: Observation | OneService) -> Memory:
    """The memory after another second; None before the first. Of one service, too: floats, and `core.scalars`."""
    arrived = seen.arrived_hz
    if memory is None:
        return Memory(arrived, arrived, 0 * arrived + 1, 0 * arrived + 0.03)
    surprise = xp.minimum((arrived - memory.fast_hz) ** 2 / (memory.fast_hz + 1), 30.0)
    return Memory(
        memory.fast_hz + FAST * (arrived - memory.fast_hz),
        memory.slow_hz + SLOW * (arrived - memory.slow_hz),
        memory.dispersion + LONG * (surprise - memory.dispersion),
        memory.late + LONG * (seen.late - memory.late),
    )


def middle(xp: Any, memory: Memory, seen: Observation | OneService) -> Array:
    """The queueing model's limit, around which the candidates lie, float[A], cores."""
    steady = limit_for(xp, memory.fast_hz, seen, MODEL_LATE)
    wanted = steady + DRAIN_HZ * queued_cpu_s(xp, memory.fast_hz, seen)
    return xp.clip(wanted, seen.min_cpu, seen.max_cpu)


def candidates(xp: Any, middle_cpu: Array, min_cpu: Array, max_cpu: Array) -> Array:
    """Limits to choose from, float[A, K], cores; each argument is float[A]."""
    return xp.minimum(xp.maximum(middle_cpu[:, None] * RATIOS, min_cpu[:, None]), max_cpu[:, None])


def predict(xp: Any, layers: Layers, x: Array) -> tuple[Array, Array]:
    """inputs float32[N, F] -> late requests and next limit (up to a constant per state), float32[N, K] each"""
    for layer in layers[:-1]:
        x = xp.maximum(x @ layer["weight"] + layer["bias"], 0.0)
    out = x @ layers[-1]["weight"] + layers[-1]["bias"]
    return xp.exp(out[:, :CANDIDATES]), out[:, CANDIDATES:]


def inputs(xp: Any, memory: Memory, seen: Observation | OneService, middle_cpu: Array) -> list[Array]:
    """What the network sees, F columns float[A] of order one; floats of one service where `xp` is `core.scalars`."""
    rate, work, bound = memory.fast_hz, seen.cpu_per_request_s, seen.slo_response_s
    used = (seen.usage_cpu + 0.02) / (seen.arrived_hz * work + 0.02)
    return [
        xp.log(middle_cpu) + 1,
        rate * work,
        xp.log(rate + 1) / 2 - 1.5,
        (seen.arrived_hz - rate) / xp.sqrt(rate + 1),
        (rate - memory.slow_hz) / xp.sqrt(memory.slow_hz + 1) / 2,
        xp.minimum(queued_cpu_s(xp, rate, seen) / middle_cpu, 3.0),
        xp.minimum(seen.backlog * work / middle_cpu, 3.0),
        xp.clip(used - 1, -1.0, 2.0),
        seen.late,
        xp.clip(xp.log(seen.limit_cpu / middle_cpu), -2.0, 2.0),
        xp.log(memory.dispersion + 0.1),
        xp.sqrt(memory.late),
        2 * seen.cpu_cv,
        10 * work / bound,
        10 * seen.overhead_s / bound,
    ]
