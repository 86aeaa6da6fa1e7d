"""On this host for real: a policy drives a service, the twin's calibration measures it, nothing is left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from edgewright.scaling.calibration import measure_point
from edgewright.scaling.evaluation import measure
from edgewright.scaling.live import Speed, draw_arrivals, measure_speed, run_policy, running
from edgewright.scaling.model import Scenario, read_scenario

DEMO = Path(str(files("edgewright") / "demo" / "demo.yaml"))


@pytest.fixture
def demo(require: Callable[..., None]) -> Scenario:
    require("cgroup-cpu", "cgroup-memory")
    whole = read_scenario(DEMO)
    return whole.model_copy(update={"services": whole.services[:1]})


@pytest.mark.real
def test_a_policy_drives_a_real_service(demo: Scenario, tmp_path: Path) -> None:
    times = draw_arrivals(demo, 8, 0, tmp_path)
    with running(demo, tmp_path, tmp_path / "work") as live:
        point = measure_point(live, "localization-a", 1.0, 20.0, 3, 0)
        speed = measure_speed(live, seconds=3)
        done = run_policy(live, "ppo", times, 8)
    assert 0.001 < point.cpu_per_request_s < 0.05
    assert 0.3 * point.cpu_per_request_s < speed.measured_s < 3 * point.cpu_per_request_s
    assert point.response_s.size == point.due_s.size > 30
    assert done.limit_cpu.shape == (8, 1)
    assert len(np.unique(done.limit_cpu)) > 2  # the loop moved the limit
    assert sum(r.size for step in done.response_s for r in step) == times["localization-a"].size
    assert measure(demo, done)["used_cpu_s"] > 0.5
    assert not list(Path("/sys/fs/cgroup").glob("**/edgewright-live"))


@pytest.mark.parametrize(("measured_s", "load"), [(0.012, 1 / 3), (0.0045, 1.0), (0.001, 1.0)])
def test_a_slow_host_gets_as_much_load_as_it_carries(measured_s: float, load: float, tmp_path: Path) -> None:
    assert Speed(0.004, measured_s).load == pytest.approx(load)
    whole = read_scenario(DEMO)
    counts = [
        sum(times.size for times in draw_arrivals(whole, 300, 0, tmp_path, factor).values()) for factor in (1, load)
    ]
    assert counts[1] / counts[0] == pytest.approx(load, rel=0.05)


@pytest.mark.real
def test_a_study_that_is_told_to_end_leaves_nothing(demo: Scenario, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edgewright", "scaling", "live", "--policies", "hpa", "--out", str(tmp_path)]
    study = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert study.stdout is not None
    assert "ms of CPU a request" in study.stdout.readline()  # the services run
    lists = [path for path in Path("/sys/fs/cgroup").glob("**/cgroup.procs") if "edgewright-live" in path.parts]
    pids = {pid for path in lists for pid in path.read_text().split()}
    assert pids
    study.terminate()
    assert study.wait(60) == 128 + signal.SIGTERM
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not list(Path("/sys/fs/cgroup").glob("**/edgewright-live"))
