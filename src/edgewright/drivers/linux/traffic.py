"""TCP traffic inside network namespaces: each flow offers its demand and takes the share that TCP finds.

The senders and the sink are one process of their own. `python -m edgewright.drivers.linux.traffic` reads lines of JSON:
first what there is, then the demand of every flow whenever it changes. It ends with its input, so that it does not
outlive who started it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, Self

from edgewright.core.errors import InputError
from edgewright.drivers.linux.namespaces import inside

PORT = 5201
SO_MAX_PACING_RATE = 47  # asm-generic/socket.h
UNSENT_BYTES = 65_536  # what waits in a socket beyond what is under way
RETRY_S = 0.05  # a source that has no path yet tries again so soon
MOST_MBPS = 1e7  # of a flow
CONTROL = b"reno"  # the host's default may be one that looks for the bandwidth anew for seconds


class Traffic:
    """Flows given as (namespace, address of the source), towards a sink (namespace, address). No demand at first.

    `offer` raises BrokenPipeError where the process of the senders has ended.
    """

    def __init__(self, flows: Sequence[tuple[str, str]], sink: tuple[str, str]) -> None:
        self._flows = len(flows)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edgewright.drivers.linux.traffic"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,  # a terminal's Ctrl-C is for who started it
        )
        try:
            self._tell({"flows": list(flows), "sink": sink})
            assert self._process.stdout is not None
            if not self._process.stdout.readline():
                raise RuntimeError("the traffic's process ended before its sink listened")
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def offer(self, demand_mbps: Sequence[float]) -> None:
        """Payload that each flow offers from now on, Mb/s; 0 ends its connection."""
        if len(demand_mbps) != self._flows:
            raise InputError("demand_mbps", f"{len(demand_mbps)} numbers", f"{self._flows}, one per flow")
        if not all(0 <= demand <= MOST_MBPS for demand in demand_mbps):
            raise InputError("demand_mbps", list(demand_mbps), f"0 .. {MOST_MBPS:g} each")
        try:
            self._tell([float(demand) for demand in demand_mbps])
        except BrokenPipeError:
            raise BrokenPipeError(errno.EPIPE, "the process of the senders has ended") from None

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        assert self._process.stdout is not None
        self._process.stdout.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _tell(self, words: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()


class _Senders:
    """What the process runs."""

    def __init__(self, flows: list[list[str]], sink: tuple[str, str]) -> None:
        self._flows, self._sink_address = flows, sink[1]
        self._wanted = [0.0] * len(flows)
        self._sockets: list[socket.socket | None] = [None] * len(flows)
        self._next_try_s = [0.0] * len(flows)
        self._selector = selectors.DefaultSelector()
        self._sink = inside(sink[0], self._listen)
        self._selector.register(self._sink, selectors.EVENT_READ)
        self._selector.register(0, selectors.EVENT_READ)
        self._payload, self._waste = bytes(UNSENT_BYTES), bytearray(1 << 20)

    def run(self) -> None:
        left = b""
        while True:
            for key, _ in self._selector.select(RETRY_S):
                if key.data is not None:
                    self._send(key.data)
                elif key.fileobj is self._sink:
                    accepted = self._sink.accept()[0]
                    accepted.setblocking(False)
                    self._selector.register(accepted, selectors.EVENT_READ)
                elif isinstance(key.fileobj, socket.socket):
                    self._swallow(key.fileobj)
                else:
                    data = os.read(key.fd, 1 << 16)
                    if not data:
                        return
                    *lines, left = (left + data).split(b"\n")
                    if lines:
                        self._offer(json.loads(lines[-1]))
            now_s = time.monotonic()
            for flow, demand in enumerate(self._wanted):
                if demand > 0 and self._sockets[flow] is None and now_s >= self._next_try_s[flow]:
                    self._next_try_s[flow] = now_s + RETRY_S
                    self._connect(flow)

    def _listen(self) -> socket.socket:
        return socket.create_server((self._sink_address, PORT), backlog=max(len(self._flows), 16))

    def _offer(self, demand_mbps: list[float]) -> None:
        self._wanted = demand_mbps
        for flow, sender in enumerate(self._sockets):
            if sender is not None and demand_mbps[flow] > 0:
                self._pace(sender, flow)
            elif sender is not None:
                self._drop(flow)

    def _connect(self, flow: int) -> None:
        namespace, address = self._flows[flow]
        sender = inside(namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        sender.setblocking(False)
        sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CONTROL)
        sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self._pace(sender, flow)
        sender.bind((address, 0))
        if sender.connect_ex((self._sink_address, PORT)) not in (0, errno.EINPROGRESS):
            sender.close()  # no path yet
            return
        self._sockets[flow] = sender
        self._selector.register(sender, selectors.EVENT_WRITE, flow)

    def _pace(self, sender: socket.socket, flow: int) -> None:
        rate = max(round(self._wanted[flow] * 1e6 / 8), 1)
        sender.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, rate.to_bytes(8, sys.byteorder))

    def _send(self, flow: int) -> None:
        sender = self._sockets[flow]
        if sender is None:  # dropped in this very round
            return
        try:
            sender.send(self._payload)
        except BlockingIOError:
            return
        except OSError:  # the connection is lost: another one is tried
            self._drop(flow)

    def _drop(self, flow: int) -> None:
        sender, self._sockets[flow] = self._sockets[flow], None
        assert sender is not None
        self._selector.unregister(sender)
        # Reset, not closed: what waits is not sent any more.
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, (1).to_bytes(4, sys.byteorder) + bytes(4))
        sender.close()

    def _swallow(self, receiver: socket.socket) -> None:
        try:
            count = receiver.recv_into(self._waste, 0, socket.MSG_TRUNC)  # thrown away in the kernel
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if count == 0:
            self._selector.unregister(receiver)
            receiver.close()


def main() -> None:
    said = json.loads(_first_line())
    senders = _Senders(said["flows"], tuple(said["sink"]))
    print("ready", flush=True)
    senders.run()


def _first_line() -> bytes:
    """Byte by byte: what follows is for the selector."""
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(0, 1)
        if not more:
            sys.exit()
        line += more
    return line


if __name__ == "__main__":
    main()
