"""A PostgreSQL server of our own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_S = 30.0


class Absent(Exception):
    """Why there can be none."""


@contextmanager
def serving() -> Iterator[str]:
    """-> its address. Run by an unprivileged user, on loopback. Raises Absent."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        raise Absent("no PostgreSQL server under /usr/lib/postgresql (Debian: apt-get install postgresql)")
    if subprocess.run(["id", "postgres"], capture_output=True).returncode or shutil.which("setpriv") is None:
        raise Absent("no user `postgres` (or no `setpriv`) to run a PostgreSQL server as")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="edgewright-postgres-"))
    shutil.chown(folder, "postgres")
    run_as = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    server = None
    try:
        initdb = [programs[-1], "-D", folder / "data", "-A", "trust", "-U", "edgewright", "--no-sync"]
        subprocess.run([*run_as, *initdb], check=True, capture_output=True)
        options = ["-D", folder / "data", "-p", str(port), "-h", "127.0.0.1", "-k", folder, "-F"]
        server = subprocess.Popen([*run_as, programs[-1].with_name("postgres"), *options], stderr=subprocess.DEVNULL)
        ready = [programs[-1].with_name("pg_isready"), "-h", "127.0.0.1", "-p", str(port)]
        deadline = time.monotonic() + START_S
        while subprocess.run(ready, capture_output=True).returncode:
            assert time.monotonic() < deadline, "it does not come up"
            time.sleep(0.02)
        yield f"postgresql+psycopg://edgewright@127.0.0.1:{port}/postgres"
    finally:
        if server is not None:
            server.terminate()
            server.wait(20)
        shutil.rmtree(folder)
