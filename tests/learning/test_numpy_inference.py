"""The numpy network is the JAX network, refuses what does not fit, and needs no JAX."""

from __future__ import annotations

import json
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from learning_runs import RUNS
from synthetic import Bandit, Corridor

from edgewright.core.contracts import BoolArray, Discrete, TwinSpec
from edgewright.core.errors import InputError
from edgewright.learning import load_network
from edgewright.learning.learner import learner

SCENARIO = {"name": "made up", "seed": 3}


@pytest.fixture
def exported(runs, tmp_path):
    return lambda name: runs[name].export(tmp_path / "policy", scenario=SCENARIO)


@pytest.mark.parametrize("name", RUNS)
def test_equals_jax(runs, exported, name):
    twin, config, *_ = RUNS[name]
    run = runs[name]
    network = load_network(exported(name), spec=twin.spec)
    made = learner(twin, config)
    at = run.seeds.index(run.best_seed)
    policy = {key: _take(leaf, at) for key, leaf in run.best.items()}
    random = np.random.default_rng(0)
    agents, size = twin.spec.agent_count, twin.spec.observation_size
    width = twin.spec.action.n if isinstance(twin.spec.action, Discrete) else 1
    window = np.zeros((agents, made.window, size), np.float32)
    memory = None
    for _ in range(made.window + 2):  # past the zeros of an episode's start
        observation = random.normal(size=(agents, size)).astype(np.float32)
        mask: BoolArray = random.random((agents, width)) < 0.6
        mask[:, -1] = True
        window = np.concatenate([window[:, 1:], observation[:, None]], axis=1)
        wanted = np.asarray(made.greedy(policy, jnp.asarray(window.reshape(1, agents, -1)), jnp.asarray(mask[None])))[0]
        action, memory = network.act(observation, mask, memory)
        assert np.allclose(action, wanted, atol=1e-5)
        if isinstance(twin.spec.action, Discrete):
            assert mask[np.arange(agents), action].all()
    if made.network is not None and not made.network.lstm and made.window == 1 and "normaliser" not in policy:
        values = np.asarray(made._values(policy["network"], jnp.asarray(observation[None])))[0]
        assert np.allclose(network.values(observation)[0], values, atol=1e-5)


def _take(tree, at):
    import jax

    return jax.tree.map(lambda leaf: leaf[at], tree)


def test_shared_parameters_serve_any_number_of_agents(exported):
    network = load_network(exported("ppo"))
    one = network.values(np.eye(4, dtype=np.float32)[:1])[0]
    many = network.values(np.eye(4, dtype=np.float32))[0]
    assert many.shape == (4, 4)
    assert np.allclose(many[0], one[0], atol=1e-6)


def test_the_card_tells_where_the_policy_comes_from(exported, runs):
    path = exported("dqn")
    card = load_network(path).card
    run = runs["dqn"]
    assert card.twin == "bandit"
    assert card.algorithm == "dqn"
    assert card.seed == run.best_seed
    assert card.seeds == (0, 1)
    assert card.scenario == SCENARIO
    assert card.config["gamma"] == 0.5
    assert card.evaluation is not None
    assert card.evaluation.mean_return == run.curve.best.max()
    assert [point.step for point in card.curve] == run.curve.steps


def test_refuses_what_does_not_fit(exported, runs, tmp_path):
    path = exported("dqn")
    for spec, field in (
        (Corridor().spec, "twin"),
        (Bandit(arms=5).spec, "observation_size"),
        (TwinSpec("bandit", ("agent0",), 4, Discrete(7), 8), "action"),
    ):
        with pytest.raises(InputError, match=field):
            load_network(path, spec=spec)
    own = runs["one network per agent"].export(tmp_path / "own")
    with pytest.raises(InputError, match="agents"):
        load_network(own, spec=Bandit(count=3).spec)
    with pytest.raises(InputError, match="agents"):
        load_network(own).values(np.zeros((3, 4), np.float32))
    with pytest.raises(InputError, match="observation"):
        load_network(path).values(np.zeros((1, 9), np.float32))
    with pytest.raises(InputError, match="seed"):
        runs["dqn"].export(tmp_path / "no", seed=9)
    with pytest.raises(InputError, match=r"nothing\.json"):
        load_network(tmp_path / "nothing")


def test_refuses_a_card_and_weights_that_disagree(exported):
    path = exported("dqn")
    card = path.with_suffix(".json")
    good = card.read_text()
    card.write_text(json.dumps({**json.loads(good), "network": {**json.loads(good)["network"], "hidden": [31]}}))
    with pytest.raises(InputError, match=r"layers\.0"):
        load_network(path)
    card.write_text(json.dumps({**json.loads(good), "surprise": 1}))
    with pytest.raises(InputError, match="surprise"):
        load_network(path)
    card.write_text(good)
    arrays = dict(np.load(path))
    np.savez(path, **{k: v for k, v in arrays.items() if k != "network.layers.1.bias"})
    with pytest.raises(InputError, match=r"layers\.1\.bias"):
        load_network(path)
    path.write_bytes(b"not a zip")
    with pytest.raises(InputError, match="weights"):
        load_network(path)


def test_needs_no_jax(exported):
    code = (
        "import sys, numpy; from edgewright.learning import load_network;"
        f"n = load_network({str(exported('dqn'))!r}); n.act(numpy.zeros((3, 4)), numpy.ones((3, 4), bool));"
        "print(sorted({'jax', 'optax', 'torch', 'gymnasium'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "[]"


def test_a_box_action_stays_in_its_bounds(exported):
    network = load_network(exported("ppo, tanh"), spec=Bandit(count=2, box=True).spec)
    action, _ = network.act(1e3 * np.array([[1.0], [-1.0]], np.float32))
    assert action.shape == (2, 1)
    assert (np.abs(action) <= 1.0).all()


@pytest.mark.parametrize(("low", "high"), [(0.1, 0.7), (-3.3, -0.2), (1e-3, 1e3)])
def test_a_box_action_stays_in_its_box(runs, tmp_path, low, high):
    name = next(name for name, (twin, *_) in RUNS.items() if not isinstance(twin.spec.action, Discrete))
    path = runs[name].export(tmp_path / "policy")
    card = json.loads(path.with_suffix(".json").read_text())
    card["action"] |= {"low": low, "high": high}
    path.with_suffix(".json").write_text(json.dumps(card))
    network = load_network(path)
    seen = np.random.default_rng(0).normal(scale=100, size=(50, len(card["agents"]), card["observation_size"]))
    actions = np.array([network.act(one)[0] for one in seen])
    assert actions.min() >= np.float32(low)
    assert actions.max() <= np.float32(high)
