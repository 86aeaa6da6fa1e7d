"""The command as a process: exit codes, output for machines, and what a kill leaves."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from edgewright.studies import run_study

COMMAND = [sys.executable, "-c", "from edgewright.cli import app; app()", "study"]
SLOW = [{"name": "slow", "parameters": {"speed": 50.0, "sleep_s": 0.25}},
        {"name": "fast", "parameters": {"speed": 60.0, "sleep_s": 0.25}}]  # fmt: skip
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}


def command(*arguments):
    return subprocess.Popen([*COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, env=ENVIRONMENT)  # fmt: skip


def children(parent):
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if int(status.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(status.parent)
    return found


def test_exit_codes_and_json(write, tmp_path):
    good = command(write(), "--out", tmp_path / "out", "--json")
    told = json.loads(good.communicate()[0])
    assert good.returncode == 0
    assert told["baseline"] == "slow"
    assert told["folder"] == str(tmp_path / "out")
    failing = [{"name": "slow", "parameters": {"speed": 50.0, "fails_at": 2}}]
    bad = command(write(methods=failing), "--out", tmp_path / "out")
    said = bad.communicate()[0]
    assert bad.returncode == 1
    assert "FAILED CELLS: 2" in said
    assert "no [luck]" in said
    wrong = command(write(seeds=3), "--out", tmp_path / "out")
    assert "study.yaml: seeds" in wrong.communicate()[1]
    assert wrong.returncode == 2


def test_a_killed_run_goes_on_to_the_same_table(write, tmp_path):
    path, out = write(methods=SLOW), tmp_path / "out"
    process = command(path, "--out", out, "--jobs", 2)
    try:
        while process.poll() is None and len(list((out / "cells").glob("[!.]*.npz"))) < 7:
            time.sleep(0.01)
        assert process.poll() is None, process.communicate()
        workers = children(process.pid)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    assert len(workers) >= 2
    until = time.monotonic() + 30
    while any(worker.exists() for worker in workers) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(worker.exists() for worker in workers)
    resumed = run_study(path, out=out, jobs=2)
    assert 0 < resumed.computed <= 33
    whole = run_study(write(), out=tmp_path / "whole", jobs=2)  # the same without the sleep
    assert whole.computed == 40
    for name in ("results.csv", "results.parquet", "table.md", "table.json", "figures/wait_ms.png"):
        assert (out / name).read_bytes() == (whole.folder / name).read_bytes()


def test_an_interrupted_run_says_how_to_go_on(write, tmp_path):
    process = command(write(methods=SLOW), "--out", tmp_path / "out", "--jobs", 1)
    try:
        while process.poll() is None and not list((tmp_path / "out" / "cells").glob("[!.]*.npz")):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "goes on from there" in said
