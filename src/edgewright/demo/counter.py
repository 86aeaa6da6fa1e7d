"""A TCP service whose state would be missed: a counter per connection and some memory.

`python -m edgewright.demo.counter --address A --port P --memory-mb M`: each line that comes in is answered by a line,
the connection's counter and a checksum of the memory.
"""

from __future__ import annotations

import argparse
import random
import selectors
import socket
import zlib

PORT = 7000


def serve(address: str, port: int, memory_mb: int) -> None:
    memory, block = bytearray(), random.Random(0).randbytes(1 << 20)
    for _ in range(memory_mb):
        memory += block  # every page is in use
    checksum = zlib.crc32(memory)
    with socket.create_server((address, port), backlog=64) as listening, selectors.DefaultSelector() as selector:
        selector.register(listening, selectors.EVENT_READ)
        counters: dict[socket.socket, int] = {}
        while True:
            for key, _ in selector.select():
                if key.fileobj is listening:
                    connection = listening.accept()[0]
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    counters[connection] = 0
                    selector.register(connection, selectors.EVENT_READ)
                    continue
                connection = key.fileobj  # type: ignore[assignment]
                try:
                    data = connection.recv(65536)
                    answer = b""
                    for _ in range(data.count(b"\n")):
                        counters[connection] += 1
                        answer += b"%d %d\n" % (counters[connection], checksum)
                    if not data:
                        raise ConnectionError
                    connection.sendall(answer)
                except OSError:
                    selector.unregister(connection)
                    del counters[connection]
                    connection.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--memory-mb", type=int, default=20)
    given = parser.parse_args()
    serve(given.address, given.port, given.memory_mb)


if __name__ == "__main__":
    main()
