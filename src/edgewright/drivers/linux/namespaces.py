"""Network namespaces of Linux that bear their owner's name, and commands inside them.

A name is `edgewright-<pid>-<start ticks>-<number>-<label>`: it says which process made it, so that what a crashed one
left can be told from what another one uses.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import subprocess
import threading
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TypeVar

from edgewright.drivers.linux.processes import Process

FOLDER = Path("/run/netns")  # where ip-netns(8) keeps them
CLONE_NEWNET = 0x40000000
TIMEOUT_S = 30.0
_OURS = re.compile(r"(edgewright-(\d+)-(\d+)-\d+-).+")
_numbers = itertools.count()
Result = TypeVar("Result")


class NetworkError(Exception):
    """A command that failed: the command and the kernel's reason."""


def new_prefix() -> str:
    """Of the names of one network of this process."""
    owner = Process.of(os.getpid())
    assert owner is not None
    return f"edgewright-{owner.pid}-{owner.start_ticks}-{next(_numbers)}-"


def remove(names: Iterable[str]) -> None:
    """With all devices in them. Those that are not there, or go meanwhile, are fine. Raises NetworkError naming what
    stays.
    """
    names, trouble = list(names), ""
    there = [name for name in names if (FOLDER / name).exists()]
    if there:
        try:
            batch("ip", [f"netns del {name}" for name in there], go_on=True)
        except NetworkError as error:
            trouble = str(error)
    if left := [name for name in names if (FOLDER / name).exists()]:
        raise NetworkError(f"namespaces {', '.join(left)} stay: {trouble}")


def reconcile(spared: Collection[str] = ()) -> list[str]:
    """Remove what processes that are no more left behind, but for these prefixes -> the names removed."""
    left = []
    for entry in FOLDER.glob("edgewright-*"):
        match = _OURS.fullmatch(entry.name)
        if match and match[1] not in spared and not Process(int(match[2]), int(match[3])).alive:
            left.append(entry.name)
    remove(left)
    return sorted(left)


def batch(program: str, commands: Iterable[str], namespace: str | None = None, *, go_on: bool = False) -> None:
    """Run commands of `ip` or `tc` until one fails, or all. Raises NetworkError naming the first that failed."""
    lines = list(commands)
    where = [*(["-n", namespace] if namespace else []), *(["-force"] if go_on else [])]
    try:
        done = subprocess.run(
            [program, *where, "-batch", "-"],
            input="\n".join([*lines, ""]),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise NetworkError(f"no program `{program}` (iproute2) on PATH") from None
    except subprocess.TimeoutExpired:
        raise NetworkError(f"{program}: no answer within {TIMEOUT_S:g} s") from None
    if done.returncode:
        failed = re.search(r"Command failed -:(\d+)", done.stderr)
        command = lines[int(failed[1]) - 1] if failed else " ".join(where)
        reason = " ".join(done.stderr.replace(failed[0] if failed else "", "").split())
        raise NetworkError(f"{program} {command}: {reason or f'exit status {done.returncode}'}")


def inside(namespace: str, do: Callable[[], Result]) -> Result:
    """Call in a namespace. A socket or a file that it opens stays there."""
    found: list[Result] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            descriptor = os.open(FOLDER / namespace, os.O_RDONLY)
            try:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(descriptor, CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), namespace)
            finally:
                os.close(descriptor)
            found.append(do())
        except BaseException as error:
            failed.append(error)

    # A namespace is a thread's own: a thread that ends takes the change with it.
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]
