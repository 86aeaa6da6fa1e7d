"""A client that notices what a service's migration costs: it asks every PERIOD_S over one connection.

The service answers each line by a line that begins with how many lines came over this connection
(`edgewright.demo.counter` does).
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

PERIOD_S = 0.01


@dataclass(frozen=True)
class Watched:
    answers: int
    max_gap_s: float  # longest time between two answers
    connections_lost: int
    lost: int  # answers whose counter does not follow the one before on the same connection
    unanswered: int  # lines sent and not answered at the end


class Watcher:
    """Sends a line every PERIOD_S over one connection and reads the answers; in threads, from its start to `stop`.

    `connect` opens the connection, and a new one where it is lost.
    """

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect
        self._end, self._change = threading.Event(), threading.Lock()
        self._answers = self._connections_lost = self._lost = self._sent = 0
        self._max_gap_s, self._last_s = 0.0, 0.0
        self._socket = self._connected()
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    @property
    def answers(self) -> int:
        return self._answers

    @property
    def max_gap_s(self) -> float:
        """So far; the time since the last answer counts."""
        return max(self._max_gap_s, time.monotonic() - self._last_s if self._last_s else 0.0)

    @property
    def seen(self) -> Watched:
        """So far; what is under way counts as unanswered."""
        return Watched(self._answers, self.max_gap_s, self._connections_lost, self._lost, self._sent - self._answers)

    def restart_gap(self) -> None:
        self._max_gap_s = 0.0

    def stop(self) -> Watched:
        gap_s = self.max_gap_s
        self._end.set()
        self._threads[0].join()
        deadline = time.monotonic() + 2.0
        while self._answers < self._sent and not self._connections_lost and time.monotonic() < deadline:
            time.sleep(0.01)
        with self._change, contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._threads[1].join()
        self._socket.close()
        return replace(self.seen, max_gap_s=gap_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._end.is_set():
            self.stop()

    def _connected(self) -> socket.socket:
        made = self._connect()
        made.settimeout(None)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def _send(self) -> None:
        due_s = time.monotonic()
        while not self._end.is_set():
            with contextlib.suppress(OSError):  # the receiver sees it too, and connects anew
                self._socket.send(b"tick\n")
                self._sent += 1
            due_s = max(due_s + PERIOD_S, time.monotonic())
            time.sleep(max(0.0, due_s - time.monotonic()))

    def _receive(self) -> None:
        left, counter, connected = b"", 0, True
        while True:
            try:
                data = self._socket.recv(65536)
            except OSError:
                data = b""
            if not data:
                if self._end.is_set():
                    return
                self._connections_lost += connected
                connected = False
                with contextlib.suppress(OSError):
                    left, counter, fresh = b"", 0, self._connected()
                    connected = True
                    with self._change:
                        self._socket.close()
                        self._socket = fresh
                        if self._end.is_set():  # `stop` has shut down the one before
                            return
                    continue
                time.sleep(0.05)
                continue
            now_s = time.monotonic()
            if self._last_s:
                self._max_gap_s = max(self._max_gap_s, now_s - self._last_s)
            self._last_s = now_s
            *lines, left = (left + data).split(b"\n")
            for line in lines:
                counter += 1
                if int(line.split()[0]) != counter:
                    self._lost, counter = self._lost + 1, int(line.split()[0])
                self._answers += 1
