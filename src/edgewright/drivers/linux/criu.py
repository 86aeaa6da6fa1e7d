"""CRIU (https://criu.org): checkpoints of process trees. Found on PATH, or fetched once into the user's cache.

Versions before 4.2 cannot dump an internet socket on kernels from 6.16 on. A distribution that ships an older one runs
the package of Debian testing, with its own loader and libraries, unpacked in a folder of ours:
`python -m edgewright.drivers.linux.criu` fetches it.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import platform
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgewright.core.files import cache_folder, make_once, replacing
from edgewright.drivers.linux.packages import FetchError, fetch
from edgewright.drivers.linux.processes import Process
from edgewright.drivers.migration import MoveError

NEEDED = (4, 2)
SUITE = "forky"  # of Debian, in which CRIU is new enough
FETCH = "python -m edgewright.drivers.linux.criu"
CHECK_TIMEOUT_S, WAIT_TIMEOUT_S = 30.0, 30.0
PAUSED, AHEAD, TRIES = "paused", "ahead", 1500  # files beside the images; of 2 ms and more
INVENTORY = "inventory.img"
TARGET = "target"  # folder of a waiting restore, below those of its service's images
BEFORE_FREEZE = "EDGEWRIGHT_BEFORE_FREEZE"  # environment variable: a shell command
HOOK = f"""#!/bin/sh
[ "$CRTOOLS_SCRIPT_ACTION" != pre-dump ] || eval "${BEFORE_FREEZE}"
"""
LOADERS = {"x86_64": "ld-linux-x86-64.so.2", "aarch64": "ld-linux-aarch64.so.1"}


class CriuError(MoveError):
    """What failed, and CRIU's own reason."""


class CriuMissing(CriuError):
    """Why there is no CRIU that would do."""


@dataclass(frozen=True)
class Criu:
    command: tuple[str, ...]
    version: tuple[int, ...]

    @functools.cached_property
    def tracks_memory(self) -> bool:
        """Whether the kernel says which pages changed since a pre-dump (soft-dirty); some are built without."""
        check = [*self.command, "check", "--feature", "mem_dirty_track"]
        return subprocess.run(check, capture_output=True, timeout=CHECK_TIMEOUT_S, check=False).returncode == 0

    def start(
        self,
        verb: str,
        folder: Path,
        options: Sequence[str],
        *,
        namespace: Path,
        keep_open: Sequence[int] = (),
        before_freeze: str = "",
    ) -> Running:
        """In a network namespace, with images in `folder`.

        It has a session of its own and goes on to its end where who called is killed: a dump cut short leaves sockets
        in repair mode. `keep_open` are descriptors that it holds until then. `before_freeze` is a shell command that a
        dump runs as it is about to freeze the tree, after the longer part of its own preparations; where it fails the
        dump fails.
        """
        log = folder / f"{verb}.log"
        words = [*self.command, verb, "--images-dir", str(folder), "--log-file", log.name, "-v2", *options]
        if before_freeze:
            words += ["--action-script", str(_hook())]
        child = subprocess.Popen(
            ["nsenter", f"--net={namespace}", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=os.environ | {BEFORE_FREEZE: before_freeze},
            start_new_session=True,
            pass_fds=keep_open,
        )
        return Running(verb, log, child)


@dataclass(frozen=True)
class Running:
    """A CRIU at work."""

    verb: str
    log: Path
    child: subprocess.Popen[bytes]

    def wait(self, timeout_s: float) -> None:
        """Raises CriuError with the first error that it logged."""
        try:
            ended = _ends(self.child, timeout_s)
        except BaseException:  # Ctrl-C is for us, not for it
            self.child.wait()
            raise
        if not ended:
            self.kill()
            raise CriuError(f"criu {self.verb}: no end within {timeout_s:g} s")
        code = self.child.wait()
        if code:
            self.kill()  # where it was killed itself, children of its may wait for it for ever
            raise CriuError(f"criu {self.verb}: {_reason(self.log) or f'exit status {code}'}")

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()


def _ends(child: subprocess.Popen[bytes], timeout_s: float) -> bool:
    """Within that time. Seen at once: Popen.wait with a timeout looks every 50 ms only."""
    if child.poll() is not None:
        return True
    descriptor = os.pidfd_open(child.pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))
    finally:
        os.close(descriptor)


class WaitingRestore:
    """A restore that has made its own preparations, longer than the rest, and waits for the images.

    The first image that CRIU opens, after its preparations, is the inventory: a FIFO here. Where it is closed unwritten
    the restore fails, see `end_orphan`.
    """

    def __init__(self, folder: Path, start: Callable[[], Running]) -> None:
        """`start` starts the restore from that folder, which has no images yet."""
        self._folder, self._inventory = folder, -1
        os.mkfifo(folder / INVENTORY)
        self._running = start()
        try:
            deadline = time.monotonic() + WAIT_TIMEOUT_S
            while (found := _open_to_write(folder / INVENTORY)) < 0:
                if self._running.child.poll() is not None or time.monotonic() > deadline:
                    self._running.wait(0.0)
                    raise CriuError("criu restore: it did not wait for its images")
                time.sleep(0.002)
            self._inventory = found
        except BaseException:
            self._running.kill()
            raise

    def go_on(self, images: Path, timeout_s: float) -> None:
        """With what a dump left in another folder beside ours. Raises CriuError."""
        for image in images.iterdir():
            if image.name != INVENTORY:
                (self._folder / image.name).symlink_to(f"../{images.name}/{image.name}")
        os.write(self._inventory, (images / INVENTORY).read_bytes())
        self._close()
        self._running.wait(timeout_s)

    def give_up(self, timeout_s: float) -> None:
        """It may have ended."""
        self._close()
        with contextlib.suppress(CriuError):
            self._running.wait(timeout_s)

    @staticmethod
    def end_orphan(folder: Path) -> None:
        """One whose owner was killed: it waits for ever. Nothing happens where there is none."""
        if (descriptor := _open_to_write(folder / INVENTORY)) >= 0:
            os.close(descriptor)

    def _close(self) -> None:
        if self._inventory >= 0:
            os.close(self._inventory)
            self._inventory = -1


def wait_to_restore(
    criu: Criu, folder: Path, options: Sequence[str], *, namespace: Path, keep_open: Sequence[int] = ()
) -> WaitingRestore:
    start = lambda: criu.start("restore", folder, options, namespace=namespace, keep_open=keep_open)  # noqa: E731
    return WaitingRestore(folder, start)


def pause(folder: Path) -> str:
    """A `before_freeze` that waits for `go_ahead`, and fails where that does not come within seconds."""
    paused, ahead = (shlex.quote(str(folder / name)) for name in (PAUSED, AHEAD))
    return f": > {paused}; for i in $(seq {TRIES}); do [ ! -e {ahead} ] || exit 0; sleep 0.002; done; exit 1"


def await_pause(running: Running, folder: Path) -> None:
    """Of a dump with that `before_freeze`. Raises CriuError."""
    deadline = time.monotonic() + WAIT_TIMEOUT_S
    while not (folder / PAUSED).exists():
        if running.child.poll() is not None or time.monotonic() > deadline:
            running.wait(0.0)
            raise CriuError(f"criu {running.verb}: it did not come to the freeze")
        time.sleep(0.002)


def go_ahead(folder: Path) -> None:
    (folder / AHEAD).touch()


def restored(folder: Path) -> Process | None:
    """What a restore from there has made, by its pidfile `pid`."""
    return Process.of(int((folder / "pid").read_text()))


def _open_to_write(fifo: Path) -> int:
    """-1 where nobody waits to read it."""
    try:
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT):
            return -1
        raise


def tracks_memory(criu: Criu) -> bool:
    return criu.tracks_memory


def version(criu: Criu) -> str:
    return _text(criu.version)


def find() -> Criu:
    """On PATH or fetched before. Raises CriuMissing."""
    path = shutil.which("criu")
    found = _open((path,)) if path else None
    if isinstance(found, Criu):
        return found
    folder = _folder()
    if folder.is_dir() and isinstance(fetched := _open(_packaged(folder)), Criu):
        return fetched
    here = found or "no program `criu` on PATH"
    raise CriuMissing(f"{here}, none >= {_text(NEEDED)} in {folder}: `{FETCH}` fetches one")


def obtain() -> Criu:
    """`find`, else fetch it. Raises CriuMissing."""
    with contextlib.suppress(CriuMissing):
        return find()
    if platform.machine() not in LOADERS:
        raise CriuMissing(f"cannot fetch CRIU for {platform.machine()}, only for {', '.join(LOADERS)}")
    try:
        make_once(_folder(), lambda folder: fetch(["criu"], folder, SUITE))
    except FetchError as error:
        raise CriuMissing(f"cannot fetch CRIU: {error}") from None
    return find()


# Inside


def _open(command: Sequence[str]) -> Criu | str:
    """Or why it will not do."""
    try:
        done = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, timeout=CHECK_TIMEOUT_S, check=False
        )
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    found = re.search(r"Version: (\d+(?:\.\d+)*)", done.stdout)
    if done.returncode or not found:
        return f"{command[-1]} --version: {(done.stderr or done.stdout).strip() or f'exit status {done.returncode}'}"
    version = tuple(map(int, found[1].split(".")))
    return Criu(tuple(command), version) if version >= NEEDED else f"{command[-1]} is {found[1]}"


def _folder() -> Path:
    return cache_folder() / f"criu-{SUITE}-{platform.machine()}"


def _hook() -> Path:
    """An executable file, which is all that CRIU takes; not beside the images: /dev/shm may forbid execution."""
    file = cache_folder() / "criu-hook.sh"
    if not (file.exists() and file.read_text() == HOOK):
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file, 0o755) as fresh:
            fresh.write_text(HOOK)
    return file


def _packaged(folder: Path) -> tuple[str, ...]:
    """Run by the loader that came with it: the host's C library may be older."""
    libraries = folder / "usr/lib" / f"{platform.machine()}-linux-gnu"
    loader = libraries / LOADERS.get(platform.machine(), "ld.so")
    return str(loader), "--library-path", str(libraries), str(folder / "usr/sbin/criu")


def _reason(log: Path) -> str:
    """The first error in a log of CRIU's: those that follow are its consequences."""
    with contextlib.suppress(OSError):
        for line in log.read_text(errors="replace").splitlines():
            found = re.search(r"Error \([^)]*\): (.*)", line)
            if found and not found[1].startswith("rlimit:"):  # it goes on without
                return found[1].strip()
    return ""


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


if __name__ == "__main__":
    try:
        criu = obtain()
    except CriuMissing as missing:
        sys.exit(str(missing))
    print(_text(criu.version), *criu.command)
