"""Locks by name, which are there while somebody holds or wants them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class _Lock:
    lock: threading.RLock = field(default_factory=threading.RLock)
    users: int = 0  # who hold it or wait for it


class NamedLocks:
    """Reentrant, one for each name."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, _Lock] = {}

    @property
    def names(self) -> list[str]:
        """Of those in use."""
        with self._guard:
            return list(self._locks)

    @contextlib.contextmanager
    def hold(self, name: str, timeout_s: float = -1) -> Iterator[None]:
        """Raises TimeoutError where another thread holds it for longer."""
        with self._guard:
            own = self._locks.setdefault(name, _Lock())
            own.users += 1
        try:
            if not own.lock.acquire(timeout=timeout_s):
                raise TimeoutError(f"{name}: its lock is held")
            try:
                yield
            finally:
                own.lock.release()
        finally:
            with self._guard:
                own.users -= 1
                if not own.users:
                    del self._locks[name]
