"""Profiles mean what they say; arrivals are Poisson at the profile's rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewright.core.documents import validate
from edgewright.core.errors import InputError
from edgewright.core.workload import Load, arrivals, rates


def load(profile: dict[str, Any], bursts: dict[str, float] | None = None) -> Load:
    return validate(Load, {"profile": profile, **({"bursts": bursts} if bursts else {})}, source="test")


def shape(profile: dict[str, Any], seconds: int, bursts: dict[str, float] | None = None, **kwargs: Any) -> Any:
    return rates(load(profile, bursts), seconds, np.random.default_rng(0), **kwargs)


def test_shapes() -> None:
    assert (shape({"kind": "constant", "rate_hz": 5.0}, 3) == 5).all()
    phases = {"kind": "phases", "phases": [{"seconds": 2.0, "rate_hz": 1.0}, {"seconds": 1.0, "rate_hz": 9.0}]}
    assert shape(phases, 5).tolist() == [1, 1, 9, 1, 1]
    assert shape({"kind": "step", "before_hz": 1.0, "after_hz": 2.0, "at_s": 2.0}, 4).tolist() == [1, 1, 2, 2]
    crowd = {"kind": "flash_crowd", "base_hz": 10.0, "peak_hz": 40.0, "at_s": 5.0, "rise_s": 5.0, "hold_s": 3.0}
    flash = shape({**crowd, "fall_s": 5.0}, 25)
    assert flash[0] == 10
    assert flash[10:13].tolist() == [40, 40, 40]
    assert flash[-1] == 10
    day = shape({"kind": "diurnal", "mean_hz": 50.0, "amplitude": 0.5, "period_s": 40.0}, 400)
    assert day.mean() == pytest.approx(50)
    assert day.max() == pytest.approx(75, rel=0.01)


def test_bursts_raise_the_rate_for_a_while() -> None:
    rate = shape({"kind": "constant", "rate_hz": 10.0}, 2000, {"mean_gap_s": 20.0, "length_s": 4.0, "factor": 2.0})
    assert set(rate.tolist()) == {10.0, 20.0}
    assert 0.1 < (rate == 20).mean() < 0.3  # 4 s of every 24 s on average


@pytest.mark.parametrize(("length_s", "whole"), [(3.0, 3), (2.6, 3), (0.2, 1)])
def test_bursts_last_as_long_as_they_should(length_s: float, whole: int) -> None:
    gap_s = 20.0
    bursts = {"mean_gap_s": gap_s, "length_s": length_s, "factor": 2.0}
    high = shape({"kind": "constant", "rate_hz": 10.0}, 200_000, bursts) == 20
    edges = np.flatnonzero(np.diff(high))[: np.diff(high).sum() // 2 * 2].reshape(-1, 2)  # before each burst, its last
    lengths = edges[:, 1] - edges[:, 0]
    assert (lengths % whole == 0).all()  # twice as long where one follows at once
    assert np.median(lengths) == whole
    assert (~high).sum() / (high.sum() / whole) == pytest.approx(gap_s, rel=0.05)


def test_trace(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("second,rate_hz\n0,3\n1,5\n")
    trace = {"kind": "trace", "file": "t.csv", "scale": 2.0}
    assert shape(trace, 3, folder=tmp_path).tolist() == [6, 10, 6]
    (tmp_path / "t.csv").write_text("second,rate_hz\n0,3\n1,-5\n")
    with pytest.raises(InputError, match="row 3"):
        shape(trace, 3, folder=tmp_path)
    with pytest.raises(InputError, match="column"):
        shape({**trace, "column": "x"}, 3, folder=tmp_path)
    with pytest.raises(InputError, match="readable"):
        shape({**trace, "file": "none.csv"}, 3, folder=tmp_path)


@pytest.mark.parametrize("content", [b"rate_hz\n\xe9\n", b"rate_hz\n3\0\n", b"rate_hz\n" + b"3" * 200_000])
def test_trace_that_is_no_csv_text(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"t\.csv"):
        shape({"kind": "trace", "file": "t.csv"}, 3, folder=tmp_path)


def test_arrivals_are_poisson_and_seeded() -> None:
    rate = np.full(2000, 50.0)
    times = arrivals(rate, np.random.default_rng(1))
    counts = np.bincount(times.astype(int), minlength=2000)
    assert counts.mean() == pytest.approx(50, rel=0.02)
    assert counts.var() == pytest.approx(50, rel=0.15)
    assert (np.diff(times) >= 0).all()
    assert (times == arrivals(rate, np.random.default_rng(1))).all()
