"""The doctor's probes: honest, exact, and gone without a trace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgewright.drivers.capabilities import probe, probe_one


def traces() -> set[str]:
    groups = {str(path) for path in Path("/sys/fs/cgroup").glob("*/edgewright-doctor-*")}
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    namespaces = {str(path) for path in Path("/run/netns").glob(f"edgewright-{os.getpid()}-*")}
    return groups | namespaces | set(children)


def test_every_probe_answers_with_a_reason_and_leaves_nothing() -> None:
    before = traces()
    found = probe()
    assert traces() == before
    assert len({capability.name for capability in found}) == len(found) == 13
    assert all(capability.reason for capability in found)


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # where CRIU may have been fetched to
    for name, words in [
        ("criu", f"no program `criu` on PATH, none >= 4.2 in {tmp_path}"),
        ("qemu", "no program `qemu-system-"),
        ("prometheus", "no program `prometheus` on PATH"),
        ("chromium", "none of chromium,"),
        ("kubernetes", f"no kubeconfig at {tmp_path / 'config'}"),
    ]:
        found = probe_one(name)
        assert not found.available
        assert found.reason.startswith(words)


def test_a_program_that_answers_or_fails_or_hangs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "prometheus"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("edgewright.drivers.capabilities.TIMEOUT_S", 0.2)
    for script, available, reason in [
        ("echo prometheus, version 3", True, "prometheus, version 3"),
        ("echo broken >&2; exit 1", False, "broken"),
        ("exec sleep 5", False, "no answer within 0.2 s"),
    ]:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        found = probe_one("prometheus")
        assert found.available == available
        assert reason in found.reason


@pytest.mark.skipif(os.geteuid() != 0, reason="drops root's privileges")
def test_without_privilege_the_reason_is_the_kernels() -> None:
    """In a child that is nobody."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        names = ("cgroup-cpu", "cgroup-memory", "sched-deadline", "network-namespace", "network-emulation")
        lines = [f"{c.available} {c.reason}" for c in map(probe_one, names)]
        os.write(write, "\n".join(lines).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as stream:
        lines = stream.read().splitlines()
    os.waitpid(child, 0)
    assert len(lines) == 5
    for line in lines:
        assert line.startswith("False")
        assert any(word in line for word in ("EACCES", "EPERM", "controller"))
