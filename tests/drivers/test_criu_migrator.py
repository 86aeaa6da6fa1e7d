"""Live migration for real: connections stay, failures leave the source serving, a crash at any step can be ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgewright.core.errors import InputError
from edgewright.demo.counter import PORT
from edgewright.drivers.host import HostError
from edgewright.drivers.linux.criu import CriuMissing, obtain
from edgewright.drivers.linux.criu_migrator import CriuMigrator
from edgewright.drivers.linux.edge import CLIENT, Edge, EdgeNetwork
from edgewright.drivers.linux.journal import State
from edgewright.drivers.linux.leftovers import services_folder
from edgewright.drivers.linux.moves import MARK
from edgewright.drivers.linux.namespaces import NetworkError, inside, remove
from edgewright.drivers.linux.processes import Process
from edgewright.drivers.migration import Phase
from edgewright.drivers.watcher import Watcher

pytestmark = pytest.mark.real
NODES = ("a", "b", "c")
SOURCES = str(Path(__file__).parents[2] / "src")
MIB = 2**20


@dataclass
class Site:
    network: EdgeNetwork
    migrator: CriuMigrator
    folder: Path

    def start(self, name: str = "counter", node: str = "a", *, memory_mb: int = 5, code: str = "") -> str:
        words = ("-m", "edgewright.demo.counter", "--address", "{address}", "--memory-mb", str(memory_mb))
        command = (sys.executable, *(("-c", code) if code else words))
        return self.migrator.start(name, command, node, environment={"PYTHONPATH": SOURCES}, port=PORT)

    def connect(self, address: str) -> socket.socket:
        namespace = self.network.edge.namespace(CLIENT)
        return inside(namespace, lambda: socket.create_connection((address, PORT), timeout=5.0))

    def watch(self, address: str) -> Watcher:
        return Watcher(lambda: self.connect(address))

    def instances(self, name: str = "counter") -> list[tuple[str, str]]:
        """(node, state letter) of all processes of a service, as the kernel has them."""
        mark, found = f"{MARK}={self.folder}/{name}".encode(), []
        nodes = {os.stat(f"/run/netns/{self.network.edge.namespace(node)}").st_ino: node for node in NODES}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                    found.append((nodes[os.stat(entry / "ns/net").st_ino], state))
        return found


@pytest.fixture(scope="module")
def network(require: Callable[..., None]) -> Iterator[EdgeNetwork]:
    with contextlib.suppress(CriuMissing):  # the capability says why
        obtain()
    require("criu")
    with EdgeNetwork(NODES) as made:
        yield made


@pytest.fixture
def site(network: EdgeNetwork) -> Iterator[Site]:
    folder = Path(tempfile.mkdtemp(dir="/dev/shm", prefix="edgewright-test-"))
    try:
        migrator = CriuMigrator(network.edge, folder)
        try:
            yield Site(network, migrator, folder)
        finally:
            migrator.close()
    finally:
        shutil.rmtree(folder)


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def serves_alone(site: Site, node: str, watcher: Watcher, name: str = "counter") -> None:
    """One instance runs, at this node, and answers what is asked now."""
    wait_until(lambda: len(site.instances(name)) == 1)
    ((there, state),) = site.instances(name)
    assert there == node
    assert state in "SR"
    assert site.migrator.where(name) == node
    assert site.network.edge.where(site.migrator.address(name)) == node
    before = watcher.answers
    wait_until(lambda: watcher.answers > before + 20)


def nothing_lost(watcher: Watcher) -> None:
    seen = watcher.stop()
    assert (seen.connections_lost, seen.lost, seen.unanswered) == (0, 0, 0)


def test_a_connection_lives_through_two_moves(site: Site) -> None:
    with site.watch(site.start()) as watcher:
        for target in ("b", "c"):
            source = site.migrator.where("counter")
            watcher.restart_gap()
            phases: list[Phase] = []
            done = site.migrator.migrate("counter", target, phases.append)
            assert (done.status, done.reason) == ("done", "")
            assert (done.service, done.source, done.target) == ("counter", source, target)
            serves_alone(site, target, watcher)
            assert phases == list(done.phases_s)
            assert phases == ["preflight", "pre_copy", "copy", "restore", "resume", "hand_over", "clean_up"]
            assert done.image_bytes > 5 * MIB
            assert 0 < done.frozen_s < done.total_s
            assert sum(done.phases_s.values()) == pytest.approx(done.total_s, abs=0.05)
            print(f"frozen {done.frozen_s:.3f} s, client's gap {watcher.max_gap_s:.3f} s")
            assert not (site.folder / "counter.images").exists()
        nothing_lost(watcher)


FAMILY = f"""
import os, signal, socket
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
listening = socket.create_server((os.environ["EDGEWRIGHT_ADDRESS"], {PORT}))
if os.fork() == 0:
    while True:
        signal.pause()
while True:
    connection = listening.accept()[0]
    if os.fork() == 0:
        for count, line in enumerate(connection.makefile(), 1):
            connection.sendall(b"%d\\n" % count)
        os._exit(0)
    connection.close()
"""


def test_a_family_of_processes_moves_whole(site: Site) -> None:
    address = site.start(code=FAMILY)
    with site.watch(address) as watcher, site.watch(address) as other:
        wait_until(lambda: watcher.answers > 0 and other.answers > 0)
        assert len(site.instances()) == 4
        assert site.migrator.migrate("counter", "b").status == "done"
        wait_until(lambda: len(site.instances()) == 4)
        assert {node for node, _ in site.instances()} == {"b"}
        before = watcher.answers, other.answers
        wait_until(lambda: watcher.answers > before[0] + 20 and other.answers > before[1] + 20)
        nothing_lost(watcher)
        nothing_lost(other)


def test_two_services_move_at_once_and_on_their_own(site: Site) -> None:
    with site.watch(site.start("one")) as one, site.watch(site.start("two")) as two:
        moves = [
            subprocess.Popen([sys.executable, "-c", orchestrator(site, "pass", name, target)], env=environment())
            for name, target in (("one", "b"), ("two", "c"))
        ]
        assert [move.wait(60.0) for move in moves] == [0, 0]
        serves_alone(site, "b", one, "one")
        serves_alone(site, "c", two, "two")
        nothing_lost(one)
        nothing_lost(two)


def test_what_is_known_to_fail_is_said_and_nothing_is_touched(site: Site, tmp_path: Path) -> None:
    with site.watch(site.start()) as watcher:
        assert site.migrator.preflight("counter", "b") == []
        assert site.migrator.preflight("counter", "a") == ["it is at a already"]
        for call in (site.migrator.preflight, site.migrator.migrate):
            with pytest.raises(InputError, match="target: got 'd', allowed: one of a, b, c"):
                call("counter", "d")
            with pytest.raises(InputError, match="counter"):
                call("contour", "b")
        with small(tmp_path, MIB) as volume:
            little = CriuMigrator(site.network.edge, volume)
            shutil.copy(site.folder / "counter.json", volume)
            (reason,) = little.preflight("counter", "b")
            assert reason.startswith("its image needs ")
            assert reason.endswith("1 MB left")
            refused = little.migrate("counter", "b")
            assert (refused.status, refused.reason) == ("rolled_back", reason)
            assert refused.frozen_s == 0
        serves_alone(site, "a", watcher)
        nothing_lost(watcher)


@contextlib.contextmanager
def small(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A tmpfs of that size."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=0700", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_dump_that_fails_leaves_the_source_serving(site: Site, tmp_path: Path) -> None:
    """A connection to a process outside the tree, over a Unix socket, cannot be dumped."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "outside"))
        listening.listen()
        code = f"""
import os, socket
outside = socket.socket(socket.AF_UNIX)
outside.connect({str(tmp_path / "outside")!r})
from edgewright.demo.counter import serve
serve(os.environ["EDGEWRIGHT_ADDRESS"], {PORT}, 1)
"""
        with site.watch(site.start(code=code)) as watcher:
            failed = site.migrator.migrate("counter", "b")
            assert failed.status == "rolled_back"
            assert "unix" in failed.reason
            assert list(failed.phases_s) == ["preflight", "pre_copy", "copy", "roll_back"]
            serves_alone(site, "a", watcher)
            nothing_lost(watcher)


def test_a_full_folder_amid_the_dump_leaves_the_source_serving(site: Site, tmp_path: Path) -> None:
    with small(tmp_path, 64 * MIB) as volume:
        migrator = CriuMigrator(site.network.edge, volume)
        full = Site(site.network, migrator, volume)
        try:
            with full.watch(full.start(memory_mb=20)) as watcher:

                def fill(phase: Phase) -> None:
                    if phase == "copy":
                        (volume / "other").write_bytes(bytes(50 * MIB))

                failed = migrator.migrate("counter", "b", fill)
                assert failed.status == "rolled_back"
                assert "No space left on device" in failed.reason
                assert failed.frozen_s > 0
                serves_alone(full, "a", watcher)
                (volume / "other").unlink()
                assert migrator.migrate("counter", "b").status == "done"
                serves_alone(full, "b", watcher)
                nothing_lost(watcher)
        finally:
            migrator.close()


def test_a_restore_that_fails_leaves_the_source_serving(site: Site) -> None:
    """Someone else takes the port at the target."""
    address = site.start()
    taken: list[socket.socket] = []

    def take(phase: Phase) -> None:
        if phase == "copy":
            taken.append(inside(site.network.edge.namespace("b"), lambda: socket.create_server(("0.0.0.0", PORT))))

    with site.watch(address) as watcher:
        try:
            failed = site.migrator.migrate("counter", "b", take)
            assert failed.status == "rolled_back"
            assert "Address already in use" in failed.reason
            assert list(failed.phases_s) == ["preflight", "pre_copy", "copy", "restore", "roll_back"]
            serves_alone(site, "a", watcher)
            (reason,) = site.migrator.preflight("counter", "b")
            assert reason == f"port {PORT} is taken at b"
        finally:
            for one in taken:
                one.close()
        assert site.migrator.migrate("counter", "b").status == "done"
        serves_alone(site, "b", watcher)
        nothing_lost(watcher)


def test_a_target_that_is_gone_leaves_the_source_serving(require: Callable[..., None]) -> None:
    require("criu")
    with EdgeNetwork(NODES) as network, services_folder() as folder:
        migrator = CriuMigrator(network.edge, folder)
        site = Site(network, migrator, folder)

        def remove_it(phase: Phase) -> None:
            if phase == "pre_copy":
                remove([network.edge.namespace("b")])

        try:
            with site.watch(site.start()) as watcher:
                assert migrator.migrate("counter", "b", remove_it).status == "rolled_back"
                before = watcher.answers
                wait_until(lambda: watcher.answers > before + 20)
                assert migrator.preflight("counter", "b") == ["the network namespace of b is gone"]
                assert migrator.migrate("counter", "c").status == "done"
                nothing_lost(watcher)
        finally:
            migrator.close()


def test_a_hand_over_that_fails_is_not_told_as_done(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with site.watch(site.start()) as watcher:
        with monkeypatch.context() as patched:

            def fail(*_: object) -> None:
                raise NetworkError("no route today")

            patched.setattr(Edge, "send", fail)
            failed = site.migrator.migrate("counter", "b")
            assert failed.status == "failed"
            assert "no route today" in failed.reason
        assert site.migrator.reconcile() == ["counter: its move to b stopped at `hand_over`: b serves"]
        serves_alone(site, "b", watcher)
        nothing_lost(watcher)


def test_nobody_else_looks_into_a_folder_of_services() -> None:
    with services_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_a_listener_that_raises_rolls_back(site: Site) -> None:
    class Stop(Exception):
        pass

    def stop(phase: Phase) -> None:
        if phase == "restore":
            raise Stop

    with site.watch(site.start()) as watcher:
        with pytest.raises(Stop):
            site.migrator.migrate("counter", "b", stop)
        serves_alone(site, "a", watcher)
        nothing_lost(watcher)


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": SOURCES}


def orchestrator(site: Site, body: str, name: str = "counter", target: str = "b") -> str:
    """Program of another orchestrator; `body` runs at each phase."""
    return f"""
import os, signal, sys, threading, time
from pathlib import Path
from edgewright.drivers.linux.edge import Edge
from edgewright.drivers.linux.criu_migrator import CriuMigrator
def die(): os.kill(os.getpid(), signal.SIGKILL)
def at(phase):
    {body}
migrator = CriuMigrator({site.network.edge!r}, Path({str(site.folder)!r}))
sys.exit(0 if migrator.migrate({name!r}, {target!r}, at).status == "done" else 1)
"""


@pytest.mark.parametrize("later_s", [0.0, 0.03, 0.12])
@pytest.mark.parametrize(
    ("phase", "node"),
    [
        ("preflight", "a"),
        ("pre_copy", "a"),
        ("copy", "a"),
        ("restore", "a"),
        ("resume", "b"),
        ("hand_over", "b"),
        ("clean_up", "b"),
    ],
)
def test_killed_at_any_step_exactly_one_serves(site: Site, phase: Phase, node: str, later_s: float) -> None:
    """Also amid a step: CRIU, which goes on, is waited for. A later death may find a later step begun."""
    with site.watch(site.start()) as watcher:
        body = f"if phase == {phase!r}: " + (f"threading.Timer({later_s}, die).start()" if later_s else "die()")
        code = subprocess.run(
            [sys.executable, "-c", orchestrator(site, body)], env=environment(), check=False
        ).returncode
        assert code == -signal.SIGKILL or (later_s and code == 0)
        successor = CriuMigrator(site.network.edge, site.folder)
        said = successor.reconcile()
        if not later_s:
            assert len(said) == (phase != "preflight")
            assert all(line.startswith(f"counter: its move to b stopped at `{phase}`: {node} serves") for line in said)
        there = successor.where("counter")
        assert there is not None
        assert later_s or there == node
        serves_alone(site, there, watcher)
        assert successor.reconcile() == []
        assert not (site.folder / "counter.images").exists()
        other = "c" if there == "b" else "b"
        assert successor.migrate("counter", other).status == "done"
        serves_alone(site, other, watcher)
        nothing_lost(watcher)


def test_killed_amid_a_roll_back_the_source_serves_on(site: Site) -> None:
    with site.watch(site.start()) as watcher:
        port = "socket.create_server(('0.0.0.0', 7000))"
        take = f"import socket; taken.append(inside(migrator.edge.namespace('b'), lambda: {port}))"
        body = f"die() if phase == 'roll_back' else exec({take!r}, globals()) if phase == 'copy' else None"
        program = "from edgewright.drivers.linux.namespaces import inside\ntaken = []\n" + orchestrator(site, body)
        killed = subprocess.run([sys.executable, "-c", program], env=environment(), check=False)
        assert killed.returncode == -signal.SIGKILL
        assert site.migrator.reconcile() == ["counter: its move to b stopped at `restore`: a serves on"]
        serves_alone(site, "a", watcher)
        nothing_lost(watcher)


def test_a_copy_that_ends_as_it_is_looked_at_leaves_the_source_serving(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own end resets its connections: it may send by then."""
    go_on = CriuMigrator._go_on

    def too_late(migrator: CriuMigrator, state: State, instance: Process, node: str) -> None:
        if instance != state.process:
            os.kill(instance.pid, signal.SIGKILL)
        go_on(migrator, state, instance, node)

    with site.watch(site.start()) as watcher:
        program = orchestrator(site, "if phase == 'resume': die()")
        killed = subprocess.run([sys.executable, "-c", program], env=environment(), check=False)
        assert killed.returncode == -signal.SIGKILL
        monkeypatch.setattr(CriuMigrator, "_go_on", too_late)
        assert site.migrator.reconcile() == ["counter: its move to b stopped at `resume`: a serves on"]
        serves_alone(site, "a", watcher)


@pytest.mark.parametrize(("verb", "later_s"), [("dump", 0.03), ("dump", 0.09), ("dump", 0.15), ("restore", 0.02)])
def test_a_criu_that_is_killed_leaves_the_source_serving(site: Site, verb: str, later_s: float) -> None:
    """As by the kernel when memory runs out: while it prepares itself, about the freeze, as it copies."""

    def kill() -> None:
        time.sleep(later_s)
        words = f"criu\0{verb}\0--images-dir\0{site.folder}".encode()
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if words in (entry / "cmdline").read_bytes() and parent == os.getpid():
                    os.kill(int(entry.name), signal.SIGKILL)

    def at(phase: Phase) -> None:
        if phase == ("copy" if verb == "dump" else "restore"):
            threading.Thread(target=kill).start()

    with site.watch(site.start(memory_mb=100)) as watcher:
        first = site.migrator.migrate("counter", "b", at)
        killed = ("rolled_back", f"criu {verb}: exit status -9", "a")
        late = ("done", "", "b")  # on a fast host it had ended
        there = site.migrator.where("counter")
        assert there is not None
        assert (first.status, first.reason, there) in (killed, late)
        serves_alone(site, there, watcher)
        assert site.migrator.migrate("counter", "c").status == "done"
        serves_alone(site, "c", watcher)
        nothing_lost(watcher)


def test_a_process_that_died_itself_is_reported(site: Site) -> None:
    site.start()
    process = site.migrator.process("counter")
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(5.0)
    assert site.migrator.where("counter") is None
    failed = site.migrator.migrate("counter", "b")
    assert failed.status == "failed"
    assert failed.reason == f"its process, pid {process.pid}, has ended"
    assert site.migrator.reconcile() == []


def test_a_service_that_cannot_start_leaves_nothing(site: Site) -> None:
    with pytest.raises(HostError, match=r"/no/such: \[Errno 2\] No such file"):
        site.migrator.start("absent", ["/no/such"], "a")
    with pytest.raises(HostError, match="ended while starting"):
        site.migrator.start("absent", [sys.executable, "-c", "pass"], "a", port=PORT)
    with pytest.raises(HostError, match=r"port 7000 not open after 0\.2 s"):
        site.migrator.start(
            "absent", [sys.executable, "-c", "import time; time.sleep(60)"], "a", port=PORT, timeout_s=0.2
        )
    with pytest.raises(InputError, match="node"):
        site.migrator.start("absent", ["true"], "d")
    assert site.migrator.services == ()
    assert site.instances("absent") == []


def test_stopped_services_are_gone(site: Site) -> None:
    site.start()
    process = site.migrator.process("counter")
    site.migrator.stop("counter")
    assert Process.of(process.pid) is None
    assert site.migrator.services == ()
    with pytest.raises(InputError):
        site.migrator.where("counter")
