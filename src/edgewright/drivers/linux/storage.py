"""A chunk's storage: a file system of its own on a loop device, in an image file whose space is reserved.

The image is as large as the quota; from SMALLEST_BYTES on, at least 95 % of it can be written.
Whatever is killed, power included, the image is the last whole one: a new one is made beside it, then takes its name.
It grows in place, under running services, where the kernel lets us (CAP_SYS_RESOURCE); else it is copied.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import struct
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from edgewright.drivers.host import HostError

log = structlog.get_logger("edgewright.chunks")
MIB = 2**20
SMALLEST_BYTES = 256 * MIB  # below, the tables of ext4 take more than 5 %
BLOCK_BYTES = 4096
SLACK_BYTES = 4 * MIB  # ext4 leaves a last block group unused that is smaller than its tables
CAP_SYS_RESOURCE = 24  # linux/capability.h
TIMEOUT_S = 60.0
LONG_S = 3600.0  # to check or to copy all of it
GIVE_UP_S = 0.2  # such a program ends so soon where it is given up
BUSY_S = 2.0  # an ended process lets go of its files a moment later
REASON_CHARACTERS = 300
PROBE_BYTES = (16 * MIB, 24 * MIB)


@dataclass(frozen=True)
class Storage:
    """In `folder`, with the file system mounted at `path`. Raises HostError, or OSError, naming the program and why.

    Programs inherit the descriptors `held`: a lock that the caller holds is theirs too, if they outlive it. Those that
    may take LONG_S are ended where `given_up` is set: as by any kill, the storage is what it was.
    """

    folder: Path  # without symbolic links
    held: tuple[int, ...] = ()
    given_up: threading.Event = field(default_factory=threading.Event)

    @property
    def path(self) -> Path:
        return self.folder / "storage"

    @property
    def image(self) -> Path:
        return self.folder / "image"

    @property
    def size_bytes(self) -> int:
        """0: there is none."""
        return self.image.stat().st_size if self.image.exists() else 0

    @property
    def used_bytes(self) -> int:
        if not _mounted(self.path):
            return 0
        found = os.statvfs(self.path)
        return (found.f_blocks - found.f_bfree) * found.f_frsize

    def copies(self, size_bytes: int) -> bool:
        """Whether a resize to that must copy the data, so that nothing may use it meanwhile."""
        now = self.size_bytes
        return bool(now) and (size_bytes < now or (size_bytes > now and not may_grow_mounted()))

    def open(self) -> None:
        """Mount the last whole image, if there is one, and remove what is half made."""
        self._unmount(self._copy)
        self._new.unlink(missing_ok=True)
        if not self.image.exists():
            return
        device = self._device()
        if self.size_bytes - (size := self._system_bytes(device or self.image)) > SLACK_BYTES:
            os.truncate(self.image, size)  # it was about to grow
        if device:
            self._run("losetup", "-c", device)
        else:
            try:
                self._reserve(self.image, self.size_bytes)
            except (HostError, OSError) as error:  # others took the space of an older, larger one; the data is whole
                log.warning("storage_not_reserved", chunk=self.folder.name, detail=str(error))
            self._run("e2fsck", "-p", self.image, fine=(0, 1), timeout_s=LONG_S)
        if _mounted(self.path):
            self._run("mount", "-o", "remount,rw", self.path)
        else:
            self._mount(self.image, self.path)

    def resize(self, size_bytes: int) -> None:
        """Make, grow, shrink or (0) remove it; on an error it is what it was.

        Refused while files are open in it where it `copies`.
        """
        size, now = size_bytes // BLOCK_BYTES * BLOCK_BYTES, self.size_bytes
        if size == now:
            return
        try:
            if not now:
                self._check_room(size)
                self._build(size)
                self._reserve(self._new, size)
                self._replace()
            elif size and self.copies(size):
                self._copy_to(size)
            elif size:
                self._reserve(self.image, size, start=now)
                device = self._device()
                self._run("losetup", "-c", device)
                self._run("resize2fs", device, timeout_s=LONG_S)
            else:
                if any(self.path.iterdir()):
                    raise HostError(self.folder.name, "storage: files are in it")
                self._unmount(self.path)
                self.image.unlink()
        finally:
            try:
                self.open()
            except BaseException:
                if not now:
                    self.remove()
                raise

    def close(self) -> None:
        """Unmount it; the data stays."""
        for path in (self._copy, self.path):
            self._unmount(path, BUSY_S)

    def remove(self) -> None:
        self.close()
        for file in (self._new, self.image):
            file.unlink(missing_ok=True)

    # Inside

    @property
    def _new(self) -> Path:
        return self.folder / "image.new"

    @property
    def _copy(self) -> Path:
        return self.folder / "copy"

    def _device(self) -> Path | None:
        """That has the image; also while only services of an earlier orchestrator see it mounted."""
        name = self._run("losetup", "--noheadings", "--output", "NAME", "--associated", self.image).strip()
        return Path(name) if name else None

    def _system_bytes(self, device: Path) -> int:
        """Of the file system, by its superblock."""
        with device.open("rb") as file:
            file.seek(1024)
            block = file.read(1024)
        if len(block) < 1024 or block[0x38:0x3A] != b"\x53\xef":  # ext4: s_magic
            raise HostError(self.folder.name, f"storage: no file system in {self.image}")
        low, high = (int(struct.unpack_from("<I", block, at)[0]) for at in (0x4, 0x150))  # s_blocks_count_lo, _hi
        return (low | high << 32) * BLOCK_BYTES

    def _build(self, size: int) -> None:
        with self._new.open("wb") as file:
            file.truncate(size)
        journal_mib = max(4, min(64, size // (128 * MIB)))
        self._run(
            *("mkfs.ext4", "-q", "-F", "-b", BLOCK_BYTES, "-m", 0, "-i", 8 * BLOCK_BYTES, "-J", f"size={journal_mib}"),
            *("-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", self._new),
            timeout_s=LONG_S,
        )

    def _reserve(self, image: Path, size: int, start: int = 0) -> None:
        with image.open("r+b") as file:
            self._check_room(size - os.fstat(file.fileno()).st_blocks * 512)
            os.posix_fallocate(file.fileno(), start, size - start)

    def _check_room(self, needed: int) -> None:
        if needed > (free := free_bytes(self.folder)[0]):
            raise HostError(self.folder.name, f"storage: {needed} bytes more are needed, {free} are free")

    def _replace(self) -> None:
        with self._new.open("rb") as file:
            os.fsync(file.fileno())
        self._new.replace(self.image)

    def _copy_to(self, size: int) -> None:
        if (used := self.used_bytes) > size:
            raise HostError(self.folder.name, f"storage: {used} bytes are in use")
        self._check_room(max(used, size - self.size_bytes))
        self._run("mount", "-o", "remount,ro", self.path)
        self._build(size)
        self._mount(self._new, self._copy)
        self._run("cp", "-a", "--one-file-system", "--", f"{self.path}/.", self._copy, timeout_s=LONG_S)
        self._unmount(self._copy)
        self._unmount(self.path)
        self._replace()

    def _mount(self, image: Path, path: Path) -> None:
        path.mkdir(exist_ok=True)
        self._run("mount", "-t", "ext4", "-o", "loop,nosuid,nodev", image, path)  # by the device that has it, if any
        with contextlib.suppress(OSError):  # some programs want an empty folder; a check that needs it makes it anew
            (path / "lost+found").rmdir()

    def _unmount(self, path: Path, busy_s: float = 0.0) -> None:
        deadline = time.monotonic() + busy_s
        while _mounted(path):
            try:
                self._run("umount", path)
            except HostError as error:
                if "busy" not in error.reason or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def _run(self, program: str, *arguments: object, fine: tuple[int, ...] = (0,), timeout_s: float = TIMEOUT_S) -> str:
        """-> its standard output. It dies with us, so that who comes after a crash finds nothing at work."""
        words = [find(name) for name in ("setpriv", program)]
        try:
            process = subprocess.Popen(
                [words[0], "--pdeathsig", "KILL", "--", words[1], *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env={"PATH": _search_path(), "LC_ALL": "C"},
                pass_fds=self.held,
            )
        except FileNotFoundError as error:
            raise HostError(self.folder.name, f"storage: {error}") from None
        with process:
            try:
                output, errors = self._await(process, program, timeout_s)
            except BaseException:
                process.kill()
                raise
        if process.returncode not in fine:
            lines = [line.strip() for line in (errors or output).splitlines() if line.strip()]
            reason = "; ".join(lines)[:REASON_CHARACTERS] or f"exit status {process.returncode}"
            raise HostError(self.folder.name, f"storage: {program}: {reason}")
        return output

    def _await(self, process: subprocess.Popen[str], program: str, timeout_s: float) -> tuple[str, str]:
        """-> standard output and error."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return process.communicate(timeout=GIVE_UP_S)
            except subprocess.TimeoutExpired:
                if timeout_s == LONG_S and self.given_up.is_set():
                    raise HostError(self.folder.name, f"storage: {program}: given up, the chunks are closing") from None
                if time.monotonic() > deadline:
                    reason = f"no answer within {timeout_s:g} s"
                    raise HostError(self.folder.name, f"storage: {program}: {reason}") from None


def why_not(folder: Path) -> str | None:
    """Why there can be no storage in that folder, by making a small one and growing it; None where there can."""
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".probe-") as name:
            storage = Storage(Path(name).resolve())
            try:
                for size in PROBE_BYTES:
                    storage.resize(size)
            finally:
                storage.remove()
    except HostError as error:
        return error.reason.removeprefix("storage: ")
    except OSError as error:
        return str(error)
    return None


def free_bytes(folder: Path) -> tuple[int, int]:
    """What users can still write there, and the size of the whole file system."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def find(program: str) -> str:
    """Raises FileNotFoundError."""
    path = shutil.which(program, path=_search_path())
    if path is None:
        raise FileNotFoundError(f"no program `{program}` (util-linux, e2fsprogs) on PATH")
    return path


def may_grow_mounted() -> bool:
    """Whether the kernel lets us grow a mounted ext4."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", Path("/proc/thread-self/status").read_text(), re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> CAP_SYS_RESOURCE & 1)


def _search_path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _mounted(path: Path) -> bool:
    """Whether something is mounted there (proc_pid_mountinfo(5))."""
    wanted = re.sub(rb"[ \t\n\\]", lambda match: b"\\%03o" % match[0][0], os.fsencode(path))
    return any(line.split(b" ")[4] == wanted for line in Path("/proc/self/mountinfo").read_bytes().splitlines())
