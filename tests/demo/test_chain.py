"""Service, control group, load and response times together, on the real kernel."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from demo_processes import free_port, wait_healthy

from edgewright.drivers.host import Limits, ServiceSpec
from edgewright.drivers.linux.services import LinuxHost
from edgewright.drivers.response import PrometheusSource, ResponseWindow

Run = Callable[..., subprocess.Popen[str]]


@pytest.mark.real
def test_less_cpu_means_longer_responses_and_more_cpu_helps_at_once(
    run: Run, tmp_path: Path, require: Callable[..., None]
) -> None:
    """The shape of mean response by quota; each limit is compared with the others, never with a clock."""
    require("cgroup-cpu", "cgroup-memory")
    service_port, load_port = free_port(), free_port()
    command = (sys.executable, "-m", "edgewright.demo.localization", "--port", str(service_port), "--members", "8")
    url = f"http://127.0.0.1:{service_port}"
    spec = ServiceSpec("loc", command, health_url=f"{url}/healthz", start_timeout_s=60, start_unthrottled=True)
    target = {
        "name": "loc",
        "url": f"{url}/locate",
        "request": {"kind": "localization"},
        "load": {"profile": {"kind": "constant", "rate_hz": 50.0}},
    }
    file = tmp_path / "load.json"
    file.write_text(json.dumps({"format": "edgewright.load/1", "targets": [target]}))

    async def measure(host: LinuxHost) -> tuple[float, dict[str, ResponseWindow]]:
        source = PrometheusSource(f"http://127.0.0.1:{load_port}/metrics", late_s=0.05, timeout_s=5.0)
        found: dict[str, ResponseWindow] = {}
        try:
            await source.windows()
            before = host.usage("loc")
            await asyncio.sleep(3.0)
            found["ample"] = (await source.windows())["loc"]
            after = host.usage("loc")
            need = (after.cpu_s - before.cpu_s) / (after.t_s - before.t_s)
            for name, share in (("scarce", 0.5), ("ample again", 3.0)):
                assert host.set_limits("loc", Limits(need * share)).ok
                await asyncio.sleep(1.0)
                deadline_s = time.monotonic() + 20
                while (await source.windows())["loc"].backlog > 5 and share > 1 and time.monotonic() < deadline_s:
                    await asyncio.sleep(0.25)  # what waited before the change drains
                await asyncio.sleep(2.5)
                found[name] = (await source.windows())["loc"]
                assert host.usage("loc").limits.cpu == pytest.approx(need * share, rel=0.02)
        finally:
            await source.close()
        return need, found

    with LinuxHost(tmp_path / "state", f"test-chain-{os.getpid()}") as host:
        host.start(spec, Limits(1.0, 512 * 2**20))
        load = run("load", "--config", str(file), "--seed", "1", "--port", str(load_port))
        wait_healthy(f"http://127.0.0.1:{load_port}/healthz", load)
        need, found = asyncio.run(measure(host))
    assert 0.03 < need < 0.9
    ample, scarce, again = (found[name] for name in ("ample", "scarce", "ample again"))
    assert scarce.mean_s > 3 * ample.mean_s
    assert scarce.mean_s > 3 * again.mean_s
    assert scarce.backlog > 10
    assert scarce.late_fraction > 0.9
    assert ample.rate_hz == pytest.approx(50, rel=0.3)
