import json

import numpy as np
import pytest
from pyarrow import csv, parquet

from edgewright.core.errors import InputError
from edgewright.studies import run_study

SAME = ("results.csv", "results.parquet", "table.md", "table.json", "failures.json", "figures/wait_ms.png",
        "figures/speed-wait_ms.png", "figures/waits.txt")  # fmt: skip


def contents(folder):
    return {name: (folder / name).read_bytes() for name in SAME}


def test_one_folder_holds_everything_and_does_not_depend_on_the_jobs(write, tmp_path):
    path = write()
    told = []
    one = run_study(path, out=tmp_path / "one", jobs=1, on_progress=told.append)
    two = run_study(path, out=tmp_path / "two", jobs=2)
    assert contents(one.folder) == contents(two.folder)
    assert one.computed == 40
    assert [(p.done, p.total) for p in told] == [(i, 40) for i in range(41)]
    assert (one.folder / "study.yaml").read_bytes() == path.read_bytes()
    manifest = json.loads((one.folder / "manifest.json").read_text())
    assert manifest["seeds"] == list(range(10))
    assert manifest["versions"]["capability"] == "1"
    assert manifest["scenarios"]["busy"] == {"rate_hz": 40.0}
    rows = parquet.read_table(one.folder / "results.parquet")
    assert rows.equals(csv.read_csv(one.folder / "results.csv", convert_options=csv.ConvertOptions(
        column_types=rows.schema, strings_can_be_null=True)))  # fmt: skip
    assert rows.num_rows == 40
    assert {path.name for path in one.figures} == {"wait_ms.png", "speed.png", "speed-wait_ms.png", "waits.txt"}


def test_the_table_says_what_the_rows_say(write, tmp_path):
    result = run_study(write(average="mean"), out=tmp_path / "out")
    rows = parquet.read_table(result.folder / "results.parquet").to_pylist()

    def values(method):
        return np.array([r["wait_ms"] for r in rows if r["method"] == method and r["scenario"] == "busy"])

    entry = next(e for e in result.entries if (e.scenario, e.method, e.metric.name) == ("busy", "fast", "wait_ms"))
    assert entry.average.value == pytest.approx(values("fast").mean())
    assert entry.ratio.value == pytest.approx(values("fast").mean() / values("slow").mean())
    assert entry.difference.value == pytest.approx((values("fast") - values("slow")).mean())
    assert entry.verdict == "better"  # a faster server, seed by seed
    speed = next(e for e in result.entries if (e.scenario, e.method, e.metric.name) == ("busy", "fast", "speed"))
    assert speed.verdict == "worse"
    assert speed.ratio == pytest.approx((1.2, 1.2, 1.2))
    overall = [e for e in result.entries if e.scenario == "all scenarios"]
    assert {e.method for e in overall} == {"fast"}


def test_only_what_changed_is_run_again(write, tmp_path):
    out = tmp_path / "out"
    before = contents(run_study(write(), out=out).folder)
    assert run_study(write(), out=out).computed == 0
    assert contents(out) == before
    faster = [{"name": "slow", "parameters": {"speed": 50.0}}, {"name": "fast", "parameters": {"speed": 70.0}}]
    assert run_study(write(methods=faster), out=out).computed == 20
    assert contents(out) != before
    (tmp_path / "busy.yaml").write_text("rate_hz: 41.0\n")
    assert run_study(tmp_path / "study.yaml", out=out).computed == 20
    assert run_study(write(seeds=11), out=out).computed == 4
    assert contents(run_study(write(), out=out).folder) == before


def test_a_cell_that_cannot_be_read_is_run_again(write, tmp_path):
    out = tmp_path / "out"
    before = contents(run_study(write(), out=out).folder)
    first, second, third, *_ = sorted((out / "cells").iterdir())
    first.write_bytes(first.read_bytes()[:100])
    second.write_bytes(b"")
    damaged = bytearray(third.read_bytes())
    at = damaged.index(b"series_waits.npy") + 60
    damaged[at : at + 40] = bytes(40)
    third.write_bytes(damaged)
    assert run_study(write(), out=out).computed == 3
    assert contents(out) == before


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"fails_at": 3}, "RuntimeError: no [luck]"),
        ({"dies_at": 3}, "the worker process ended with exit code -9"),
    ],
)
def test_a_cell_that_fails_loses_itself_only(write, tmp_path, fault, words):
    whole = run_study(write(), out=tmp_path / "whole")
    faulty = [{"name": "slow", "parameters": {"speed": 50.0}}, {"name": "fast", "parameters": {"speed": 60.0, **fault}}]
    result = run_study(write(methods=faulty), out=tmp_path / "out", jobs=2)
    assert [(f.method, f.scenario, f.seed, f.error) for f in result.failures] == [
        ("fast", "busy", 3, words),
        ("fast", "calm", 3, words),
    ]
    assert "FAILED CELLS: 2" in (result.folder / "table.md").read_text()
    rows, sound = (parquet.read_table(r.folder / "results.parquet").to_pylist() for r in (result, whole))
    for row, good in zip(rows, sound, strict=True):
        failed = (row["method"], row["seed"]) == ("fast", 3)
        assert row == {**good, **({"wait_ms": None, "speed": None, "error": words} if failed else {})}
    assert run_study(write(methods=faulty), out=tmp_path / "out").computed == 2  # tried again
    assert len(json.loads((result.folder / "failures.json").read_text())) == 2


def test_a_method_of_which_nothing_is_left_is_shown_as_such(write, tmp_path):
    methods = [{"name": "slow", "parameters": {"speed": 50.0}}, {"name": "fast", "parameters": {}}]
    result = run_study(write(methods=methods), out=tmp_path / "out")
    assert len(result.failures) == 20
    assert "| fast | -, 0 of 10" in (result.folder / "table.md").read_text()


@pytest.mark.parametrize("gives", ["less", "infinity"])
def test_a_result_must_hold_its_metrics_as_finite_numbers(write, tmp_path, gives):
    methods = [{"name": "slow", "parameters": {"speed": 50.0, "gives": gives}}]
    result = run_study(write(methods=methods, scenarios=["busy.yaml"]), out=tmp_path / "out")
    assert len(result.failures) == 10
    assert ("speed" if gives == "less" else "wait_ms") in result.failures[0].error


def test_a_function_of_ones_own_is_studied(write, tmp_path):
    path = write(
        capability="single_queue:function",
        methods=[
            {"name": name, "parameters": {"mean": mean}} for name, mean in (("slow", 5), ("fast", 7), ("same", 5))
        ],
        scenarios=[{"factor": 2}],
        metrics=[{"name": "draw", "unit": "ms", "better": "higher"}],
        figures={},
    )
    result = run_study(path, out=tmp_path / "out")
    entry = next(e for e in result.entries if e.method == "fast")
    assert entry.scenario == "scenario-1"
    assert entry.difference == pytest.approx((4, 4, 4))
    assert [e.verdict for e in result.entries] == ["", "better", "equal"]


def test_a_metric_that_a_function_does_not_return_fails_the_cell(write, tmp_path):
    metric = {"name": "draw", "better": "higher"}
    changes = {
        "capability": "single_queue:function",
        "methods": [{"name": "slow", "parameters": {"mean": 5}}],
        "scenarios": [{"factor": 2}],
        "figures": {},
    }
    assert not run_study(write(**changes, metrics=[metric]), out=tmp_path / "out").failures
    result = run_study(write(**changes, metrics=[metric, {**metric, "name": "drow"}]), out=tmp_path / "out")
    assert len(result.failures) == 10
    assert "['drow']" in result.failures[0].error


def test_bad_arguments(write, tmp_path):
    with pytest.raises(InputError, match="jobs"):
        run_study(write(), out=tmp_path / "out", jobs=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="out"):
        run_study(write(), out=tmp_path / "file")
