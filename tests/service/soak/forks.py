"""`edgewright up` as processes that are forked, so that what each of them imports is imported once.

Run as a module: reads a command a line from standard input, answers each with a line; ends with its input.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
NEEDED = (
    "alembic.command",
    "edgewright.drivers.capabilities",
    "edgewright.drivers.linux.compute_chunks",
    "edgewright.drivers.linux.network",
    "edgewright.drivers.linux.network_chunks",
    "edgewright.service.loops.linux",
    "edgewright.service.up",
    "psycopg",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.httptools_impl",
)


class Forks:
    """The process that forks."""

    def __init__(self, environment: dict[str, str]) -> None:
        command = [sys.executable, __file__]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | environment
        )

    def start(self, arguments: list[str], log: Path) -> int:
        """-> pid of a new orchestrator."""
        return int(self._ask(start=arguments, log=str(log)))

    def ended(self, pid: int, *, wait: bool = False) -> int | None:
        """Its exit code, None while it lives; once for each."""
        code = self._ask(ended=pid, wait=wait)
        return None if code is None else int(code)

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def _ask(self, **what: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextmanager
def forking(**environment: str) -> Iterator[Forks]:
    forks = Forks(environment)
    try:
        yield forks
    finally:
        forks.close()


def main() -> None:
    from edgewright.cli import app

    _import_what_it_needs()
    for line in sys.stdin:
        what = json.loads(line)
        if "start" in what:
            if (pid := os.fork()) == 0:
                _become(what["log"])
                app(what["start"])  # ends with SystemExit
            answer: int | None = pid
        else:
            found, status = os.waitpid(what["ended"], 0 if what["wait"] else os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if found else None
        print(json.dumps(answer), flush=True)


def _import_what_it_needs() -> None:
    for name in NEEDED:
        with contextlib.suppress(ImportError):  # of an optional dependency
            importlib.import_module(name)


def _become(log: str) -> None:
    """A process of its own that ends with the one that forked it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    os.setsid()
    random.seed()
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for given, to in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(given, to)


if __name__ == "__main__":
    main()
