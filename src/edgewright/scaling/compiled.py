"""Decisions of learned policies as machine code, from the very formulas that the twin is written in.

numpy costs more per call than a decision's arithmetic in all. So the formulas over `xp` are compiled with the scalar
functions of `core.scalars` in the place of `xp`, and a decision is one call.

Shapes: A services, S fields of a service, F features, H frames, K candidates.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from operator import attrgetter
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
from numba import njit

from edgewright.core import scalars
from edgewright.core.compiled import compiled
from edgewright.core.contracts import FloatArray
from edgewright.learning import compiled as network
from edgewright.learning.compiled import forward, normalised
from edgewright.learning.perceptron import Floats
from edgewright.scaling import actions, curves, observation, queueing
from edgewright.scaling.observation import Observation, OneService


def _compile(function: Any) -> Any:
    return njit(error_model="numpy")(function)  # what is undefined is nan or infinite


_tuple: Any = namedtuple
_Service = _tuple("_Service", (*OneService._fields, "carried"))  # the last: its row of `queueing.tables`
_arrays = attrgetter(*OneService._fields[:-1])
_XP = ModuleType("scalars")  # numba takes a module for `xp`
for _name in ("log", "log2", "sqrt", "minimum", "maximum", "clip"):
    setattr(_XP, _name, _compile(getattr(scalars, _name)))


def _formula(formula: Callable[..., Any], **calls: Any) -> Any:
    """Compiled, with compiled functions in the place of those it calls."""
    return _compile(FunctionType(formula.__code__, {**formula.__globals__, **calls}, formula.__name__))


_decision = compiled(__file__, scalars, actions, curves, network, observation, queueing)


def services(seen: Observation, late: float) -> tuple[FloatArray, float, FloatArray]:
    """What a decision sees of the services: their fields float64[14, A] in the order of OneService, the SLO's bound in
    s, and `queueing.tables` for this share of late requests. Raises ValueError for fields of different lengths.
    """
    fields, bound_s = np.array(_arrays(seen), np.float64), float(seen.slo_response_s)
    return fields, bound_s, queueing.tables(late, bound_s, fields[9:])


@_compile
def _limit_for(xp: Any, rate_hz: float, seen: Any, late: float) -> Any:
    """`queueing.limit_for`; its table is for `late` already."""
    too_small = min(int(np.searchsorted(seen.carried, rate_hz)), queueing.GRID - 1)
    return seen.min_cpu + (seen.max_cpu - seen.min_cpu) * too_small / (queueing.GRID - 1)


_queued_cpu_s = _formula(queueing.queued_cpu_s)
_remember = _formula(curves.remember)
_middle = _formula(curves.middle, limit_for=_limit_for, queued_cpu_s=_queued_cpu_s)
_inputs = _formula(curves.inputs, queued_cpu_s=_queued_cpu_s)
_features = _formula(observation.features_of)
_mean_of_others = _formula(observation.mean_of_others)
_levels, _spans = _formula(actions.levels), _formula(actions.spans)
_residual = _formula(actions.residual, limit_for=_limit_for, queued_cpu_s=_queued_cpu_s)


@_compile
def _service(fields: FloatArray, i: int, bound_s: float, carried: FloatArray) -> Any:
    v = fields[:, i]
    return _Service(
        v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12], v[13], bound_s, carried[i]
    )


@_decision
def decide_by_curves(
    fields: FloatArray,
    bound_s: float,
    carried: FloatArray,
    late_allowed: float,
    memory: FloatArray,
    layers: Any,
    ratios: FloatArray,
    price: float,
    rounding: float,
) -> tuple[FloatArray, FloatArray]:
    """`memory`: what the last call answered; empty at first.

    -> memory float[A, 4], and float[A, 4]: wanted limit, late requests expected at it, at the middle; the middle"""
    count, candidates = fields.shape[1], ratios.size
    now = np.empty((count, 4))
    x = np.empty((count, curves.INPUTS), np.float32)
    found = np.empty((count, 4))
    for i in range(count):
        seen = _service(fields, i, bound_s, carried)
        if memory.size == 0:
            kept = _remember(_XP, None, seen)
        else:
            old = memory[i]
            kept = _remember(_XP, curves.Memory(old[0], old[1], old[2], old[3]), seen)
        now[i] = kept
        found[i, 3] = _middle(_XP, kept, seen)
        x[i] = np.array(_inputs(_XP, kept, seen, found[i, 3]))
    out = forward(x, layers, True)
    for i in range(count):
        seen, cpu = _service(fields, i, bound_s, carried), found[i, 3]
        first = 0
        if seen.late > late_allowed:  # the guard keeps its limit at least: choose among what it will allow
            first = int(np.searchsorted(ratios, seen.limit_cpu / cpu - rounding)) % candidates
        chosen, least = first, np.inf
        for k in range(first, candidates):
            limit = min(max(cpu * ratios[k], seen.min_cpu), seen.max_cpu)
            cost = np.exp(out[i, k]) + (out[i, candidates + k] + limit) * price
            if cost < least:
                chosen, least = k, cost
        found[i, 0] = _XP.clip(cpu * ratios[chosen], seen.min_cpu, seen.max_cpu)
        found[i, 1], found[i, 2] = np.exp(out[i, chosen]), np.exp(out[i, candidates // 2])
    return now, found


@_decision
def decide_by_network(
    fields: FloatArray,
    bound_s: float,
    carried: FloatArray,
    slice_cpu: float,
    features: str,
    price: float,
    history: Floats,
    rate_hz: FloatArray,
    mean: Floats,
    scale: Floats,
    layers: Any,
    relu: bool,
    discrete: bool,
    tanh: bool,
) -> tuple[Floats, FloatArray, FloatArray]:
    """A residual action (see ActionMap). `history`, `rate_hz`: what the last call answered; at first empty, [0, H, F].

    mean, scale float32[H * F]: of the normaliser; empty where there is none.
    -> history float32[A, H, F], recent rate float[A], wanted limit float[A]
    """
    count = fields.shape[1]
    left = slice_cpu - fields[0].sum()
    utilization, priority = _mean_of_others(fields[1] / fields[0]), _mean_of_others(fields[8])
    frames, width = history.shape[1:]
    newest = np.empty((count, frames, width), np.float32)
    rate = fields[3].copy() if rate_hz.size == 0 else rate_hz + actions.SMOOTHING * (fields[3] - rate_hz)
    for i in range(count):
        seen = _service(fields, i, bound_s, carried)
        frame = np.array(_features(_XP, seen, left, utilization[i], priority[i], features, price)).astype(np.float32)
        for h in range(frames - 1):
            newest[i, h] = history[i, h + 1] if history.size else frame
        newest[i, frames - 1] = frame
    x = newest.reshape(count, frames * width)
    out = forward(normalised(x, mean, scale), layers, relu)
    cpu = np.empty(count)
    for i in range(count):
        if discrete:
            ratio, drain = _levels(out[i].argmax())
        elif tanh:
            ratio, drain = _spans(_XP, np.tanh(out[i, 0]), np.tanh(out[i, 1]))
        else:
            ratio, drain = _spans(_XP, out[i, 0], out[i, 1])
        cpu[i] = _residual(_XP, ratio, drain, _service(fields, i, bound_s, carried), rate[i])
    return newest, rate, cpu
