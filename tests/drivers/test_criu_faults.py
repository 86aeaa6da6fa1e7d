"""Migrations that fail: the source serves on; after a crash at any step exactly one instance does."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sites import (
    MIB,
    NODES,
    Site,
    environment,
    nothing_lost,
    orchestrator,
    serves_alone,
    small,
    wait_until,
)

from edgewright.demo.counter import PORT
from edgewright.drivers.linux.criu_migrator import CriuMigrator
from edgewright.drivers.linux.edge import Edge, EdgeNetwork
from edgewright.drivers.linux.journal import State
from edgewright.drivers.linux.leftovers import services_folder
from edgewright.drivers.linux.namespaces import NetworkError, inside, remove
from edgewright.drivers.linux.processes import Process
from edgewright.drivers.migration import Phase

pytestmark = pytest.mark.real


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
