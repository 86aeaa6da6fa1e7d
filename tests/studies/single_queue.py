"""A capability to study: one server's queue (M/M/1, Lindley's recursion), its speed the method's parameter."""

from __future__ import annotations

import os
import signal
import time

import numpy as np

from edgewright.core.errors import InputError
from edgewright.studies import Metric, Result

REQUESTS = 300


class SingleQueue:
    version = "1"
    metrics = (Metric("wait_ms", "Mean wait", "ms", "lower", ".1f"), Metric("speed", "Server speed", "1/s", "lower"))

    def prepare(self, source):
        try:
            return float(source.data["rate_hz"])
        except (KeyError, TypeError, ValueError):
            raise InputError("rate_hz", source.data.get("rate_hz"), "a number") from None

    def run(self, scenario, method, parameters, seed):
        if parameters.get("fails_at") == seed:
            raise RuntimeError("no [luck]")
        if parameters.get("dies_at") == seed:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(parameters.get("sleep_s", 0.0))
        rng = np.random.default_rng(seed)
        gaps, works = rng.exponential(1 / scenario, REQUESTS), rng.exponential(1 / parameters["speed"], REQUESTS)
        waits, wait = [], 0.0
        for gap, work in zip(gaps, works, strict=True):
            waits.append(wait)
            wait = max(0.0, wait + work - gap)
        metrics = {"wait_ms": 1e3 * float(np.mean(waits)), "speed": parameters["speed"]}
        if parameters.get("gives") == "less":
            del metrics["speed"]
        if parameters.get("gives") == "infinity":
            metrics["wait_ms"] = np.inf
        return Result(metrics, {"waits": np.array(waits)})

    def figures(self, cells, folder):
        path = folder / "waits.txt"
        path.write_text("\n".join(f"{c.method} {c.scenario} {c.seed} {c.series['waits'].sum():.9f}" for c in cells))
        return [path]


STUDY = SingleQueue()
INCOMPLETE = object()


def function(scenario, method, parameters, seed):
    return {"draw": parameters["mean"] * scenario["factor"] + np.random.default_rng(seed).normal()}
