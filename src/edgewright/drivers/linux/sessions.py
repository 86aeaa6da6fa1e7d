"""Calls at the hosts of an Edge's nodes: functions of ours, here or by a session over ssh with another host."""

from __future__ import annotations

import contextlib
import functools
import io
import subprocess
import tempfile
import threading
import time
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar

from edgewright.drivers.host import HostError
from edgewright.drivers.linux.agent import BEGIN, BOOT, SILENCE_S, get, put
from edgewright.drivers.linux.hosts import Host
from edgewright.drivers.linux.namespaces import NetworkError
from edgewright.drivers.migration import MoveError

P = ParamSpec("P")
Piece = tuple[str, int, int]  # of a file: name, offset, size
Result = TypeVar("Result")
ROOT = Path(__file__).parents[2]
# What runs at the far end: of the standard library's alone.
SENT = ("__init__.py", "core/__init__.py", "core/errors.py", "core/files.py")
SENT_DRIVERS = ("drivers/__init__.py", "drivers/host.py", "drivers/migration.py", "drivers/linux/*.py")
END_TIMEOUT_S = 5.0
ANSWER_S = 100.0  # longer than anything that is called waits
CHUNK_BYTES = 4 << 20
PIPE_BYTES = 1 << 20


class HostLost(OSError):
    """A host that cannot be reached, and why: what it has done last is not known."""


class Session(ABC):
    folder: Path  # of images, at that host

    @abstractmethod
    def call(self, function: Callable[P, Result], *args: P.args, **options: P.kwargs) -> Result:
        """A function of a module, at that host; an object it gives may be a name for one there, which other calls take.

        Raises what it raises: MoveError, NetworkError, OSError, else HostError; and HostLost.
        """

    def lock(self, here: int) -> int:
        """A descriptor at that host that holds the service's lock; the one of this host is given."""
        return here

    def images(self, service: str) -> Path:
        return self.folder / f"{service}.images"


class Here(Session):
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def call(self, function: Callable[P, Result], *args: P.args, **options: P.kwargs) -> Result:
        return function(*args, **options)


class Remote(Session):
    """Connects as it is needed, for a service under its lock there. A lost host is tried once more, then no more: what
    is to be done meanwhile elsewhere does not wait for it.
    """

    def __init__(self, host: Host, service: str) -> None:
        self.folder = Path(host.folder)
        self._host, self._service = host, service
        self._change = threading.RLock()
        self._connection: _Connection | None = None
        self._lost: HostLost | None = None

    def call(self, function: Callable[P, Result], *args: P.args, **options: P.kwargs) -> Result:
        with self._change:
            if any(isinstance(one, _Object) and one.connection is not self._connection for one in args):
                raise HostLost(f"{self._host.destination}: the connection was lost meanwhile")
            fresh = self._connection is None
            try:
                found: Result = self._connected().call(
                    [f"{function.__module__}:{function.__qualname__}", args, options]
                )
                return found
            except HostLost:
                self.close()
                if self._service or fresh:
                    raise
            except (MoveError, NetworkError, HostError, RuntimeError, OSError):
                raise
            except BaseException:  # an answer may be under way
                self.close()
                raise
            return self.call(function, *args, **options)  # who only looks is given up where it is idle

    def lock(self, here: int) -> int:
        with self._change:
            return self._connected().lock

    def close(self) -> None:
        with self._change:
            if self._connection:
                self._connection.close()
            self._connection = None

    def _connected(self) -> _Connection:
        if self._connection is None:
            if self._lost and self._service:
                raise self._lost
            try:
                self._connection = _Connection(self._host, self._service)
            except HostLost as error:
                self._lost = error
                raise
        return self._connection


class Sessions:
    """Of one orchestrator; thread-safe."""

    def __init__(self, hosts: Mapping[str, Host], folder: Path) -> None:
        self._hosts, self._here = hosts, Here(folder)
        self._remote: dict[tuple[str, Host], Remote] = {}
        self._change = threading.Lock()

    def at(self, node: str, service: str = "") -> Session:
        """For a service: under its lock there, by `for_service`. Without one: for looking."""
        if node not in self._hosts:
            return self._here
        host = self._hosts[node]
        with self._change:
            return self._remote.setdefault((service, host), Remote(host, service))

    @contextlib.contextmanager
    def for_service(self, service: str) -> Iterator[None]:
        """Under its lock here; those there are let go at the end."""
        try:
            yield
        finally:
            self.close(service)

    def close(self, service: str = "") -> None:
        with self._change:
            found = [key for key in self._remote if key[0] == service]
            closed = [self._remote.pop(key) for key in found]
        for one in closed:
            one.close()


def copy_images(source: Session, target: Session, service: str, folder: str) -> None:
    """CRIU's, in a folder below the service's, from one host to another."""
    here, there = source.images(service) / folder, target.images(service) / folder
    for pieces in _pieces(source.call(listed, here)):
        target.call(write, there, pieces, source.call(read, here, pieces))


def listed(folder: Path) -> list[tuple[str, int]]:
    """Images below a folder, and their sizes."""
    return [(str(file.relative_to(folder)), file.stat().st_size) for file in folder.rglob("*.img") if file.is_file()]


def read(folder: Path, pieces: Sequence[Piece]) -> list[bytes]:
    found = []
    for name, offset, size in pieces:
        with (folder / name).open("rb") as file:
            file.seek(offset)
            found.append(file.read(size))
    return found


def write(folder: Path, pieces: Sequence[Piece], contents: Sequence[bytes]) -> None:
    for (name, offset, _), content in zip(pieces, contents, strict=True):
        if "/" in name or name.startswith("."):  # another host says what it is called
            raise OSError(f"{name!r} is no image's name")
        with (folder / name).open("r+b" if offset else "wb") as file:
            file.seek(offset)
            file.write(content)


# Inside


def _pieces(files: Sequence[tuple[str, int]]) -> Iterator[list[Piece]]:
    """Of CHUNK_BYTES together: many files are small, and each answer takes its time."""
    found: list[Piece] = []
    left = CHUNK_BYTES
    for name, size in files:
        offset = 0
        while offset < size or offset == 0:
            part = min(left, size - offset)
            found.append((name, offset, part))
            offset, left = offset + max(part, 1), left - part
            if left == 0:
                yield found
                found, left = [], CHUNK_BYTES
    yield found


@dataclass(frozen=True)
class _Object:
    """At the far end of one connection."""

    connection: _Connection
    number: int


class _Connection:
    """Raises HostLost, and HostError where the service's lock is not free."""

    def __init__(self, host: Host, service: str) -> None:
        self._host, self._change, self._closed = host, threading.Lock(), threading.Event()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the connection
        words = [host.python, "-I", "-S", "-c", BOOT, host.folder, service]
        try:
            # A session of its own: Ctrl-C is for us, not for it.
            self._ssh = subprocess.Popen(
                host.command(words),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                start_new_session=True,
                pipesize=PIPE_BYTES,
            )
        except FileNotFoundError:
            self._said.close()
            raise HostLost("no program `ssh` on PATH") from None
        assert self._ssh.stdin
        assert self._ssh.stdout
        self._to: IO[bytes] = self._ssh.stdin
        self._from: IO[bytes] = self._ssh.stdout
        self._asked_s, self._late = time.monotonic(), False
        threading.Thread(target=self._watch, args=(bool(service),), daemon=True).start()
        try:
            self.lock = int(self._exchange(self._begin))
        except BaseException:
            self.close()
            raise

    def call(self, what: list[Any]) -> Any:
        return self._exchange(lambda: put(self._to, what, self._number))

    def close(self) -> None:
        """The far end ends what it has begun, then itself."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._to.close()
        try:
            self._ssh.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._ssh.kill()
            self._ssh.wait()
        self._from.close()
        self._said.close()

    def _begin(self) -> None:
        modules = _modules()
        self._to.write(len(modules).to_bytes(4, "big") + modules)
        self._to.flush()
        if (said := self._from.read(len(BEGIN))) != BEGIN:
            raise ValueError(f"it says {said!r}") if said else EOFError

    def _exchange(self, send: Callable[[], None]) -> Any:
        with self._change:
            self._asked_s = time.monotonic()
            try:
                send()
                found = get(self._from, lambda number: _Object(self, number))
                if not isinstance(found, list) or len(found) != 2:
                    raise ValueError(f"it answers {found!r}")
            except (EOFError, OSError, ValueError) as error:
                reason = str(error) if isinstance(error, ValueError) else self._reason()
                raise HostLost(f"{self._host.destination}: {reason}") from None
        kinds, answer = found
        if not kinds:
            return answer
        for kind in (MoveError, NetworkError, OSError, RuntimeError):
            if kind.__name__ in kinds:
                raise kind(answer)
        raise HostError(self._host.destination, answer)

    def _number(self, value: Any) -> int:
        if not isinstance(value, _Object):
            raise TypeError(f"{value!r} cannot go to another host")
        return value.number

    def _reason(self) -> str:
        """What ssh said last."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._ssh.wait(END_TIMEOUT_S)
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").split("\n")
        told = [line.strip() for line in lines if line.strip()]
        if self._late:
            return f"no answer within {ANSWER_S:g} s"
        return told[-1] if told else f"the connection broke, exit status {self._ssh.poll()}"

    def _watch(self, kept: bool) -> None:
        """Be heard, where it is to be kept; end it where the other does not answer."""
        while not self._closed.wait(SILENCE_S / 5) and self._ssh.poll() is None:
            if self._change.acquire(blocking=False):
                with contextlib.suppress(OSError, ValueError):
                    if kept:
                        self._to.write(bytes(4))
                        self._to.flush()
                self._change.release()
            elif time.monotonic() - self._asked_s > ANSWER_S:
                self._late = True
                self._ssh.kill()


@functools.cache
def _modules() -> bytes:
    """As a zip, which Python imports from."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for pattern in SENT + SENT_DRIVERS:
            for file in sorted(ROOT.glob(pattern)):
                packed.writestr(f"{ROOT.name}/{file.relative_to(ROOT)}", file.read_bytes())
    return archive.getvalue()
