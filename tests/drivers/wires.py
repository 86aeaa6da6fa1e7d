"""TCP between network namespaces: whether it gets through, and how much of it."""

from __future__ import annotations

import contextlib
import functools
import socket
import threading
import time

from edgewright.drivers.linux.namespaces import inside

PORT = 5555


def reaches(source: str, target: str, address: str) -> bool:
    with inside(target, lambda: socket.create_server((address, PORT))):
        try:
            inside(source, lambda: socket.create_connection((address, PORT), timeout=0.5)).close()
        except OSError:
            return False
        return True


def goodput_mbps(flows: list[tuple[str, str, str]], duration_s: float = 1.0) -> float:
    """TCP payload that arrives by all flows (from namespace, to namespace, address) together, after a warm-up."""
    received = [0] * len(flows)
    with contextlib.ExitStack() as stack:
        threads = []
        for i, (source, target, address) in enumerate(flows):
            listen = functools.partial(socket.create_server, (address, PORT))
            connect = functools.partial(socket.create_connection, (address, PORT), timeout=5)
            listening = stack.enter_context(inside(target, listen))
            sender = stack.enter_context(inside(source, connect))
            accepted = stack.enter_context(listening.accept()[0])

            def receive(i: int = i, accepted: socket.socket = accepted) -> None:
                with contextlib.suppress(OSError):
                    while data := accepted.recv(1 << 20):
                        received[i] += len(data)

            def send(sender: socket.socket = sender) -> None:
                with contextlib.suppress(OSError):
                    while True:
                        sender.sendall(bytes(1 << 16))

            threads += [threading.Thread(target=do, daemon=True) for do in (receive, send)]
            stack.callback(sender.shutdown, socket.SHUT_RDWR)
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        began_s, before = time.monotonic(), sum(received)
        time.sleep(duration_s)
        return (sum(received) - before) * 8e-6 / (time.monotonic() - began_s)
