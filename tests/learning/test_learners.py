"""Every algorithm reaches the known optimum, and runs repeat, resume and stop as promised."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from learning_runs import JUDGED, PPO, RUNS, VALUE
from synthetic import Bandit, Constant, Corridor, Queue

from edgewright.core.errors import InputError
from edgewright.learning import DqnConfig, Evaluation, PpoConfig, SarsaConfig, Stop, TabularConfig, train
from edgewright.learning.config import as_dict, from_dict


def same(a: object, b: object) -> bool:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("name", RUNS)
def test_reaches_the_optimum(runs, name):
    _, _, _, best, near = RUNS[name]
    run = runs[name]
    assert (run.curve.best >= best - near).all(), run.curve.evaluation
    # One forbidden action, in training or after, would have paid 1000.
    assert (run.curve.best <= best + 1e-3).all()
    assert np.nanmax(run.curve.training) <= best + 1e-3


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (DqnConfig(**{**VALUE, "gamma": 0.9}, target_every=20), 1500),
        (DqnConfig(**{**VALUE, "gamma": 0.9}, target_every=20, double=False), 1500),
        (TabularConfig(bins=(1,), low=(0.0,), high=(2.0,), gamma=0.9), 1500),
    ],
    ids=["dqn", "plain dqn", "tabular"],
)
def test_bootstraps_on_truncation_and_not_on_termination(config, count):
    cut = _value(train(Constant(terminates=False), config, steps=count))
    over = _value(train(Constant(terminates=True), config, steps=count))
    assert cut == pytest.approx(10.0, rel=0.1)
    assert over == pytest.approx(1.0, rel=0.1)


def _value(run) -> float:
    if run.network is None:
        return float(run.last["table"].max())
    from edgewright.learning.networks import forward

    parameters = jax.tree.map(lambda x: x[0, 0], run.last["network"])
    return float(forward(run.network, parameters, np.ones(1, np.float32)).max())


def test_advantages_bootstrap_on_truncation_and_stop_at_any_end():
    from edgewright.learning.ppo import Rollout, _advantages

    one = np.ones((3, 1), np.float32)
    values, following = 2 * one, 5 * one
    for terminated in (True, False):
        end = np.array([[False], [True], [False]])
        rollout = Rollout(None, None, None, None, None, one, end & terminated, end)
        advantages = np.asarray(_advantages(rollout, values, following, 0.5, 0.8))[:, 0]
        last = 1 + 0.5 * 5 - 2
        middle = 1 - 2 if terminated else 1 + 0.5 * 5 - 2
        assert advantages == pytest.approx([last + 0.4 * middle, middle, last])


def test_sarsa_bootstraps_from_the_action_it_takes():
    """Always exploring, the value of the next state is that of acting at random, not that of its best action."""
    common = {**VALUE, "gamma": 0.5, "epsilon_end": 1.0, "target_every": 50, "hidden": (16,)}
    twin = Bandit(arms=2, horizon=50)
    values = {}
    for kind in (DqnConfig, SarsaConfig):
        run = train(twin, kind(**common), steps=4000)
        from edgewright.learning.networks import forward

        parameters = jax.tree.map(lambda x: x[0, 0], run.last["network"])
        values[kind] = float(np.max(forward(run.network, parameters, np.eye(2, dtype=np.float32)[0])))
    # V* = 1 + V*/2 = 2;  acting at random: Q = 1 + (1/2) V, V = 1/2 + V/2 = 1
    assert values[DqnConfig] == pytest.approx(2.0, abs=0.15)
    assert values[SarsaConfig] == pytest.approx(1.5, abs=0.15)


def test_agents_with_their_own_networks_do_not_leak():
    """Agent 1's reward is changed; agent 0's parameters stay the same, bit for bit."""

    class Changed(Bandit):
        def step(self, key, state, action, params):
            state, seen, reward, *rest = super().step(key, state, action, params)
            return state, seen, reward.at[1].multiply(-3.0), *rest

    for config, steps in (
        (DqnConfig(**{**VALUE, "hidden": (8,)}, share_parameters=False), 300),
        (PpoConfig(**{**PPO, "hidden": (8,), "batch_size": 32}, share_parameters=False), 600),
    ):
        plain, changed = (train(kind(count=2), config, steps=steps) for kind in (Bandit, Changed))
        agent = [
            [leaf[:, i] for leaf in jax.tree.leaves(run.last["network"])] for run in (plain, changed) for i in (0, 1)
        ]
        assert same(agent[0], agent[2])
        assert not same(agent[1], agent[3])


@pytest.mark.parametrize("name", ["dqn", "ppo"])
def test_a_seed_among_others_equals_that_seed_alone(runs, name):
    twin, config, steps, _, _ = RUNS[name]
    alone = train(twin, config, seeds=(1,), steps=steps, evaluate=JUDGED, chunk_steps=steps // 2)
    both = runs[name]
    assert same(alone.last, jax.tree.map(lambda x: x[1:], both.last))
    assert same(alone.best, jax.tree.map(lambda x: x[1:], both.best))
    assert not same(alone.last, jax.tree.map(lambda x: x[:1], both.last))
    assert alone.curve.training[-1][0] == both.curve.training[-1][1]


def test_seeds_under_one_vmap_learn_as_well():
    twin, config, steps, best, near = RUNS["dqn"]
    run = train(twin, config, seeds=(0, 1), steps=steps, evaluate=JUDGED, vectorise_seeds=True)
    assert (run.curve.best >= best - near).all()


@pytest.mark.parametrize("name", ["dqn", "ppo"])
def test_resumes_bit_for_bit(runs, name, tmp_path):
    twin, config, steps, _, _ = RUNS[name]
    told: list[int] = []

    def first_chunk_only(progress):
        told.append(progress.steps)
        return False

    common = {"seeds": (0, 1), "evaluate": JUDGED, "chunk_steps": steps // 2, "checkpoint": tmp_path}
    half = train(twin, config, steps=steps, on_progress=first_chunk_only, **common)
    assert half.stopped_by == "on_progress"
    assert half.steps == told[0] < steps
    whole = train(twin, config, steps=steps, **common)
    assert same((whole.last, whole.best), (runs[name].last, runs[name].best))
    assert whole.curve.steps == runs[name].curve.steps
    assert np.array_equal(whole.curve.training, runs[name].curve.training, equal_nan=True)
    again = train(twin, config, steps=steps, **common)  # nothing left to do
    assert same(again.last, whole.last)


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    twin, config, _, _, _ = RUNS["dqn"]
    train(twin, config, steps=200, chunk_steps=100, checkpoint=tmp_path)
    with pytest.raises(InputError, match="learning_rate"):
        train(twin, DqnConfig(**{**VALUE, "learning_rate": 1e-4}), steps=200, chunk_steps=100, checkpoint=tmp_path)
    with pytest.raises(InputError, match="seeds"):
        train(twin, config, seeds=(5,), steps=200, chunk_steps=100, checkpoint=tmp_path)
    with pytest.raises(InputError, match="twin_options"):
        train(replace(twin, forbidden=False), config, steps=200, chunk_steps=100, checkpoint=tmp_path)
    file: Path = tmp_path / "checkpoint.npz"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(InputError, match="checkpoint"):
        train(twin, config, steps=200, chunk_steps=100, checkpoint=tmp_path)


def test_stops_at_a_target_and_on_a_plateau():
    twin, config, steps, best, _ = RUNS["tabular"]
    common = {"evaluate": Evaluation(episodes=4), "chunk_steps": 1000}
    reached = train(twin, config, steps=20 * steps, stop=Stop(target=best - 1e-4), **common)
    assert reached.stopped_by == "target"
    assert reached.steps < 20 * steps
    flat = train(twin, config, steps=20 * steps, stop=Stop(patience=3), **common)
    assert flat.stopped_by == "plateau"
    assert flat.curve.stale(0.0) == 3


def test_the_best_parameters_are_those_of_the_best_evaluation(runs):
    """A run that forgets: the learning rate is absurd, the best is kept all the same."""
    twin = RUNS["dqn"][0]
    wild = DqnConfig(**{**VALUE, "learning_rate": 0.5})
    kept: list[float] = []
    run = train(
        twin, wild, steps=1500, evaluate=JUDGED, chunk_steps=100, on_progress=lambda p: kept.append(p.curve.best[0])
    )
    evaluations = np.array(run.curve.evaluation)[:, 0]
    assert run.curve.best[0] == evaluations.max()
    assert kept == list(np.maximum.accumulate(evaluations))
    assert run.curve.best_step[0] == run.curve.steps[int(evaluations.argmax())]


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: DqnConfig(gamma=1.5), "gamma"),
        (lambda: DqnConfig(batch_size=0), "batch_size"),
        (lambda: DqnConfig(hidden=(0,)), "hidden"),
        (lambda: DqnConfig(optimizer="sgd"), "optimizer"),  # type: ignore[arg-type]
        (lambda: PpoConfig(clip=float("nan")), "clip"),
        (lambda: PpoConfig(squash="none"), "squash"),  # type: ignore[arg-type]
        (lambda: TabularConfig(bins=(2,), low=(1.0,), high=(0.0,)), "low"),
        (lambda: train(Corridor(), TabularConfig(bins=(2, 2), low=(0.0, 0.0), high=(1.0, 1.0)), steps=1), "bins"),
        (lambda: train(Queue(1, box=True), DqnConfig(), steps=1), "action"),
        (lambda: train(Constant(box=True), SarsaConfig(), steps=1), "action"),
        (lambda: train(Queue(3), PpoConfig(environments=1, rollout=5, batch_size=4), steps=1), "batch_size"),
        (lambda: train(Queue(3), DqnConfig(), steps=0), "steps"),
        (lambda: train(Queue(3), DqnConfig(), seeds=(1, 1), steps=1), "seeds"),
        (lambda: from_dict({"algorithm": "dqn", "gama": 1}), "gama"),
    ],
)
def test_bad_input_is_named(make, field):
    with pytest.raises(InputError, match=field):
        make()


def test_a_configuration_survives_plain_data():
    for _, config, *_ in RUNS.values():
        assert from_dict(as_dict(config)) == config
