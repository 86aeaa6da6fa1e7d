"""Hosts and connections that are lost amid a migration: nothing is guessed, and what is left ends later."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sites import (
    IMPORT,
    MIB,
    FarSite,
    environment,
    mounted,
    nothing_lost,
    orchestrator,
    serves_alone,
    wait_until,
)

from edgewright.demo.counter import PORT
from edgewright.drivers.linux import sessions
from edgewright.drivers.linux.agent import BOOT
from edgewright.drivers.linux.attempt import Attempt
from edgewright.drivers.linux.criu_migrator import CriuMigrator
from edgewright.drivers.linux.namespaces import inside
from edgewright.drivers.linux.processes import Process
from edgewright.drivers.linux.sessions import HostLost
from edgewright.drivers.migration import Migration, MoveError, Phase
from edgewright.drivers.watcher import Watcher

pytestmark = pytest.mark.real


@pytest.fixture
def site(far_site: FarSite) -> FarSite:
    return far_site


def test_a_connection_that_breaks_amid_the_copy_leaves_the_source_serving(
    site: FarSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "CHUNK_BYTES", 1 << 16)

    def cut() -> None:
        wait_until(lambda: any(file.stat().st_size > 10 * MIB for file in site.far.glob("image/pages-*")), 30.0)
        site.server.stop()

    with site.watch(site.start(memory_mb=100)) as watcher:
        thread = threading.Thread(target=cut)
        thread.start()
        try:
            failed = site.migrator.migrate("counter", "b")
            thread.join()
            assert failed.status == "rolled_back"
            assert failed.reason.startswith("root@127.0.0.1: ")
            assert list(failed.phases_s) == ["preflight", "pre_copy", "copy", "roll_back"]
            assert failed.frozen_s > 0
            serves_alone(site, "a", watcher)
            (said,) = site.migrator.reconcile()
            assert said.startswith("counter: a frozen instance may be left at b: root@127.0.0.1: ")
        finally:
            thread.join()
            site.server.start()
        monkeypatch.undo()
        assert site.migrator.migrate("counter", "b").status == "done"
        serves_alone(site, "b", watcher)
        assert not site.far.exists()
        nothing_lost(watcher)


def test_a_full_folder_there_leaves_the_source_serving(site: FarSite) -> None:
    with mounted(site, "-t", "tmpfs", "-o", "size=64m,mode=0700", "tmpfs", site.server.host.folder):

        def fill(phase: Phase) -> None:
            if phase == "copy":
                other = f"{site.server.host.folder}/other"
                subprocess.run(site.server.inside("fallocate", "-l", "60M", other), check=True)

        with site.watch(site.start(memory_mb=20)) as watcher:
            failed = site.migrator.migrate("counter", "b", fill)
            assert failed.status == "rolled_back"
            assert "No space left on device" in failed.reason
            serves_alone(site, "a", watcher)
            nothing_lost(watcher)


def test_a_restore_that_fails_there_leaves_the_source_serving(site: FarSite) -> None:
    taken: list[socket.socket] = []

    def take(phase: Phase) -> None:
        if phase == "copy":
            taken.append(inside(site.network.edge.namespace("b"), lambda: socket.create_server(("0.0.0.0", PORT))))

    with site.watch(site.start()) as watcher:
        try:
            failed = site.migrator.migrate("counter", "b", take)
            assert failed.status == "rolled_back"
            assert "Address already in use" in failed.reason
            serves_alone(site, "a", watcher)
            assert site.migrator.preflight("counter", "b") == [f"port {PORT} is taken at b"]
        finally:
            for one in taken:
                one.close()
        nothing_lost(watcher)


@pytest.mark.parametrize("phase", ["restore", "resume", "hand_over", "clean_up"])
def test_a_target_lost_late_is_never_guessed_about(site: FarSite, phase: Phase) -> None:
    """Before `resume` its copy is frozen for sure; from then on the source stays so."""

    def cut(entered: Phase) -> None:
        if entered == phase:
            site.server.stop()

    with site.watch(site.start()) as watcher:
        try:
            failed = site.migrator.migrate("counter", "b", cut)
            assert "root@127.0.0.1: " in failed.reason
            if phase == "restore":
                assert failed.status == "rolled_back"
                serves_alone(site, "a", watcher)
                return
            assert failed.status == "failed"
            states = dict(site.states())
            assert states["b"] in ("T" if phase == "resume" else "SR")
            assert states.get("a", "T") == "T"
            step = "resume" if phase == "resume" else "clean_up"  # the target is not needed for `hand_over`
            (said,) = site.migrator.reconcile()
            assert said.startswith(f"counter: its move to b stopped at `{step}`: root@127.0.0.1: ")
            refused = site.migrator.migrate("counter", "c")
            assert (refused.status, refused.reason) == ("failed", said)
            assert dict(site.states()).get("a", "T") == "T"
            assert "c" not in dict(site.states())
            with pytest.raises(HostLost) if step == "clean_up" else contextlib.nullcontext():
                site.migrator.where("counter")
        finally:
            site.server.start()
        assert site.migrator.reconcile() == [f"counter: its move to b stopped at `{step}`: b serves"]
        serves_alone(site, "b", watcher)
        nothing_lost(watcher)


@pytest.mark.parametrize("swept", ["reconcile", "migrate", "stop"])
def test_a_frozen_copy_that_was_out_of_reach_ends_later(
    site: FarSite, monkeypatch: pytest.MonkeyPatch, swept: str
) -> None:
    proceed = Attempt._step

    def cut(attempt: Attempt, phase: Phase, copy: Process | None = None) -> None:
        if phase == "resume":
            site.server.stop()
            raise MoveError("the wire is cut")
        proceed(attempt, phase, copy)

    with site.watch(site.start()) as watcher:
        try:
            with monkeypatch.context() as patched:
                patched.setattr(Attempt, "_step", cut)
                failed = site.migrator.migrate("counter", "b")
            assert (failed.status, failed.reason) == ("rolled_back", "the wire is cut")
            before = watcher.answers
            wait_until(lambda: watcher.answers > before + 20)
            states = dict(site.states())
            assert (states["a"] in "SR", states["b"]) == (True, "T")
            (said,) = site.migrator.reconcile()
            assert said.startswith("counter: a frozen instance may be left at b: root@127.0.0.1: ")
            if swept == "stop":
                with pytest.raises(HostLost):  # told, and not forgotten
                    site.migrator.stop("counter")
                assert site.states() == [("b", "T")]
        finally:
            site.server.start()
        if swept == "reconcile":
            assert site.migrator.reconcile() == ["counter: what was left at b has ended"]
            assert site.migrator.reconcile() == []
            serves_alone(site, "a", watcher)
        elif swept == "migrate":
            assert site.migrator.migrate("counter", "b").status == "done"
            assert site.migrator.reconcile() == []
            serves_alone(site, "b", watcher)
    if swept == "stop":
        site.migrator.stop("counter")
        assert site.instances() == []


@contextlib.contextmanager
def source_lost(site: FarSite, phase: Phase) -> Iterator[tuple[Watcher, Migration]]:
    """As the service moved from there."""

    def cut(entered: Phase) -> None:
        if entered == phase:
            site.server.stop()

    with site.watch(site.start(node="b")) as watcher:
        try:
            yield watcher, site.migrator.migrate("counter", "a", cut)
        finally:
            site.server.start()


def test_a_source_lost_before_its_copy_is_whole_is_found_again(site: FarSite) -> None:
    with source_lost(site, "copy") as (watcher, told):
        assert told.status == "failed"
        assert "root@127.0.0.1: " in told.reason
        assert dict(site.states())["b"] in "SRT"
        site.server.start()
        assert site.migrator.reconcile() == ["counter: its move to a stopped at `copy`: b serves on"]
        serves_alone(site, "b", watcher)
        nothing_lost(watcher)


@pytest.mark.parametrize("phase", ["restore", "hand_over"])
def test_a_source_lost_later_ends_later(site: FarSite, phase: Phase) -> None:
    with source_lost(site, phase) as (watcher, told):
        left = "a frozen instance may be left at b: root@127.0.0.1: "
        assert (told.status, told.reason[: len(left)]) == ("done", left)
        assert dict(site.states())["b"] == "T"
        assert site.migrator.migrate("counter", "c").status == "done"  # others do not need that host
        (said,) = site.migrator.reconcile()
        assert said.startswith(f"counter: {left}")
        site.server.start()
        assert site.migrator.reconcile() == ["counter: what was left at b has ended"]
        serves_alone(site, "c", watcher)
        assert not site.far.exists()
        nothing_lost(watcher)


def test_nothing_moves_to_where_something_is_left(site: FarSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what is swept later would be the instance that serves."""

    def broken(*_: object) -> None:
        raise HostLost("the wire is cut")

    with source_lost(site, "restore") as (watcher, told):
        assert told.status == "done"
        site.server.start()
        with monkeypatch.context() as patched:
            patched.setattr(site.migrator, "_end_copy", broken)
            refused = site.migrator.migrate("counter", "b")
        assert (refused.status, refused.frozen_s) == ("failed", 0)
        assert refused.reason == "counter: a frozen instance may be left at b: the wire is cut"
        assert site.migrator.where("counter") == "a"
        assert site.migrator.migrate("counter", "b").status == "done"
        assert site.migrator.reconcile() == []
        serves_alone(site, "b", watcher)
        nothing_lost(watcher)


def test_a_source_lost_for_good_is_given_up(site: FarSite) -> None:
    with source_lost(site, "restore") as (watcher, told):
        assert told.status == "done"
        without = CriuMigrator(replace(site.network.edge, hosts={}), site.folder)
        assert without.reconcile() == ["counter: what was left at b is given up"]
        assert without.reconcile() == []
        assert site.migrator.migrate("counter", "c").status == "done"
        nothing_lost(watcher)
        subprocess.run(site.server.inside("pkill", "-KILL", "-f", "edgewright.demo.counter"), check=True)


@pytest.mark.parametrize("agent_too", [False, True])
def test_a_dump_there_that_outlives_its_orchestrator_is_waited_for(site: FarSite, agent_too: bool) -> None:
    def running(*words: str) -> list[int]:
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if "\0".join(words).encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
        return found

    def signal_all(pids: list[int], number: signal.Signals) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    dump = ("criu", "dump", "--images-dir", str(site.far))
    with site.watch(site.start(node="b", memory_mb=200)) as watcher, ThreadPoolExecutor() as threads:
        program = IMPORT + orchestrator(site, "pass", target="a")
        with subprocess.Popen([sys.executable, "-c", program], env=environment()) as first:
            wait_until(lambda: bool(running(*dump)), 30.0)
            criu = running(*dump)  # and children of its
            signal_all(criu, signal.SIGSTOP)
            try:
                first.kill()
                if agent_too:
                    signal_all(running("-I", "-S", "-c", BOOT, site.server.host.folder, "counter"), signal.SIGKILL)
                said = threads.submit(site.migrator.reconcile)
                with pytest.raises(TimeoutError):
                    said.result(3.0)
            finally:
                signal_all(criu, signal.SIGCONT)
        assert said.result(30.0) == ["counter: its move to a stopped at `copy`: b serves on"]
        assert not running(*dump)
        serves_alone(site, "b", watcher)
        nothing_lost(watcher)


@pytest.mark.parametrize(
    ("phase", "nodes", "later_s"),
    [
        ("preflight", "ab", 0.0),
        ("pre_copy", "ab", 0.0),
        ("copy", "ab", 0.0),
        ("restore", "ab", 0.0),
        ("resume", "ab", 0.0),
        ("hand_over", "ab", 0.0),
        ("clean_up", "ab", 0.0),
        ("copy", "ba", 0.0),
        ("restore", "ba", 0.0),
        ("hand_over", "ba", 0.0),
        ("copy", "ab", 0.15),
        ("restore", "ab", 0.15),
        ("copy", "ba", 0.15),
    ],
)
def test_killed_at_any_step_exactly_one_serves(site: FarSite, phase: Phase, nodes: str, later_s: float) -> None:
    source, target = nodes
    with site.watch(site.start(node=source)) as watcher:
        body = f"if phase == {phase!r}: " + (f"threading.Timer({later_s}, die).start()" if later_s else "die()")
        program = IMPORT + orchestrator(site, body, target=target)
        code = subprocess.run([sys.executable, "-c", program], env=environment(), check=False).returncode
        assert code == -signal.SIGKILL or (later_s and code == 0)
        successor = CriuMigrator(site.network.edge, site.folder)
        said = successor.reconcile()
        if not later_s:
            assert len(said) == (phase != "preflight")
            node = target if phase in ("resume", "hand_over", "clean_up") else source
            assert all(f"stopped at `{phase}`: {node} serves" in line for line in said)
        there = successor.where("counter")
        assert there is not None
        serves_alone(site, there, watcher)
        assert successor.reconcile() == []
        assert not (site.folder / "counter.images").exists()
        assert not site.far.exists()
        other = target if there == source else source
        assert successor.migrate("counter", other).status == "done"
        serves_alone(site, other, watcher)
        nothing_lost(watcher)
