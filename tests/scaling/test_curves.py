"""Cost curves: trained small, exported, read back, refused where they do not fit, and obeying their price."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from edgewright.core import scalars
from edgewright.core.errors import InputError
from edgewright.scaling.curves import CANDIDATES, INPUTS, RATIOS, candidates, inputs, middle, predict, remember
from edgewright.scaling.evaluation import measure, rollout
from edgewright.scaling.events import SimulatedSlice
from edgewright.scaling.model import Action, Scenario
from edgewright.scaling.observation import each
from edgewright.scaling.policies import make_policy
from edgewright.scaling.policies.learned import shipped


def copied(tmp_path: Path, arrays: dict[str, object] | None = None, **changes: object) -> str:
    """The shipped curves with other weights or another card."""
    known = dict(np.load(shipped("curves")))
    np.savez(tmp_path / "c.npz", **{**known, **(arrays or {})})
    card = json.loads(shipped("curves").with_suffix(".json").read_text())
    (tmp_path / "c.json").write_text(json.dumps({**card, **changes}))
    return str(tmp_path / "c.npz")


def test_a_copy_decides_as_the_shipped_one(tmp_path: Path, scenario: Callable[..., Scenario]) -> None:
    two = scenario(60, 30, duration_s=30)
    assert np.array_equal(rollout(two, "curves", 1).limit_cpu, rollout(two, copied(tmp_path), 1).limit_cpu)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"inputs": 12}, "inputs"),
        ({"span": 3.0}, "span"),
        ({"hidden": [32]}, "weight.0"),
        ({"arrays": {"bias.1": np.full(64, np.nan)}}, "bias.1"),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    change: dict[str, object], field: str, tmp_path: Path, scenario: Callable[..., Scenario]
) -> None:
    with pytest.raises(InputError) as error:
        make_policy(copied(tmp_path, **change), scenario(60, 30))  # type: ignore[arg-type]
    assert field in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_damaged_weights_are_refused(tmp_path: Path, scenario: Callable[..., Scenario]) -> None:
    path = copied(tmp_path)
    shutil.copy(Path(path).with_suffix(".json"), path)
    with pytest.raises(InputError, match="weights"):
        make_policy(path, scenario(60))


def test_other_slo_or_interval_is_refused(scenario: Callable[..., Scenario]) -> None:
    with pytest.raises(InputError, match="response_ms"):
        make_policy("curves", scenario(60, slo={"response_ms": 500.0}))
    with pytest.raises(InputError, match="interval_s"):
        make_policy("curves", scenario(60, control={"interval_s": 5.0}))


def test_a_higher_price_buys_less_cpu_and_more_late_requests(scenario: Callable[..., Scenario]) -> None:
    three = scenario(70, 40, 20, duration_s=120)
    rows = [measure(three, rollout(three, "curves", 3, price=price)) for price in (3.0, 12.0, 48.0)]
    reserved, late = [row["reserved_cpu_s"] for row in rows], [row["late_percent"] for row in rows]
    assert reserved == sorted(reserved, reverse=True)
    assert late == sorted(late)


def test_candidates_lie_around_the_model_and_within_the_services_range(scenario: Callable[..., Scenario]) -> None:
    simulated = SimulatedSlice(scenario(90, 5, service={"cpu": {"min": 0.1, "max": 0.6, "initial": 0.3}}), 0)
    seen = simulated.run(1.0)
    centre = middle(np, remember(np, None, seen), seen)
    tried = candidates(np, centre, seen.min_cpu, seen.max_cpu)
    assert tried.shape == (2, CANDIDATES)
    assert np.all((tried >= 0.1) & (tried <= 0.6))
    assert np.all(np.diff(tried, axis=1) >= 0)
    assert tried[:, CANDIDATES // 2] == pytest.approx(centre)


def test_a_service_alone_is_seen_as_in_jax(scenario: Callable[..., Scenario]) -> None:
    simulated, together, alone = SimulatedSlice(scenario(90, 40, 3, duration_s=30), 4), None, None
    for _ in range(30):
        seen = simulated.run(1.0)
        together = remember(jnp, together, seen)
        known = alone or [None] * 3
        alone = [remember(scalars, old, one) for old, one in zip(known, each(seen), strict=True)]
        centre = middle(jnp, together, seen)
        expected = np.stack(inputs(jnp, together, seen, centre), axis=-1)
        for one, memory, cpu, row in zip(each(seen), alone, centre, expected, strict=True):
            # a rate at the edge of a step of the limits' grid may round to either side
            assert middle(scalars, memory, one) == pytest.approx(float(cpu), rel=0.03)
            assert inputs(scalars, memory, one, float(cpu)) == pytest.approx(row.tolist(), abs=1e-4)


@pytest.mark.parametrize("late", [0.0, 0.3])
def test_the_folded_network_decides_as_the_plain_one(late: float, scenario: Callable[..., Scenario]) -> None:
    """Against `predict` and the least cost; a service that misses its SLO chooses among no less than it has."""
    policy = make_policy("curves", three := scenario(90, 40, 3, duration_s=30))
    arrays = np.load(shipped("curves"))
    layers = [{"weight": arrays[f"weight.{i}"], "bias": arrays[f"bias.{i}"]} for i in range(len(arrays.files) // 2)]
    simulated, held, memory = SimulatedSlice(three, 6), None, None
    rng = np.random.default_rng(0)
    for limits in ([0.05, 0.05, 0.05], [1.0, 0.3, 0.2], *rng.uniform(0.05, 1.0, (20, 3))):
        simulated.apply(Action(np.array(limits)))
        seen = replace(simulated.run(), late=np.full(3, late))
        action, held, _ = policy.decide(seen, None, held)
        memory = remember(np, memory, seen)
        centre = middle(np, memory, seen)
        expected, following = predict(np, layers, np.stack(inputs(np, memory, seen, centre), -1).astype(np.float32))
        tried = candidates(np, centre, seen.min_cpu, seen.max_cpu)
        cost = expected + 18.0 * (tried + following)
        if late:
            held_back = (centre[:, None] * RATIOS < seen.limit_cpu[:, None] - 1e-3) & (
                centre[:, None] * RATIOS[-1] >= seen.limit_cpu[:, None]
            )
            cost = np.where(held_back, np.inf, cost)
        best = cost.min(axis=1)
        taken = np.where(np.abs(tried - action.cpu[:, None]) < 1e-6, cost, np.inf).min(axis=1)
        assert taken == pytest.approx(best, rel=1e-3)


def test_a_short_training_learns_which_limits_are_cheap(tmp_path: Path, scenario: Callable[..., Scenario]) -> None:
    from edgewright.scaling.curve_training import train_curves

    told: list[float] = []
    trained = train_curves(10_000, seed=5, episodes=8, on_progress=told.append)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)
    assert trained.card.states >= 10_000
    path = trained.export(tmp_path / "small")
    two = scenario(60, 30, duration_s=60)
    done = measure(two, rollout(two, str(path), 0))
    fixed = measure(two, rollout(two, "hpa", 0))
    assert done["late_percent"] < 8
    assert done["reserved_cpu_s"] < 1.1 * fixed["reserved_cpu_s"]
    assert trained.arrays["weight.0"].shape[0] == INPUTS
    one, other = (train_curves(1_000, seed=5, episodes=8).arrays for _ in range(2))
    assert all(np.array_equal(one[name], other[name]) for name in trained.arrays)
