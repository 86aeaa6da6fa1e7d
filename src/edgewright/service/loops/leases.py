"""Which process runs the loops: a lease in the store, renewed while the process lives."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from edgewright.service.store import Store, StoreError
from edgewright.service.store.tables import LeaseRow

log = structlog.get_logger("edgewright.leases")
LEASE = "loops"
LEASE_S = 15.0
RENEW_S = 3.0


def this_process() -> str:
    """Names this process among all that were and will be: host, pid, start time (clock ticks since boot)."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start_ticks(os.getpid())}"


@dataclass(frozen=True)
class Leases:
    """Of one process, at whose `address` its API answers."""

    store: Store
    holder: str
    address: str

    def take(self, name: str) -> bool:
        """Take or renew. False where another living process has it. Raises StoreError."""
        now = time.time()
        values = {"holder": self.holder, "address": self.address, "expires": now + LEASE_S}
        with self.store.write() as session:
            row = session.get(LeaseRow, name)
            if row is None:
                try:
                    with session.begin_nested():
                        session.execute(insert(LeaseRow).values(name=name, **values))
                except IntegrityError:
                    return False
                return True
            free = or_(LeaseRow.holder == self.holder, LeaseRow.expires < now)
            if _gone(row.holder):
                free = or_(free, LeaseRow.holder == row.holder)
            claim = update(LeaseRow).where(LeaseRow.name == name, free).values(**values).returning(LeaseRow.name)
            return session.scalars(claim).first() is not None

    def hold(self, name: str, on_lost: Callable[[], None]) -> Hold | None:
        """Take it, and keep it until it is released. None where another living process has it. Raises StoreError."""
        return Hold(self, name, on_lost) if self.take(name) else None

    def release(self, name: str) -> None:
        with self.store.write() as session:
            session.execute(delete(LeaseRow).where(LeaseRow.name == name, LeaseRow.holder == self.holder))

    def address_of(self, name: str) -> str | None:
        """Where the API of the process that has it answers; None where none does."""
        with self.store.read() as session:
            row = session.scalars(select(LeaseRow).where(LeaseRow.name == name)).first()
        return None if row is None or row.expires < time.time() else row.address


class Hold:
    """A lease that was taken. A thread of its own renews it, whatever its holder does meanwhile, until it is released
    or another process has it: then `lost` is true, and `on_lost` is called in that thread.
    """

    def __init__(self, leases: Leases, name: str, on_lost: Callable[[], None]) -> None:
        self.lost = False
        self._leases, self._name, self._on_lost = leases, name, on_lost
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"lease {name}", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Raises StoreError: it runs out then."""
        self._end.set()
        self._thread.join()
        self._leases.release(self._name)

    def _renew(self) -> None:
        while not self._end.wait(RENEW_S):
            try:
                if not self._leases.take(self._name):
                    log.error("lease_lost", lease=self._name, detail="another process has it now")
                    self.lost = True
                    self._on_lost()
                    return
            except StoreError as error:
                # With SQLite nobody else can take it either; with PostgreSQL another process takes it once it runs
                # out, and one that was cut off learns of it when it is back.
                log.warning("lease_not_renewed", lease=self._name, detail=str(error))
            except Exception as error:  # without this thread the lease would run out
                log.error("lease_not_renewed", lease=self._name, detail=f"{type(error).__name__}: {error}")


def _gone(holder: str) -> bool:
    """A process of this very host that no longer is: its lease need not run out."""
    host, pid, ticks = holder.rsplit(":", 2)
    return host == socket.gethostname() and _start_ticks(int(pid)) != ticks


def _start_ticks(pid: int) -> str:
    try:
        # The command's name stands in parentheses and may hold anything; field 22 is counted from behind it.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
