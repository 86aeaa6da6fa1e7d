"""5G infrastructure that is generated when asked for, one at a time in a process of its own, and kept in files.

In this process it would hold the interpreter's lock too long for the loops, and its memory for ever.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
import time
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Literal

import structlog

from edgewright.core import documents
from edgewright.core.documents import Document, Part
from edgewright.core.errors import InputError
from edgewright.core.files import replacing
from edgewright.service.generation import INFRASTRUCTURE, MAP, Asked, Made, NoRoom, Step, generate
from edgewright.service.loops.pace import go_along
from edgewright.service.store import StoreError

log = structlog.get_logger("edgewright.topologies")
MOST_KEPT = 20
DOCUMENT = "topology.json"
GIVES_WAY = 10  # nice value of what generates: services come first
CONTEXT = get_context("spawn")
Phase = Literal["waiting", "generating", "ready", "failed"]


class Refusal(Part):
    """As the API says it."""

    message: str
    field: str | None = None
    given: str | int | float | None = None
    allowed: str | None = None

    @staticmethod
    def of(error: Exception) -> Refusal:
        if not isinstance(error, InputError):
            return Refusal(message=str(error) or type(error).__name__)
        given = error.given if isinstance(error.given, str | int | float) else repr(error.given)
        return Refusal(message=str(error), field=error.field, given=given, allowed=error.allowed)


class Kept(Document):
    """The file of a topology; one that was not finished is generated anew."""

    format: Literal["edgewright.kept-topology/1"] = "edgewright.kept-topology/1"
    asked: Asked
    created: float
    made: Made | None = None
    error: Refusal | None = None


@dataclass
class Topology:
    name: str
    created: float
    asked: Asked | None  # None: its file cannot be read
    phase: Phase = "waiting"
    made: Made | None = None
    error: Refusal | None = None
    step: Step | None = None  # while it is generated
    cells: dict[str, int] = field(default_factory=dict)  # so far, by kind
    began: float = 0.0  # on the monotonic clock

    @property
    def unfinished(self) -> bool:
        return self.phase in ("waiting", "generating")


class Topologies:
    """Of the worker that has the lease; `folder` has a folder for each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept: dict[str, Topology] = {}  # oldest first
        self._changing = threading.Condition()
        self._stop = False
        self._process: SpawnProcess | None = None
        self._thread: threading.Thread | None = None

    def restore(self) -> None:
        """Find those of an earlier run again. A file that is broken is told as its topology's error."""
        found = [self._read(folder) for folder in self.folder.iterdir()] if self.folder.is_dir() else []
        known = sorted((each for each in found if each), key=lambda each: each.created)
        self.kept, self._stop = {each.name: each for each in known}, False
        self._thread = threading.Thread(target=self._run, name="topologies", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """What is being generated begins anew with the next start."""
        if self._thread is None:
            return
        with self._changing:
            self._stop = True
            self._kill()
            self._changing.notify()
        self._thread.join()

    def create(self, asked: Asked) -> Topology:
        """One that failed gives way to another of its name. Raises InputError, NoRoom, StoreError."""
        asked.check()
        with self._changing:
            old = self.kept.get(asked.name)
            if old is not None and old.phase != "failed":
                raise InputError("name", asked.name, "a name that no topology has yet")
            if old is None and len(self.kept) >= MOST_KEPT:
                raise NoRoom("name", asked.name, f"{MOST_KEPT} topologies at most: delete one first")
            if old is not None:
                self.delete(asked.name)
            busy = any(each.unfinished for each in self.kept.values())
            topology = Topology(asked.name, time.time(), asked, "waiting" if busy else "generating")
            topology.began = time.monotonic()
            try:
                (self.folder / asked.name).mkdir(parents=True, exist_ok=True)
                self._write(topology)
            except OSError as error:
                raise StoreError(f"the folder of topologies: {error}") from error
            self.kept[asked.name] = topology
            self._changing.notify()
            return topology

    def delete(self, name: str) -> None:
        """One that waits or is being generated ends."""
        with self._changing:
            topology = self.kept.pop(name, None)
            if topology is not None and topology.phase == "generating":
                self._kill()
            # First what makes it one: what a crash leaves of it then is taken for nothing.
            (self.folder / name / DOCUMENT).unlink(missing_ok=True)
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def _read(self, folder: Path) -> Topology | None:
        file = folder / DOCUMENT
        for cut in folder.glob(".writing-*"):  # off by a kill
            cut.unlink(missing_ok=True)
        if not file.exists():
            shutil.rmtree(folder, ignore_errors=True)  # what a crash left
            return None
        try:
            kept = documents.read(Kept, file)
            if kept.made and not all((folder / name).exists() for name in (INFRASTRUCTURE, MAP)):
                raise InputError("folder", str(folder), f"with {INFRASTRUCTURE} and {MAP}")
        except InputError as error:
            log.warning("topology_broken", detail=str(error))
            return Topology(folder.name, file.stat().st_mtime, None, "failed", error=Refusal.of(error))
        phase: Phase = "ready" if kept.made else "failed" if kept.error else "waiting"
        return Topology(folder.name, kept.created, kept.asked, phase, kept.made, kept.error)

    def _write(self, topology: Topology) -> None:
        assert topology.asked is not None
        kept = Kept(asked=topology.asked, created=topology.created, made=topology.made, error=topology.error)
        with replacing(self.folder / topology.name / DOCUMENT) as new:
            new.write_text(kept.model_dump_json(), encoding="utf-8")

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()

    # The thread

    def _run(self) -> None:
        go_along()  # inherited by the processes that it starts
        while True:
            with self._changing:
                self._changing.wait_for(lambda: self._stop or self._next())
                topology = self._next()
                if self._stop or topology is None:
                    return
                topology.phase, topology.began = "generating", time.monotonic()
            outcome = self._generated(topology)
            with self._changing:
                self._process = None
                if self._stop or self.kept.get(topology.name) is not topology:
                    continue
                if isinstance(outcome, Made):
                    topology.made, topology.phase = outcome, "ready"
                else:
                    topology.error, topology.phase = Refusal.of(outcome), "failed"
                try:
                    self._write(topology)
                except OSError as error:  # it is generated anew with the next start
                    log.warning("topology_not_kept", detail=str(error))

    def _next(self) -> Topology | None:
        return next((each for each in self.kept.values() if each.unfinished), None)

    def _generated(self, topology: Topology) -> Made | Exception:
        """By a process of its own, which `close` and `delete` end. Nothing may end this thread: others wait."""
        try:
            ours, theirs = CONTEXT.Pipe(duplex=False)
            with ours, theirs:
                with self._changing:
                    if self._stop or self.kept.get(topology.name) is not topology:
                        return RuntimeError("it was deleted")
                    arguments = (topology.asked, self.folder / topology.name, theirs)
                    process = CONTEXT.Process(target=_serve, args=arguments, name="topology", daemon=True)
                    process.start()
                    self._process = process
                theirs.close()
                outcome = _listen(topology, ours)
                process.join()
            return outcome
        except Exception as error:  # no memory or file left for it
            log.warning("topology_not_started", detail=str(error))
            return error


def _listen(topology: Topology, said: Connection) -> Made | Exception:
    """Note how far it is, until it is done, failed or gone."""
    while True:
        try:
            news = said.recv()
        except (EOFError, OSError):  # OSError: in the middle of a message
            return RuntimeError("the process that generated it ended before it was done: too little memory?")
        if isinstance(news, Made | Exception):
            return news
        topology.step, topology.cells = news


# In the process that generates


def _end_with_parent() -> None:
    """One that is killed cannot end what it started, and the next would generate the same beside it."""
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _serve(asked: Asked, folder: Path, say: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    os.nice(GIVES_WAY)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(BrokenPipeError):
        try:
            say.send(generate(asked, folder, lambda *news: say.send(news)))
        except BrokenPipeError:
            raise
        except Exception as error:
            say.send(error if isinstance(error, InputError) else RuntimeError(f"{type(error).__name__}: {error}"))
