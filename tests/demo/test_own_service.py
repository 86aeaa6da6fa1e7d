"""The example of the docs: a program of the standard library under a control group, measured by probes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from demo_processes import fetch, free_port

from edgewright.drivers.host import Limits, ServiceSpec
from edgewright.drivers.linux.services import LinuxHost
from edgewright.drivers.response import ProbeSource, ProbeTarget, ResponseWindow
from edgewright.scaling.model import check, read_scenario

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_service"


def test_the_scenario_of_the_example_is_sound() -> None:
    scenario = read_scenario(EXAMPLE / "scenario.yaml")
    (service,) = scenario.services
    assert service.run is not None
    assert service.run.endpoint.probe_url is not None
    assert check(scenario, [service.cpu.initial], [service.memory.initial_mb * 1_000_000]) == []  # type: ignore[arg-type]


@pytest.mark.real
def test_the_example_runs_under_limits_and_probes_see_them(tmp_path: Path, require: Callable[..., None]) -> None:
    require("cgroup-cpu", "cgroup-memory")
    (service,) = read_scenario(EXAMPLE / "scenario.yaml").services
    assert service.run is not None
    port = str(free_port())
    command = (sys.executable, *(word.replace("{port}", port) for word in service.run.command[1:]))
    url = f"http://127.0.0.1:{port}"
    health_url = url + service.run.health_path
    spec = ServiceSpec("warehouse", command, working_directory=EXAMPLE, health_url=health_url, start_unthrottled=True)
    probe_url = (service.run.endpoint.probe_url or "").replace("{port}", port)

    async def measure(host: LinuxHost) -> list[ResponseWindow]:
        source = ProbeSource({"warehouse": ProbeTarget(probe_url)}, service.run.endpoint.probe_hz, late_s=0.1)
        windows = []
        try:
            await source.windows()
            for cpu in (service.cpu.initial, 0.01):
                assert host.set_limits("warehouse", Limits(cpu, 64_000_000)).ok
                await asyncio.sleep(2.5)
                windows.append((await source.windows())["warehouse"])
        finally:
            await source.close()
        return windows

    with LinuxHost(tmp_path, f"test-own-{os.getpid()}") as host:
        host.start(spec, Limits(service.cpu.initial, 64_000_000))
        status, body = fetch(probe_url)
        assert status == 200
        answer = json.loads(body)
        assert answer["path"][0] == [0, 0]
        assert answer["path"][-1] == [40, 40]
        assert fetch(f"{url}/path?from=0,0&to=99,0")[0] == 400
        ample, scarce = asyncio.run(measure(host))
        assert host.usage("warehouse").memory_bytes < 64_000_000
    assert ample.failed == 0
    assert ample.requests > 5
    assert scarce.backlog + scarce.failed > ample.backlog
    assert scarce.requests < ample.requests or scarce.mean_s > 3 * ample.mean_s
