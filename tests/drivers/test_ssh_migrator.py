"""Live migration to another host, for real: over ssh, to processes and folders that the host here does not touch."""

from __future__ import annotations

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sites import (
    MIB,
    FarSite,
    lost,
    mounted,
    nothing_lost,
    serves_alone,
)

from edgewright.core.errors import InputError
from edgewright.demo.counter import PORT
from edgewright.drivers.host import HostError
from edgewright.drivers.linux import sessions
from edgewright.drivers.linux.criu import obtain
from edgewright.drivers.linux.criu_migrator import CriuMigrator
from edgewright.drivers.linux.processes import Process
from edgewright.drivers.linux.qemu_migrator import QemuMigrator
from edgewright.drivers.linux.sessions import HostLost
from edgewright.drivers.migration import Phase

pytestmark = pytest.mark.real


@pytest.fixture
def site(far_site: FarSite) -> FarSite:
    return far_site


def test_a_connection_lives_through_moves_there_and_back(site: FarSite) -> None:
    copied: list[int] = []

    def look(phase: Phase) -> None:
        if phase == "restore":
            copied.append(sum(file.stat().st_size for file in (site.far / "image").glob("pages-*.img")))

    with site.watch(site.start()) as watcher:
        for target in ("b", "c", "b", "a"):
            source = site.migrator.where("counter")
            watcher.restart_gap()
            done = site.migrator.migrate("counter", target, look)
            assert (done.status, done.reason, done.source) == ("done", "", source)
            serves_alone(site, target, watcher)
            assert list(done.phases_s) == [
                "preflight",
                "pre_copy",
                "copy",
                "restore",
                "resume",
                "hand_over",
                "clean_up",
            ]
            assert done.image_bytes > 5 * MIB
            assert 0 < done.frozen_s < done.total_s
            print(f"to {target}: frozen {done.frozen_s:.3f} s, client's gap {watcher.max_gap_s:.3f} s, {done.phases_s}")
            assert not (site.folder / "counter.images").exists()
            assert not site.far.exists()
            here = Process.of(site.migrator.process("counter").pid)
            assert (here == site.migrator.process("counter")) == (target != "b")  # a pid of the other host's
        assert min(copied) > 5 * MIB
        nothing_lost(watcher)


def test_a_large_image_is_copied_whole(site: FarSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "CHUNK_BYTES", 100_000)
    with site.watch(site.start(memory_mb=60)) as watcher:  # its answers hold a checksum of its memory
        assert site.migrator.migrate("counter", "b").status == "done"
        serves_alone(site, "b", watcher)
        nothing_lost(watcher)


def test_two_services_move_at_once(site: FarSite) -> None:
    with site.watch(site.start("one")) as one, site.watch(site.start("two", "b")) as two:
        with ThreadPoolExecutor(2) as threads:
            moved = list(threads.map(site.migrator.migrate, ("one", "two"), ("b", "a")))
        assert [done.reason for done in moved] == ["", ""]
        serves_alone(site, "b", one, "one")
        serves_alone(site, "a", two, "two")
        nothing_lost(one)
        nothing_lost(two)


def test_a_service_starts_and_stops_there(site: FarSite) -> None:
    with site.watch(site.start(node="b")) as watcher:
        serves_alone(site, "b", watcher)
    site.migrator.stop("counter")
    assert site.instances() == []
    assert site.migrator.services == ()


def test_a_host_that_cannot_be_reached_is_said_and_nothing_is_touched(site: FarSite) -> None:
    with site.watch(site.start()) as watcher:
        with lost(site):
            (reason,) = site.migrator.preflight("counter", "b")
            assert reason.startswith("root@127.0.0.1: ssh: connect to host 127.0.0.1 port ")
            assert reason.endswith("Connection refused")
            refused = site.migrator.migrate("counter", "b")
            assert (refused.status, refused.reason, refused.frozen_s) == ("rolled_back", reason, 0)
            assert site.migrator.migrate("counter", "c").status == "done"
            with pytest.raises(HostError, match="Connection refused"):
                site.start("other", "b")
            assert site.migrator.services == ("counter",)
        serves_alone(site, "c", watcher)
        nothing_lost(watcher)


def test_one_that_knows_us_not_or_is_not_known_is_said(site: FarSite, tmp_path: Path) -> None:
    site.start()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    for changed, reason in [
        ({"identity": str(tmp_path / "other")}, "Permission denied"),
        ({"known_hosts": str(tmp_path / "none")}, "Host key verification failed"),
        ({"python": "/no/such"}, "/no/such"),
        ({"python": "/bin/echo"}, "it says b'-I -S -c "),
    ]:
        edge = replace(site.network.edge, hosts={"b": replace(site.server.host, **changed)})
        migrator = CriuMigrator(edge, site.folder)
        (found,) = migrator.preflight("counter", "b")
        assert reason in found
    with pytest.raises(InputError, match="nodes of this host only"):
        QemuMigrator(site.network.edge, site.folder)


def test_what_is_missing_there_is_said(site: FarSite, tmp_path: Path) -> None:
    kept, other = tmp_path / "kept", tmp_path / "other"
    kept.write_text("one")
    other.write_text("two")
    code = f"kept = open({str(kept)!r})\nimport os\nfrom edgewright.demo.counter import serve\n"
    with site.watch(site.start(code=f"{code}serve(os.environ['EDGEWRIGHT_ADDRESS'], {PORT}, 5)")) as watcher:
        assert site.migrator.preflight("counter", "b") == []
        with mounted(site, "-t", "tmpfs", "tmpfs", str(tmp_path)):
            assert site.migrator.preflight("counter", "b") == [f"{kept} is missing at b"]
        with mounted(site, "--bind", str(other), str(kept)):
            assert site.migrator.preflight("counter", "b") == [f"{kept} is another one at b"]
            os.utime(other, (1, 1))
            other.write_text("one")
            os.utime(other, (1, 1))  # the same, only younger
            assert site.migrator.preflight("counter", "b") == []
        with mounted(site, "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", site.server.host.folder):
            (reason,) = site.migrator.preflight("counter", "b")
            assert reason.startswith("its image needs ")
            assert reason.endswith("1 MB left at b")
        newer = CriuMigrator(site.network.edge, site.folder, replace(obtain(), version=(9, 9)))
        (reason,) = newer.preflight("counter", "b")
        assert reason.startswith("CRIU is ")
        assert reason.endswith(" at b, 9.9 at a")
        assert site.migrator.migrate("counter", "b").status == "done"
        serves_alone(site, "b", watcher)
        nothing_lost(watcher)


def test_a_session_is_made_anew_and_ended_where_nothing_answers(site: FarSite, monkeypatch: pytest.MonkeyPatch) -> None:
    site.start(node="b")
    reader = site.migrator._sessions.at("b")
    first = reader.call(os.getpid)
    assert reader.call(os.getpid) == first
    site.server.stop()
    site.server.start()
    assert site.migrator.where("counter") == "b"
    assert reader.call(os.getpid) != first
    site.migrator._sessions.close()
    monkeypatch.setattr(sessions, "SILENCE_S", 1.0)
    monkeypatch.setattr(sessions, "ANSWER_S", 1.0)
    with pytest.raises(HostLost, match="no answer within 1 s"):
        site.migrator._sessions.at("b").call(time.sleep, 30.0)
    assert site.migrator.where("counter") == "b"
    with pytest.raises(HostError, match="could not convert"):
        site.migrator._sessions.at("b").call(float, "one")
