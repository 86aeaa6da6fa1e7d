"""Roads, traces and loads; bad ones are refused with their row and field."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml

from edgewright.core.errors import InputError
from edgewright.migration.drives import days_of, draw_drives, table_of
from edgewright.migration.loads import draw_days, read_csv
from edgewright.migration.mobility import along, place, read_fcd
from edgewright.migration.model import SHIPPED, PaperRtt, Scenario, read_scenario
from edgewright.migration.rewards import load
from edgewright.migration.twin import MigrationParams, migration_twin

HIGHWAY = SHIPPED / "highway.yaml"


@pytest.fixture(scope="module")
def highway() -> Scenario:
    return read_scenario(HIGHWAY)


def test_a_road_is_driven_there_and_back() -> None:
    road = [(0.0, 0.0), (100.0, 0.0), (100.0, 50.0)]
    np.testing.assert_allclose(
        along(road, np.array([0.0, 60.0, 120.0, 150.0, 180.0, 300.0])),
        [(0, 0), (60, 0), (100, 20), (100, 50), (100, 20), (0, 0)],
    )
    assert place(np, np.array([0.0, 150.0, 299.0]), 150.0).tolist() == [0.0, 150.0, 1.0]


def test_drives_are_the_papers(highway: Scenario) -> None:
    quiet = highway.model_copy(update={"rtt": PaperRtt(kind="paper", noise_ms=0.0)})
    days = draw_days(4, 3, seed=1)
    drives = list(draw_drives(quiet, days, 50, seed=2))
    for drive in drives:
        assert 138 <= len(drive.rtt_ms) - 1 <= 180  # 4 km at 80 .. 104.5 km/h
        far = drive.rtt_ms.max() - 0.5
        assert 2000 / 104.6 < far < 2001.5 / 80  # straddles the limit of 20 ms
        assert drive.rtt_ms.min() >= 1.0
        assert (drive.load >= 1).all()
    assert {int(d.rtt_ms[0].argmin()) for d in drives} == {0, 2}  # from both ends
    again = next(iter(draw_drives(quiet, days, 1, seed=2)))
    np.testing.assert_array_equal(again.rtt_ms, drives[0].rtt_ms)


def test_drawn_days_cross_the_limit_now_and_then() -> None:
    days = draw_days(32, 3, seed=5)
    assert ((days >= 0) & (days <= 0.99)).all()
    loads = load(days[..., 0], days[..., 1])
    assert 0.02 < (loads > 12).mean() < 0.15
    assert 2 < np.median(loads) < 5


def test_the_twin_meets_what_a_drive_meets(highway: Scenario, tmp_path: Path) -> None:
    """Without noise both are the same formulas of the same place, speed and day."""
    quiet = highway.model_copy(
        update={
            "rtt": PaperRtt(kind="paper", noise_ms=0.0),
            "load": highway.load.model_copy(update={"noise": 0.0}),
        }
    )
    twin = migration_twin(quiet, days=2, seed=3)
    days = days_of(quiet, tmp_path, count=2, seed=3)
    params: MigrationParams = twin.sample(jax.random.key(4))
    rtt, loads = jax.vmap(lambda step: twin.at(step, params))(jnp.arange(100))
    driven = np.arange(100) * (float(params.speed_kmh) / 3.6) + float(params.behind_m)
    distance = table_of(quiet)[np.rint(place(np, driven, 2000.0)).astype(int)]
    np.testing.assert_allclose(rtt, np.maximum(distance / float(params.speed_kmh) + 0.5, 1.0), atol=0.02)
    shares = days[int(params.day), (int(params.first) + np.arange(100)) % days.shape[1]]
    np.testing.assert_allclose(loads, load(shares[..., 0], shares[..., 1]), rtol=1e-4)


def table(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("cpu_a,mem_a\n0.5,0.5\n0.5,1.5\n", "row 3, mem_a"),
        ("cpu_a,mem_a\n0.5,0.5\n-0.1,0.5\n", "row 3, cpu_a"),
        ("cpu_a,mem_a\n0.5,\n0.1,0.5\n", "row 2, mem_a"),
        ("cpu_a,mem_a\n0.5,nan\n0.1,0.5\n", "row 2, mem_a"),
        ("cpu_a\n0.5\n0.1\n", "mem_a"),
        ("cpu_a,mem_a\n0.5,0.5\n", "rows"),
        ("t_s,cpu_a,mem_a\n0,0.5,0.5\n1,0.5,0.5\n3,0.5,0.5\n", "row 4, t_s"),
    ],
)
def test_a_bad_trace_names_its_row(tmp_path: Path, text: str, field: str) -> None:
    with pytest.raises(InputError) as caught:
        read_csv(table(tmp_path / "load.csv", text), ["a"])
    assert caught.value.field == field
    assert caught.value.source == str(tmp_path / "load.csv")


def test_a_trace_is_read(tmp_path: Path) -> None:
    file = table(tmp_path / "load.csv", "t_s,cpu_a,mem_a,cpu_b,mem_b\n0,0.1,0.2,0.3,0.4\n1,0.5,0.6,0.7,1.0\n")
    np.testing.assert_allclose(read_csv(file, ["a", "b"]), [[[0.1, 0.2], [0.3, 0.4]], [[0.5, 0.6], [0.7, 0.99]]])


@pytest.mark.parametrize("content", [None, b"cpu_a,mem_a\n\xe9,0\n", b"cpu_a,mem_a\n" + b"3" * 200_000])
def test_a_trace_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "load.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"load\.csv.*readable"):
        read_csv(tmp_path / "load.csv", ["a"])
    with pytest.raises(InputError, match=r"load\.csv.*floating-car"):
        read_fcd(tmp_path / "load.csv")


FCD = """<fcd-export>
<timestep time="0.00"><vehicle id="car" x="0" y="1"/></timestep>
<timestep time="1.00"><vehicle id="car" x="10" y="1"/><person id="p" x="5" y="5"/></timestep>
<timestep time="2.00"><vehicle id="car" x="{x}" y="1"/></timestep>
{more}
</fcd-export>"""


def test_a_sumo_trace_is_read(tmp_path: Path) -> None:
    found = read_fcd(table(tmp_path / "fcd.xml", FCD.format(x=20, more="")), step_s=0.5)
    assert list(found) == ["car"]
    start, places = found["car"]
    assert start == 0.0
    np.testing.assert_allclose(places, [(0, 1), (5, 1), (10, 1), (15, 1), (20, 1)])


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (FCD.format(x="far", more=""), "timestep 2, vehicle car, x"),
        (FCD.format(x=20, more='<timestep time="2.00"/>'), "timestep 2"),
        (FCD.format(x=20, more='<timestep time="9"><vehicle id="car" x="0" y="1"/></timestep>'), "timestep 2, car"),
        ("<fcd-export>", "file"),
        ("<fcd-export/>", "timestep"),
    ],
)
def test_a_bad_sumo_trace_names_its_step(tmp_path: Path, text: str, field: str) -> None:
    with pytest.raises(InputError) as caught:
        read_fcd(table(tmp_path / "fcd.xml", text))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "more"),
    [
        ("road_m", {"road_m": [[0, 0]]}),
        ("road_m", {"road_m": [[1, 1], [1, 1]]}),
        ("nodes.0.at_m.0", {"nodes": [{"name": "a", "at_m": ["far", 0]}]}),
        ("nodes.1", {"nodes": [{"name": "a", "at_m": [0, 0]}, {"name": "a", "at_m": [1, 0]}]}),
        ("speed.highest_kmh", {"speed": {"lowest_kmh": 90, "highest_kmh": 80}}),
        ("objective.charge", {"objective": {"charge": -1}}),
        ("objective.downtime_s", {"objective": {"downtime_s": 2.0}}),
        ("rtt.table.rtt_ms", {"rtt": {"kind": "table", "distance_m": [0, 1, 2], "rtt_ms": [1, 2]}}),
        ("colour", {"colour": "red"}),
    ],
)
def test_a_bad_scenario_names_its_field(tmp_path: Path, field: str, more: dict[str, object]) -> None:
    content = yaml.safe_load(HIGHWAY.read_text()) | more
    with pytest.raises(InputError) as caught:
        read_scenario(table(tmp_path / "scenario.yaml", yaml.safe_dump(content)))
    assert caught.value.field == field
