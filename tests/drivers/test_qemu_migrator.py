"""Machines move for real: connections stay, failures leave the source serving, a crash at any step can be ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgewright.core.errors import InputError
from edgewright.demo import counter
from edgewright.demo.counter import PORT
from edgewright.drivers.host import HostError
from edgewright.drivers.linux.edge import CLIENT, EdgeNetwork
from edgewright.drivers.linux.guest import PYTHON, GuestMissing, obtain
from edgewright.drivers.linux.moves import MARK
from edgewright.drivers.linux.namespaces import batch, inside
from edgewright.drivers.linux.processes import Process
from edgewright.drivers.linux.qemu_migrator import QemuMigrator
from edgewright.drivers.linux.trees import instances
from edgewright.drivers.migration import Phase, ignore
from edgewright.drivers.watcher import Watcher

pytestmark = pytest.mark.real
SOURCES = str(Path(__file__).parents[2] / "src")
MACHINE = "machine"


@dataclass
class Site:
    network: EdgeNetwork
    migrator: QemuMigrator
    folder: Path

    def start(self, name: str = MACHINE) -> str:
        command = [PYTHON, "/app/counter.py", "--address", "{address}", "--memory-mb", "5"]
        files = {"/app/counter.py": Path(counter.__file__)}
        return self.migrator.start(name, command, "a", memory_mb=128, files=files, port=PORT)

    def instances(self) -> list[Process]:
        return instances(f"{MARK}={self.folder}/{MACHINE}")

    def other(self) -> str:
        return "b" if self.migrator.where(MACHINE) == "a" else "a"


@pytest.fixture(scope="module")
def site(require: Callable[..., None]) -> Iterator[Site]:
    """With one machine, which takes its time to boot."""
    with contextlib.suppress(GuestMissing):  # the capability says why
        obtain()
    require("qemu")
    require("network-namespace")
    folder = Path(tempfile.mkdtemp(prefix="edgewright-test-"))
    try:
        with EdgeNetwork(("a", "b")) as network:
            migrator = QemuMigrator(network.edge, folder)
            try:
                made = Site(network, migrator, folder)
                made.start()
                yield made
            finally:
                migrator.close()
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def watcher(site: Site) -> Iterator[Watcher]:
    address = site.migrator.address(MACHINE)
    connect = lambda: socket.create_connection((address, PORT), timeout=10.0)  # noqa: E731
    with Watcher(lambda: inside(site.network.edge.namespace(CLIENT), connect)) as made:
        yield made


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def serves_alone(site: Site, node: str, watcher: Watcher) -> None:
    """One instance runs, at this node, answers what is asked now, and nothing was lost."""
    wait_until(lambda: len(site.instances()) == 1)
    assert site.instances() == [site.migrator.process(MACHINE)]
    assert site.migrator.where(MACHINE) == node
    assert site.network.edge.where(site.migrator.address(MACHINE)) == node
    before = watcher.answers
    wait_until(lambda: watcher.answers > before + 20)
    seen = watcher.stop()
    assert (seen.connections_lost, seen.lost, seen.unanswered) == (0, 0, 0)


def test_a_connection_lives_through_a_move(site: Site, watcher: Watcher) -> None:
    source, target = site.migrator.where(MACHINE), site.other()
    phases: list[Phase] = []
    done = site.migrator.migrate(MACHINE, target, phases.append)
    assert (done.status, done.reason) == ("done", "")
    assert (done.source, done.target) == (source, target)
    assert phases == ["preflight", "pre_copy", "copy", "restore", "resume", "hand_over", "clean_up"]
    assert done.image_bytes > 20e6
    assert 0 < done.frozen_s < done.total_s
    serves_alone(site, target, watcher)


def test_what_is_known_to_fail_is_said_and_nothing_is_touched(
    site: Site, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = str(site.migrator.where(MACHINE)), site.other()
    address = site.migrator.address(MACHINE)
    assert site.migrator.preflight(MACHINE, target) == []
    assert site.migrator.preflight(MACHINE, source) == [f"it is at {source} already"]
    with pytest.raises(InputError, match="target: got 'd', allowed: one of a, b"):
        site.migrator.migrate(MACHINE, "d")
    site.network.edge.give(address, target)
    assert site.migrator.preflight(MACHINE, target) == [f"the address {address} is taken at {target}"]
    site.network.edge.take(address, target)
    with monkeypatch.context() as patched:
        patched.setattr("edgewright.drivers.linux.qemu_migrator.available_bytes", lambda: 50_000_000)
        refused = site.migrator.migrate(MACHINE, target)
    assert refused.status == "rolled_back"
    assert refused.reason == "needs 201 MB of memory meanwhile, 50 MB are available"
    serves_alone(site, source, watcher)


@pytest.mark.parametrize("at", ["pre_copy", "copy", "restore", "resume"])
def test_a_target_that_dies_leaves_the_source_serving(site: Site, watcher: Watcher, at: Phase) -> None:
    source = str(site.migrator.where(MACHINE))

    def kill(phase: Phase) -> None:
        if phase == at:
            own = site.migrator.process(MACHINE)
            for process in site.instances():
                if process != own:
                    os.kill(process.pid, signal.SIGKILL)
                    assert process.wait(5.0)
            if at == "pre_copy":  # it is not there yet: a tap device of its name that somebody holds open
                taken.append(open_tap(site, target))

    taken: list[int] = []
    target = site.other()
    try:
        failed = site.migrator.migrate(MACHINE, target, kill)
    finally:
        for one in taken:
            os.close(one)
    assert failed.status == "rolled_back"
    assert failed.reason
    assert at in failed.phases_s
    assert list(failed.phases_s)[-1] == "roll_back"
    serves_alone(site, source, watcher)


def open_tap(site: Site, node: str) -> int:
    """The machine's, so that QEMU cannot."""
    import fcntl
    import struct

    namespace = site.network.edge.namespace(node)
    batch("ip", ["tuntap add dev v0 mode tap"], namespace)

    def hold() -> int:
        descriptor = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(descriptor, 0x400454CA, struct.pack("16sH22x", b"v0", 0x1002))
        return descriptor

    return inside(namespace, hold)


@pytest.mark.parametrize(
    ("phase", "moved"),
    [
        ("preflight", False),
        ("pre_copy", False),
        ("copy", False),
        ("restore", False),
        ("resume", True),
        ("hand_over", True),
        ("clean_up", True),
    ],
)
def test_killed_at_any_step_exactly_one_serves(site: Site, watcher: Watcher, phase: Phase, moved: bool) -> None:
    source, target = str(site.migrator.where(MACHINE)), site.other()
    program = f"""
import os, signal
from pathlib import Path
from edgewright.drivers.linux.edge import Edge
from edgewright.drivers.linux.qemu_migrator import QemuMigrator
def at(phase):
    if phase == {phase!r}: os.kill(os.getpid(), signal.SIGKILL)
QemuMigrator({site.network.edge!r}, Path({str(site.folder)!r})).migrate({MACHINE!r}, {target!r}, at)
"""
    killed = subprocess.run([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": SOURCES}, check=False)
    assert killed.returncode == -signal.SIGKILL
    said = site.migrator.reconcile()
    assert len(said) == (phase != "preflight")
    node = target if moved else source
    assert all(f"its move to {target} stopped at `{phase}`: {node} serves" in line for line in said)
    assert site.migrator.reconcile() == []
    serves_alone(site, node, watcher)


def test_killed_with_its_copy_before_the_hand_over_the_source_serves(site: Site, watcher: Watcher) -> None:
    """Requests wait on two hops of a route then."""
    source, target = str(site.migrator.where(MACHINE)), site.other()
    program = f"""
import os, signal
from pathlib import Path
from edgewright.drivers.linux.edge import Edge
from edgewright.drivers.linux.qemu_migrator import QemuMigrator
def at(phase):
    if phase == "hand_over":
        own = migrator.process({MACHINE!r})
        for process in migrator._instances({MACHINE!r}):
            if process != own: os.kill(process.pid, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
migrator = QemuMigrator({site.network.edge!r}, Path({str(site.folder)!r}))
migrator.migrate({MACHINE!r}, {target!r}, at)
"""
    killed = subprocess.run([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": SOURCES}, check=False)
    assert killed.returncode == -signal.SIGKILL
    (said,) = site.migrator.reconcile()
    assert said.endswith(f"stopped at `hand_over`: {source} serves on")
    serves_alone(site, source, watcher)


def test_a_source_that_dies_meanwhile_is_reported(site: Site) -> None:
    """The last one: the machine is gone."""
    process, target = site.migrator.process(MACHINE), site.other()

    def kill(phase: Phase) -> None:
        if phase == "copy":
            os.kill(process.pid, signal.SIGKILL)
            assert process.wait(5.0)

    failed = site.migrator.migrate(MACHINE, target, kill)
    assert failed.status == "failed"
    assert f"its process, pid {process.pid}, has ended" in failed.reason
    assert site.migrator.where(MACHINE) is None
    assert site.instances() == []
    site.migrator.stop(MACHINE)
    assert site.migrator.services == ()
    assert [file.name for file in site.folder.iterdir() if not file.name.endswith(".lock")] == []


def test_a_machine_that_cannot_start_leaves_nothing(site: Site) -> None:
    with pytest.raises(HostError, match=r"ended while starting: .*Kernel panic"):
        site.migrator.start("ends", ["/no/such"], "a", port=PORT)
    with pytest.raises(InputError, match="memory_mb: got 5"):
        site.migrator.start("small", ["/no/such"], "a", memory_mb=5)
    assert "ends" not in site.migrator.services
    assert list(site.folder.glob("ends*")) in ([], [site.folder / "ends.lock"])


LEDGER = """
import os, socket, sys
disk = os.open("/dev/vda", os.O_RDWR)
listening = socket.create_server((sys.argv[1], int(sys.argv[2])))
while True:
    connection, number, left = listening.accept()[0], 0, b""
    while data := connection.recv(65536):
        for _ in range(data.count(b"\\n")):
            number += 1
            os.pwrite(disk, b"%d\\n" % number, 512 * number)
            os.fsync(disk)
            connection.sendall(b"%d\\n" % number)
"""


def test_a_disk_is_shared_and_misses_nothing(site: Site, tmp_path: Path) -> None:
    """What was answered is on the disk, whoever ran then; a move that is given up leaves it to the source."""
    program, disk = tmp_path / "ledger.py", tmp_path / "a,disk"
    program.write_text(LEDGER)
    with pytest.raises(InputError, match="disks"):
        site.migrator.start("ledger", ["true"], "a", disks=[disk])
    disk.write_bytes(bytes(32 << 20))
    command = [PYTHON, "/app/ledger.py", "{address}", str(PORT)]
    address = site.migrator.start("ledger", command, "a", files={"/app/ledger.py": program}, disks=[disk], port=PORT)

    def stop(phase: Phase) -> None:
        if phase == "resume":
            raise OSError("given up")

    try:
        connect = lambda: socket.create_connection((address, PORT), timeout=10.0)  # noqa: E731
        with Watcher(lambda: inside(site.network.edge.namespace(CLIENT), connect)) as watcher:
            statuses = [site.migrator.migrate("ledger", node, act).status for node, act in (("b", stop), ("b", ignore))]
            before = watcher.answers
            wait_until(lambda: watcher.answers > before + 20)
            statuses.append(site.migrator.migrate("ledger", "a").status)
            seen = watcher.stop()
    finally:
        site.migrator.stop("ledger")
    assert statuses == ["rolled_back", "done", "done"]
    assert (seen.connections_lost, seen.lost, seen.unanswered) == (0, 0, 0)
    written = disk.read_bytes()
    numbers = [int(written[512 * n :].split(b"\n", 1)[0]) for n in range(1, seen.answers + 1)]
    assert numbers == list(range(1, seen.answers + 1))
    assert not any(written[512 * (seen.answers + 1) :])
