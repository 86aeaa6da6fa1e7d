"""The guard: whatever is wished, limits stay in their ranges and within the slice; the same in numpy and JAX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.core import scalars
from edgewright.scaling.actions import ActionMap, bound, explain
from edgewright.scaling.control import Controller
from edgewright.scaling.events import SimulatedSlice
from edgewright.scaling.model import Scenario, check
from edgewright.scaling.observation import Observation, each, first_history, flatten, frame, push
from edgewright.scaling.policies import POLICIES, make_policy

from .conftest import make_scenario

WISH = st.floats(allow_nan=True, allow_infinity=True, width=32)


def seen_of(limit: list[float], late: list[float], arrived: list[float], slice_cpu: float = 1.5) -> Observation:
    count = len(limit)
    zero = np.zeros(count)
    return Observation(
        limit_cpu=np.array(limit), usage_cpu=np.array(limit) / 2, throttled=zero + 0.2, arrived_hz=np.array(arrived),
        backlog=zero + 3, response_mean_s=zero + 0.02, response_p95_s=zero + 0.04, late=np.array(late), failed=zero,
        priority=np.arange(count, dtype=float), cpu_per_request_s=zero + 0.005,
        cpu_cv=zero + 0.2, overhead_s=zero + 0.001, min_cpu=zero + 0.05, max_cpu=zero + 1.0,
        slice_cpu=np.float64(slice_cpu), slo_response_s=np.float64(0.05), slo_late_allowed=np.float64(0.05),
    )  # fmt: skip


@settings(max_examples=300)
@given(
    wish=st.lists(WISH, min_size=3, max_size=3),
    limit=st.lists(st.floats(0.05, 0.5), min_size=3, max_size=3),
    late=st.lists(st.floats(0, 1), min_size=3, max_size=3),
    arrived=st.lists(st.floats(0, 300), min_size=3, max_size=3),
)
def test_bounded_whatever_is_wished(
    wish: list[float], limit: list[float], late: list[float], arrived: list[float]
) -> None:
    seen = seen_of(limit, late, arrived)
    allowed = bound(np, np.array(wish, dtype=np.float64), seen)
    assert check(make_scenario(1, 1, 1), allowed) == []
    notes = explain(np.array(wish, dtype=np.float64), allowed, seen)
    for value, given_wish, note in zip(allowed, wish, notes, strict=True):
        assert (note == "allowed") == (bool(np.isfinite(given_wish)) and abs(value - given_wish) < 5e-4)
    in_jax = bound(jnp, jnp.asarray(wish, jnp.float32), seen)
    finite = np.where(np.isfinite(wish), np.clip(wish, -1e6, 1e6), wish)
    assert np.allclose(bound(np, finite, seen), in_jax, atol=2e-5)


def test_a_late_service_is_not_lowered() -> None:
    seen = seen_of([0.5, 0.5, 0.4], [0.2, 0.0, 0.0], [60, 10, 10])
    allowed = bound(np, np.array([0.1, 0.1, 0.1]), seen)
    assert allowed[0] == pytest.approx(0.5)
    assert allowed[1] == pytest.approx(0.1)
    assert "held" in explain(np.array([0.1, 0.1, 0.1]), allowed, seen)[0]


def test_scarce_cpu_goes_to_needs_first() -> None:
    seen = seen_of([0.5, 0.5, 0.5], [0, 0, 0], [150, 20, 20])  # 0.75, 0.1 and 0.1 cores of demand
    allowed = bound(np, np.array([1.0, 1.0, 1.0]), seen)
    assert allowed[0] > 0.75
    assert allowed.sum() == pytest.approx(1.5)


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("kind", ["reference", "residual"])
def test_actions_equal_in_numpy_and_jax(kind: str, discrete: bool) -> None:
    actions = ActionMap(kind, discrete)  # type: ignore[arg-type]
    seen = replace(seen_of([0.5, 0.3, 0.7], [0, 0, 0], [60, 30, 80]), backlog=np.array([5.0, 40.0, 0.0]))
    rng = np.random.default_rng(0)
    raw = rng.integers(0, actions.spec.n, 3) if discrete else rng.uniform(-1, 1, (3, 2)).astype(np.float32)
    rate = seen.arrived_hz
    vectorised = actions.limits(jnp, raw.T, seen, rate)
    assert np.allclose(actions.limits(np, raw.T, seen, rate), vectorised, atol=1e-6)
    known = zip(raw.tolist(), each(seen), rate.tolist(), strict=True)
    assert np.allclose([actions.limits(scalars, *one) for one in known], vectorised, atol=1e-6)
    assert (np.asarray(actions.mask(jnp, seen)) == actions.mask(np, seen)).all()


def test_reference_steps_respect_slice_and_range() -> None:
    actions = ActionMap("reference", True)
    mask = actions.mask(np, seen_of([0.05, 0.45, 1.0], [0, 0, 0], [1, 1, 1]))
    assert mask.tolist() == [[False, True, False], [True, True, False], [True, True, False]]


@pytest.mark.parametrize("features", ["reference", "slo"])
def test_observation_equal_in_numpy_and_jax(features: str) -> None:
    a, b = seen_of([0.5, 0.3], [0.1, 0], [60, 30]), seen_of([0.4, 0.6], [0.0, 0.3], [20, 90])
    shapes = []
    for xp in (np, jnp):
        history = first_history(xp, frame(xp, a, features, 0.3))  # type: ignore[arg-type]
        history = push(xp, history, frame(xp, b, features, 0.3))  # type: ignore[arg-type]
        shapes.append(np.asarray(flatten(history)))
    assert np.allclose(*shapes, atol=1e-6)
    assert np.isfinite(shapes[0]).all()


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_every_policy_stays_sound_and_repeats(name: str, scenario: Callable[..., Scenario]) -> None:
    """Contract of all policies: sound limits, a reason per service, same seed same limits, observation untouched."""
    three = scenario(60, {"kind": "step", "before_hz": 20.0, "after_hz": 110.0, "at_s": 15.0}, 0.0, duration_s=40,
                     service={"cpu": {"initial": 0.3}})  # fmt: skip
    traces = []
    for _ in range(2):
        simulated, controller = SimulatedSlice(three, 7), Controller(three, make_policy(name, three))
        trace = []
        for _ in range(40):
            seen = simulated.run()
            before = {key: np.array(value) for key, value in seen.__dict__.items() if value is not None}
            step = controller.step(seen)
            assert all(np.array_equal(before[key], getattr(seen, key)) for key in before)
            assert check(three, step.allowed.cpu, step.allowed.memory_bytes) == []
            assert len(step.reasons) == len(step.verdict.notes) == 3
            assert all(step.reasons)
            simulated.apply(step.allowed)
            trace.append(step.allowed.cpu)
        traces.append(np.array(trace))
    assert np.array_equal(*traces)
    if name != "fixed":
        assert traces[0][-1, 1] > traces[0][10, 1]  # the service whose load rose got more


def test_pins_hold_and_leave_the_rest_to_the_others(scenario: Callable[..., Scenario]) -> None:
    three = scenario(90, 90, 90)
    simulated = SimulatedSlice(three, 0)
    controller = Controller(three, make_policy("threshold", three), pins={"b": 0.9})
    for _ in range(60):
        step = controller.step(simulated.run())
        simulated.apply(step.allowed)
        assert step.allowed.cpu[1] == 0.9
        assert check(three, step.allowed.cpu) == []
    assert "pinned" in step.verdict.notes[1]
