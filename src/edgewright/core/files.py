"""Writing files so that a reader meets the old or the new one, whenever the writer is killed; where caches are."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """Of the user, for what can be made anew (XDG base directory specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgewright"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until nobody else, process or thread, holds this file, and hold it; who is killed lets go."""
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


@contextmanager
def replacing(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """A file to write beside `path` that becomes it at the end, once it is on the disk; nothing stays on an error, and
    an OSError names `path`.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-", suffix=path.suffix)
    except OSError as error:
        error.filename = str(path)
        raise
    os.close(handle)
    try:
        yield Path(name)
        with open(name, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, name):  # a full disk has no name
            error.filename = str(path)
        raise


def make_once(folder: Path, make: Callable[[Path], None]) -> None:
    """Unless `folder` is there, `make` fills an empty one that becomes it; who comes meanwhile waits."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_suffix(".lock")):
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as work:
                whole = Path(work) / "whole"
                whole.mkdir()
                make(whole)
                whole.rename(folder)
