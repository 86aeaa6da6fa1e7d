"""What is wrong in a study is said with the file and the field, before anything runs."""

import pytest

from edgewright.core.errors import InputError
from edgewright.studies import read_study, run_study

BROKEN = [
    ({"methods": [{"name": "a", "parameter": {}}]}, "methods.0.parameter"),
    ({"methods": [{"name": "a"}, {"name": "a"}]}, "methods.name"),
    ({"methods": []}, "methods"),
    ({"scenarios": [3]}, "scenarios.0"),
    ({"seeds": 9}, "seeds"),
    ({"seeds": [*range(10), 3]}, "seeds"),
    ({"seeds": [*range(10), 1.5]}, "seeds.10"),
    ({"seeds": True}, "seeds"),
    ({"baseline": "z"}, "baseline"),
    ({"average": "median"}, "average"),
    ({"metrics": [{"name": "wait_ms", "better": "low"}]}, "metrics.0.better"),
    ({"metrics": [{"name": "wait_ms", "format": "d"}]}, "metrics.0.format"),
    ({"name": "A Study"}, "name"),
    ({"seed": 4}, "seed"),
    ({"format": "edgewright.study/0"}, "format"),
]
UNSOUND = [
    ({"capability": "nothing"}, "capability"),
    ({"capability": "single_queue:NOTHING"}, "capability"),
    ({"capability": "single_queue:INCOMPLETE"}, "capability"),
    ({"scenarios": ["absent.yaml"]}, "scenarios.0"),
    ({"scenarios": ["busy.yaml", {"name": "busy", "rate_hz": 1}]}, "scenarios.name"),
    ({"scenarios": [{"name": "a|b", "rate_hz": 1}]}, "scenarios.0.name"),
    ({"metrics": ["wait_ms", "latency"]}, "metrics.1.name"),
    ({"metrics": ["wait_ms"]}, "figures.trade_offs.0.x"),
    ({"figures": {"metrics": ["cost"]}}, "figures.metrics.0"),
    ({"capability": "single_queue:function"}, "metrics"),
    ({"capability": "single_queue:function", "metrics": ["draw"]}, "metrics.0.better"),
]


@pytest.mark.parametrize(("changes", "field"), BROKEN)
def test_a_broken_file_names_file_and_field(write, changes, field):
    path = write(**changes)
    with pytest.raises(InputError) as caught:
        read_study(path)
    assert (caught.value.source, caught.value.field) == (str(path), field)


@pytest.mark.parametrize(("changes", "field"), UNSOUND)
def test_what_does_not_fit_together_names_file_and_field(write, tmp_path, changes, field):
    path = write(**changes)
    with pytest.raises(InputError) as caught:
        run_study(path, out=tmp_path / "out")
    assert (caught.value.source, caught.value.field) == (str(path), field)
    assert not (tmp_path / "out").exists()


def test_a_bad_scenario_names_its_own_file(write, tmp_path):
    path = write()
    (tmp_path / "busy.yaml").write_text("rate: 40\n")
    with pytest.raises(InputError, match=r"busy\.yaml: rate_hz"):
        run_study(path, out=tmp_path / "out")


@pytest.mark.parametrize(("text", "field"), [("rate_hz: 40\nrate_hz: 4\n", "key"), ("rate_hz: .inf\n", "rate_hz")])
def test_a_scenario_is_read_strictly(write, tmp_path, text, field):
    path = write()
    (tmp_path / "busy.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        run_study(path, out=tmp_path / "out")
    assert (caught.value.source, caught.value.field) == (str(tmp_path / "busy.yaml"), field)


def test_a_bad_inline_scenario_names_its_place_in_the_study(write, tmp_path):
    path = write(scenarios=[{"name": "calm"}])
    with pytest.raises(InputError, match=r"study\.yaml: scenarios\.0: rate_hz"):
        run_study(path, out=tmp_path / "out")


def test_few_seeds_only_for_a_quick_look(write):
    assert read_study(write(seeds=2, quick=True)).seeds == (0, 1)
    assert read_study(write(seeds=list(range(5, 15)))).seeds == tuple(range(5, 15))
