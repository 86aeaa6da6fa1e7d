"""Process trees that can be checkpointed: started apart from everything else, found again, ended whole."""

from __future__ import annotations

import contextlib
import os
import pkgutil
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from edgewright.drivers.linux.namespaces import FOLDER
from edgewright.drivers.linux.processes import Process, passed_on
from edgewright.drivers.linux.sockets import end_repair


def isolate(namespace: str, program: Sequence[str], environment: Mapping[str, str]) -> Process:
    """Start a program in a network namespace, first in a PID namespace of its own (isolate.py).

    Raises RuntimeError with the reason where it does not come to run.
    """
    code = pkgutil.get_data(__package__, "isolate.py")  # on another host it lies in no file
    assert code
    receive, report = os.pipe()
    try:
        command = [sys.executable, "-I", "-S", "-c", code.decode(), str(report), str(FOLDER / namespace), *program]
        subprocess.run(command, env=passed_on() | dict(environment), cwd="/", pass_fds=(report,), check=False)
    finally:
        os.close(report)
    with os.fdopen(receive) as stream:
        said = dict(line.split(" ", 1) for line in stream.read().splitlines())
    process = Process.of(int(said["pid"])) if "pid" in said and "error" not in said else None
    if process is None:
        raise RuntimeError(said.get("error", "it could not be started"))
    return process


def instances(variable: str, inside: str = "", outside: Sequence[str] = ()) -> list[Process]:
    """First processes of all trees started with this in their environment, `NAME=value`; where they are given, only
    inside a network namespace, which may be gone, and outside others.
    """
    wanted = variable.encode()
    only, others = _network(inside), [_network(name) for name in outside]

    def ours(entry: Path) -> bool:
        if wanted not in (entry / "environ").read_bytes().split(b"\0"):
            return False
        network = _identity(entry / "ns/net")
        return only in (None, network) and network not in others

    return _first_processes(ours)


def half_restored(namespace: str, folder: Path) -> list[Process]:
    """First processes of trees that a restore from the folder, cut short, left in a network namespace: they look like
    CRIU still, or have no memory yet that would say what they are.
    """
    network = _network(namespace)
    if network is None:
        return []
    mark = str(folder).encode()

    def cut_short(entry: Path) -> bool:
        return _identity(entry / "ns/net") == network and (
            mark in (entry / "cmdline").read_bytes() or not (entry / "environ").read_bytes()
        )

    return _first_processes(cut_short)


def tree(pid: int) -> list[int]:
    """A process and its descendants, parents first; those that end meanwhile may lack."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (thread / "children").read_text().split())
    return found


def send(pid: int, number: signal.Signals) -> None:
    """To a tree, leaves first: a parent that goes on finds its children running."""
    for one in reversed(tree(pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, number)


def alive(process: Process) -> bool:
    return process.alive


def thaw(process: Process, mend: bool) -> None:
    """A tree; `mend`: a dump may have left its sockets in repair mode."""
    if mend:
        for pid in tree(process.pid):
            end_repair(pid)
    send(process.pid, signal.SIGCONT)


def kill(process: Process) -> None:
    """A whole tree: the kernel ends a PID namespace with its first process."""
    if process.alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def end(processes: Sequence[Process], timeout_s: float) -> None:
    """Whole trees. Raises TimeoutError naming what stays."""
    for process in processes:
        kill(process)
    for process in processes:
        if not process.wait(timeout_s):
            raise TimeoutError(f"pid {process.pid} does not end within {timeout_s:g} s")


def memory_bytes(pid: int) -> int:
    """That an image of it would hold; files that are mapped are not in it."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text()
        return sum(int(size) for size in re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+) kB", status, re.MULTILINE)) * 1024
    return 0


def _first_processes(wanted: Callable[[Path], bool]) -> list[Process]:
    """Of PID namespaces other than ours, by their folders in /proc; those that end meanwhile may lack."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted(entry) and _is_first(entry):
                found.append(Process.of(int(entry.name)))
    return [process for process in found if process]


def _network(namespace: str) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        return _identity(FOLDER / namespace) if namespace else None
    return None


def _identity(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_dev, found.st_ino


def _is_first(entry: Path) -> bool:
    """Of its PID namespace, which is not ours."""
    numbers = re.search(r"^NSpid:(.*)$", (entry / "status").read_text(), re.MULTILINE)
    return numbers is not None and len(numbers[1].split()) > 1 and numbers[1].split()[-1] == "1"
