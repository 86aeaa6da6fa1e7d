"""The far end of a session with another host: calls functions of ours there, one after the other.

A message is JSON after its length, then the bytes that it names. Paths, processes and edges go as such; what else a
function gives stays there, and is named by a number. Nothing that comes from a host is executed: no pickle.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import json
import os
import select
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from edgewright.drivers.linux.criu import TARGET, WaitingRestore
from edgewright.drivers.linux.edge import Edge
from edgewright.drivers.linux.journal import Journal
from edgewright.drivers.linux.processes import Process

SILENCE_S = 30.0  # the caller is gone: it says something more often
BEGIN = b"edgewright\n"  # of what is answered; a shell's start-up files may have written before
MOST_BYTES = 256 << 20  # of one message
# Of Python, to begin with: the modules come first, and are nowhere in a file.
BOOT = """
import os, sys
def take(size):
    data = b""
    while len(data) < size:
        got = os.read(0, size - len(data))
        data += got or sys.exit("no modules came")
    return data
if sys.version_info < (3, 11):
    sys.exit("needs Python 3.11, has %d.%d" % sys.version_info[:2])
if os.geteuid():
    sys.exit("needs root, is user %d" % os.geteuid())
modules = os.memfd_create("edgewright")
with open(modules, "wb", closefd=False) as file:
    file.write(take(int.from_bytes(take(4), "big")))
sys.path.insert(0, "/proc/self/fd/%d" % modules)
from edgewright.drivers.linux.agent import main
main(*sys.argv[1:])
"""


def put(stream: IO[bytes] | io.BufferedWriter, message: Any, other: Callable[[Any], Any]) -> None:
    """`other` names what is neither plain nor known."""
    blobs: list[bytes] = []

    def plain(value: Any) -> Any:
        if isinstance(value, bytes):
            blobs.append(value)
            return {"<bytes>": len(value)}
        if isinstance(value, Path):
            return {"<path>": str(value)}
        if isinstance(value, Process):
            return {"<process>": [value.pid, value.start_ticks]}
        if isinstance(value, Edge):
            return {"<edge>": [value.prefix, value.nodes]}
        return {"<other>": other(value)}

    text = json.dumps(message, default=plain).encode()
    stream.write(len(text).to_bytes(4, "big") + text)
    for blob in blobs:
        stream.write(blob)
    stream.flush()


def get(stream: IO[bytes] | io.RawIOBase, other: Callable[[Any], Any]) -> Any:
    """The next message; None where it is empty. Raises EOFError, and ValueError where it is none."""
    kinds: dict[str, Callable[[Any], Any]] = {
        "<bytes>": lambda size: _whole(stream, size),
        "<path>": Path,
        "<process>": lambda fields: Process(*fields),
        "<edge>": lambda fields: Edge(fields[0], tuple(fields[1])),
        "<other>": other,
    }

    def known(found: dict[str, Any]) -> Any:
        kind = next(iter(found)) if len(found) == 1 else ""
        try:
            return kinds[kind](found[kind]) if kind in kinds else found
        except (TypeError, LookupError) as error:
            raise ValueError(f"{kind}: {error}") from None

    size = int.from_bytes(_whole(stream, 4), "big")
    return json.loads(_whole(stream, size), object_hook=known) if size else None


class _Heard(io.RawIOBase):
    """A pipe's end, from which or to which something goes within SILENCE_S. Raises TimeoutError; nothing is read
    ahead.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._await(select.POLLIN)
        data = os.read(self._descriptor, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def write(self, data: Any) -> int:
        self._await(select.POLLOUT)
        return os.write(self._descriptor, data)

    def _await(self, what: int) -> None:
        poll = select.poll()
        poll.register(self._descriptor, what)
        if not poll.poll(1000 * SILENCE_S):
            raise TimeoutError(f"nothing within {SILENCE_S:g} s")


def main(folder: str, service: str) -> None:
    """Holds the service's lock in the folder; none where the name is empty. Ends when the caller does.

    It ends whatever it has begun first, and so does CRIU, which holds the lock too: who gets it later meets no step
    that is still under way.
    """
    os.environ["PATH"] = f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"
    asked, answers = _Heard(os.dup(0)), io.BufferedWriter(_Heard(os.dup(1)))
    answers.write(BEGIN)
    with open(os.devnull, "rb") as null:
        os.dup2(null.fileno(), 0)
    os.dup2(2, 1)  # what is written there by mistake is no answer
    objects: list[Any] = []

    def kept(value: Any) -> int:
        objects.append(value)
        return len(objects) - 1

    with (
        contextlib.suppress(EOFError, BrokenPipeError, TimeoutError, KeyboardInterrupt),
        contextlib.ExitStack() as stack,
    ):
        try:
            journal = Journal(Path(folder))
            orphan = journal.images(service) / TARGET
            waiting = functools.partial(WaitingRestore.end_orphan, orphan)
            lock = stack.enter_context(journal.lock(service, waiting)) if service else -1
        except Exception as error:
            put(answers, [_kinds(error), str(error)], kept)
            return
        put(answers, [[], lock], kept)
        while True:
            if (call := get(asked, objects.__getitem__)) is None:
                continue
            try:
                answer = [[], _called(*call)]
            except Exception as error:
                answer = [_kinds(error), str(error)]
            put(answers, answer, kept)


def _called(name: str, words: list[Any], options: dict[str, Any]) -> Any:
    module, _, path = name.partition(":")
    function: Any = functools.reduce(getattr, path.split("."), importlib.import_module(module))
    return function(*words, **options)


def _kinds(error: Exception) -> list[str]:
    return [kind.__name__ for kind in type(error).__mro__]


def _whole(stream: IO[bytes] | io.RawIOBase, size: int) -> bytes:
    if not 0 <= size <= MOST_BYTES:
        raise ValueError(f"{size} bytes")
    data = bytearray()
    while len(data) < size:
        got = stream.read(size - len(data))
        if not got:
            raise EOFError
        data += got
    return bytes(data)
