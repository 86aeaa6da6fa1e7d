"""What only the real kernel shows."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from driver_programs import FAMILY, IDLE, PYTHON, SPIN, STUBBORN, grow

from edgewright.core.errors import InputError
from edgewright.drivers.host import HostError, Limits, ServiceSpec
from edgewright.drivers.linux.cgroups import Group, groups_of
from edgewright.drivers.linux.processes import Process
from edgewright.drivers.linux.services import LinuxHost

pytestmark = pytest.mark.real
MIB = 2**20
INSTANCE = f"test-linux-{os.getpid()}"


@pytest.fixture
def host(tmp_path: Path, require: Callable[..., None]) -> Iterator[LinuxHost]:
    require("cgroup-cpu", "cgroup-memory")
    with LinuxHost(tmp_path, INSTANCE, grace_s=0.5) as made:
        yield made


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def zombies() -> list[str]:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [pid for pid in children if Process.of(int(pid)) is None]


def test_nothing_is_left_after_close(tmp_path: Path, require: Callable[..., None]) -> None:
    require("cgroup-cpu", "cgroup-memory")
    before = zombies()
    host = LinuxHost(tmp_path, INSTANCE, grace_s=0.5)
    try:
        pids = [host.start(ServiceSpec(n, c), Limits(0.5)) for n, c in (("a", IDLE), ("b", STUBBORN), ("c", FAMILY))]
        place = host._place
        wait_until(lambda: len(Group(place, "c").pids()) >= 3)
        family = Group(place, "c").pids()
        assert all(directory.exists() for directory in Group(place, "a").directories)
    finally:
        host.close()
    assert not any(Process.of(pid) for pid in {*pids, *family})
    assert zombies() == before
    assert not any(parent.exists() for parent in place.parents)
    assert not (tmp_path / f"{INSTANCE}.json").exists()


def test_stop_ends_a_service_that_ignores_sigterm_with_its_children(host: LinuxHost) -> None:
    host.start(ServiceSpec("stubborn", STUBBORN), Limits(0.5))
    host.start(ServiceSpec("family", FAMILY), Limits(0.5))
    wait_until(lambda: len(Group(host._place, "family").pids()) >= 3)
    pids = Group(host._place, "family").pids() | Group(host._place, "stubborn").pids()
    host.stop("stubborn")
    host.stop("family")
    assert not any(Process.of(pid) for pid in pids)
    assert groups_of(host._place) == set()


ORCHESTRATOR = """
import sys, time
from pathlib import Path
from edgewright.drivers.host import Limits, ServiceSpec
from edgewright.drivers.linux.services import LinuxHost
host = LinuxHost(Path(sys.argv[1]), sys.argv[2])
for name in ("wanted", "unwanted", "changed"):
    host.start(ServiceSpec(name, tuple(sys.argv[3:])), Limits(0.25, 96 * 2**20))
host.set_limits("wanted", Limits(0.4, 96 * 2**20))
print("ready", flush=True)
time.sleep(60)
"""


def test_services_survive_a_killed_orchestrator_and_are_adopted(tmp_path: Path, require: Callable[..., None]) -> None:
    require("cgroup-cpu", "cgroup-memory")
    orchestrator = subprocess.Popen(
        [sys.executable, "-c", ORCHESTRATOR, str(tmp_path), INSTANCE, *IDLE], stdout=subprocess.PIPE, text=True
    )
    try:
        assert orchestrator.stdout is not None
        assert orchestrator.stdout.readline() == "ready\n"
        with pytest.raises(InputError, match="no other orchestrator holds"):
            LinuxHost(tmp_path, INSTANCE)
    finally:
        orchestrator.kill()
        orchestrator.wait()
    with LinuxHost(tmp_path, INSTANCE, grace_s=1.0) as host:
        before = json.loads((tmp_path / f"{INSTANCE}.json").read_text())["services"]
        assert all(Process(r["pid"], r["start_ticks"]).alive for r in before.values())
        (host._place.cpu / "left-over").mkdir()
        Group(host._place, "wanted").set_cpu_limit(None)  # as while it starts unthrottled
        wanted = ServiceSpec("wanted", IDLE)
        actions = host.reconcile([wanted, ServiceSpec("changed", SPIN)])
        assert [(a.kind, a.service) for a in actions] == [
            ("adopted", "wanted"),
            ("ended", "changed"),
            ("removed", "left-over"),
            ("ended", "unwanted"),
        ]
        usage = host.usage("wanted")
        assert (usage.pid, usage.limits) == (before["wanted"]["pid"], Limits(0.25, 96 * MIB))
        assert not Process.of(before["unwanted"]["pid"])
        assert host.restart("wanted") != usage.pid
        assert host.usage("wanted").limits == Limits(0.25, 96 * MIB)


def test_a_reused_pid_is_not_adopted(tmp_path: Path, require: Callable[..., None]) -> None:
    require("cgroup-cpu", "cgroup-memory")
    record = {
        "pid": os.getpid(),
        "start_ticks": 1,
        "command": list(IDLE),
        "cpu": 0.5,
        "memory_bytes": None,
        "restarts": 0,
    }
    state = {"format": "edgewright.services/1", "services": {"one": record}}
    (tmp_path / f"{INSTANCE}.json").write_text(json.dumps(state))
    with LinuxHost(tmp_path, INSTANCE) as host:
        assert not host.adopt(ServiceSpec("one", IDLE))


def test_a_broken_state_file_is_named(tmp_path: Path, require: Callable[..., None]) -> None:
    require("cgroup-cpu", "cgroup-memory")
    (tmp_path / f"{INSTANCE}.json").write_text('{"format": "something/9"}')
    with pytest.raises(InputError, match=f"{INSTANCE}.json: format"):
        LinuxHost(tmp_path, INSTANCE)
    (tmp_path / f"{INSTANCE}.json").unlink()
    LinuxHost(tmp_path, INSTANCE).close()  # the lock was let go


def test_limits_of_a_vanished_group_are_refused_with_the_reason(host: LinuxHost) -> None:
    pid = host.start(ServiceSpec("one", IDLE), Limits(0.5))
    group = Group(host._place, "one")
    for parent in host._place.parents:  # someone else moves the process away and removes its group
        (parent.parent / "cgroup.procs").write_text(str(pid))
    group.remove()
    outcome = host.set_limits("one", Limits(0.25))
    assert outcome.done == {}
    assert outcome.refused["cpu"].startswith("cpu.")
    assert outcome.refused["cpu"].endswith("[Errno 2] ENOENT, No such file or directory")
    assert outcome.refused["memory_bytes"].startswith("memory.")
    with pytest.raises(HostError, match="control group"):
        host.usage("one")
    host.stop("one")
    assert Process.of(pid) is None


def test_what_cannot_start_says_why_and_leaves_nothing(host: LinuxHost, tmp_path: Path) -> None:
    before = zombies()
    nowhere = "http://127.0.0.1:9/"
    cases = [
        (ServiceSpec("one", ("/no/such/program",)), "/no/such/program: \\[Errno 2\\] No such file"),
        (ServiceSpec("one", IDLE, working_directory=tmp_path / "missing"), "No such file"),
        (
            ServiceSpec("one", (*PYTHON, "raise SystemExit(3)"), health_url=nowhere),
            "ended while starting",
        ),
        (ServiceSpec("one", IDLE, health_url=nowhere, start_timeout_s=0.3), "not healthy after 0.3 s"),
        (ServiceSpec("one", IDLE, health_url=f"{nowhere}a b", start_timeout_s=0.3), "control characters"),
        (ServiceSpec("one", IDLE, {"A": "nul\0"}), "null byte"),
        (ServiceSpec("one", IDLE, {"A=B": "c"}), "illegal environment variable name"),
    ]
    for spec, reason in cases:
        with pytest.raises(HostError, match=reason):
            host.start(spec, Limits(0.5))
        assert host.services == ()
        assert groups_of(host._place) == set()
        assert zombies() == before


def test_start_up_memory_counts_against_the_limit(host: LinuxHost) -> None:
    url = f"http://127.0.0.1:{free_port()}/"
    with pytest.raises(HostError, match="ended while starting"):
        host.start(ServiceSpec("big", grow(80, 1), health_url=url), Limits(1.0, 40 * MIB))


def test_a_service_over_its_memory_limit_is_killed_and_counted(host: LinuxHost) -> None:
    pid = host.start(ServiceSpec("one", grow(20, 80)), Limits(1.0, 64 * MIB))
    wait_until(lambda: host.usage("one").memory_bytes > 20_000_000)
    os.kill(pid, signal.SIGUSR1)
    wait_until(lambda: not host.usage("one").alive)
    assert host.usage("one").oom_kills == 1
    assert host.set_limits("one", Limits(1.0, 256 * MIB)).ok
    pid = host.restart("one")
    wait_until(lambda: host.usage("one").memory_bytes > 20_000_000)
    os.kill(pid, signal.SIGUSR1)
    wait_until(lambda: host.usage("one").memory_bytes > 95_000_000)
    usage = host.usage("one")
    assert (usage.alive, usage.restarts, usage.oom_kills) == (True, 1, 1)


def test_a_service_gets_its_own_environment_and_folder_and_not_ours(
    host: LinuxHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWRIGHT_SECRET", "not-for-services")
    code = """
import json, os, time
print(json.dumps([os.getcwd(), dict(os.environ), os.getsid(0)]), flush=True)
time.sleep(60)
"""
    spec = ServiceSpec("one", (*PYTHON, code), {"GREETING": "hello; $(false)"}, tmp_path)
    pid = host.start(spec, Limits(1.0))
    wait_until(lambda: host.log_file("one").read_text().endswith("\n"))
    folder, environment, session = json.loads(host.log_file("one").read_text())
    assert folder == str(tmp_path)
    assert environment["GREETING"] == "hello; $(false)"
    assert "PATH" in environment
    assert "EDGEWRIGHT_SECRET" not in environment
    assert session == pid


def test_start_can_be_unthrottled_until_healthy(host: LinuxHost) -> None:
    port = free_port()
    code = f"""
import http.server, time
end = time.process_time() + 0.3
while time.process_time() < end: pass
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self): self.send_response(200); self.end_headers()
http.server.HTTPServer(("127.0.0.1", {port}), Healthy).serve_forever()
"""
    spec = ServiceSpec("one", (*PYTHON, code), health_url=f"http://127.0.0.1:{port}/", start_unthrottled=True)
    host.start(spec, Limits(0.05))
    usage = host.usage("one")
    assert usage.cpu_s > 0.3
    assert usage.throttled_s < 0.3  # at 0.05 cores all along it would be six seconds
    assert usage.limits.cpu == pytest.approx(0.05)


def test_a_start_is_not_waited_for_by_others_and_ends_with_the_host(host: LinuxHost) -> None:
    """Healthy only while the file of its name exists."""
    port = free_port()
    code = f"""
import http.server, os
class Slow(http.server.BaseHTTPRequestHandler):
    def do_GET(self): self.send_response(200 if os.path.exists("ready") else 503); self.end_headers()
http.server.HTTPServer(("127.0.0.1", {port}), Slow).serve_forever()
"""
    folder = host.log_file("one").parent
    url = f"http://127.0.0.1:{port}/"
    spec = ServiceSpec("one", (*PYTHON, code), working_directory=folder, health_url=url, start_unthrottled=True)
    (folder / "ready").touch()
    host.start(spec, Limits(0.5))
    (folder / "ready").unlink()
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(host.restart, "one")
        wait_until(lambda: not host.usage("one").alive)
        outcome = host.set_limits("one", Limits(0.25))
        assert outcome.done == {}
        assert set(outcome.refused.values()) == {"it is being started or stopped"}
        assert host.usage("one").limits == Limits(0.5)
        assert not starting.done()
        host.close()
        with pytest.raises(HostError, match="the host is closed"):
            starting.result()
    assert not any(parent.exists() for parent in host._place.parents)


def test_threads_may_share_a_host(host: LinuxHost) -> None:
    names = ("a", "b", "c")

    def live(name: str) -> float:
        host.start(ServiceSpec(name, IDLE), Limits(0.5))
        for step in range(20):
            assert host.set_limits(name, Limits(0.2 + 0.01 * step)).ok
            host.usage(name)
        host.restart(name)
        return host.usage(name).limits.cpu

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(live, names)) == pytest.approx([0.39] * 3)
    assert set(json.loads((host._state / f"{INSTANCE}.json").read_text())["services"]) == set(names)


def test_what_answers_without_http_is_not_healthy(host: LinuxHost) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def greet() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    connection.sendall(b"220 mail.example ready\r\n")
                    connection.close()

        threading.Thread(target=greet, daemon=True).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        with pytest.raises(HostError, match=r"not healthy after 0.3 s: 220 mail"):
            host.start(ServiceSpec("one", IDLE, health_url=url, start_timeout_s=0.3), Limits(0.5))


def test_services_start_and_end_on_a_full_disk(
    tmp_path: Path, require: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    require("cgroup-cpu", "cgroup-memory")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    host = LinuxHost(tmp_path, INSTANCE, grace_s=0.5)
    pids = [host.start(ServiceSpec("a", IDLE), Limits(0.5))]
    monkeypatch.setattr(os, "fsync", full)
    pids += [host.start(ServiceSpec(name, IDLE), Limits(0.5)) for name in ("b", "c")]
    host.close()
    assert not any(Process.of(pid) for pid in pids)
    assert not any(parent.exists() for parent in host._place.parents)


def test_a_log_that_has_grown_begins_anew_at_a_start(host: LinuxHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgewright.drivers.linux.processes.LOG_BYTES", 1000)
    log = host.log_file("one")
    log.write_bytes(b"x" * 5000 + b"the end")
    host.start(ServiceSpec("one", (*PYTHON, "import time; print('new', flush=True); time.sleep(60)")), Limits(0.5))
    wait_until(lambda: log.read_bytes() == b"new\n")
    old = log.with_name(f"{log.name}.1").read_bytes()
    assert len(old) == 1000
    assert old.endswith(b"the end")
    host.restart("one")
    wait_until(lambda: log.read_bytes() == b"new\nnew\n")
    host.stop("one")
    assert log.exists()
    for _ in range(2):
        host.forget("one")
        assert [path for path in log.parent.iterdir() if path.name.startswith(log.name)] == []
