"""Sockets of other processes: which there are, and TCP's out of repair mode.

A dump leaves the TCP sockets of a process that it only stops in repair mode (TCP_REPAIR): they are mute, and their
owner gets EPERM.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

PIDFD_GETFD = 438  # syscall number, the same on all architectures
TCP_REPAIR, ON, OFF = 19, 1, 0  # linux/tcp.h
LISTENS = "0A"  # a state in /proc/net/tcp


def end_repair(pid: int) -> int:
    """Of all sockets that a process has open -> how many were in repair mode. It need not be there any more."""
    mended = 0
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            for number in sockets(pid):
                with contextlib.suppress(OSError):  # closed meanwhile, or no TCP
                    mended += _end_repair(descriptor, number)
        finally:
            os.close(descriptor)
    return mended


def sockets(pid: int) -> dict[int, str]:
    """A process's open sockets: inode by file descriptor."""
    return dict(_sockets(pid))


def listening(file: str) -> list[tuple[tuple[str, int], str]]:
    """TCP sockets that listen, of a file like /proc/net/tcp -> (address, port), inode."""
    found = []
    with contextlib.suppress(OSError):
        for line in Path(file).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENS:
                address, port = fields[1].split(":")
                packed = int(address, 16).to_bytes(4, sys.byteorder)
                found.append(((socket.inet_ntoa(packed), int(port, 16)), fields[9]))
    return found


def has_sctp(pid: int) -> bool:
    """Anywhere in a process's network namespace."""
    with contextlib.suppress(OSError):
        return len(Path(f"/proc/{pid}/net/sctp/eps").read_text().splitlines()) > 1
    return False


def _sockets(pid: int) -> Iterator[tuple[int, str]]:
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if found := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry)):
                    yield int(entry.name), found[1]


def _end_repair(process: int, number: int) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    copied = libc.syscall(PIDFD_GETFD, process, number, 0)
    if copied < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    with socket.socket(fileno=copied) as one:
        if one.getsockopt(socket.IPPROTO_TCP, TCP_REPAIR) != ON:
            return False
        one.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, OFF)
        # Repair mode forgets it; with it the service can be started again while old connections end.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return True
