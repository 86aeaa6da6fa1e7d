"""The orchestrator and its services as real processes of this host, ended in every way."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgewright.core.documents import validate
from edgewright.drivers.linux.cgroups import Group, find_place
from edgewright.scaling.model import Scenario
from edgewright.service.loops.choice import instance
from edgewright.service.loops.linux import linux_slice
from edgewright.service.loops.loop import first_limits
from edgewright.service.settings import Settings

from .conftest import PREFIX, Client, running, scenario, settings, until, write_scenario

pytestmark = pytest.mark.real
LOOP = f"{PREFIX}/loops/demo"


class Up(httpx.Client):
    """`edgewright up` as a process of its own."""

    def __init__(self, given: Settings, key: str | None = None, **environment: str) -> None:
        command = [sys.executable, "-m", "edgewright", "up", "--role", given.role, "--port", str(_free_port())]
        command += ["--data", str(given.data_dir), "--scenario", str(given.scenario)]
        if given.database_url is not None:
            environment = {"EDGEWRIGHT_DATABASE_URL": given.database_url} | environment
        self.log = given.data_dir.with_suffix(".log")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | environment
            )
        assert self.process.stdout
        first = self.process.stdout.readline()
        found = re.match(r"edgewright is up: (http://\S+?)/(?:\?key=(\S+))?$", first)
        assert found, first + self.log.read_text()
        self.key = key or found[2]
        super().__init__(
            base_url=found[1], headers={"Authorization": f"Bearer {self.key}"}, timeout=20.0, trust_env=False
        )

    def loop(self) -> dict[str, Any]:
        with suppress(httpx.HTTPError):
            answer = self.get(LOOP)
            if answer.status_code == 200:
                return dict(answer.json())
        return {"phase": "away", "last_decision": None, "services": []}

    def acts(self) -> bool:
        loop = self.loop()
        return loop["phase"] == "running" and loop["last_decision"] is not None

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        code = self.process.wait(60)
        assert self.process.stdout
        self.process.stdout.close()
        self.close()
        return code


@contextmanager
def up(given: Settings, key: str | None = None, **environment: str) -> Iterator[Up]:
    process = Up(given, key, **environment)
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.end(signal.SIGTERM)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def groups(given: Settings) -> list[Path]:
    name = f"edgewright-{instance(given, 'demo')}"
    return [path for path in Path("/sys/fs/cgroup").glob(f"**/{name}") if path.is_dir()]


def alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_killed_orchestrator_finds_everything_again(real: Settings) -> None:
    with up(real) as first:
        until(first.acts)
        first.put(f"{LOOP}/services/a/pin", json={"cpu": 0.55})
        first.patch(LOOP, json={"mode": "shadow"})
        until(lambda: any(d["by"] == "user" for d in first.get(f"{LOOP}/decisions?changed_only=true").json()))
        before = first.loop()
        assert first.end(signal.SIGKILL) == -signal.SIGKILL
    pids = {s["name"]: s["pid"] for s in before["services"]}
    assert all(alive(pid) for pid in pids.values())
    with up(real, first.key) as second:
        until(second.acts)
        after = second.loop()
        assert {s["name"]: s["pid"] for s in after["services"]} == pids
        assert after["mode"] == "shadow"
        assert after["services"][0]["pin"] == pytest.approx(0.55)
        limits = {s["name"]: s["limit_cpu"] for s in before["services"]}
        assert {s["name"]: s["limit_cpu"] for s in after["services"]} == pytest.approx(limits, abs=2e-3)
        assert Group(find_place(f"edgewright-{instance(real, 'demo')}"), "a").cpu_limit() == pytest.approx(0.55)
        seqs = [d["seq"] for d in second.get(f"{LOOP}/decisions?limit=1000").json()]
        assert seqs == sorted(set(seqs), reverse=True)
        assert min(seqs) == 1
        until(lambda: second.loop()["services"][0]["rate_hz"])
        assert second.end(signal.SIGTERM) == 0
    assert not any(alive(pid) for pid in pids.values())
    assert groups(real) == []


def test_unwanted_services_of_a_killed_orchestrator_end(real: Settings) -> None:
    with up(real) as first:
        until(first.acts)
        pids = {s["name"]: s["pid"] for s in first.loop()["services"]}
        first.end(signal.SIGKILL)
    write_scenario(real.scenario.parent, scenario(services=("b",)))
    with up(real, first.key) as second:
        until(second.acts)
        until(lambda: not alive(pids["a"]))
        assert [s["pid"] for s in second.loop()["services"]] == [pids["b"]]
    assert not alive(pids["b"])
    assert groups(real) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_while_starting_leaves_nothing(real: Settings, number: signal.Signals) -> None:
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip(f"{number.name} is ignored here (nohup?), and so by what is started here")
    with up(real) as process:
        assert process.end(number) == 0
    assert groups(real) == []


def test_killed_service_and_generator_come_back(real: Settings) -> None:
    with running(real) as client:
        until(lambda: client.service("a")["rate_hz"])
        limit = client.put(f"{LOOP}/services/a/pin", json={"cpu": 0.4}).json()["pin"]
        pid = client.service("a")["pid"]
        os.kill(pid, signal.SIGKILL)
        until(lambda: client.service("a")["pid"] not in (None, pid))
        assert client.service("a")["limit_cpu"] == pytest.approx(limit, abs=2e-3)
        for service in ("a", "b"):  # the loop goes before others, services started by it or its threads do not
            nice = os.getpriority(os.PRIO_PROCESS, client.service(service)["pid"])
            assert nice == os.getpriority(os.PRIO_PROCESS, os.getpid())
        assert {e["service"] for e in client.events("service_died")} == {"a"}
        assert client.made.runtime
        assert client.put(f"{LOOP}/load", json={"b": 3.0}).status_code == 200
        generator = client.made.runtime.loops["demo"].lives["load-generator"].pid
        assert generator
        os.kill(generator, signal.SIGKILL)
        until(lambda: client.made.runtime.loops["demo"].lives["load-generator"].pid not in (None, generator))
        until(lambda: (client.service("b")["rate_hz"] or 0) > 40)  # the factor is set again
    assert groups(real) == []


def test_refused_write_is_told_and_the_old_limit_holds(real: Settings) -> None:
    place = find_place(f"edgewright-{instance(real, 'demo')}")
    if place.cpu_version != 1:
        pytest.skip("cgroup v2 refuses no quota above the parent's")
    with running(real) as client:
        client.put(f"{LOOP}/services/a/pin", json={"cpu": 0.3})
        client.put(f"{LOOP}/services/b/pin", json={"cpu": 0.3})
        quota = place.cpu / "cpu.cfs_quota_us"  # a v1 group may not have more than its parent: EINVAL
        (place.cpu / "load-generator" / "cpu.cfs_quota_us").write_text("3000")
        quota.write_text("35000")
        try:
            client.put(f"{LOOP}/services/a/pin", json={"cpu": 0.7})
            assert client.service("a")["limit_cpu"] == pytest.approx(0.3)
            until(lambda: client.events("refused"))
            assert client.events("refused")[0]["service"] == "a"
            decision = next(d for d in client.get(f"{LOOP}/decisions").json() if d["outcome"]["refused"])
            assert "EINVAL" in decision["outcome"]["refused"]["a"]
            assert any("EINVAL" in warning for warning in client.loop()["warnings"])
            assert client.get("/healthz").json()["status"] == "degraded"
        finally:
            quota.write_text("-1")
        until(lambda: client.service("a")["limit_cpu"] == pytest.approx(0.7))
        until(lambda: not client.loop()["warnings"])


def test_where_nothing_is_permitted_the_slice_is_simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver looks for its controllers in a mount table that has none."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text("")
    from edgewright.drivers.linux import cgroups

    found = cgroups.hierarchies(mountinfo=mounts)
    assert found == {}
    monkeypatch.setattr(cgroups, "hierarchies", lambda *_, **__: found)
    with running(settings(tmp_path, driver="auto")) as client:
        driver = client.loop()["driver"]
        assert driver["kind"] == "simulated"
        assert "cpu" in driver["reason"]
        assert client.get(f"{PREFIX}/host").json()["driver"] == driver


def test_worker_standby_and_api_process(real: Settings) -> None:
    """One worker runs the loops, another stands by and takes over; the API alone asks whoever runs them."""
    with running(settings(real.scenario.parent, role="api")) as lonely:
        assert lonely.get(LOOP).status_code == 503
        assert lonely.get("/healthz").status_code == 503
        key = lonely.made.first_key
        with up(real, key) as first:
            until(first.acts)
            with up(real, key) as second, Client(lonely.made, key) as client:
                assert client.put(f"{LOOP}/services/a/pin", json={"cpu": 0.5}).status_code == 200
                assert client.service("a")["pin"] == 0.5
                assert client.get("/healthz").status_code == 200
                assert client.patch(LOOP, json={"mode": "fly"}).status_code == 400
                assert httpx.patch(f"{client.base_url}{LOOP}", json={}, trust_env=False).status_code == 401
                assert second.loop()["services"][0]["pid"] == first.loop()["services"][0]["pid"]
                pid = first.loop()["services"][0]["pid"]
                first.end(signal.SIGKILL)
                until(lambda: second.loop()["services"] and second.acts())
                assert client.service("a")["pid"] == pid
                assert client.service("a")["pin"] == 0.5
                assert client.get(f"{LOOP}/decisions?limit=1").json()
    assert groups(real) == []


def test_a_port_taken_by_another_program_is_left_to_it(real: Settings) -> None:
    """Between two tries to start: the services, what loads them and what measures them go elsewhere."""
    content = scenario(control={"policy": "fixed", "interval_s": 0.2})
    content["services"][1]["run"]["endpoint"] = {"probe_url": "http://127.0.0.1:{port}/", "probe_hz": 20.0}
    given = validate(Scenario, content, source="test")
    slice_ = linux_slice(
        given,
        folder=real.data_dir,
        state=real.data_dir / "services",
        instance=instance(real, "demo"),
        ports={},
        secret="s",
    )
    with contextlib.ExitStack() as stack:
        stack.callback(slice_.close)
        before = dict(slice_.ports)
        assert set(before) == {"a", "b", "load-generator"}
        for port in before.values():
            taken = stack.enter_context(socket.socket())
            taken.bind(("127.0.0.1", port))
            taken.listen()
        slice_.start(first_limits(given))
        assert not set(before.values()) & set(slice_.ports.values())
        slice_.set_load({"a": 2.0})
        slice_.observe()
        until(lambda: (slice_.observe().arrived_hz > 0).all())
        assert (slice_.observe().failed == 0).all()
    assert groups(real) == []
