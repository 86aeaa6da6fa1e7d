"""Round-trip times between the client and the nodes of an Edge, measured by UDP probes.

On one host the way is short: responders hold each answer back by a delay that one sets, as distance would (kernels
without `netem` have no other).
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Self

import numpy as np

from edgewright.core.contracts import FloatArray
from edgewright.drivers.linux.edge import CLIENT, Edge
from edgewright.drivers.linux.namespaces import inside

PORT = 7001
KEPT = 5  # probes in a mean (eq. 1 of "DRL-based Service Migration for MEC Cloud-Native 5G and beyond Networks")
_PROBE = struct.Struct("!Q")


def _socket(edge: Edge, node: str, address: str = "", port: int = 0) -> socket.socket:
    def make() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((address, port))
        return made

    return inside(edge.namespace(node), make)


class Responders:
    """One per node, which answers a probe after `delay_ms`, float[N]."""

    def __init__(self, edge: Edge) -> None:
        self.delay_ms: Sequence[float] = [0.0] * len(edge.nodes)
        self._sockets = [_socket(edge, node, edge.own_address(node), PORT) for node in edge.nodes]
        self._threads = [threading.Thread(target=self._answer, args=(i,), daemon=True) for i in range(len(edge.nodes))]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # wakes the thread
        for thread, one in zip(self._threads, self._sockets, strict=True):
            thread.join()
            one.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _answer(self, node: int) -> None:
        own, waiting = self._sockets[node], deque[tuple[float, bytes, tuple[str, int]]]()  # with when it is due, s
        while True:
            own.settimeout(max(1e-4, waiting[0][0] - time.monotonic()) if waiting else None)
            try:
                probe, asker = own.recvfrom(64)
                if not probe:  # closed
                    return
                waiting.append((time.monotonic() + self.delay_ms[node] / 1e3, probe, asker))
            except TimeoutError:
                pass
            while waiting and waiting[0][0] <= time.monotonic():
                _, probe, asker = waiting.popleft()
                with contextlib.suppress(OSError):  # closed meanwhile
                    own.sendto(probe, asker)


class Probes:
    """Asks every node each `period_s`, from the client. A probe that is not answered within `timeout_s` counts as so
    long.
    """

    def __init__(self, edge: Edge, period_s: float = 0.2, timeout_s: float = 1.0) -> None:
        self.period_s, self._timeout_s = period_s, timeout_s
        self._addresses = [(edge.own_address(node), PORT) for node in edge.nodes]
        self._numbers = {address: i for i, address in enumerate(self._addresses)}
        self._seen: list[deque[float]] = [deque(maxlen=KEPT) for _ in edge.nodes]
        self._socket, self._lock, self._end = _socket(edge, CLIENT), threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._probe, daemon=True)
        self._thread.start()

    def mean_ms(self) -> FloatArray:
        """Of the last KEPT probes of each node, ms, float[N]; waits for the first."""
        deadline = time.monotonic() + self._timeout_s + self.period_s
        while True:
            with self._lock:
                if all(self._seen):
                    return np.array([1e3 * np.mean(times) for times in self._seen])
            if time.monotonic() > deadline:
                raise TimeoutError("no probe has ended")
            time.sleep(0.001)

    def close(self) -> None:
        self._end.set()
        self._thread.join()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _probe(self) -> None:
        waiting: dict[tuple[int, int], float] = {}  # (node, number of the round) -> when it was sent, s
        number, due_s = 0, time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            while not self._end.is_set():
                if (now := time.monotonic()) >= due_s:
                    number, due_s = number + 1, max(due_s + self.period_s, now)
                    for node, address in enumerate(self._addresses):
                        waiting[node, number] = time.monotonic()
                        self._socket.sendto(_PROBE.pack(number), address)
                if selector.select(max(0.0, min(due_s - time.monotonic(), 0.1))):
                    answer, sender = self._socket.recvfrom(64)
                    key = self._numbers.get(sender, -1), *_PROBE.unpack(answer)
                    if (sent_s := waiting.pop(key, None)) is not None:
                        self._keep(key[0], time.monotonic() - sent_s)
                for key, sent_s in list(waiting.items()):
                    if time.monotonic() - sent_s > self._timeout_s:
                        del waiting[key]
                        self._keep(key[0], self._timeout_s)

    def _keep(self, node: int, seconds: float) -> None:
        with self._lock:
            self._seen[node].append(seconds)
