"""What a decision costs without JAX, and how punctual and how cheap the running loop is.

    python benchmarks/serving.py [--seconds 300] [--out FILE]

Starts `edgewright up` with the demo (real processes where the host permits) on a port and a data folder of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from edgewright.scaling.control import Controller
from edgewright.scaling.events import SimulatedSlice
from edgewright.scaling.launch import free_port
from edgewright.scaling.model import read_scenario
from edgewright.scaling.policies import POLICIES, make_policy
from edgewright.scaling.tuning import folder


def decisions(repetitions: int = 10_000) -> dict[str, dict[str, float]]:
    """Time of Policy.decide, and of the whole step with the guard, for three services, us.

    `a bare loop` is as long as a decision and calls nothing: the distance of its percentiles is the host's.
    """
    scenario = read_scenario(folder() / "diurnal.yaml")
    rows = {"a bare loop": _spread(lambda n: sum(range(2500)), repetitions, "")}
    for name in (name for name in POLICIES if name != "fixed"):
        controller, simulated, seen = Controller(scenario, make_policy(name, scenario)), SimulatedSlice(scenario, 0), []
        for _ in range(180):  # as it goes under this policy
            seen.append(simulated.run())
            simulated.apply(controller.step(seen[-1]).allowed)
        policy, memory = make_policy(name, scenario), None

        def decide(n: int) -> None:
            nonlocal memory
            _, memory, _ = policy.decide(seen[n % len(seen)], None, memory)  # noqa: B023

        def step(n: int) -> None:
            controller.step(seen[n % len(seen)])  # noqa: B023

        rows[name] = _spread(decide, repetitions, "") | _spread(step, repetitions, "step_")
    rows["jax imported"] = {"jax": float("jax" in sys.modules)}
    return rows


def _spread(run: Callable[[int], Any], repetitions: int, prefix: str) -> dict[str, float]:
    taken = []
    for n in range(repetitions):
        began = time.perf_counter_ns()
        run(n)
        taken.append(time.perf_counter_ns() - began)
    p50, p99 = np.percentile(taken[repetitions // 10 :], [50, 99]) / 1e3  # the first ones fill caches
    return {f"{prefix}p50_us": float(p50), f"{prefix}p99_us": float(p99)}


def loop(seconds: int) -> dict[str, Any]:
    """Start jitter and CPU of the demo's loop over `seconds`, as the orchestrator reports them."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="edgewright-bench-") as data:
        command = [sys.executable, "-m", "edgewright", "up", "--port", str(port), "--data", data]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            base = f"http://127.0.0.1:{port}/api/edgewright/v1/loops/demo"
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline:
                try:
                    if httpx.get(base, timeout=2, trust_env=False).json().get("loop_stats", {}).get("period_s"):
                        break
                except (httpx.HTTPError, ValueError):
                    pass
                time.sleep(1)
            time.sleep(10)
            before, began = _cpu_s(process.pid), time.monotonic()
            time.sleep(seconds)
            share = (_cpu_s(process.pid) - before) / (time.monotonic() - began)
            told = httpx.get(base, timeout=5, trust_env=False).json()
            return {"loop_stats": told["loop_stats"], "driver": told["driver"], "whole_process_cpu_share": share}
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path("runs/serving.json"))
    options = parser.parse_args()
    result: dict[str, Any] = {"decisions": decisions()}
    for name, row in result["decisions"].items():
        print(f"{name:<14}" + "  ".join(f"{key} {value:.1f}" for key, value in row.items()), flush=True)
    result["loop"] = loop(options.seconds)
    print(json.dumps(result["loop"], indent=1))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
