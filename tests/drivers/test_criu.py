"""Which CRIU is taken, where it is fetched from, and what it says when it fails."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from edgewright.drivers.linux import criu, packages
from edgewright.drivers.linux.criu import Criu, CriuError, CriuMissing, Running, find, obtain

RELEASE = {"ID": "debian", "VERSION_CODENAME": "bookworm"}
DEB822 = """\
# comment
Types: deb
# URIs: http://snapshot.example/debian
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb-src
URIs: http://mirror.example/source
Suites: bookworm
Components: main
"""
ONE_LINE = """\
deb [arch=amd64 signed-by=/usr/share/keyrings/own.gpg] http://other.example/debian bookworm main contrib # ours
deb http://other.example/debian bookworm-updates main
# deb http://off.example/debian bookworm main
"""


def program(folder: Path, says: str) -> None:
    file = folder / "criu"
    file.write_text(f"#!/bin/sh\n{says}\n")
    file.chmod(0o755)


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


def test_one_on_path_that_is_new_enough_is_taken(tmp_path: Path) -> None:
    program(tmp_path, "echo Version: 4.10.1")
    assert find() == obtain() == Criu((str(tmp_path / "criu"),), (4, 10, 1))


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ("echo Version: 3.17.1", "criu is 3.17.1, none >= 4.2 in "),
        ("echo broken >&2; exit 1", "criu --version: broken, none >= 4.2 in "),
    ],
)
def test_one_that_will_not_do_is_named(tmp_path: Path, says: str, reason: str) -> None:
    program(tmp_path, says)
    with pytest.raises(CriuMissing, match=r"python -m edgewright\.drivers\.linux\.criu") as missing:
        find()
    assert reason in str(missing.value)


def test_sources_are_the_hosts_own_with_the_suite_changed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/debian.sources").write_text(DEB822)
    (tmp_path / "sources.list.d/other.list").write_text(ONE_LINE)
    monkeypatch.setattr(packages, "APT", tmp_path)
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: RELEASE)
    first, second = packages._sources("forky")
    assert first == (
        "Types: deb\nURIs: http://mirror.example/debian\nSuites: forky\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg"
    )
    assert second == (
        "Types: deb\nURIs: http://other.example/debian\nSuites: forky\nComponents: main contrib\n"
        "Signed-By: /usr/share/keyrings/own.gpg"
    )


def test_what_cannot_be_fetched_says_why_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(tmp_path, "echo Version: 3.17")
    for name in ("apt-get", "dpkg-deb"):
        (tmp_path / name).symlink_to("/bin/false")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: {"ID": "other", "VERSION_CODENAME": "one"})
    with pytest.raises(CriuMissing, match="this host has no package sources of a Debian release"):
        obtain()
    monkeypatch.setattr(packages, "_sources", lambda suite: iter(["Types: deb"]))
    with pytest.raises(CriuMissing, match="apt-get update: exit status 1"):
        obtain()
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(CriuMissing, match="cannot fetch CRIU for riscv64"):
        obtain()
    assert [path.name for path in (tmp_path / "cache/edgewright").iterdir() if path.is_dir()] == []


def test_the_first_error_logged_is_the_reason(tmp_path: Path) -> None:
    log = tmp_path / "dump.log"
    log.write_text(
        "(00.08) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted\n"
        "(00.09) Error (criu/sk-unix.c:901): unix: External socket is used\n"
        "(00.10) Error (criu/cr-dump.c:2128): Dumping FAILED.\n"
    )
    failed = Running("dump", log, subprocess.Popen(["false"]))
    with pytest.raises(CriuError, match=r"^criu dump: unix: External socket is used$"):
        failed.wait(5.0)
    with pytest.raises(CriuError, match=r"^criu dump: no end within 0\.1 s$"):
        Running("dump", log, subprocess.Popen(["sleep", "60"], start_new_session=True)).wait(0.1)


def test_the_hook_acts_before_a_dump_only_and_hands_on_its_failure() -> None:
    hook = criu._hook()
    assert criu._hook() == hook
    for action, command, code in [("pre-dump", "exit 3", 3), ("post-dump", "exit 3", 0), ("pre-dump", "true", 0)]:
        names = os.environ | {"CRTOOLS_SCRIPT_ACTION": action, criu.BEFORE_FREEZE: command}
        assert subprocess.run([hook], env=names, check=False).returncode == code
