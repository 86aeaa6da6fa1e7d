"""Published traces, from a package that stands where the real one would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgewright.core.errors import InputError
from edgewright.migration.drives import days_of, draw_drives
from edgewright.migration.loads import PUBLISHED
from edgewright.migration.model import SHIPPED, PublishedLoad, read_scenario

HIGHWAY = read_scenario(SHIPPED / "highway.yaml")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five days, each at a level of its own."""
    folder = tmp_path / "stand_in_traces"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise ImportError('nobody needs to import it')")
    for file, columns, rows in PUBLISHED.values():
        (folder / file).parent.mkdir()
        lines = [f"{0.3 + 0.05 * (row // rows)},{0.2 + 0.01 * (row % 7)},1" for row in range(5 * rows + 3)]
        (folder / file).write_text("\n".join([",".join([*columns, "other"]), *lines]))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("edgewright.migration.loads.PACKAGE", "stand_in_traces")
    return folder


@pytest.mark.parametrize("trace", PUBLISHED)
def test_nodes_have_days_of_their_own_at_the_level_asked_for(package: Path, trace: str) -> None:
    scenario = HIGHWAY.model_copy(update={"load": PublishedLoad(kind="published", trace=trace, swing=(0.1, 0.05))})
    days = days_of(scenario, SHIPPED, count=2, seed=3)
    assert days.shape == (2, PUBLISHED[trace][2], 3, 2)
    assert ((days >= 0) & (days < 1)).all()
    cpu = days[0, 0, :, 0]
    assert len(set(cpu.round(6))) == 3
    many = days_of(scenario, SHIPPED, count=5, seed=4)  # 15 places for five days: each three times
    assert many.mean((0, 1, 2)) == pytest.approx([0.45, 0.40], abs=2e-3)
    assert many[..., 0].std() == pytest.approx(0.1, rel=0.02)
    assert (days == days_of(scenario, SHIPPED, count=2, seed=3)).all()
    drive = next(draw_drives(scenario, days, 1, seed=0))
    assert np.isfinite(drive.load).all()


def test_what_is_wrong_with_the_package_is_named(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = HIGHWAY.model_copy(update={"load": PublishedLoad(kind="published", trace="google-2019")})
    file = package / PUBLISHED["google-2019"][0]
    file.write_text("cpu_util,mem_util\n0.3,x\n")
    with pytest.raises(InputError, match=r"row 2, mem_util: got 'x'"):
        days_of(scenario, SHIPPED, count=1, seed=0)
    monkeypatch.setattr("edgewright.migration.loads.PACKAGE", "no_such_package")
    with pytest.raises(InputError, match=r"pip install 'edgewright\[data\]'"):
        days_of(scenario, SHIPPED, count=1, seed=0)
