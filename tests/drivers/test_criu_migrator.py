"""Live migration for real: connections stay, and what would fail is said before."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sites import (
    MIB,
    Site,
    environment,
    nothing_lost,
    orchestrator,
    serves_alone,
    small,
    wait_until,
)

from edgewright.core.errors import InputError
from edgewright.demo.counter import PORT
from edgewright.drivers.host import HostError
from edgewright.drivers.linux.criu_migrator import CriuMigrator
from edgewright.drivers.linux.leftovers import services_folder
from edgewright.drivers.linux.processes import Process
from edgewright.drivers.migration import Phase

pytestmark = pytest.mark.real


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


def test_nobody_else_looks_into_a_folder_of_services() -> None:
    with services_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


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
