"""The two twins of a service under a CFS quota: exact in known cases, equal to each other, near a real host."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgewright.core.contracts import Twin
from edgewright.core.errors import InputError
from edgewright.scaling import events
from edgewright.scaling.events import ServiceSimulation, SimulatedSlice
from edgewright.scaling.model import MB, Scenario
from edgewright.scaling.serving import PERIOD_S, PERIODS, draw_requests, serve
from edgewright.scaling.twin import ScalingTwin, params_of, reference_reward, scaling_twin

from .conftest import make_scenario
from .test_guard import seen_of


def finish(
    arrival: list[float], size: list[float], quota_ms: float, periods: int = 50, limit: int = 1000
) -> list[float]:
    times, *_ = events.serve(np.array(arrival), np.array(size), 0, 0, quota_ms / 1e3, periods, 0.01, limit)
    return times.round(9).tolist()


def test_known_cases() -> None:
    assert finish([0.001], [0.004], 10) == [0.005]  # no throttling: served at once
    # 5 ms of work with 2 ms per 10 ms: 2 + 2 + 1, the last one from the start of the third period.
    assert finish([0.0], [0.005], 2) == [0.021]
    # The quota of a period in which nothing was done is lost.
    assert finish([0.025], [0.005], 2) == [0.041]
    # First come, first served; the second starts when the first has ended.
    assert finish([0.0, 0.001], [0.003, 0.003], 10) == [0.003, 0.006]
    # A request that comes late in a period uses what is left of it, then the next period's quota.
    assert finish([0.009], [0.004], 5) == [0.013]


def test_a_full_queue_refuses() -> None:
    arrival, size = np.zeros(5), np.full(5, 0.004)
    _, state, _, used, _, waiting = events.serve(arrival, size, 0, 0, 0.010, 1, 0.01, 3)
    assert state.tolist() == [1, 1, 0, 2, 2]
    assert used == pytest.approx(0.010)
    assert waiting == 1


@settings(max_examples=60)
@given(
    rate=st.floats(1, 150),
    quota=st.floats(0.05, 1.0),
    cpu_ms=st.floats(1, 9),
    cv=st.floats(0, 1),
    seed=st.integers(0, 999),
)
def test_work_is_conserved_and_quota_kept(rate: float, quota: float, cpu_ms: float, cv: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrival = np.sort(rng.random(rng.poisson(rate)))
    size = rng.exponential(cpu_ms / 1e3, arrival.size) if cv else np.full(arrival.size, cpu_ms / 1e3)
    left = size.copy()
    end, state, _, used, throttled, waiting = events.serve(arrival, left, 0, 0, quota * 0.01, 100, 0.01, 10_000)
    assert used == pytest.approx(size.sum() - left.sum(), abs=1e-9)
    assert used <= quota + 1e-9
    assert 0 <= throttled <= 100
    assert waiting == (state == 0).sum()
    done = state == 1
    assert (np.diff(end[done]) >= -1e-12).all()
    assert (end[done] - arrival[done] >= size[done] - 1e-9).all()


@functools.cache
def compiled_serve() -> Callable[..., object]:
    return jax.jit(serve)


@settings(max_examples=60)
@given(rate=st.floats(1, 200), limit=st.floats(0.1, 1.0), cv=st.floats(0.0, 1.0), seed=st.integers(0, 10_000))
def test_jax_equals_reference_under_a_constant_limit(rate: float, limit: float, cv: float, seed: int) -> None:
    """Same requests, three seconds on end, each credited where it arrived: equal to 1e-4.

    Up to the backlog that a queue of 100 requests holds; beyond it float32 cannot tell one period from the next.
    """
    assume(3 * (rate * 0.005 - limit) < 0.5)
    assume(cv > 1e-3 or abs(0.5 / limit - round(0.5 / limit)) > 1e-3)  # each request would end with a period
    backlog = jnp.zeros(1)
    arrival, size, got = [], [], []
    for second in range(3):
        key = jax.random.fold_in(jax.random.key(seed), second)
        drawn = draw_requests(key, jnp.array([rate]), jnp.array([0.005]), jnp.array([cv]))
        got.append(
            compiled_serve()(drawn, backlog, jnp.array([limit]), jnp.array([0.001]), jnp.array([0.005]),
                             jnp.array([1e6]), 0.05, 1e6)
        )  # fmt: skip
        backlog = got[-1].backlog_s  # type: ignore[attr-defined]
        counts = np.asarray(drawn.count[0]).astype(int)
        for k in range(PERIODS):
            for j in range(counts[k]):
                arrival.append(second + k * PERIOD_S + float(drawn.offset_s[j, 0, k]))
                size.append(float(drawn.size_s[j, 0, k]))
    due, work = np.array(arrival), np.array(size)
    end, *_ = events.serve(due, work.copy(), 0, 0, limit * PERIOD_S, 20_000, PERIOD_S, 10**9)
    _, _, _, used, throttled, _ = events.serve(due, work.copy(), 0, 0, limit * PERIOD_S, 300, PERIOD_S, 10**9)
    response = end - due + 0.001
    total = sum(float(g.response_sum_s[0]) for g in got)  # type: ignore[attr-defined]
    # A request whose work fills a period to within float32's rounding may end one period apart; rarely there is one.
    assert abs(total - response.sum()) <= 1e-4 * response.sum() + PERIOD_S
    assert sum(float(g.cpu_s[0]) for g in got) == pytest.approx(used, rel=1e-4, abs=1e-5)  # type: ignore[attr-defined]
    near = int((np.abs(response - 0.05) < 1e-4).sum())  # float32 may put these on either side
    assert abs(sum(float(g.late[0]) for g in got) - (response > 0.05).sum()) <= near  # type: ignore[attr-defined]
    assert abs(sum(float(g.throttled[0]) for g in got) * 100 - throttled) <= 2  # type: ignore[attr-defined]


def test_drawn_requests_have_the_right_moments() -> None:
    draw = jax.vmap(lambda key: draw_requests(key, jnp.array([90.0]), jnp.array([0.005]), jnp.array([0.5])))
    drawn = draw(jax.random.split(jax.random.key(0), 400))
    counts = np.asarray(drawn.count).sum(axis=(1, 2))
    assert counts.mean() == pytest.approx(90, rel=0.02)
    assert counts.var() == pytest.approx(90, rel=0.2)
    size = np.asarray(drawn.size_s)[np.asarray(drawn.size_s) > 0]
    assert size.mean() == pytest.approx(0.005, rel=0.01)
    assert size.std() / size.mean() == pytest.approx(0.5, rel=0.05)
    offset = np.asarray(drawn.offset_s)
    assert (np.diff(offset, axis=1) >= 0).all()  # sorted over slots
    one = offset[:, 0][np.asarray(drawn.count) == 1]
    assert one.mean() == pytest.approx(0.005, rel=0.02)


# Mean response in ms by rate and quota of a 5 ms service on a real host; measured there with a 10 ms CFS period.
HOST = {
    30: {0.3: 23, 0.4: 14, 0.5: 12, 0.6: 11, 0.8: 8.8, 1.0: 9.3},
    60: {0.4: 31, 0.5: 12, 0.6: 9.1, 0.8: 7.9, 1.0: 7.3},
    90: {0.5: 34, 0.6: 15, 0.8: 9.5, 1.0: 8.6},
}


@pytest.mark.parametrize("rate", sorted(HOST))
def test_reproduces_the_measured_table(rate: int) -> None:
    """One behaviour per rate (a request's CPU falls with the rate on that host: warm caches), all quotas of the row."""
    cpu_ms = {30: 5.4, 60: 4.75, 90: 4.75}[rate]
    for quota, live_ms in HOST[rate].items():
        single = make_scenario(
            rate, duration_s=60, service={"cpu": {"initial": quota}, "behaviour": {"cpu_ms": cpu_ms, "cpu_cv": 0.2}}
        )
        means = []
        for seed in range(4):
            simulated = SimulatedSlice(single, seed)
            for _ in range(60):
                simulated.run()
                means.append(simulated.served[0].responses_s)
        mean_ms = 1e3 * float(np.concatenate(means).mean())
        assert mean_ms == pytest.approx(live_ms, rel=0.3), (rate, quota)


def test_same_seed_same_requests_whatever_the_limits(scenario: Callable[..., Scenario]) -> None:
    two = scenario(60, 30)
    arrived = []
    for limit in (0.1, 0.7):
        twin = ServiceSimulation(two, 5)
        arrived.append([s.arrived for _ in range(20) for s in twin.advance(1.0, np.full(2, limit))])
    assert arrived[0] == arrived[1]


def test_a_crash_loses_what_waits_and_comes_back(scenario: Callable[..., Scenario]) -> None:
    crashing = scenario(60, service={"behaviour": {"crash_per_hour": 200.0, "restart_s": 3.0}})
    twin = ServiceSimulation(crashing, 0)
    served = [twin.advance(1.0, np.array([0.8]))[0] for _ in range(120)]
    crashes = [i for i, s in enumerate(served) if s.crashed]
    assert crashes
    first = crashes[0]
    assert all(served[i].failed == served[i].responses_s.size > 0 for i in range(first, first + 3))
    assert served[first].cpu_s == 0
    assert any(s.failed == 0 and s.cpu_s > 0 for s in served[first + 3 :])


def test_memory_kills_below_the_working_set(scenario: Callable[..., Scenario]) -> None:
    growing = scenario(
        50, service={"behaviour": {"memory_base_mb": 100.0, "memory_per_request_kb": 200.0, "memory_hold_s": 10.0}}
    )
    enough = ServiceSimulation(growing, 0)
    peak = max(enough.advance(1.0, np.array([0.8]), np.array([400.0 * MB]))[0].memory_bytes for _ in range(30))
    assert peak == pytest.approx((100 + 50 * 11 * 0.2) * MB, rel=0.1)
    tight = ServiceSimulation(growing, 0)
    served = [tight.advance(1.0, np.array([0.8]), np.array([150.0 * MB]))[0] for _ in range(60)]
    kills = [i for i, one in enumerate(served) if one.oom_kills]
    # 50 MB of room are 5 s of requests, filled anew after a restart (2 s): a dead service holds nothing it is sent
    assert set(np.diff(kills)) <= {6, 7, 8}
    assert not any(one.oom_kills or one.crashed for i in kills for one in served[i + 1 : i + 2])


def test_reference_reward_as_published() -> None:
    """p in [30, 60]: 1 + p/30; below: the change over 10, clipped; above: 0. Shared: 1 - 5 (sum (1+prio) rt - 0.01)."""
    seen, last = seen_of([0.5, 0.5, 0.5], [0, 0, 0], [1, 1, 1]), seen_of([0.5, 0.5, 0.5], [0, 0, 0], [1, 1, 1])
    seen = seen.__class__(**{**seen.__dict__, "usage_cpu": np.array([0.225, 0.10, 0.4])})
    last = last.__class__(**{**last.__dict__, "usage_cpu": np.array([0.2, 0.05, 0.4])})
    shared = 1 - 5 * ((1 * 0.02 + 2 * 0.02 + 3 * 0.02) - 0.01)
    expected = 0.5 * np.array([1 + 45 / 30, 1.0, 0.0]) + shared
    assert np.allclose(reference_reward(seen, last), expected, atol=1e-6)


@pytest.fixture(scope="module")
def twin() -> ScalingTwin:
    return scaling_twin(2, "box", horizon=30)


def test_learners_twin_is_pure_and_truncates(twin: ScalingTwin) -> None:
    assert isinstance(twin, Twin)
    params = twin.sample(jax.random.key(1))
    step = jax.jit(twin.step)
    runs = []
    for _ in range(2):
        state, observation = twin.reset(jax.random.key(2), params)
        assert observation.shape == (2, twin.spec.observation_size)
        for n in range(30):
            key = jax.random.fold_in(jax.random.key(3), n)
            state, observation, reward, terminated, truncated, info = step(key, state, jnp.zeros((2, 2)), params)
            assert not bool(terminated)
            assert bool(truncated) == (n == 29)
            assert np.isfinite(np.asarray(observation)).all()
            assert np.isfinite(np.asarray(reward)).all()
            assert float(info["limit_cpu"].sum()) <= float(params.slice_cpu) + 1e-5
        runs.append(np.asarray(observation))
    assert np.array_equal(*runs)


def test_both_twins_agree_on_an_episode() -> None:
    """Own draws of the same load, fixed limits: mean response and CPU of the two twins within a few per cent."""
    single = make_scenario(70, duration_s=200, service={"cpu": {"initial": 0.6}, "behaviour": {"cpu_ms": 5.0}})
    simulated = SimulatedSlice(single, 0)
    seen = [simulated.run() for _ in range(200)]
    reference = np.mean([o.response_mean_s[0] for o in seen]), np.mean([o.usage_cpu[0] for o in seen])
    params = params_of(single, jnp.full((1, 200), 70.0))
    backlog, means, used = jnp.zeros(1), [], []
    for n in range(200):
        requests = draw_requests(jax.random.key(n), params.rate_hz[:, n], params.cpu_s, params.cpu_cv)
        served = compiled_serve()(requests, backlog, params.initial_cpu, params.overhead_s, params.cpu_s,
                                  params.queue_limit, 0.05, 2.0)  # fmt: skip
        backlog = served.backlog_s  # type: ignore[attr-defined]
        means.append(float(served.response_sum_s[0] / served.arrived[0]))  # type: ignore[attr-defined]
        used.append(float(served.cpu_s[0]))  # type: ignore[attr-defined]
    assert np.mean(used) == pytest.approx(reference[1], rel=0.04)
    assert np.mean(means) == pytest.approx(reference[0], rel=0.15)


@pytest.mark.parametrize("frames", [1, 3])
def test_history_is_as_long_as_asked(frames: int) -> None:
    twin = scaling_twin(2, features="reference", history=frames)
    params = twin.sample(jax.random.key(0))
    state, first = twin.reset(jax.random.key(1), params)
    _, second, *_ = twin.step(jax.random.key(2), state, jnp.zeros(2, jnp.int32), params)
    assert first.shape == second.shape == (2, twin.spec.observation_size) == (2, 7 * frames)
    assert np.array_equal(second[:, :-7], first[:, 7:])


def test_a_history_without_a_frame_is_refused() -> None:
    with pytest.raises(InputError, match="history"):
        scaling_twin(2, history=0)
