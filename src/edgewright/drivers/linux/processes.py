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

LAUNCH = Path(__file__).with_name("launch.py")
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH")


@dataclass(frozen=True)
class Process:
    """A pid is reused by the kernel; together with its start time it names one process."""

    pid: int
    start_ticks: int  # /proc/PID/stat field 22, clock ticks since boot

    @staticmethod
    def of(pid: int) -> Process | None:
        """The running process of that pid; None where there is none (or a zombie)."""
        with contextlib.suppress(ChildProcessError):  # not our child: its parent reaps it
            os.waitpid(pid, os.WNOHANG)
        try:
            # The command's name stands in parentheses and may hold anything, spaces and parentheses too.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else Process(pid, int(fields[19]))

    @property
    def alive(self) -> bool:
        return Process.of(self.pid) == self

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


def launch(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    working_directory: Path | None,
    log: Path,
    join: Sequence[Path],
) -> Process:
    """Start `command` in its own session with output appended to `log`, inside the groups of the `join` files.

    Raises OSError or RuntimeError with the reason where it does not come to run the program.
    """
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    receive, report = os.pipe()
    try:
        with log.open("ab") as output:
            child = subprocess.Popen(
                [sys.executable, "-I", "-S", str(LAUNCH), str(report), *map(str, join), "--", *command],
                env=kept | dict(environment),
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
    child.returncode = 0  # it is reaped by pid (Process.of), as an adopted one is: Popen must not do so too
    process = Process.of(child.pid)
    if process is None:
        raise RuntimeError(f"{command[0]}: ended at once, see {log}")
    return process
