"""A PostgreSQL server of the tests' own, and on it a database for each data folder of an orchestrator."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

used = False
"""Whether orchestrators keep their state in it: see `--database`."""
_address = ""
_made: dict[Path, str] = {}  # data folder -> name of its database


@contextmanager
def server() -> Iterator[str]:
    """Run by an unprivileged user on loopback -> the address of its first database."""
    global _address
    pytest.importorskip("psycopg")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    refuse = pytest.fail if used or os.environ.get("EDGEWRIGHT_REQUIRE_REAL") else pytest.skip
    if not programs:
        refuse("no PostgreSQL server under /usr/lib/postgresql (Debian: apt-get install postgresql)")
    if subprocess.run(["id", "postgres"], capture_output=True).returncode or shutil.which("setpriv") is None:
        refuse("no user `postgres` (or no `setpriv`) to run a PostgreSQL server as")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="edgewright-postgres-"))
    shutil.chown(folder, "postgres")
    run_as = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    process = None
    try:
        initdb = [programs[-1], "-D", folder / "data", "-A", "trust", "-U", "edgewright", "--no-sync"]
        subprocess.run([*run_as, *initdb], check=True, capture_output=True)
        options = ["-D", folder / "data", "-p", str(port), "-h", "127.0.0.1", "-k", folder, "-F"]
        process = subprocess.Popen([*run_as, programs[-1].with_name("postgres"), *options], stderr=subprocess.DEVNULL)
        ready = [programs[-1].with_name("pg_isready"), "-h", "127.0.0.1", "-p", str(port)]
        deadline = time.monotonic() + 30
        while subprocess.run(ready, capture_output=True).returncode:
            assert time.monotonic() < deadline, "PostgreSQL does not start"
            time.sleep(0.05)
        _address = f"postgresql+psycopg://edgewright@127.0.0.1:{port}"
        yield f"{_address}/postgres"
    finally:
        if process is not None:
            process.send_signal(signal.SIGINT)  # a fast shutdown: it waits for no client
            process.wait(20)
        shutil.rmtree(folder)
        _address = ""
        _made.clear()


def database_of(folder: Path) -> str | None:
    """The address of the database for a data folder, the same each time; None where SQLite is in it."""
    if not used:
        return None
    folder = folder.resolve()
    if folder not in _made:
        name = f"of_{hashlib.sha256(str(folder).encode()).hexdigest()[:20]}"
        _execute(f'CREATE DATABASE "{name}"')
        _made[folder] = name
    return f"{_address}/{_made[folder]}"


def drop_databases(under: Path) -> None:
    """Of data folders there: a test has ended."""
    for folder in [folder for folder in _made if folder.is_relative_to(under.resolve())]:
        _execute(f'DROP DATABASE "{_made.pop(folder)}" WITH (FORCE)')


def _execute(command: str) -> None:
    """Outside of a transaction, as databases have to be."""
    import psycopg

    address = f"{_address}/postgres".replace("+psycopg", "")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(command)  # type: ignore[arg-type]
