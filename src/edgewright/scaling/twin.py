"""The learners' twin of scaling, in JAX: N services share a slice's CPU under CFS quotas; one step is one second.

Same service model as the reference twin (`events.py`), served by `serving.py` without a loop over requests.
Differences from the reference: a response time is credited to the interval in which the request arrives, as if its
limit stayed (no difference while limits and intervals match), and the queue's bound acts at interval ends. Golden
test: equal to 1e-4 under constant limits.

Shapes: A services, T steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from edgewright.core.contracts import Array, TwinSpec
from edgewright.core.errors import InputError
from edgewright.scaling.actions import SMOOTHING, ActionMap, Kind, bound
from edgewright.scaling.model import TYPICAL_RATE_HZ, Scenario
from edgewright.scaling.observation import (
    FRAME_SIZE,
    HISTORY,
    Features,
    Observation,
    first_history,
    flatten,
    frame,
    push,
)
from edgewright.scaling.serving import Served, draw_requests, serve

Reward = Literal["reference", "slo"]


class ScalingParams(NamedTuple):
    """One scenario, traced."""

    rate_hz: Array  # [A, T]
    cpu_s: Array  # [A] of one request in a busy service
    cold_s: Array  # [A] more after a pause
    cold_after_s: Array  # [A]
    cpu_cv: Array  # [A]
    overhead_s: Array  # [A]
    queue_limit: Array  # [A] requests
    crash_probability: Array  # [A] per step
    priority: Array  # [A]
    min_cpu: Array  # [A]
    max_cpu: Array  # [A]
    initial_cpu: Array  # [A]
    slice_cpu: Array  # []
    slo_response_s: Array  # []
    slo_late_allowed: Array  # []
    timeout_s: Array  # []
    price: Array  # [] what a reserved core costs per second in the SLO reward


class ScalingState(NamedTuple):
    backlog_s: Array  # [A] CPU still to be done for requests that arrived
    limit_cpu: Array  # [A]
    usage_cpu: Array  # [A] of the last step
    arrived_hz: Array  # [A] of the last step
    rate_hz: Array  # [A] arrivals per second, smoothed
    response_mean_s: Array  # [A] of the last step
    late: Array  # [A] of the last step
    history: Array  # [A, H, F]
    step: Array  # []


@dataclass(frozen=True)
class ScalingTwin:
    """A services, one agent each; see the module."""

    spec: TwinSpec
    actions: ActionMap
    features: Features
    reward: Reward
    draw_params: Callable[[Array], ScalingParams]
    history: int = HISTORY  # frames an agent sees

    def sample(self, key: Array) -> ScalingParams:
        return self.draw_params(key)

    def reset(self, key: Array, params: ScalingParams) -> tuple[ScalingState, Array]:
        zero = jnp.zeros_like(params.initial_cpu)
        rate = params.rate_hz[:, 0]
        unseen = jnp.zeros((zero.size, self.history, 1))
        state = ScalingState(zero, params.initial_cpu, zero, zero, rate, zero, zero, unseen, jnp.int32(0))
        _, seen = self.advance(key, state, params.initial_cpu, params)
        history = first_history(jnp, frame(jnp, seen[1], self.features, params.price), self.history)
        return seen[0]._replace(history=history, step=jnp.int32(0)), flatten(history)

    def mask(self, state: ScalingState, params: ScalingParams) -> Array:
        return self.actions.mask(jnp, last_seen(state, params))

    def step(
        self, key: Array, state: ScalingState, action: Array, params: ScalingParams
    ) -> tuple[ScalingState, Array, Array, Array, Array, Mapping[str, Array]]:
        last = last_seen(state, params)
        wanted = self.actions.limits(jnp, action.T, last, state.rate_hz)
        limit = bound(jnp, wanted, last)
        served, (after, seen) = self.advance(key, state, limit, params)
        reward = self._reward(served, seen, last, params)
        history = push(jnp, state.history, frame(jnp, seen, self.features, params.price))
        after = after._replace(history=history, step=state.step + 1)
        info = {
            "limit_cpu": limit,
            "usage_cpu": seen.usage_cpu,
            "response_mean_s": seen.response_mean_s,
            "late": served.late,
            "failed": served.failed,
            "arrived": served.arrived,
        }
        truncated = after.step >= self.spec.horizon
        return after, flatten(history), reward, jnp.bool_(False), truncated, info

    def advance(
        self, key: Array, state: ScalingState, limit: Array, params: ScalingParams
    ) -> tuple[Served, tuple[ScalingState, Observation]]:
        request_key, crash_key = jax.random.split(key)
        rate = params.rate_hz[:, state.step % params.rate_hz.shape[1]]
        mean_cpu_s = params.cpu_s + params.cold_s / (1 + rate * params.cold_after_s)
        requests = draw_requests(request_key, rate, mean_cpu_s, params.cpu_cv)
        served = serve(
            requests,
            state.backlog_s,
            limit,
            params.overhead_s,
            params.cpu_s,
            params.queue_limit,
            params.slo_response_s,
            params.timeout_s,
        )
        crashed = jax.random.uniform(crash_key, rate.shape) < params.crash_probability
        lost = served.arrived + state.backlog_s / params.cpu_s
        served = jax.tree.map(
            lambda down, up: jnp.where(crashed, down, up),
            Served(
                jnp.zeros_like(limit),
                jnp.zeros_like(limit),
                jnp.zeros_like(limit),
                served.arrived,
                served.arrived * params.timeout_s,
                lost,
                lost,
            ),
            served,
        )
        arrived = jnp.maximum(served.arrived, 1.0)
        response_mean_s = served.response_sum_s / arrived
        after = ScalingState(
            served.backlog_s,
            limit,
            served.cpu_s,
            served.arrived,
            state.rate_hz + SMOOTHING * (served.arrived - state.rate_hz),
            response_mean_s,
            jnp.minimum(served.late / arrived, 1.0),
            state.history,
            state.step,
        )
        seen = last_seen(after, params)
        return served, (
            after,
            Observation(
                **{
                    **seen.__dict__,
                    "throttled": served.throttled,
                    "failed": jnp.minimum(served.failed / arrived, 1.0),
                }
            ),
        )

    def _reward(self, served: Served, seen: Observation, last: Observation, params: ScalingParams) -> Array:
        if self.reward == "reference":
            return reference_reward(seen, last)
        return slo_reward(served, seen, last, params)


def reference_reward(seen: Observation, last: Observation) -> Array:
    """0.5 * utilisation reward + shared reward of the public code behind D4.2 4.3.3.2, float[A]."""
    p, before = 100 * seen.usage_cpu / seen.limit_cpu, 100 * last.usage_cpu / last.limit_cpu
    utilization = jnp.where(p > 60, 0.0, jnp.where(p >= 30, 1 + p / 30, jnp.clip((p - before) / 10, -1, 1)))
    shared = 1 - 5.0 * (((1 + seen.priority) * seen.response_mean_s).sum() - 0.01)
    return 0.5 * utilization + shared


LATE_WEIGHT, RESPONSE_WEIGHT, CHURN_WEIGHT = 1.0, 0.02, 0.02
RATE_SCALE_HZ = 60.0  # requests late per second that count one


def slo_reward(served: Served, seen: Observation, last: Observation, params: ScalingParams) -> Array:
    """Late requests, mean response, reserved CPU at its price and changes of the limit, all negative, float[A].

    Half of each agent's reward is the mean over all, so that one agent does not live at the others' cost.
    """
    requests = seen.arrived_hz / RATE_SCALE_HZ
    own = -(1 + seen.priority) * (
        LATE_WEIGHT * jnp.minimum(served.late, seen.arrived_hz) / RATE_SCALE_HZ
        + RESPONSE_WEIGHT * requests * jnp.minimum(seen.response_mean_s / seen.slo_response_s, 20.0)
    )
    own = own - params.price * seen.limit_cpu - CHURN_WEIGHT * jnp.abs(seen.limit_cpu - last.limit_cpu)
    return 0.5 * (own + own.mean())


def last_seen(state: ScalingState, params: ScalingParams) -> Observation:
    """The part of the observation that actions and the guard need."""
    zero = jnp.zeros_like(state.limit_cpu)
    return Observation(
        limit_cpu=state.limit_cpu,
        usage_cpu=state.usage_cpu,
        throttled=zero,
        arrived_hz=state.arrived_hz,
        backlog=state.backlog_s / _typical_cpu_s(params),
        response_mean_s=state.response_mean_s,
        response_p95_s=zero,
        late=state.late,
        failed=zero,
        priority=params.priority,
        cpu_per_request_s=_typical_cpu_s(params),
        cpu_cv=params.cpu_cv,
        overhead_s=params.overhead_s,
        min_cpu=params.min_cpu,
        max_cpu=params.max_cpu,
        slice_cpu=params.slice_cpu,
        slo_response_s=params.slo_response_s,
        slo_late_allowed=params.slo_late_allowed,
    )


def _typical_cpu_s(params: ScalingParams) -> Array:
    return params.cpu_s + params.cold_s / (1 + TYPICAL_RATE_HZ * params.cold_after_s)


def params_of(scenario: Scenario, rate_hz: Array, price: float = 0.0) -> ScalingParams:
    """The traced form of a scenario under rates float[A, T]."""
    services = scenario.services

    def column(values: list[float]) -> Array:
        return jnp.asarray(values, jnp.float32)

    return ScalingParams(
        rate_hz=jnp.asarray(rate_hz, jnp.float32),
        cpu_s=column([s.behaviour.cpu_ms / 1e3 for s in services]),
        cold_s=column([s.behaviour.cold_ms / 1e3 for s in services]),
        cold_after_s=column([s.behaviour.cold_after_ms / 1e3 for s in services]),
        cpu_cv=column([s.behaviour.cpu_cv for s in services]),
        overhead_s=column([s.behaviour.overhead_ms / 1e3 for s in services]),
        queue_limit=column([s.behaviour.queue_limit for s in services]),
        crash_probability=column([-np.expm1(-s.behaviour.crash_per_hour / 3600) for s in services]),
        priority=column([s.priority for s in services]),
        min_cpu=column([s.cpu.min for s in services]),
        max_cpu=column([s.cpu.max for s in services]),
        initial_cpu=column([s.cpu.initial for s in services]),
        slice_cpu=jnp.float32(scenario.slice.cpu),
        slo_response_s=jnp.float32(scenario.slo.response_s),
        slo_late_allowed=jnp.float32(scenario.slo.late_allowed),
        timeout_s=jnp.float32(scenario.slo.timeout_s),
        price=jnp.float32(price),
    )


def draw_training_params(key: Array, services: int, horizon: int, price: tuple[float, float]) -> ScalingParams:
    """A random scenario: service times, slice, and loads that hold, drift, step, swing and burst."""
    k = iter(jax.random.split(key, 40))

    def uniform(shape: tuple[int, ...], low: float, high: float) -> Array:
        return jax.random.uniform(next(k), shape, minval=low, maxval=high)

    a, t = (services,), jnp.arange(horizon, dtype=jnp.float32)[None, :]
    cpu_s = uniform((), 0.0035, 0.008) * uniform(a, 0.9, 1.1)
    warm_s = cpu_s * 0.85
    slice_cpu = uniform((), 0.35, 0.6) * services
    # Offered load relative to a fair share of the slice; the sum stays feasible most of the time.
    share = slice_cpu / services * uniform(a, 0.1, 0.65)
    base = jnp.minimum(share, 0.8) / cpu_s
    level = jnp.ones((services, horizon))
    for _ in range(3):  # steps or ramps to other levels
        at, width = uniform(a, 0.0, horizon * 1.3)[:, None], uniform(a, 0.5, 20.0)[:, None]
        to = uniform(a, 0.4, 2.0)[:, None]
        level = level * jnp.where(
            jax.random.bernoulli(next(k), 0.3, a)[:, None], to ** jnp.clip((t - at) / width, 0, 1), 1.0
        )
    swing = uniform(a, 0.0, 0.7)[:, None] * jax.random.bernoulli(next(k), 0.4, a)[:, None]
    level = level * (1 + swing * jnp.sin(2 * jnp.pi * (t / uniform(a, 60, 400)[:, None] + uniform(a, 0, 1)[:, None])))
    bursty = uniform(a, 0.0, 0.03)[:, None] * jax.random.bernoulli(next(k), 0.5, a)[:, None]
    spikes = jax.random.bernoulli(next(k), bursty, (services, horizon)).astype(jnp.float32)
    length = 5
    burst = jnp.stack([jnp.roll(spikes, n, axis=1) for n in range(length)]).max(axis=0)
    level = level * (1 + burst * uniform(a, 0.2, 1.5)[:, None])
    rate = jnp.minimum(base[:, None] * jnp.clip(level, 0.1, 4.0), 0.95 / cpu_s[:, None])
    # Where the slice is far too small nothing can be learned from a limit: most episodes stay below its capacity.
    offered = (rate * cpu_s[:, None]).sum(axis=0)
    crowded = jax.random.bernoulli(next(k), 0.2)
    rate = rate * jnp.minimum(1.0, jnp.where(crowded, 1.0, 0.72) * slice_cpu / jnp.maximum(offered, 1e-6))
    log_price = uniform((), float(np.log(price[0])), float(np.log(price[1])))
    full = jnp.ones(a)
    return ScalingParams(
        rate_hz=jnp.minimum(rate, 250.0),
        cpu_s=warm_s,
        cold_s=cpu_s * uniform(a, 0.0, 0.7),
        cold_after_s=full * 0.02,
        cpu_cv=uniform(a, 0.05, 0.45),
        overhead_s=uniform(a, 0.0005, 0.004),
        queue_limit=full * 100.0,
        crash_probability=full * 2e-4,
        priority=jnp.zeros(a),
        min_cpu=full * 0.05,
        max_cpu=full,
        initial_cpu=jnp.minimum(uniform(a, 0.1, 0.9), slice_cpu / services),
        slice_cpu=slice_cpu,
        slo_response_s=jnp.float32(0.05),
        slo_late_allowed=jnp.float32(0.05),
        timeout_s=jnp.float32(2.0),
        price=jnp.exp(log_price),
    )


def scaling_twin(
    services: int = 3,
    action: Literal["discrete", "box"] = "discrete",
    *,
    kind: Kind = "residual",
    features: Features = "slo",
    reward: Reward = "slo",
    horizon: int = 120,
    history: int = HISTORY,
    price: tuple[float, float] = (0.08, 0.8),
) -> ScalingTwin:
    """The twin for learners. `kind="reference", features="reference", reward="reference"` is the published task.

    history: frames an agent sees, one a second. price: range of what a reserved core costs in the SLO reward.
    """
    for field, value in (("services", services), ("horizon", horizon), ("history", history)):
        if value < 1:
            raise InputError(field, value, "a whole number >= 1")
    if not 0 < price[0] <= price[1]:
        raise InputError("price", price, "two numbers > 0, the lower first")
    actions = ActionMap(kind, action == "discrete")
    spec = TwinSpec(
        name="scaling",
        agents=tuple(f"service_{n}" for n in range(services)),
        observation_size=history * FRAME_SIZE[features],
        action=actions.spec,
        horizon=horizon,
    )
    draw = partial(draw_training_params, services=services, horizon=horizon, price=price)
    return ScalingTwin(spec, actions, features, reward, draw, history)
