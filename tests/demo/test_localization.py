"""The localization service: positions, bounds, a bounded queue, a working set that follows the load."""

from __future__ import annotations

import json
import math
import re
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from demo_processes import fetch, free_port, wait_healthy
from threadpoolctl import threadpool_limits

from edgewright.demo.localization import Localizer
from edgewright.demo.radio import AREA_M, FLOOR_DBM, RadioWorld

Run = Callable[..., subprocess.Popen[str]]


def test_the_radio_world_follows_its_seed_and_its_law() -> None:
    world, same, other = (RadioWorld.generate(seed, 12) for seed in (1, 1, 2))
    rss, positions = world.survey(4000, [5])
    again, _ = same.survey(4000, [5])
    assert np.array_equal(rss, again)
    assert not np.array_equal(rss, other.survey(4000, [5])[0])
    assert rss.shape == (4000, 12)
    assert rss.min() >= FLOOR_DBM
    assert positions.min() >= 0
    assert positions.max() <= AREA_M
    distance_m = np.hypot(*(positions - world.access_points_m[0]).T)
    slope = np.polyfit(np.log10(np.maximum(1, distance_m)), rss[:, 0], 1)[0]
    assert -45 < slope < -15  # -30 dB a decade, with shadowing


def test_positions_are_near_and_the_bound_holds_about_nine_times_in_ten() -> None:
    world = RadioWorld.generate(3)
    localizer = Localizer(world, 3, members=4)
    errors, bounds = [], []
    with threadpool_limits(1):
        localizer.calibrate_bound(200)
        for rss, true_m in zip(*world.survey(200, [99]), strict=True):
            position_m, bound_m = localizer.locate(rss)
            errors.append(math.dist(position_m, true_m))
            bounds.append(bound_m)
    assert np.median(errors) < 5
    held = np.mean(np.array(errors) <= bounds)
    assert 0.8 < held <= 0.98
    assert np.corrcoef(errors, bounds)[0, 1] > 0  # a wide bound means something


def test_requests_are_answered_or_refused_with_the_reason(run: Run) -> None:
    url = f"http://127.0.0.1:{(port := free_port())}"
    service = run("localization", "--port", str(port), "--members", "3", "--access-points", "10", "--seed", "4")
    wait_healthy(f"{url}/healthz", service)
    rss, positions = RadioWorld.generate(4, 10).survey(5, [77])
    status, body = fetch(f"{url}/locate", {"rss_dbm": rss[0].tolist()})
    answer = json.loads(body)
    assert status == 200
    assert math.dist(answer["position_m"], positions[0]) < 30
    assert answer["error_bound_m"] > 0
    for bad in ({"rss_dbm": [1, 2]}, {"rss_dbm": ["a"] * 10}, {"rss": []}, {"rss_dbm": [float("nan")] * 10}, [1], "x"):
        status, body = fetch(f"{url}/locate", bad)
        assert status == 400
        assert "10 finite numbers" in json.loads(body)["error"]
    metrics = fetch(f"{url}/metrics")[1]
    assert 'localization_requests_total{outcome="ok"} 1.0' in metrics
    assert 'localization_requests_total{outcome="bad"} 6.0' in metrics
    assert "localization_inference_seconds_bucket" in metrics
    assert "process_cpu_seconds_total" in metrics
    service.terminate()
    assert service.wait(10) == 0


def test_a_full_queue_refuses_at_once(run: Run) -> None:
    url = f"http://127.0.0.1:{(port := free_port())}"
    service = run("localization", "--port", str(port), "--members", "60", "--queue", "4")
    wait_healthy(f"{url}/healthz", service)
    body = {"rss_dbm": [-60.0] * 48}

    def ask(_: int) -> tuple[int, float]:
        start = time.monotonic()
        status = fetch(f"{url}/locate", body)[0]
        return status, time.monotonic() - start

    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(ask, range(24)))
    statuses = [status for status, _ in answers]
    assert set(statuses) == {200, 503}
    assert statuses.count(200) >= 5
    slowest_answer = max(seconds for status, seconds in answers if status == 200)
    assert np.median([seconds for status, seconds in answers if status == 503]) < slowest_answer
    refused = re.search(r'outcome="refused"} (\d+)', fetch(f"{url}/metrics")[1])
    assert refused is not None
    assert int(refused[1]) == statuses.count(503)


def test_the_working_set_grows_with_requests_and_returns_to_the_kernel(run: Run) -> None:
    url = f"http://127.0.0.1:{(port := free_port())}"
    options = ("--members", "2", "--memory-per-request-kb", "1000", "--memory-hold-s", "1")
    service = run("localization", "--port", str(port), *options)
    wait_healthy(f"{url}/healthz", service)

    def resident_mb() -> float:
        with open(f"/proc/{service.pid}/statm") as file:
            return int(file.read().split()[1]) * 4096 / 1e6

    for _ in range(3):
        fetch(f"{url}/locate", {"rss_dbm": [-60.0] * 48})
    before = resident_mb()
    for _ in range(60):
        fetch(f"{url}/locate", {"rss_dbm": [-60.0] * 48})
    assert resident_mb() - before > 40
    deadline = time.monotonic() + 10
    while resident_mb() - before > 10:
        assert time.monotonic() < deadline, "the memory did not come back"
        time.sleep(0.1)


@pytest.mark.parametrize("options", [("--cpu-ms", "0"), ("--cpu-ms", "nan"), ("--members", "3", "--cpu-ms", "5")])
def test_bad_options_say_so(run: Run, options: tuple[str, ...]) -> None:
    service = run("localization", "--port", str(free_port()), *options)
    _, errors = service.communicate(timeout=60)
    assert service.returncode == 2
    assert "cpu-ms" in errors
