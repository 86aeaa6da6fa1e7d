"""Compute chunks on the real kernel: quotas that hold, data that lives on, and nothing left behind."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from driver_programs import IDLE, SPIN, grow

from edgewright.core.errors import InputError
from edgewright.drivers.chunks import ComputeChunk, Quota
from edgewright.drivers.host import HostError, Limits, ServiceSpec
from edgewright.drivers.linux.compute_chunks import LinuxComputeChunks
from edgewright.drivers.linux.processes import Process

pytestmark = pytest.mark.real
MIB = 2**20
INSTANCE = f"test-chunks-{os.getpid()}"
SMALL = Quota(0.5, 128 * MIB, 256 * MIB)
PLAIN = Quota(0.5, 128 * MIB)


@pytest.fixture
def state(tmp_path: Path, require: Callable[..., None]) -> Iterator[Path]:
    """A folder of chunks; whatever a test does, nothing of it is left."""
    require("cgroup-cpu", "cgroup-memory")
    folder = tmp_path / "a folder"
    yield folder
    gc.collect()
    chunks = LinuxComputeChunks(folder, INSTANCE)
    try:
        chunks.reconcile([])
    finally:
        chunks.close_all()
    wait_until(lambda: not traces(folder))  # a program that copied our mounts meanwhile keeps the devices a moment


@pytest.fixture
def chunks(state: Path) -> Iterator[LinuxComputeChunks]:
    made = LinuxComputeChunks(state, INSTANCE)
    try:
        yield made
    finally:
        made.close_all()


def traces(folder: Path) -> list[str]:
    """What there is of chunks: mounts, loop devices, groups, processes, files."""
    name = folder.parent.name  # in mountinfo a space is \040
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if name in line]
    loops = subprocess.run(
        ["losetup", "-a"], capture_output=True, text=True, check=True, timeout=10
    ).stdout.splitlines()
    groups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/edgewright-{INSTANCE}*")]
    return [*mounts, *(line for line in loops if name in line), *groups, *map(str, folder.glob("[!.]*"))]


def share(chunk: ComputeChunk, seconds: float) -> float:
    """Of the CPU, in cores."""

    def used_s() -> float:
        return sum(chunk.host.usage(name).cpu_s for name in chunk.host.services)

    used, began = used_s(), time.monotonic()
    time.sleep(seconds)
    return (used_s() - used) / (time.monotonic() - began)


def go_first(chunks: LinuxComputeChunks) -> None:
    """Whatever else runs on this host, what is measured gets the CPU that its quota allows."""
    folder = chunks._place.cpu
    shares = folder / "cpu.shares"
    (shares if shares.exists() else folder / "cpu.weight").write_text("262144" if shares.exists() else "10000")


def writable_bytes(folder: Path) -> int:
    """Written until there is no space left, and removed."""
    file, written = folder / "fill", 0
    with file.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while count := stream.write(bytes(MIB)):
            written += count
    with pytest.raises(OSError, match=f"Errno {errno.ENOSPC}"):
        (folder / "more").write_bytes(bytes(MIB))
    for path in (file, folder / "more"):
        path.unlink()
    return written


def sleeping_in(folder: Path) -> ServiceSpec:
    return ServiceSpec("sleeper", IDLE, working_directory=folder)


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def test_two_busy_services_get_the_cpu_quota_together(chunks: LinuxComputeChunks) -> None:
    chunk = chunks.make("one", PLAIN)
    go_first(chunks)
    assert chunk.host.capacity.cpu == 0.5
    for name in ("a", "b"):
        chunk.host.start(ServiceSpec(name, SPIN), Limits(0.5))
    time.sleep(0.2)
    assert share(chunk, 3.0) == pytest.approx(0.5, rel=0.05)
    chunk.resize(Quota(1.0, 128 * MIB))
    chunk.host.set_limits("a", Limits(0.8))
    with pytest.raises(HostError, match=r"one: cpu: service 'a' has a limit of 0\.8 cores"):
        chunk.resize(Quota(0.6, 64 * MIB))
    assert (chunk.quota, chunk.host.capacity.cpu, chunk.host.capacity.memory_bytes) == (
        Quota(1.0, 128 * MIB),
        1.0,
        128 * MIB,
    )
    chunk.host.set_limits("a", Limits(0.1))
    chunk.host.set_limits("b", Limits(0.1))
    chunk.resize(Quota(0.1, 64 * MIB))
    assert share(chunk, 1.0) <= 0.105


def test_who_takes_more_than_the_memory_quota_is_killed_alone(chunks: LinuxComputeChunks) -> None:
    greedy, other = chunks.make("greedy", PLAIN), chunks.make("other", PLAIN)
    for chunk in (greedy, other):
        chunk.host.start(ServiceSpec("quiet", IDLE), Limits(0.5))
    pid = greedy.host.start(ServiceSpec("grows", grow(40, 200)), Limits(0.5))  # no limit of its own
    wait_until(lambda: greedy.host.usage("grows").memory_bytes > 40_000_000)
    with pytest.raises(HostError, match="EBUSY"):
        greedy.resize(Quota(0.6, 16 * MIB))
    assert greedy.quota == PLAIN
    assert (greedy.host.capacity.cpu, greedy.host.capacity.memory_bytes) == (0.5, 128 * MIB)
    os.kill(pid, signal.SIGUSR1)
    wait_until(lambda: not greedy.host.usage("grows").alive)
    assert greedy.host.usage("quiet").alive
    assert other.host.usage("quiet").alive


@pytest.mark.parametrize("mebibytes", [256, 300])
def test_the_storage_quota_is_what_can_be_written(
    chunks: LinuxComputeChunks, require: Callable[..., None], mebibytes: int
) -> None:
    require("storage-quota")
    size = mebibytes * MIB
    before = chunks.capacity.storage_bytes
    chunk = chunks.make("one", Quota(0.5, 128 * MIB, size))
    assert chunk.folder is not None
    assert list(chunk.folder.iterdir()) == []
    assert chunk.folder.parent.parent.stat().st_mode & 0o077 == 0  # nobody else may look into it
    assert chunks.capacity.storage_bytes == pytest.approx(before, abs=64 * MIB)  # what chunks hold counts as room
    image = chunk.folder.with_name("image")
    assert 0.95 * size <= writable_bytes(chunk.folder) <= size
    assert image.stat().st_blocks * 512 >= size  # reserved, also after its files were deleted


def test_storage_grows_and_shrinks_with_its_data(chunks: LinuxComputeChunks, require: Callable[..., None]) -> None:
    require("storage-quota")
    chunk = chunks.make("one", PLAIN)
    assert chunk.folder is None
    chunk.resize(SMALL)
    assert chunk.folder is not None
    (chunk.folder / "sub").mkdir()
    (chunk.folder / "sub" / "data").write_bytes(b"1" * 100 * MIB)
    os.chown(chunk.folder / "sub" / "data", 1234, 1234)
    os.link(chunk.folder / "sub" / "data", chunk.folder / "link")
    for mebibytes in (320, 260):
        chunk.resize(Quota(0.5, 128 * MIB, mebibytes * MIB))
        found = (chunk.folder / "sub" / "data").stat()
        assert (found.st_size, found.st_uid, found.st_nlink) == (100 * MIB, 1234, 2)
        assert 0.95 * mebibytes * MIB <= writable_bytes(chunk.folder) + 100 * MIB <= mebibytes * MIB
    with pytest.raises(HostError, match="files are in it"):
        chunk.resize(PLAIN)
    chunk.resize(Quota(0.5, 128 * MIB, 420 * MIB))
    (chunk.folder / "more").write_bytes(b"1" * 200 * MIB)
    with pytest.raises(HostError, match=r"storage: \d+ bytes are in use"):
        chunk.resize(Quota(0.25, 64 * MIB, 256 * MIB))
    assert chunk.quota == Quota(0.5, 128 * MIB, 420 * MIB)
    assert (chunk.host.capacity.cpu, chunk.host.capacity.memory_bytes) == (0.5, 128 * MIB)
    (chunk.folder / "still writable").touch()
    free = chunks.capacity.storage_bytes
    with pytest.raises(HostError, match="bytes more are needed"):
        chunk.resize(Quota(0.5, 128 * MIB, 4 * free + 2**40))
    assert (chunk.folder / "sub" / "data").stat().st_size == 100 * MIB
    for path in ("link", "more", "still writable", "sub/data"):
        (chunk.folder / path).unlink()
    (chunk.folder / "sub").rmdir()
    chunk.resize(PLAIN)
    assert chunk.folder is None


def test_storage_in_use_does_not_shrink(chunks: LinuxComputeChunks, require: Callable[..., None]) -> None:
    require("storage-quota")
    chunk = chunks.make("one", Quota(0.5, 128 * MIB, 300 * MIB))
    assert chunk.folder is not None
    chunk.host.start(sleeping_in(chunk.folder), Limits(0.5))
    with pytest.raises(HostError, match="once no service runs: sleeper"):
        chunk.resize(SMALL)
    chunk.host.stop("sleeper")
    with (chunk.folder / "open").open("w") as stream:  # not a service of ours
        with pytest.raises(HostError, match="busy"):
            chunk.resize(SMALL)
        stream.write("still writable")
        with pytest.raises(HostError, match="busy"):
            chunk.close()
    with pytest.raises(HostError, match="closed"):
        chunk.resize(SMALL)
    again = chunks.make("one", SMALL)  # what was not removed is whole
    assert again.folder is not None
    assert (again.folder / "open").read_text() == "still writable"
    assert again.quota == SMALL
    again.close()
    again.close()


def test_a_lost_orchestrators_chunk_is_adopted_with_its_services(
    state: Path, require: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    require("storage-quota")
    lost = LinuxComputeChunks(state, INSTANCE)
    chunk = lost.make("one", SMALL)
    assert chunk.folder is not None
    spec = sleeping_in(chunk.folder)
    pid = chunk.host.start(spec, Limits(0.4, 64 * MIB))
    (chunk.folder / "data").write_text("precious")
    idle = lost.make("unwanted", PLAIN).host.start(ServiceSpec("idle", IDLE), Limits(0.25))
    del lost, chunk
    gc.collect()
    chunks = LinuxComputeChunks(state, INSTANCE)
    try:
        monkeypatch.setattr("edgewright.drivers.linux.compute_chunks.LOCK_S", 0.1)
        with pytest.raises(InputError, match="no other orchestrator"):
            LinuxComputeChunks(state, INSTANCE)
        found = chunks.make("one", Quota(0.3, 96 * MIB, 256 * MIB))  # less than its service may use
        assert found.quota == SMALL
        assert found.host.adopt(spec)
        assert found.host.usage("sleeper").pid == pid
        assert found.folder is not None
        assert (found.folder / "data").read_text() == "precious"
        assert chunks.make("one", Quota(0.6, 96 * MIB, 256 * MIB)) is found
        assert found.quota == Quota(0.6, 96 * MIB, 256 * MIB)
        assert chunks.reconcile(["one", "never made"]) == ["unwanted"]
        assert Process.of(idle) is None
        assert found.host.usage("sleeper").alive
        assert not any("unwanted" in trace for trace in traces(state))
    finally:
        chunks.close_all()
    assert Process.of(pid) is None
    assert traces(state) == [str(state / "one")]  # its data
    chunks = LinuxComputeChunks(state, INSTANCE)
    try:
        found = chunks.make("one", SMALL)
        assert found.folder is not None
        assert (found.folder / "data").read_text() == "precious"
        found.close()
        assert not any("one" in trace for trace in traces(state)[1:])
    finally:
        chunks.close_all()
    with pytest.raises(HostError, match="closed"):
        chunks.make("one", SMALL)


def test_bad_quotas_and_ids_leave_nothing(chunks: LinuxComputeChunks, state: Path) -> None:
    before = traces(state)
    for id, quota, field in [
        ("one", Quota(0.005, 64 * MIB), "cpu"),
        ("one", Quota(0.5, 64 * MIB, MIB), "storage_bytes"),
        ("../one", PLAIN, "id"),
    ]:
        with pytest.raises(InputError, match=field):
            chunks.make(id, quota)
    for values in ((0.0, 1, 0), (float("nan"), 1, 0), (1.0, 0, 0), (1.0, 1, -1)):
        with pytest.raises(InputError):
            Quota(*values)
    with pytest.raises(HostError, match="storage"):
        chunks.make("huge", Quota(0.5, 64 * MIB, 2**55))
    assert traces(state) == before


def test_without_programs_there_is_no_storage_but_the_rest(
    chunks: LinuxComputeChunks, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = traces(state)
    monkeypatch.setattr("edgewright.drivers.linux.storage._search_path", lambda: "/nowhere")
    assert chunks.storage_reason() == "no program `setpriv` (util-linux, e2fsprogs) on PATH"
    assert chunks.capacity.storage_bytes == 0
    with pytest.raises(HostError, match="no program"):
        chunks.make("one", SMALL)
    assert traces(state) == before
    chunk = chunks.make("one", PLAIN)
    assert chunks.make("one", SMALL) is chunk  # it stays as it was
    assert chunk.quota == PLAIN
    chunk.close()
    assert traces(state) == before
    again = chunks.make("one", PLAIN)
    chunk.close()
    again.host.start(ServiceSpec("quiet", IDLE), Limits(0.5))  # another one, still there


CHANGING = f"""
import sys
from pathlib import Path
from edgewright.drivers.chunks import Quota
from edgewright.drivers.linux.compute_chunks import LinuxComputeChunks
MIB = 2**20
chunks = LinuxComputeChunks(Path(sys.argv[1]), {INSTANCE!r})
print("ready", flush=True)
while True:
    chunk = chunks.make("kept", Quota(0.5, 128 * MIB, 256 * MIB))
    if not (chunk.folder / "data").exists():
        (chunk.folder / "data").write_bytes(b"1" * 10 * MIB)
        print("written", flush=True)
    for mebibytes in (300, 256):
        chunk.resize(Quota(0.4, 96 * MIB, mebibytes * MIB))
    other = chunks.make("passing", Quota(0.25, 64 * MIB, 256 * MIB))
    other.close()
"""


def test_a_kill_at_any_moment_leaves_a_chunk_whole_or_gone(state: Path, require: Callable[..., None]) -> None:
    require("storage-quota")
    chance, written = random.Random(7), False
    for _ in range(5):
        orchestrator = subprocess.Popen([sys.executable, "-c", CHANGING, str(state)], stdout=subprocess.PIPE, text=True)
        try:
            assert orchestrator.stdout is not None
            assert orchestrator.stdout.readline() == "ready\n"
            if not written:
                assert orchestrator.stdout.readline() == "written\n"
                written = True
            time.sleep(chance.uniform(0.0, 0.8))
            assert orchestrator.poll() is None
        finally:
            orchestrator.kill()
            orchestrator.communicate()
        chunks = LinuxComputeChunks(state, INSTANCE)
        try:
            kept = chunks.make("kept", SMALL)
            assert kept.folder is not None
            assert (kept.folder / "data").read_bytes() == b"1" * 10 * MIB
            assert kept.quota == SMALL
            assert kept.folder.with_name("image").stat().st_blocks * 512 >= 256 * MIB
            chunks.reconcile(["kept"])
            wait_until(lambda: sum("storage" in trace or "image" in trace for trace in traces(state)) == 2)
            files = sorted(path.name for path in (state / "kept").iterdir())
            assert files in (["image", "services", "storage"], ["copy", "image", "services", "storage"])
        finally:
            chunks.close_all()


def test_a_reboot_in_the_middle_of_growing_is_cut(chunks: LinuxComputeChunks, require: Callable[..., None]) -> None:
    require("storage-quota")
    chunk = chunks.make("one", SMALL)
    assert chunk.folder is not None
    (chunk.folder / "data").write_text("precious")
    image = chunk.folder.with_name("image")
    os.truncate(image, 400 * MIB)  # reserved, the file system not yet grown
    chunks.close_all()
    again = LinuxComputeChunks(image.parent.parent, INSTANCE)
    try:
        found = again.make("one", SMALL)
        assert found.quota == SMALL
        assert image.stat().st_size == 256 * MIB
        assert (found.folder or Path()).joinpath("data").read_text() == "precious"
    finally:
        again.close_all()


def test_the_end_breaks_off_what_takes_long(
    chunks: LinuxComputeChunks,
    state: Path,
    tmp_path: Path,
    require: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require("storage-quota")
    large = Quota(0.5, 128 * MIB, 300 * MIB)
    chunk = chunks.make("one", large)
    assert chunk.folder is not None
    (chunk.folder / "data").write_text("precious")
    slow = tmp_path / "bin" / "cp"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    with ThreadPoolExecutor(1) as pool:
        shrinking = pool.submit(chunk.resize, SMALL)
        wait_until(lambda: (state / "one" / "copy").is_mount())
        began = time.monotonic()
        chunks.close_all()
        assert time.monotonic() - began < 30
        with pytest.raises(HostError, match="cp: given up"):
            shrinking.result(10)
    again = LinuxComputeChunks(state, INSTANCE)
    try:
        kept = again.make("one", large)
        assert kept.quota == large
        assert (kept.folder or Path()).joinpath("data").read_text() == "precious"
    finally:
        again.close_all()
