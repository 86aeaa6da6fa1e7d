"""A service really follows a car on this host, and no connection of its client is lost."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgewright.cli import app
from edgewright.drivers.linux.criu import CriuMissing, obtain
from edgewright.drivers.linux.namespaces import FOLDER

pytestmark = pytest.mark.real
SCENARIO = """
format: edgewright.migration/1
name: short
nodes: [{name: a, at_m: [0, 10]}, {name: b, at_m: [300, 10]}, {name: c, at_m: [600, 10]}]
road_m: [[0, 0], [600, 0]]
rtt: {kind: distance, per_km_ms: 60, noise_ms: 0.2}
"""


def test_a_service_follows_a_car(tmp_path: Path, require: Callable[..., None]) -> None:
    with contextlib.suppress(CriuMissing):  # the capability says why
        obtain()
    require("criu")
    ours = f"edgewright-{os.getpid()}-*"
    there = set(FOLDER.glob(ours))
    (tmp_path / "short.yaml").write_text(SCENARIO)
    words = ["--scenario", str(tmp_path / "short.yaml"), "--policy", "nearest", "--pace", "3", "--json"]
    done = CliRunner().invoke(app, ["migration", "live", *words, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told == json.loads((tmp_path / "out/summary.json").read_text())
    moves = told["migrations"]
    assert len(moves) >= 3
    assert [(one["status"], one["reason"]) for one in moves] == [("done", "")] * len(moves)
    assert [one["source"] for one in moves[1:]] == [one["target"] for one in moves[:-1]]
    assert all(0 < one["frozen_s"] < 5 and 0 < one["client_gap_s"] < 5 for one in moves)
    assert told["answers"] > 100
    assert (told["connections_lost"], told["answers_lost"]) == (0, 0)
    rows = list(csv.DictReader((tmp_path / "out/trace.csv").open()))
    assert [float(row["t_s"]) for row in rows] == list(range(len(rows)))
    for row in rows:  # 2 x 10 ms lie between neighbouring nodes
        assert 0 < float(row["rtt_ms_b"]) < 30
    assert rows[-1]["node"] == moves[-1]["target"]
    assert (tmp_path / "out/drive.png").stat().st_size > 10_000
    assert set(FOLDER.glob(ours)) == there
