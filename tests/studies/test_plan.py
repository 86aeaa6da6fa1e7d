"""A cell's key depends on what its result depends on, and on nothing else."""

import pytest
import single_queue

from edgewright.studies.plan import make_plan


def keys(path):
    return {(t.method, t.scenario, t.seed): t.key for t in make_plan(path).tasks}


def changed(before, after):
    return {
        (method, scenario) for (method, scenario, seed), key in after.items() if before[method, scenario, seed] != key
    }


def test_cells_come_seed_by_seed_so_that_a_stopped_run_has_every_method(write):
    tasks = make_plan(write()).tasks
    assert [t.seed for t in tasks[:5]] == [0, 0, 0, 0, 1]
    assert len({t.key for t in tasks}) == 40


def test_a_changed_parameter_concerns_its_method_only(write):
    before = keys(write())
    after = keys(write(methods=[
        {"name": "slow", "parameters": {"speed": 50.0}}, {"name": "fast", "parameters": {"speed": 70.0}},
    ]))  # fmt: skip
    assert changed(before, after) == {("fast", "busy"), ("fast", "calm")}


def test_a_changed_scenario_concerns_itself_only_and_a_comment_nothing(write, tmp_path):
    path = write()
    before = keys(path)
    (tmp_path / "busy.yaml").write_text("# as measured\nrate_hz:   40.0\n")
    assert changed(before, keys(path)) == set()
    (tmp_path / "busy.yaml").write_text("rate_hz: 41.0\n")
    assert changed(before, keys(path)) == {("slow", "busy"), ("fast", "busy")}


def test_how_it_is_shown_concerns_nothing(write):
    before = keys(write())
    assert changed(before, keys(write(metrics=["speed", "wait_ms"], average="mean", baseline="fast"))) == set()


def test_more_seeds_keep_the_first_ones(write):
    before, after = keys(write()), keys(write(seeds=12))
    assert {cell: key for cell, key in after.items() if cell[2] < 10} == before


def test_the_capabilitys_version_concerns_everything(write, monkeypatch):
    before = keys(write())
    monkeypatch.setattr(single_queue.SingleQueue, "version", "2")
    assert len(changed(before, keys(write()))) == 4


@pytest.mark.parametrize("name", ["trace.csv", "trained/seed-0.npz", "trained/seed-0.json"])
def test_files_that_are_named_count_with_their_content(write, tmp_path, name):
    (tmp_path / "trained").mkdir()
    for file in ("trace.csv", "trained/seed-0.npz", "trained/seed-0.json"):
        (tmp_path / file).write_text("1")
    path = write(
        methods=[
            {"name": "slow"},
            {"name": "folder", "parameters": {"speed": 1.0, "weights_folder": "trained"}},
            {"name": "policy", "policy": "trained/seed-0.npz"},
        ],
        scenarios=[
            {"name": "traced", "rate_hz": 1.0, "load": {"file": "trace.csv"}},
            {"name": "plain", "rate_hz": 1.0},
        ],
    )
    before = keys(path)
    (tmp_path / name).write_text("2")
    methods = {"slow", "folder", "policy"}
    learned = {(method, scenario) for method in ("folder", "policy") for scenario in ("traced", "plain")}
    assert changed(before, keys(path)) == ({(m, "traced") for m in methods} if name == "trace.csv" else learned)


def test_paths_of_a_method_are_made_absolute(write, tmp_path):
    (tmp_path / "net.npz").write_text("1")
    task = make_plan(write(methods=[{"name": "slow", "policy": "net.npz", "parameters": {"file": "net.npz"}}])).tasks[0]
    assert task.policy == str(tmp_path / "net.npz")
    assert task.parameters == {"file": str(tmp_path / "net.npz")}
