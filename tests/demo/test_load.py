"""The load generator: seeded arrivals, honest timing, changes on the fly, bit-exact replay."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demo_processes import fetch, free_port, wait_healthy

from edgewright.core.documents import read
from edgewright.core.errors import InputError
from edgewright.demo.ingress import BUCKETS_S, LoadFile, Stream, Target, read_arrivals

Run = Callable[..., subprocess.Popen[str]]


@contextmanager
def serving(delay_s: float = 0.0, status: int = 200) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            time.sleep(delay_s)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def target(name: str, url: str, rate_hz: float = 60.0, **profile: Any) -> dict[str, Any]:
    load = {"profile": profile or {"kind": "constant", "rate_hz": rate_hz}}
    return {"name": name, "url": url, "request": {"kind": "plain"}, "load": load}


def config(folder: Path, *targets: dict[str, Any], **fields: Any) -> str:
    path = folder / "load.json"
    path.write_text(json.dumps({"format": "edgewright.load/1", "targets": targets, **fields}))
    return str(path)


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return json.loads(output)


def stream(seed: int, name: str = "a", rate_hz: float = 50.0) -> Stream:
    return Stream(Target.model_validate(target(name, "http://127.0.0.1:9/", rate_hz)), seed, 100, Path())


def test_arrivals_are_poisson_and_follow_seed_name_and_second_alone() -> None:
    one, same = stream(1), stream(1)
    assert one.second(7) == same.second(7)  # whatever was drawn before
    assert one.second(7) == one.second(7)
    assert one.second(7) != stream(2).second(7)
    assert one.second(7) != stream(1, "b").second(7)
    counts = [len(times) for times in one.seconds()]
    assert len(counts) == 100
    assert np.mean(counts) == pytest.approx(50, rel=0.06)
    assert 0.5 < np.var(counts) / 50 < 1.6
    assert all(second <= t < second + 1 for second in (0, 50) for t in one.second(second))


def test_a_change_of_load_holds_from_its_second_on() -> None:
    changed = stream(1)
    before = changed.second(3)
    changed.multiplier = 2.0
    assert changed.rate_hz(10) == 100.0
    changed.multiplier = 1.0
    load = LoadFile.model_validate(
        {
            "format": "edgewright.load/1",
            "targets": (target("a", "http://x/", kind="step", before_hz=5.0, after_hz=80.0, at_s=10.0),),
        }
    ).targets[0]
    changed.change(load.load, changed.draw_rates(load.load), 20)
    assert [changed.rate_hz(second) for second in (20, 29, 30)] == [5.0, 5.0, 80.0]
    assert before == stream(1).second(3)


def test_the_histogram_has_the_bounds_that_slos_need() -> None:
    assert {0.05, 1.0, 2.0} <= set(BUCKETS_S)
    assert list(BUCKETS_S) == sorted(BUCKETS_S)


def test_recorded_arrivals_are_replayed_bit_for_bit(run: Run, tmp_path: Path) -> None:
    first, second, results = (tmp_path / f"{name}.csv" for name in ("first", "second", "results"))
    with serving() as url:
        file = config(tmp_path, target("a", url, 40.0), target("b", url, 20.0))
        drawn = finish(run("load", "--config", file, "--seed", "9", "--duration-s", "2", "--record", str(first)))
        options = ("--replay", str(first), "--record", str(second), "--results", str(results))
        replayed = finish(run("load", "--config", file, *options))
    assert read_arrivals(first) == read_arrivals(second)
    assert drawn["services"] == replayed["services"]
    assert read_arrivals(first)["a"] == [t for s in range(2) for t in stream(9, "a", 40.0).second(s)]
    rows = list(csv.DictReader(results.open()))
    assert len(rows) == sum(map(len, read_arrivals(first).values()))
    assert {row["outcome"] for row in rows} == {"ok"}
    assert sorted(float(r["t_s"]) for r in rows if r["service"] == "b") == read_arrivals(first)["b"]


def test_requests_are_timed_from_their_moment_and_do_not_wait_for_each_other(run: Run, tmp_path: Path) -> None:
    results = tmp_path / "results.csv"
    with serving(delay_s=5.0) as hanging, serving(status=503) as full, serving(status=500) as broken:
        dead = f"http://127.0.0.1:{free_port()}/"
        urls = {"hanging": hanging, "full": full, "broken": broken, "dead": dead}
        file = config(tmp_path, *(target(n, u, 30.0) for n, u in urls.items()), timeout_s=0.5, duration_s=1)
        began_s = time.monotonic()
        ended = finish(run("load", "--config", file, "--results", str(results)))["services"]
        took_s = time.monotonic() - began_s
    assert [set(ended[name]) for name in urls] == [{"timeout"}, {"refused"}, {"error"}, {"error"}]
    assert sum(ended["hanging"].values()) > 10
    waited = [float(r["response_s"]) for r in csv.DictReader(results.open()) if r["service"] == "hanging"]
    assert min(waited) >= 0.499
    assert took_s < 10 < sum(waited) * 2  # closed loop would have waited for each


def test_metrics_and_changes_on_the_port(run: Run, tmp_path: Path) -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with serving() as url:
        file = config(tmp_path, target("a", url, 50.0), target("b", url, 0.0), extra_buckets_s=[0.033])
        load = run("load", "--config", file, "--port", str(port), environment={"EDGEWRIGHT_LOAD_TOKEN": "secret"})
        wait_healthy(f"{base}/healthz", load)

        def put(body: Any, token: str | None = "secret") -> tuple[int, str]:
            return fetch(f"{base}/load", body, method="PUT", token=token)

        assert put({"targets": {}}, token=None)[0] == 401
        assert put({"targets": {}}, token="wrong")[0] == 401
        for bad in (
            {"targets": {"c": {"multiplier": 1}}},
            {"targets": {"a": {"multiplier": -1}}},
            {"targets": {"a": {"rate": 3}}},
            {"targets": {"a": {"multiplier": 9}, "c": {}}},
            {"targets": {"a": {"load": {"profile": {"kind": "constant", "rate_hz": "many"}}}}},
            {"targets": {"a": {"multiplier": 9}, "b": {"load": {"profile": {"kind": "trace", "file": "no.csv"}}}}},
        ):
            status, body = put(bad)
            assert status == 400
            assert "allowed:" in json.loads(body)["error"]
        assert json.loads(fetch(f"{base}/load")[1])["targets"]["a"]["multiplier"] == 1.0  # all or nothing
        change = {"a": {"multiplier": 0.0}, "b": {"load": {"profile": {"kind": "constant", "rate_hz": 40.0}}}}
        status, body = put({"targets": change})
        assert status == 200
        shown = json.loads(body)["targets"]
        assert (shown["a"]["multiplier"], shown["a"]["rate_hz"]) == (0.0, 0.0)
        time.sleep(1.2)  # from the next full second on

        def arrivals(service: str) -> float:
            text = fetch(f"{base}/metrics")[1]
            found = re.search(rf'edgewright_arrivals_total{{service="{service}"}} ([\d.]+)', text)
            return float(found[1]) if found else 0.0

        before = arrivals("a"), arrivals("b")
        time.sleep(1.0)
        assert arrivals("a") == before[0] > 0
        assert arrivals("b") - before[1] > 10
        text = fetch(f"{base}/metrics")[1]
        assert 'edgewright_response_seconds_bucket{le="0.05",service="a"}' in text
        assert 'edgewright_response_seconds_bucket{le="1.0",service="b"}' in text
        assert 'edgewright_response_seconds_bucket{le="0.033",service="b"}' in text
        assert 'edgewright_requests_total{outcome="ok",service="a"}' in text
        assert 'edgewright_requests_in_flight{service="a"} 0.0' in text
        assert "edgewright_load_max_lag_seconds" in text
        load.terminate()
        assert finish(load)["services"]["a"]["ok"] > 0


def test_without_a_token_the_load_cannot_be_changed(run: Run, tmp_path: Path) -> None:
    port = free_port()
    with serving() as url:
        file, empty = config(tmp_path, target("a", url)), {"EDGEWRIGHT_LOAD_TOKEN": ""}
        load = run("load", "--config", file, "--port", str(port), environment=empty)
        wait_healthy(f"http://127.0.0.1:{port}/healthz", load)
        status, _ = fetch(f"http://127.0.0.1:{port}/load", {"targets": {}}, method="PUT", token="")
        assert status == 401


def test_configuration_is_read_strictly(tmp_path: Path) -> None:
    good = target("a", "http://127.0.0.1:9/")
    for bad, field in [
        ({"targets": [good], "speed": 1}, "speed"),
        ({"targets": []}, "targets"),
        ({"targets": [{**good, "url": "file:///etc/passwd"}]}, "targets.0.url"),
        ({"targets": [{**good, "request": {"kind": "plain", "method": "DELETE"}}]}, "targets.0.request.plain.method"),
        ({"targets": [good], "timeout_s": 0}, "timeout_s"),
    ]:
        path = tmp_path / "bad.json"
        path.write_text(json.dumps({"format": "edgewright.load/1", **bad}))
        with pytest.raises(InputError, match=re.escape(f"{path}: {field}")):
            read(LoadFile, path)


@pytest.mark.parametrize(
    "text", ["t,service\n1,a\n", "t_s,service\nnan,a\n", "t_s,service\n-1,a\n", "t_s,service\nx,a\n"]
)
def test_broken_recordings_are_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "arrivals.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(str(path))):
        read_arrivals(path)


def test_names_used_twice_end_with_the_usage_status(run: Run, tmp_path: Path) -> None:
    file = config(tmp_path, target("a", "http://127.0.0.1:9/"), target("a", "http://127.0.0.1:9/"))
    load = run("load", "--config", file)
    _, errors = load.communicate(timeout=60)
    assert load.returncode == 2
    assert "a name used once" in errors


def test_a_recording_of_other_services_is_refused(run: Run, tmp_path: Path) -> None:
    recording = tmp_path / "arrivals.csv"
    recording.write_text("t_s,service\n0.5,other\n")
    load = run("load", "--config", config(tmp_path, target("a", "http://127.0.0.1:9/")), "--replay", str(recording))
    _, errors = load.communicate(timeout=60)
    assert load.returncode == 2
    assert "service: got 'other', allowed: one of ['a']" in errors
