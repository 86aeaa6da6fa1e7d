"""The learners' twin computes what compiled code computes; a trained policy is a solver like the others."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_rates import problems
from typer.testing import CliRunner

from edgewright.backhaul.generate import Recipe, generate, traffic
from edgewright.backhaul.kernels.flows import aim_of, evaluate, flows_of
from edgewright.backhaul.kernels.policy import Course, View, draw, look
from edgewright.backhaul.model import Network, Objective, Problem, check, measures, read_network
from edgewright.backhaul.observation import Features, Task, mask, options_of, size_of
from edgewright.backhaul.rates import max_min_rates
from edgewright.backhaul.solvers.ppo import load_ppo
from edgewright.backhaul.solvers.random import random
from edgewright.backhaul.training import CONFIGS, FEATURES, train_policy
from edgewright.backhaul.twin import BackhaulParams, Load, backhaul_twin
from edgewright.backhaul.twin import max_min_rates as traced_rates
from edgewright.cli import app
from edgewright.core.contracts import Twin
from edgewright.core.errors import InputError
from edgewright.learning import load_network
from edgewright.learning.learner import learner
from edgewright.learning.weights import read_weights, write_weights

SIZE = (27, 6, 14, 140)  # holds every network of `problems`: one compilation


@functools.cache
def compiled() -> Any:
    return jax.jit(traced_rates)


@settings(max_examples=150)
@given(problems(), st.integers(0, 99))
def test_traced_rates_equal_the_compiled_ones(problem: Problem, seed: int) -> None:
    assert all(a <= b for a, b in zip(size_of([problem.network]), SIZE, strict=True))
    options = options_of(problem.network, SIZE)
    options.capacity_mbps[: problem.capacity_mbps.size] = problem.capacity_mbps
    choice = random(problem, seed=seed).choice
    true, flows = max_min_rates(problem, choice), choice.size
    demand = np.zeros(SIZE[0], np.float32)
    demand[:flows] = problem.demand_mbps
    links = options.path_links[np.arange(SIZE[0]), np.pad(np.maximum(choice, 0), (0, SIZE[0] - flows))]
    rates = np.asarray(compiled()(links, options.capacity_mbps, demand))
    # What is left of a full link is known to float32's rounding of its capacity.
    crossed = np.append(problem.capacity_mbps, 0.0)[np.minimum(links[:flows], problem.capacity_mbps.size)]
    np.testing.assert_allclose(rates[:flows], true, rtol=1e-4, atol=1e-6 * crossed.max(initial=1.0))
    assert (rates[flows:] == 0).all()


@pytest.fixture(scope="module")
def network() -> Network:
    drawn = generate(Recipe(nodes=12, paths=2), seed=3)
    return drawn.model_copy(update={"matrices": traffic(len(drawn.flows), 8, active=0.7, seed=5)})


@pytest.mark.parametrize("reward", ["reference", "gain"])
def test_twin_is_pure_and_its_measures_are_the_models(network: Network, reward: Task) -> None:
    other = generate(Recipe(nodes=10, paths=1), seed=4)
    twin = backhaul_twin([network, other], reward=reward, horizon=40, objective=Objective("weighted", 0.5))
    assert isinstance(twin, Twin)
    sample, reset, step, mask_of = map(jax.jit, (twin.sample, twin.reset, twin.step, twin.mask))
    params = sample(jax.random.key(2))
    runs = []
    for _ in range(2):
        state, seen = reset(jax.random.key(0), params)
        start, earned = float(state.now.value), 0.0
        low, high = np.asarray(state.lowest), np.asarray(state.highest)
        for n in range(40):
            mask = np.asarray(mask_of(state, params))[0]
            action = np.random.default_rng(n).choice(np.flatnonzero(mask))
            state, seen, reward_of, terminated, truncated, info = step(
                jax.random.key(n), state, jnp.array([action]), params
            )
            assert seen.shape == (1, twin.spec.observation_size)
            assert np.isfinite(np.asarray(seen)).all()
            assert (bool(terminated), bool(truncated)) == (False, n == 39)
            told = measures(np.asarray(params.demand_mbps, float), np.asarray(state.now.rates_mbps, float))
            assert (float(info["efficiency"]), float(info["jain"])) == pytest.approx(told, abs=1e-5)
            assert float(info["value"]) == pytest.approx(Objective("weighted", 0.5).of(*told), abs=1e-5)
            low, high = np.minimum(low, told), np.maximum(high, told)
            earned += float(reward_of[0])
            if reward == "reference":
                assert -2 - 1e-5 <= float(reward_of[0]) <= 2 + 1e-5
        np.testing.assert_allclose((state.lowest, state.highest), (low, high), atol=1e-5)
        if reward != "reference":  # what is earned is what is gained
            assert earned == pytest.approx(10 * (float(info["value"]) - start), abs=1e-4)
        runs.append(np.asarray(seen))
    assert np.array_equal(*runs)


def test_actions_that_are_not_allowed_change_nothing(network: Network) -> None:
    twin = backhaul_twin([network, generate(Recipe(nodes=10, paths=1), seed=4)])
    sample, reset, step, mask_of = map(jax.jit, (twin.sample, twin.reset, twin.step, twin.mask))
    seen_idle = seen_padded = 0
    for seed in range(6):
        params = sample(jax.random.key(seed))
        state, _ = reset(jax.random.key(0), params)
        flows, paths = params.options.exists.shape
        mask = np.asarray(mask_of(state, params))[0]
        for action in np.flatnonzero(~mask):
            after, _, reward, *_ = step(jax.random.key(0), state, jnp.array([action]), params)
            assert np.array_equal(after.now.choice, state.now.choice)
            assert float(reward[0]) == 0
            idle = params.demand_mbps[action % flows] == 0
            seen_idle, seen_padded = seen_idle + bool(idle), seen_padded + (not idle)
        for action in np.flatnonzero(mask):
            after, *_ = step(jax.random.key(0), state, jnp.array([action]), params)
            assert int(after.now.choice[action % flows]) == action // flows < paths
    assert seen_idle > 0 < seen_padded


def test_scenarios_are_drawn_as_asked(network: Network) -> None:
    twin = backhaul_twin([network, generate(Recipe(nodes=10, paths=1), seed=4)], load=Load(0.5, (100, 110), 3))
    drawn = jax.jit(jax.vmap(twin.sample))(jax.random.split(jax.random.key(0), 400))
    demand, capacity = np.asarray(drawn.demand_mbps), np.asarray(drawn.options.capacity_mbps)
    asked = demand[demand > 0]
    assert set(np.unique(asked)) == set(range(100, 111))
    there = np.asarray(drawn.options.exists).any(-1)
    assert (demand[~there] == 0).all()
    assert (demand[there] > 0).mean() == pytest.approx(0.5, abs=0.05)
    assert set((capacity == 0).sum(1)) == {0, 1, 2, 3}
    small = ~there.all(1)
    assert 0.4 < small.mean() < 0.6  # both networks
    assert np.isinf(capacity[:, -1]).all()
    assert np.isinf(capacity[small][:, -2]).all()  # a link that the smaller network lacks never breaks


def test_one_compilation_serves_all_networks_of_a_size_and_mixes_none_up(caplog: pytest.LogCaptureFixture) -> None:
    def weights(network: Network, objective: Objective) -> Any:
        trained = train_policy([network], steps=2_048, task="reference", objective=objective, show_progress=False)
        return trained.last

    networks = [generate(Recipe(nodes=8, paths=1), seed=seed) for seed in (0, 1)]
    first = weights(networks[0], Objective())
    with jax.log_compiles():
        second, third = (weights(networks[1], aim) for aim in (Objective(), Objective("jain")))
    assert not [record for record in caplog.records if "advance" in record.getMessage()]
    jax.clear_caches()
    assert jax.tree.all(jax.tree.map(np.array_equal, second, weights(networks[1], Objective())))
    for other in (first, third):
        assert not jax.tree.all(jax.tree.map(np.array_equal, second, other))


@pytest.mark.parametrize("features", ["reference", "paths"])
def test_twin_and_solver_see_the_same(network: Network, features: Features) -> None:
    twin = backhaul_twin([network], features=features)
    reset, step, options = jax.jit(twin.reset), jax.jit(twin.step), options_of(network)
    options.capacity_mbps[3] = 0.0
    for matrix in network.matrices:
        problem = Problem(network, np.array(matrix.demand_mbps), broken=frozenset({3}))
        demand = problem.demand_mbps.astype(np.float32)
        choice = np.random.default_rng(matrix.id).integers(np.diff(network.arrays.flow_start)) * (demand > 0)
        params = BackhaulParams(*jax.tree.map(jnp.asarray, (options, demand, np.array([1.0, 0.0], np.float32))))
        state, theirs = reset(jax.random.key(0), params)
        for flow in problem.active:
            action = jnp.array([choice[flow] * choice.size + flow])
            state, theirs, *_ = step(jax.random.key(0), state, action, params)

        flows = flows_of(problem)
        paths = flows.first + choice[problem.active]
        value = evaluate(paths, flows, flows.demand.sum(), aim_of(problem))
        left, fair = np.zeros((2, *options.exists.shape), np.float32)
        view = View(problem.active, demand, float(options.scale_mbps), features == "paths", left, fair)
        mine = look(Course(choice, paths, np.array([value, state.now.best])), flows, view)
        assert mine.dtype == np.float32
        np.testing.assert_allclose(mine, theirs[0], atol=2e-6)
        assert np.abs(mine).max() <= 1 + 1e-6


def test_moves_are_drawn_from_the_softmax_of_those_that_do_something(network: Network) -> None:
    problem = Problem(network, np.array(network.matrices[0].demand_mbps))
    flows, (count, options) = flows_of(problem), options_of(network).exists.shape
    choice, nothing = np.zeros(count, np.int64), np.zeros((count, options), np.float32)
    view = View(problem.active, problem.demand_mbps.astype(np.float32), 1.0, False, nothing, nothing)
    logits = np.random.default_rng(0).normal(size=count * options).astype(np.float32)
    allowed = mask(np, choice, problem.demand_mbps, options_of(network))
    expected = np.where(allowed, np.exp(logits), 0.0)
    counts = np.zeros(logits.size)
    for _ in range(20_000):
        flow, path = draw(logits, choice, flows, view)
        counts[path * count + problem.active[flow]] += 1
    np.testing.assert_allclose(counts / counts.sum(), expected / expected.sum(), atol=0.015)
    assert not counts[~allowed].any()


@pytest.fixture(scope="module")
def policy(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policy")
    file, out = folder / "net.json", folder / "policy.npz"
    file.write_text(network.model_dump_json(exclude_none=True))
    smaller = generate(Recipe(nodes=10, paths=1), seed=4)
    file.with_name("smaller.json").write_text(smaller.model_dump_json(exclude_none=True))
    arguments = (
        "--network",
        str(file.with_name("smaller.json")),
        "--objective",
        "weighted",
        "--gamma",
        "0.5",
        "--active",
        "0.7",
        "--steps",
        "60000",
    )
    code, output = run("train", "--network", str(file), *arguments, "--out", str(out))
    assert code == 0, output
    return out


def run(*arguments: str) -> tuple[int, str]:
    told = CliRunner().invoke(app, ["backhaul", *arguments])
    return told.exit_code, told.output


@pytest.mark.parametrize("objective", [Objective(), Objective("jain"), Objective("weighted", 0.5)], ids=str)
def test_policy_keeps_the_contract_of_solvers(policy: Path, network: Network, objective: Objective) -> None:
    solve = load_ppo(policy)
    for matrix in network.matrices[:4]:
        for broken in (frozenset[int](), frozenset({0, 5})):
            problem = Problem(network, np.array(matrix.demand_mbps), objective, broken)
            first, again = solve(problem, seed=7), solve(problem, seed=7)
            assert check(problem, first) == []
            np.testing.assert_array_equal(first.choice, again.choice)
            assert first.evaluations <= 301
            limited = solve(problem, seed=7, time_limit_s=0.0)
            assert check(problem, limited) == []
            assert limited.status in ("time_limit", "optimal")
            assert solve(problem, seed=7, start=first, steps=5).value >= first.value
    idle = solve(Problem(network, np.zeros(len(network.flows))))
    assert (idle.efficiency, idle.status) == (1.0, "optimal")


def test_policy_has_learned(policy: Path, network: Network, tmp_path: Path) -> None:
    """With a move per flow it comes further than moves drawn uniformly, as a policy of zeros takes them."""
    blank = write_weights(
        tmp_path / "blank", {k: 0 * v for k, v in read_weights(policy).items()}, load_network(policy).card
    )
    aim, flows = Objective("weighted", 0.5), len(network.flows)
    problems = [Problem(network, np.array(m.demand_mbps), aim) for m in traffic(flows, 40, active=0.7, seed=77)]
    solvers = load_ppo(policy), load_ppo(blank)
    after, before = (np.mean([solve(one, steps=flows).value for one in problems]) for solve in solvers)
    assert after > before + 0.02


def test_a_network_of_another_size_is_refused(policy: Path, network: Network, tmp_path: Path) -> None:
    solve = load_ppo(policy)
    for recipe in (Recipe(nodes=13, paths=2), Recipe(nodes=9, paths=2), Recipe(nodes=12, paths=3)):
        other = generate(recipe, seed=0)
        with pytest.raises(InputError, match=r"7 .. 9 flows of at most 4 paths"):
            solve(Problem(other, np.ones(len(other.flows))))
    smaller = read_network(policy.with_name("smaller.json"))
    problem = Problem(smaller, np.full(7, 600.0))
    assert check(problem, solve(problem)) == []
    card = json.loads(policy.with_suffix(".json").read_text())
    for change, field in (({"twin": "scaling"}, "twin"), ({"scenario": {}}, "scenario")):
        file = tmp_path / "changed.npz"
        file.write_bytes(policy.read_bytes())
        file.with_suffix(".json").write_text(json.dumps(card | change))
        with pytest.raises(InputError, match=field):
            load_ppo(file)


def test_card_tells_what_it_was_trained_on(policy: Path, network: Network) -> None:
    notes = load_network(policy).card.scenario
    assert (notes["flows"], notes["paths"], notes["reward"]) == (9, 4, "gain")
    assert notes["objective"] == {"kind": "weighted", "gamma": 0.5, "alpha": 1.0}
    assert notes["networks"] == [{"name": network.name, "nodes": 12}, {"name": "n10-k1-s4", "nodes": 10}]


def test_on_the_command_line(policy: Path) -> None:
    file = str(policy.with_name("net.json"))
    code, output = run("solve", file, "--solver", "ppo", "--policy", str(policy), "--json")
    assert code == 0, output
    assert len(json.loads(output)["matrices"]) == 8
    assert run("solve", file, "--solver", "ppo")[0] == 2
    assert run("solve", file, "--policy", str(policy))[0] == 2
    for wrong in (("--task", "nothing"), ("--active", "0"), ("--demand", "9-3"), ("--objective", "x")):
        assert run("train", *wrong)[0] == 2


@pytest.mark.parametrize("task", CONFIGS)
def test_learners_take_the_twin(network: Network, task: Task) -> None:
    assert learner(backhaul_twin([network], features=FEATURES[task]), CONFIGS[task]).network is not None
    with pytest.raises(InputError, match="task"):
        train_policy([network], steps=1, task="none")  # type: ignore[arg-type]
