"""A hub's callback: a real HTTP server on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """A hub's callback. `answer` gives the status of each request, by how many came before."""

    def __init__(self, answer: Callable[[int], int] = lambda _: 204, port: int = 0) -> None:
        self.got: list[dict[str, Any]] = []  # bodies accepted
        self.paths: list[str] = []  # of all requests
        self.types: set[str | None] = set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.types.add(self.headers["Content-Type"])
                receiver.paths.append(self.path)
                status = answer(len(receiver.paths) - 1)
                if status < 300:
                    receiver.got.append(body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                if 300 <= status < 400:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.callback = f"http://127.0.0.1:{self.port}/here/"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def numbers(self) -> list[int]:
        return [body["event"]["serviceOrder"]["number"] for body in self.got]


@contextmanager
def receiving(*given: Any, **more: Any) -> Iterator[Receiver]:
    receiver = Receiver(*given, **more)
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        receiver.server.server_close()
