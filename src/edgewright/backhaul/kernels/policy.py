"""A learned policy at work: it sees, draws a move, sees again. Shapes as in `flows`; F flows, K paths, O features."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edgewright.backhaul.kernels import flows as flows_module
from edgewright.backhaul.kernels import standing as standing_module
from edgewright.backhaul.kernels.flows import Aim, Flows, room
from edgewright.backhaul.kernels.standing import evaluate_changed, nobody
from edgewright.core.compiled import compiled
from edgewright.core.contracts import FloatArray, IntArray
from edgewright.learning import compiled as network_module
from edgewright.learning.compiled import Plain, forward, normalised
from edgewright.learning.perceptron import Floats

DONE = 1.0 - 1e-9  # nothing is better than all that is asked for

_kernel = compiled(__file__, flows_module, standing_module, network_module)


class View(NamedTuple):
    """What `observation.observe` takes of a problem."""

    active: IntArray  # [A] place of each flow with demand among all F
    demand: Floats  # [F] Mb/s
    scale: float  # Mb/s
    paths: bool  # its features: "paths", else "reference"
    left: Floats  # [F, K] workspace
    fair: Floats  # [F, K] workspace


class Course(NamedTuple):
    """Where an episode stands, so that it can go on as if it had not been stopped."""

    choice: IntArray  # [F] path of each flow, counted from its first
    best: IntArray  # [A] paths
    values: FloatArray  # of choice, of best


@_kernel
def look(course: Course, flows: Flows, view: View) -> Floats:
    """`observation.observe` after `evaluate` of this choice: float32[O]"""
    count, options = view.left.shape
    choice, asked = course.choice, view.demand
    rates = np.zeros(count)
    for i in range(view.active.size):
        rates[view.active[i]] = flows.rates[i]
    if not view.paths:
        x = np.empty(3 * count, np.float32)
        for f in range(count):
            x[f], x[count + f], x[2 * count + f] = asked[f] / view.scale, rates[f] / view.scale, choice[f] / options
        return x
    x = np.zeros(count * (2 + 3 * options) + 2, np.float32)
    room(flows.first + choice[view.active], flows, view.active, view.left, view.fair)
    pairs = count * options
    for f in range(count):
        asks, first = max(asked[f], np.float32(1e-3)), 2 * count + f * options
        x[f], x[count + f] = asked[f] / view.scale, rates[f] / asks
        if asked[f] > 0:
            x[first + choice[f]] = 1.0
        for k in range(options):
            x[first + pairs + k] = min(view.left[f, k] / asks, 1.0)
            x[first + 2 * pairs + k] = min(view.fair[f, k] / asks, 1.0)
    x[-2], x[-1] = course.values[0], course.values[1]
    return x


@_kernel
def draw(logits: Floats, choice: IntArray, flows: Flows, view: View) -> tuple[int, int]:
    """A move of a flow with demand to another path that it has, from the softmax of their logits -> flow, path, the
    former an index into `active`; -1 where there is none.
    """
    count = choice.size
    highest, weights = -np.inf, np.empty(logits.size)
    for i in range(view.active.size):
        for k in range(flows.options[i]):
            if k != choice[view.active[i]]:
                highest = max(highest, logits[k * count + view.active[i]])
    total = 0.0
    for i in range(view.active.size):
        for k in range(flows.options[i]):
            if k != choice[view.active[i]]:
                at = k * count + view.active[i]
                weights[at] = np.exp(logits[at] - highest)
                total += weights[at]
    left, flow, path = np.random.random() * total, -1, -1
    for i in range(view.active.size):
        for k in range(flows.options[i]):
            if k != choice[view.active[i]]:
                flow, path = i, k
                left -= weights[k * count + view.active[i]]
                if left < 0.0:
                    return flow, path
    return flow, path


@_kernel
def play(
    course: Course, used: int, until: int, seed: int, flows: Flows, aim: Aim, view: View, net: Plain
) -> tuple[int, bool]:
    """Moves on until so many evaluations -> evaluations, whether there is more to do.

    The first call (used 0) draws from `seed`; between calls nothing else that is compiled may draw in this thread.
    """
    choice, best, values = course
    standing, offered = nobody(flows), flows.demand.sum()
    value = evaluate_changed(flows.first + choice[view.active], standing, flows, offered, aim)
    if used == 0:
        np.random.seed(seed)
        values[:] = value
        used = 1
    while values[1] < DONE:
        if used >= until:
            return used, True
        seen = look(course, flows, view).reshape(1, -1)
        logits = forward(normalised(seen, net.mean, net.scale), net.layers, net.relu)[0]
        flow, path = draw(logits, choice, flows, view)
        if flow < 0:
            break
        choice[view.active[flow]] = path
        paths = flows.first + choice[view.active]
        values[0] = evaluate_changed(paths, standing, flows, offered, aim)
        used += 1
        if values[0] > values[1]:
            values[1] = values[0]
            best[:] = paths
    return used, False
