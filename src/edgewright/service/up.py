"""`edgewright up`: everything put together for one process, and taken apart at its end."""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog
import uvicorn
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from edgewright.service.api.app import create_app, create_page_app
from edgewright.service.loops.choice import make_slice
from edgewright.service.loops.leases import Leases, this_process
from edgewright.service.loops.pace import go_ahead
from edgewright.service.runtime import Runtime, SliceFactory
from edgewright.service.settings import Settings
from edgewright.service.store import Store

log = structlog.get_logger("edgewright.up")
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Orchestrator:
    """One running process. `first_key` is the API key where this start made one: it cannot be read again."""

    settings: Settings
    server: uvicorn.Server
    listener: socket.socket
    address: str
    runtime: Runtime | None = None
    first_key: str | None = None

    @property
    def page(self) -> str:
        """The address to open; it carries a fresh key, so that the page works at once."""
        return f"{self.address}/" + (f"?key={self.first_key}" if self.first_key else "")

    def serve(self) -> None:
        """Serve until told to stop, then end services and write what is still to be written."""
        try:
            self.server.run(sockets=[self.listener])
        finally:
            self.close()

    def close(self) -> None:
        self.listener.close()
        if self.runtime is not None:
            self.runtime.close()
            self.runtime.store.close()


def orchestrator(
    settings: Settings, listener: socket.socket, *, new_key: bool = False, make: SliceFactory = make_slice
) -> Orchestrator:
    """Open the store, start the loops, build the application.

    Raises InputError for bad input (settings, scenario), StoreError where the database cannot be used.
    """
    host, port = listener.getsockname()[:2]
    address = f"http://{_reachable(host)}:{port}"
    if settings.role == "ui":
        app = create_page_app(settings)
        _mount_page(app, settings)
        return Orchestrator(settings, _server(app), listener, address)
    store = Store(settings.url)
    runtime = Runtime(settings, store, Leases(store, this_process(), address), make)
    try:
        first_key = store.make_key() if new_key or not store.has_keys() else None
        app = create_app(settings, runtime)
        if settings.role == "all":
            _mount_page(app, settings)
        runtime.start()  # last: what is imported above would hold up the loops' first steps
    except BaseException:
        runtime.close()
        store.close()
        raise
    return Orchestrator(settings, _server(app), listener, address, runtime, first_key)


class _Stderr:
    """Writes lines to standard error; a terminal that has gone stops no loop."""

    def msg(self, message: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"{message}\n")  # at once: what others write meanwhile comes before or after it
            sys.stderr.flush()

    log = debug = info = warn = warning = error = err = fatal = failure = critical = exception = msg


def log_to_stderr() -> None:
    """One line a record; tracebacks without local variables, which may hold keys."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        logger_factory=lambda *_: _Stderr(),
        cache_logger_on_first_use=True,
    )


def prepare_process() -> None:
    """Before anything else: go before the services on a busy host, and end cleanly.

    SIGINT, SIGTERM and SIGHUP (a terminal that was closed) unwind the stack, so that services end; uvicorn raises again
    what it caught meanwhile. With nohup, SIGHUP stays ignored.
    """
    go_ahead()

    def end(*_: object) -> None:
        raise SystemExit(0)

    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN or number is not signal.SIGHUP:
            signal.signal(number, end)


def run(made: Orchestrator, ready: Callable[[Orchestrator], None]) -> None:
    """Serve until a signal; `ready` is called once the address answers."""
    threading.Thread(target=_when_started, args=(made, ready), daemon=True).start()
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, made.server.handle_exit)  # uvicorn does so itself with the others
    try:
        made.server.run(sockets=[made.listener])
    finally:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)  # a second one must not stop the services from being ended
        made.close()


def _when_started(made: Orchestrator, ready: Callable[[Orchestrator], None]) -> None:
    while not made.server.started and not made.server.should_exit:
        threading.Event().wait(0.02)
    if made.server.started:
        ready(made)


def _server(app: FastAPI) -> uvicorn.Server:
    config = uvicorn.Config(
        app, log_config=None, access_log=False, timeout_graceful_shutdown=3, server_header=False, lifespan="on"
    )
    return uvicorn.Server(config)


def _mount_page(app: FastAPI, settings: Settings) -> None:
    if importlib.util.find_spec("edgewright.service.ui") is None:
        reason = "this installation has no page (edgewright.service.ui); the API is at /api/docs"
    else:
        try:
            from edgewright.service.ui import mount

            mount(app, settings)
            return
        except ImportError as error:
            reason = f"the page cannot be loaded ({error}); the API is at /api/docs"
    log.warning("no_page", detail=reason)

    @app.get("/", include_in_schema=False)
    def no_page() -> PlainTextResponse:
        return PlainTextResponse(reason, 503)


def _reachable(host: str) -> str:
    """An address that another process can call: a wildcard is none."""
    if host in ("0.0.0.0", "::"):  # noqa: S104
        try:
            host = socket.gethostbyname(socket.gethostname())
        except OSError:
            host = "127.0.0.1"
    return f"[{host}]" if ":" in host else host
