"""The tutorial's example: a sound twin, and its one command with a smaller budget."""

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from edgewright.core.contracts import Twin
from edgewright.envs.gymnasium import make_env

EXAMPLE = Path(__file__).parents[2] / "examples" / "new_twin"


@pytest.fixture
def gpu_queue(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE))
    return importlib.import_module("gpu_queue")


def test_the_twin_keeps_the_contract(gpu_queue):
    twin = gpu_queue.GpuQueue()
    assert isinstance(twin, Twin)
    check_env(make_env(twin), skip_render_check=True)
    assert len((EXAMPLE / "gpu_queue.py").read_text().splitlines()) < 120


def walk(twin, action, seed=0, steps=400):
    """One row a request: state, action taken (the given one, where allowed), reward, on time"""
    params = twin.sample(jax.random.key(seed))._replace(analytics=np.float32(0.5))
    state, _ = twin.reset(jax.random.key(seed), params)
    step = jax.jit(twin.step)
    rows = []
    for i in range(steps):
        allowed = np.asarray(twin.mask(state, params))[0]
        taken = np.array([action if allowed[action] else 0])
        rows.append((state, taken[0]))
        state, _, reward, terminated, truncated, info = step(
            jax.random.fold_in(jax.random.key(seed), i), state, taken, params
        )
        rows[-1] += (float(reward[0]), bool(info["on_time"]))
        assert not terminated
        assert bool(truncated) == (i + 1 >= twin.horizon)
    return rows


def test_the_twin_pays_what_the_text_says(gpu_queue):
    for state, taken, reward, on_time in walk(gpu_queue.GpuQueue(horizon=300), 1):
        kind, queue = int(state.analytics), int(state.queue)
        assert queue <= 64
        if not taken:
            assert queue + (2, 8)[kind] > 64  # only where the mask forbids
            assert reward == (0.0, 0.25)[kind]
            continue
        assert on_time == (queue + (2, 8)[kind] <= (8, 40)[kind])
        assert reward == (1.0, 0.5)[kind] * on_time


def test_the_requests_do_not_depend_on_what_is_decided(gpu_queue):
    refused, admitted = (walk(gpu_queue.GpuQueue(), action, seed=3) for action in (0, 1))
    for (a, *_), (b, *_) in zip(refused, admitted, strict=True):
        assert (int(a.analytics), int(a.busy)) == (int(b.analytics), int(b.busy))
        assert int(a.queue) == 0


def test_waits_are_geometric_with_the_mean_asked_for(gpu_queue):
    twin = gpu_queue.GpuQueue()
    params = gpu_queue.Params(jax.numpy.float32([9.0, 9.0]), np.float32(0.5), np.float32(0.02))
    full = gpu_queue.State(*(np.int32(v) for v in (1000, 0, 0, 0)))
    keys = jax.random.split(jax.random.key(1), 20_000)
    after = jax.vmap(lambda key: twin._next(key, full, params).queue)(keys)
    waits = 1000 - np.asarray(after)
    assert waits.mean() == pytest.approx(9.0, rel=0.03)
    assert waits.std() == pytest.approx(np.sqrt(9.0 * 10.0), rel=0.03)


def test_the_trained_policy_beats_the_rule_on_seeds_it_never_saw(tmp_path):
    shutil.copytree(EXAMPLE, tmp_path / "new_twin", ignore=shutil.ignore_patterns("results", "trained", "__pycache__"))
    ran = subprocess.run(
        [sys.executable, "run.py", "--steps", "10000", "--jobs", "2"],
        cwd=tmp_path / "new_twin", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    entries = json.loads((tmp_path / "new_twin" / "results" / "table.json").read_text())["entries"]
    found = {(e["scenario"], e["method"]): e for e in entries if e["metric"] == "value"}
    for scenario in ("weekday", "concert"):
        assert found[scenario, "trained"]["verdict"] == "better"
        assert found[scenario, "optimum"]["average"]["value"] >= found[scenario, "trained"]["average"]["value"]
        assert found[scenario, "optimum"]["average"]["value"] >= found[scenario, "reserve"]["average"]["value"]
