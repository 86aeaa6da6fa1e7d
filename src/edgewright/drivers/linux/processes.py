"""Processes that outlive the object that started them: identity, life, end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LOG_BYTES = 4_000_000  # kept of what a service's earlier starts wrote
LAUNCH = Path(__file__).with_name("launch.py")
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH")


@dataclass(frozen=True)
class Process:
    """A pid is reused by the kernel; together with its start time it names one process."""

    pid: int
    start_ticks: int

    @staticmethod
    def of(pid: int) -> Process | None:
        """The running process of that pid; None where there is none (or a zombie)."""
        state, start_ticks = _stat(pid)
        return Process(pid, start_ticks) if state not in "ZX" else None

    @property
    def alive(self) -> bool:
        state, start_ticks = _stat(self.pid)
        if state == "Z" and start_ticks == self.start_ticks:
            with contextlib.suppress(ChildProcessError):  # not our child: its parent reaps it
                os.waitpid(self.pid, os.WNOHANG)
        return state not in "ZX" and start_ticks == self.start_ticks

    def is_in_network(self, file: Path) -> bool:
        """Of this network namespace, as the kernel has it: a namespace made anew under an old name is another one."""
        try:
            own, other = Path(f"/proc/{self.pid}/ns/net").stat(), file.stat()
        except FileNotFoundError:
            return False
        return (own.st_dev, own.st_ino) == (other.st_dev, other.st_ino)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its process group (it leads its own session); a dead one is fine."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def wait(self, timeout_s: float) -> bool:
        """True once it has ended; False where it still runs after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while self.alive:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True


def passed_on() -> dict[str, str]:
    """What a service gets of our environment."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}


def launch(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    working_directory: Path | None,
    log: Path,
    join: Sequence[Path],
    network: Path | None = None,
) -> Process:
    """Start `command` in its own session with output appended to `log`, inside the groups of the `join` files and the
    network namespace of this file.

    Raises OSError or RuntimeError with the reason where it does not come to run the program.
    """
    _shorten(log)
    joined = [str(network or ""), *map(str, join)]
    receive, report = os.pipe()
    try:
        with log.open("ab") as output:
            child = subprocess.Popen(
                [sys.executable, "-I", "-S", str(LAUNCH), str(report), *joined, "--", *command],
                env=passed_on() | dict(environment),
                cwd=working_directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(report,),
            )
        os.close(report)
        report = -1
        with os.fdopen(receive, "rb", closefd=False) as stream:
            failure = stream.read().decode()
    finally:
        os.close(receive)
        if report >= 0:
            os.close(report)
    if failure:
        child.wait()
        raise RuntimeError(failure)
    child.returncode = 0  # it is reaped by pid (Process.alive), as an adopted one is: Popen must not do so too
    return Process(child.pid, _stat(child.pid)[1])


def _shorten(log: Path) -> None:
    """Move the end of a log that has grown over LOG_BYTES to `<log>.1`, and begin anew."""
    if not log.exists() or log.stat().st_size <= LOG_BYTES:
        return
    with contextlib.suppress(OSError), log.open("rb") as file:  # on a full disk it goes without a copy
        file.seek(-LOG_BYTES, os.SEEK_END)
        log.with_name(f"{log.name}.1").write_bytes(file.read())
    os.truncate(log, 0)


def _stat(pid: int) -> tuple[str, int]:
    """-> state letter (X: gone), start time in clock ticks since boot (proc_pid_stat(5), fields 3 and 22)."""
    try:
        # The command's name stands in parentheses and may hold anything, spaces and parentheses too.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return "X", 0
    return fields[0], int(fields[19])
