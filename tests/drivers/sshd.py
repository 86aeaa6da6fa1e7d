"""A host to reach by ssh that is this machine: an sshd with a PID and a mount namespace of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from edgewright.drivers.linux.hosts import Host

# Signals are ignored, children reaped: what a host's first process does.
FIRST = "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nprint(flush=True)\nwhile True: signal.pause()"


class Server:
    """`folder` holds keys and configuration, `host.folder` the images."""

    def __init__(self, folder: Path, images: Path) -> None:
        self._folder = folder
        for name in ("host", "own"):
            key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(key, check=True, stdin=subprocess.DEVNULL)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
        (folder / "config").write_text(
            f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/own.pub\n"
            "PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"
        )
        self.host = Host(
            "root@127.0.0.1", str(images), port, str(folder / "own"), str(folder / "known"), sys.executable
        )
        os.makedirs("/run/sshd", exist_ok=True)
        apart = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "slave"]
        self._apart = subprocess.Popen([*apart, sys.executable, "-I", "-S", "-c", FIRST], stdout=subprocess.PIPE)
        assert self._apart.stdout
        self._apart.stdout.readline()
        children = Path(f"/proc/{self._apart.pid}/task/{self._apart.pid}/children").read_text()
        self._first = int(children.split()[0])
        self._sshd: subprocess.Popen[bytes] | None = None
        self.start()

    def inside(self, *words: str) -> list[str]:
        """A command in its namespaces."""
        return ["nsenter", "--target", str(self._first), "--pid", "--mount", "--", *words]

    def start(self) -> None:
        """Unless it runs."""
        if self._sshd and self._sshd.poll() is None:
            return
        path = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
        assert path
        log = (self._folder / "log").open("ab")
        with log:
            command = self.inside(path, "-D", "-e", "-f", str(self._folder / "config"))
            self._sshd = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 10.0
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.host.port or 0), timeout=1.0).close()
                return
            assert time.monotonic() < deadline, (self._folder / "log").read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        """With its connections, not with what was started over them."""
        space = os.stat(f"/proc/{self._first}/ns/pid").st_ino
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.stat(entry / "ns/pid").st_ino == space and (entry / "comm").read_text().startswith("sshd"):
                    os.kill(int(entry.name), signal.SIGKILL)
        if self._sshd:
            self._sshd.wait()

    def close(self) -> None:
        self.stop()
        os.kill(self._first, signal.SIGKILL)
        self._apart.wait()


@contextlib.contextmanager
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="edgewright-sshd-") as folder:
        images = tempfile.mkdtemp(dir="/dev/shm", prefix="edgewright-test-far-")
        try:
            made = Server(Path(folder), Path(images))
            try:
                yield made
            finally:
                made.close()
        finally:
            shutil.rmtree(images, ignore_errors=True)
