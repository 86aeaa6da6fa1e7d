"""The callback of all hubs: it refuses now and then."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .journal import Journal

REFUSED = 0.1  # of all


@contextmanager
def receiving(journal: Journal, seed: int) -> Iterator[str]:
    """-> the address that hubs' names come after."""
    chance, lock = random.Random(seed), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            hub = journal.hubs[self.path.split("/")[1]]
            with lock:
                refused = chance.random() < REFUSED
                if refused:
                    hub.refused += 1
                else:
                    hub.got.append({"id": body["eventId"], "type": body["eventType"]})
            self.send_response(500 if refused else 204)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None: ...  # who asks is killed now and then

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
