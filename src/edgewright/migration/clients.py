"""Clients of three applications, and what they notice while the service moves: a text server, SIP calls, a video.

The applications are those of the document's Fig. 4; the servers are in edgewright.demo and run as programs.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from edgewright.core.contracts import FloatArray
from edgewright.drivers.linux.namespaces import FOLDER, inside

PERIOD_S = 0.01  # between two lines of text
CALLS_PER_S = 20
T1_S = 0.5
LEASE_S = 2.0  # after which the video is asked for again
HEADER = struct.Struct("!Id")  # of a video's packet: number, time sent


@dataclass(frozen=True)
class Trace:
    """What a client received: of each answer or packet when, what it answers or when it was sent, and its size."""

    time_s: FloatArray  # [n] of time.monotonic(), rising
    sent_s: FloatArray  # [n] of whatever clock the sender has
    size_bytes: FloatArray  # [n]
    lost: int  # never came, or not in order

    def between(self, begin_s: float, end_s: float) -> Noticed:
        inside = (self.time_s >= begin_s) & (self.time_s <= end_s)
        times = np.concatenate(([begin_s], self.time_s[inside], [end_s]))
        transit_s = self.time_s[inside] - self.sent_s[inside]
        return Noticed(
            float(np.diff(times).max()),
            float(np.abs(np.diff(transit_s)).mean()) if transit_s.size > 1 else float("nan"),
            float(self.size_bytes[inside].sum() / (end_s - begin_s)),
        )


@dataclass(frozen=True)
class Noticed:
    """In a span of time."""

    gap_s: float  # longest without anything
    jitter_s: float  # mean difference of two transit times in a row, |D| of RFC 3550, 6.4.1
    bytes_per_s: float


class Client(Protocol):
    def stop(self) -> Trace: ...


class _Socket(ABC):
    """A client with a thread that receives, and one that sends."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        self._socket.settimeout(0.2)
        self._end = threading.Event()
        self._got: list[tuple[float, float, int]] = []
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> Trace:
        self._end.set()
        for thread in self._threads:
            thread.join()
        self._socket.close()
        got = np.array(self._got, dtype=float).reshape(-1, 3)
        return Trace(got[:, 0], got[:, 1], got[:, 2], self._lost())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._end.is_set():
            self.stop()

    @abstractmethod
    def _send(self) -> None: ...

    @abstractmethod
    def _receive(self) -> None: ...

    @abstractmethod
    def _lost(self) -> int: ...


class Text(_Socket):
    """Asks edgewright.demo.counter for a line every PERIOD_S over one connection."""

    def __init__(self, namespace: str, address: str, port: int) -> None:
        self._sent: list[float] = []
        self._disordered = 0
        super().__init__(inside(namespace, lambda: socket.create_connection((address, port), timeout=5.0)))

    def _send(self) -> None:
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        due_s = time.monotonic()
        while not self._end.is_set():
            self._sent.append(time.monotonic())
            with contextlib.suppress(OSError):
                self._socket.send(b"tick\n")
            due_s = max(due_s + PERIOD_S, time.monotonic())
            time.sleep(max(0.0, due_s - time.monotonic()))

    def _receive(self) -> None:
        left, deadline = b"", float("inf")
        while time.monotonic() < deadline and (len(self._got) < len(self._sent) or not self._end.is_set()):
            if self._end.is_set() and deadline == float("inf"):
                deadline = time.monotonic() + 1.0  # for what is under way
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                continue
            if not data:
                break
            now_s = time.monotonic()
            *lines, left = (left + data).split(b"\n")
            for line in lines:
                number = len(self._got)
                self._disordered += int(line.split()[0]) != number + 1
                self._got.append((now_s, self._sent[number], len(line) + 1))

    def _lost(self) -> int:
        return self._disordered + len(self._sent) - len(self._got)


class Video(_Socket):
    """Watches edgewright.demo.video."""

    def __init__(self, namespace: str, address: str, port: int) -> None:
        self._numbers: list[int] = []
        opened = inside(namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        opened.connect((address, port))
        super().__init__(opened)

    def _send(self) -> None:
        while not self._end.is_set():
            with contextlib.suppress(OSError):
                self._socket.send(b"play")
            self._end.wait(LEASE_S)

    def _receive(self) -> None:
        while not self._end.is_set():
            with contextlib.suppress(OSError):
                data = self._socket.recv(2048)
                number, sent_s = HEADER.unpack_from(data)
                self._got.append((time.monotonic(), sent_s, len(data)))
                self._numbers.append(number)

    def _lost(self) -> int:
        numbers = np.array(self._numbers)
        return int(numbers.max() - numbers.min() + 1 - np.unique(numbers).size) if numbers.size else 0


class Calls(_Socket):
    """Makes CALLS_PER_S calls to a SIP server; what has no answer within T1_S is said again (RFC 3261, 17.1.1)."""

    def __init__(self, namespace: str, address: str, port: int) -> None:
        self._peer = f"{address}:{port}"
        self._open: dict[str, tuple[str, float, float]] = {}  # by call: what waits for an answer, said first, and last
        self._number, self._change = 0, threading.Lock()
        opened = inside(namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        opened.connect((address, port))
        super().__init__(opened)

    def _send(self) -> None:
        due_s = time.monotonic()
        while not self._end.is_set():
            with self._change:
                self._number += 1
                self._say(str(self._number), "INVITE")
                for call, (method, first_s, last_s) in list(self._open.items()):
                    if time.monotonic() - last_s > T1_S:
                        self._say(call, method, first_s)
            due_s = max(due_s + 1 / CALLS_PER_S, time.monotonic())
            self._end.wait(max(0.0, due_s - time.monotonic()))

    def _say(self, call: str, method: str, first_s: float | None = None) -> None:
        now_s = time.monotonic()
        if method != "ACK":
            self._open[call] = method, first_s or now_s, now_s
        heads = f"From: <sip:client@edge>;tag={call}\r\nTo: <sip:service@edge>\r\nCall-ID: {call}\r\n"
        with contextlib.suppress(OSError):
            self._socket.send(f"{method} sip:service@{self._peer} SIP/2.0\r\n{heads}CSeq: 1 {method}\r\n\r\n".encode())

    def _receive(self) -> None:
        deadline = float("inf")
        while time.monotonic() < deadline and (self._open or not self._end.is_set()):
            if self._end.is_set() and deadline == float("inf"):
                deadline = time.monotonic() + 1.0  # for what is under way
            try:
                data = self._socket.recv(65536)
            except OSError:
                continue
            call, sequence = _heads(data.decode(errors="replace"))
            method = sequence.rpartition(" ")[2]
            with self._change:
                if not data.startswith(b"SIP/2.0 200") or self._open.get(call, ("",))[0] != method:
                    continue
                self._got.append((time.monotonic(), self._open.pop(call)[1], len(data)))
                if method == "INVITE":
                    self._say(call, "ACK")
                    self._say(call, "BYE")

    def _lost(self) -> int:
        return len(self._open)


class SippCalls:
    """The same by `sipp` (https://sipp.sourceforge.net), from its log of messages."""

    def __init__(self, namespace: str, address: str, port: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="edgewright-")
        words = ["sipp", "-sn", "uac", f"{address}:{port}", "-r", str(CALLS_PER_S), "-nostdin", "-trace_msg"]
        words += ["-message_file", "messages", "-message_overwrite", "false", "-buff_size", "1048576"]
        self._offset_s = time.monotonic() - time.time()
        self._child = subprocess.Popen(
            ["nsenter", f"--net={FOLDER / namespace}", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder.name,
        )

    def stop(self) -> Trace:
        self._child.send_signal(signal.SIGUSR1)  # calls that are made end first
        try:
            self._child.wait(5.0)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        try:
            return read_messages((Path(self._folder.name) / "messages").read_text(errors="replace"), self._offset_s)
        finally:
            self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
            self._folder.cleanup()


_MESSAGE = re.compile(
    r"^-{10,} (\d{4}-\d\d-\d\d)\s+(\d\d:\d\d:\d\d\.\d+)\s*\nUDP message (sent|received) (?:\[\d+\] bytes ?)?[^\n]*\n\n",
    re.MULTILINE,
)


def read_messages(log: str, offset_s: float) -> Trace:
    """A log of sipp's: answers to INVITE and BYE. A call that has no last answer counts as lost.

    `offset_s` turns its wall clock into ours. A request that is repeated was sent when it was sent first.
    """
    found = list(_MESSAGE.finditer(log))
    ends = [one.start() for one in found[1:]] + [len(log)]
    sent: dict[tuple[str, str], float] = {}
    got: dict[tuple[str, str], tuple[float, float, int]] = {}
    for one, end in zip(found, ends, strict=True):
        text = log[one.end() : end]
        key = _heads(text)
        if not all(key):
            continue
        at_s = datetime.fromisoformat(f"{one[1]} {one[2]}").timestamp() + offset_s
        if one[3] == "sent":
            sent.setdefault(key, at_s)
        elif text.startswith("SIP/2.0 200") and key in sent and key not in got:
            got[key] = at_s, sent[key], len(text.strip())
    begun = {call for call, sequence in sent if sequence.endswith("INVITE")}
    ended = {call for call, sequence in got if sequence.endswith("BYE")}
    rows = np.array(sorted(got.values())).reshape(-1, 3)
    return Trace(rows[:, 0], rows[:, 1], rows[:, 2], len(begun - ended))


def _heads(message: str) -> tuple[str, str]:
    """Call-ID and CSeq of a SIP message; empty where it has none."""
    call, sequence = (re.search(rf"^{name}: *(.*?)\r?$", message, re.MULTILINE) for name in ("Call-ID", "CSeq"))
    return call[1] if call else "", sequence[1] if sequence else ""


def calls(namespace: str, address: str, port: int) -> contextlib.AbstractContextManager[Client]:
    """By sipp where it is there."""
    return (SippCalls if shutil.which("sipp") else Calls)(namespace, address, port)


@dataclass(frozen=True)
class Application:
    """A server to move, and who talks to it."""

    program: str  # in edgewright.demo
    port: int
    connect: Callable[[str, str, int], contextlib.AbstractContextManager[Client]]  # namespace, address, port
    probe: bytes = b""  # a datagram that it answers; without, it accepts TCP connections

    def await_ready(self, namespace: str, address: str, timeout_s: float) -> None:
        """Raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        with inside(namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as asking:
            asking.settimeout(0.2)
            while self.probe:
                with contextlib.suppress(OSError):
                    asking.sendto(self.probe, (address, self.port))
                    if asking.recv(2048):
                        return
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{self.program}: no answer at port {self.port} within {timeout_s:g} s")


OPTIONS = b"OPTIONS sip:service@edge SIP/2.0\r\nCall-ID: probe\r\nCSeq: 1 OPTIONS\r\nTo: <sip:service@edge>\r\n\r\n"
APPLICATIONS = {
    "text": Application("counter.py", 7000, Text),
    "sip": Application("dialogue.py", 5060, calls, OPTIONS),
    "video": Application("video.py", 5004, Video, b"play"),
}
