"""Measures, comparison, oracle, tuning, calibration and memory: known answers on small runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgewright.core.errors import InputError
from edgewright.core.workload import arrivals
from edgewright.scaling.calibration import Measured, fit, simulate
from edgewright.scaling.comparison import against, as_text, at_equal_cost
from edgewright.scaling.curves import at_other_price
from edgewright.scaling.evaluation import Rollout, measure, rollout
from edgewright.scaling.memory_study import in_twin
from edgewright.scaling.model import Behaviour, Scenario, read_scenario
from edgewright.scaling.policies import POLICIES, make_policy
from edgewright.scaling.tuning import SPACES, folder, try_parameters
from edgewright.studies.plan import make_plan


def test_measures_of_a_known_run(scenario: Callable[..., Scenario]) -> None:
    one = scenario(10, slo={"response_ms": 50.0, "window_s": 2})
    quick, slow = np.array([0.01, 0.02]), np.array([0.06, 1.5])
    run = Rollout(
        1.0,
        limit_cpu=np.array([[0.5], [0.5], [0.7], [0.7]]),
        usage_cpu=np.full((4, 1), 0.3),
        arrived=np.full((4, 1), 2.0),
        response_s=((quick,), (quick,), (slow,), (np.array([2.0]),)),
        failed=np.array([[0.0], [0.0], [0.0], [1.0]]),
        oom_kills=np.zeros((4, 1)),
        memory_limit_bytes=np.full((4, 1), 1e9),
    )
    got = measure(one, run)
    assert got["late_percent"] == pytest.approx(100 * 3 / 7)
    assert got["failed_percent"] == pytest.approx(100 / 7)
    assert got["over_1s_percent"] == pytest.approx(200 / 7)
    assert got["violated_windows_percent"] == 50
    assert got["reserved_cpu_s"] == pytest.approx(2.4)
    assert got["used_cpu_s"] == pytest.approx(1.2)
    assert got["utilization_percent"] == pytest.approx(50)
    assert got["fluctuation_cpu"] == pytest.approx(0.2 / 3)
    assert got["reserved_memory_gb_s"] == pytest.approx(4)


def test_limits_stay_until_the_start(scenario: Callable[..., Scenario]) -> None:
    late_start = scenario(90, duration_s=20, control={"start_after_s": 10.0}, service={"cpu": {"initial": 0.3}})
    run = rollout(late_start, "model", 0)
    assert (run.limit_cpu[:10] == 0.3).all()
    assert run.limit_cpu[-1, 0] > 0.4


def test_what_still_waits_too_long_at_the_end_is_late(scenario: Callable[..., Scenario]) -> None:
    starved = scenario(60, duration_s=4, service={"cpu": {"min": 0.05, "initial": 0.05}})
    run = rollout(starved, "fixed", 0)
    told = sum(step[0].size for step in run.response_s)
    assert told > 0.6 * run.arrived.sum() > 10
    assert measure(starved, run)["late_percent"] > 90


def test_nothing_asked_is_nothing_measured(scenario: Callable[..., Scenario]) -> None:
    got = measure(idle := scenario(0, duration_s=5), rollout(idle, "model", 0))
    assert all(np.isnan(got[name]) for name in ("response_mean_ms", "response_p95_ms", "late_percent"))
    assert got["reserved_cpu_s"] > 0


@pytest.mark.parametrize(
    ("policy", "parameters", "field"),
    [
        ("hpa", {"target": 0}, "target"),
        ("vpa", {"half_life_s": 0}, "half_life_s"),
        ("model", {"drain_s": -1.0}, "drain_s"),
        ("curves", {"price": float("nan")}, "price"),
        ("ppo", {"price": "low"}, "price"),
        ("threshold", {"hihg": 0.5}, "hihg"),
    ],
)
def test_a_parameter_out_of_its_range_is_refused(
    policy: str, parameters: dict[str, float], field: str, scenario: Callable[..., Scenario]
) -> None:
    with pytest.raises(InputError, match=f"parameters.{field}"):
        make_policy(policy, scenario(30), **parameters)


def test_a_study_with_a_bad_method_is_refused_before_it_runs(tmp_path: Path) -> None:
    study = {
        "format": "edgewright.study/1",
        "name": "bad",
        "capability": "scaling",
        "seeds": 1,
        "quick": True,
        "methods": [{"name": "hpa"}, {"name": "far", "policy": "hpa", "parameters": {"target": 7.0}}],
        "scenarios": [str(folder() / "step.yaml")],
    }
    (tmp_path / "study.yaml").write_text(json.dumps(study))
    with pytest.raises(InputError, match=r"study.yaml: methods.1.parameters.target"):
        make_plan(tmp_path / "study.yaml")


def test_unknown_parameters_are_refused(scenario: Callable[..., Scenario]) -> None:
    with pytest.raises(InputError, match="parameters"):
        rollout(scenario(30, duration_s=2), "hpa", 0, aim=0.5)


def test_the_oracle_is_better_than_policies_that_guess() -> None:
    """Late requests + 12 per reserved core-second, the objective it is given: less than every tuned policy's."""
    oracle = try_parameters("oracle", {"price": 12.0}, scenarios=("tuning-d",), seeds=(1,))
    for name in ("threshold", "hpa", "vpa", "model", "ppo"):
        other = try_parameters(name, {}, scenarios=("tuning-d",), seeds=(1,))
        assert oracle.objective < other.objective, name


def test_every_tunable_policy_exists() -> None:
    assert set(SPACES) - {"oracle"} <= set(POLICIES)
    for space in SPACES.values():
        for bounds in space.values():
            assert all(bounds.low <= bounds.draw(np.random.default_rng(n)) <= bounds.high for n in range(20))


def test_comparison_pairs_seeds() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(5, 10, 20)
    values = {}
    for measure_name in ("response_mean_ms", "late_percent", "reserved_cpu_s"):
        values["model", "step", measure_name] = base
        values["ppo", "step", measure_name] = base * (0.8 if measure_name != "reserved_cpu_s" else 1.0)
    (row,) = against(values, ["ppo"])
    assert row["beats"]
    assert row["late_percent"]["ratio"] == pytest.approx(0.8)
    assert row["late_percent"]["high"] == pytest.approx(0.8)
    assert "fewer late" in as_text([row])
    values["ppo", "step", "reserved_cpu_s"] = base * 1.02
    assert not against(values, ["ppo"])[0]["beats"]


def test_late_requests_at_equal_cost_lie_between_the_prices() -> None:
    values = {}
    for method, cpu, late in (("curves", 100, 2.0), ("curves-8", 110, 1.0), ("hpa", 105, 4.0), ("vpa", 150, 1.0)):
        values[method, "step", "reserved_cpu_s"] = np.full(20, float(cpu))
        values[method, "step", "late_percent"] = np.full(20, late)
        values[method, "step", "response_mean_ms"] = np.full(20, 10 * late)
    (row,) = at_equal_cost(values)  # nothing is known at the CPU of vpa
    assert row["baseline"] == "hpa"
    for measure_name in ("late_percent", "response_mean_ms"):
        assert row[measure_name]["ratio"] == pytest.approx(2**0.5 / 4)
        assert row[measure_name]["low"] == pytest.approx(row[measure_name]["high"])
    assert "0.35" in as_text([], [row])
    assert at_other_price("curves-0.5")
    assert not at_other_price("curves-mine")  # a user's own file


def test_calibration_recovers_a_known_service() -> None:
    """Points made by the twin itself under a hidden behaviour: the fit predicts points it has not seen."""
    hidden = Behaviour(cpu_ms=4.2, cold_ms=2.0, cpu_cv=0.3, overhead_ms=2.5)

    def point(quota: float, rate: float, seed: int) -> Measured:
        due = arrivals(np.full(40, rate), np.random.default_rng(seed))
        mean = simulate(hidden, quota, due, 2.0, seed=seed)
        return Measured(quota, rate, due, np.full(due.size, mean), float(hidden.mean_cpu_s(rate)))

    points = [
        point(q, r, n) for n, (q, r) in enumerate(((0.3, 30), (1.0, 30), (0.5, 60), (1.0, 60), (0.6, 90), (1.0, 90)))
    ]
    found = fit(points, Behaviour(), 2.0)
    for quota, rate in ((0.4, 45.0), (0.6, 75.0), (0.8, 20.0), (0.7, 90.0)):
        due = arrivals(np.full(60, rate), np.random.default_rng(99))
        assert simulate(found, quota, due, 2.0) == pytest.approx(simulate(hidden, quota, due, 2.0), rel=0.15)
    with pytest.raises(InputError, match="points"):
        fit(points + points[:1], Behaviour(), 2.0)


def test_memory_follows_the_working_set() -> None:
    """Never killed, where the fixed limit it starts from is; and it reserves far less than the highest limit."""
    rows = in_twin(read_scenario(folder() / "memory.yaml"), 3, folder())
    kills = {name: sum(r["oom_kills"] for r in rows if r["memory"] == name) for name in {r["memory"] for r in rows}}
    bytes_s = {name: np.mean([r["reserved_memory_gb_s"] for r in rows if r["memory"] == name]) for name in kills}
    assert kills["percentile"] == kills["fixed-highest"] == 0 < kills["fixed-initial"]
    assert bytes_s["percentile"] < 0.7 * bytes_s["fixed-highest"]
    assert all(r["end_mb"] < 0.6 * r["peak_mb"] for r in rows if r["memory"] == "percentile")
