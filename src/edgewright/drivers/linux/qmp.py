"""QEMU's monitor (QMP): commands and answers as JSON lines over a Unix socket.

A monitor talks to one client at a time; who comes meanwhile waits. Shapes: docs/interop/qmp-spec of QEMU.
"""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any, Self

from edgewright.drivers.linux.processes import Process

TIMEOUT_S = 10.0
LONGEST_PATH = 107  # bytes, unix(7)


class MonitorError(OSError):
    """A machine that does not answer, or QEMU's own reason why it does not obey."""


class Monitor:
    """Of a machine whose process may still be starting. Raises MonitorError."""

    def __init__(self, path: Path, machine: Process, timeout_s: float = TIMEOUT_S) -> None:
        self._left = b""
        self._socket = _connected(path, machine, time.monotonic() + timeout_s)
        self._socket.settimeout(timeout_s)
        try:
            self._read()  # its greeting
            self.execute("qmp_capabilities")
        except BaseException:
            self.close()
            raise

    def execute(self, command: str, **arguments: Any) -> Any:
        """What it returns; events that come before are dropped."""
        asked: dict[str, Any] = {"execute": command}
        if arguments:
            asked["arguments"] = {name.replace("_", "-"): value for name, value in arguments.items()}
        try:
            self._socket.sendall(json.dumps(asked).encode() + b"\n")
        except OSError as error:
            raise MonitorError(f"{command}: {error}") from None
        while True:
            said = self._read()
            if "error" in said:
                raise MonitorError(f"{command}: {said['error']['desc']}")
            if "return" in said:
                return said["return"]

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _read(self) -> dict[str, Any]:
        while b"\n" not in self._left:
            try:
                data = self._socket.recv(65536)
            except OSError as error:
                raise MonitorError(f"no answer: {error}") from None
            if not data:
                raise MonitorError("the machine has ended")
            self._left += data
        line, _, self._left = self._left.partition(b"\n")
        return dict(json.loads(line))


def _connected(path: Path, machine: Process, deadline: float) -> socket.socket:
    while True:
        made = socket.socket(socket.AF_UNIX)
        try:
            made.connect(str(path))
            return made
        except OSError as error:
            made.close()
            if not machine.alive:
                raise MonitorError("the machine has ended") from None
            if time.monotonic() > deadline:
                raise MonitorError(f"{path.name}: {error}") from None
        time.sleep(0.01)
