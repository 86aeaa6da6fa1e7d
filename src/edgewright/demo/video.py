"""Sends video-like streams over UDP: frames at a fixed pace, of several packets each, as RTP has them (RFC 3550, 5.1).

`python -m edgewright.demo.video --address A --port P --memory-mb M`: whoever sends a datagram gets the stream for
LEASE_S from then on. Each packet has a sequence number and the time it was sent, s of a clock that never steps, and
PACKET_BYTES in all. Needs no more than the standard library of a minimal Python.
"""

from __future__ import annotations

import argparse
import random
import socket
import struct
import time

PORT = 5004
FRAMES_PER_S, PACKETS, PACKET_BYTES = 25, 8, 1250  # 2 Mb/s
LEASE_S = 5.0
HEADER = struct.Struct("!Id")


def serve(address: str, port: int, memory_mb: int) -> None:
    memory, block = bytearray(), random.Random(0).randbytes(1 << 20)
    for _ in range(memory_mb):
        memory += block  # every page is in use
    watching: dict[tuple[str, int], tuple[float, int]] = {}  # until when, next number
    body = bytes(PACKET_BYTES - HEADER.size)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind((address, port))
        due_s = time.monotonic()
        while memory:
            own.settimeout(max(due_s - time.monotonic(), 1e-4))
            try:
                peer = own.recvfrom(64)[1]
                watching[peer] = time.monotonic() + LEASE_S, watching.get(peer, (0.0, 0))[1]
            except TimeoutError:
                pass
            if (now_s := time.monotonic()) < due_s:
                continue
            due_s = max(due_s + 1 / FRAMES_PER_S, now_s - 1.0)
            watching = {peer: kept for peer, kept in watching.items() if kept[0] > now_s}
            for peer, (until_s, number) in watching.items():
                for packet in range(number, number + PACKETS):
                    own.sendto(HEADER.pack(packet % 2**32, time.monotonic()) + body, peer)
                watching[peer] = until_s, number + PACKETS


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--memory-mb", type=int, default=20)
    given = parser.parse_args()
    serve(given.address, given.port, given.memory_mb)


if __name__ == "__main__":
    main()
