"""Events brought to the hubs, at least once and to each hub in order, whatever is killed or down meanwhile.

What a hub was given is `delivered` only after its answer, so that a kill in between gives it again: receivers know an
event by its eventId. A hub that fails waits longer and longer, and holds up no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import threading
import time
from collections.abc import Sequence
from typing import Any

import aiohttp
import structlog
from sqlalchemy import CursorResult, Row, and_, delete, or_, select, update

from edgewright.service.loops.leases import RENEW_S, Leases, this_process
from edgewright.service.resources.outbox import interest
from edgewright.service.resources.query import select_fields
from edgewright.service.store import Store, StoreError
from edgewright.service.store.tables import DeliveryRow, HubRow, OutboxRow

LEASE = "deliveries"  # one process delivers, or the order would be lost
AT_ONCE = 8  # hubs
BATCH = 32  # events of a hub in memory, and those it may be given again after a kill
POLL_S = 1.0  # other processes publish too
CONNECT_S, ANSWER_S = 5.0, 10.0
FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 300.0
OLDEST_S = 24 * 3600.0  # what fails then, counted from when it first waited for the hub, is a dead letter
SETTLE_S = 0.05  # what was accepted is written within
CLOSE_S = 2.0  # for requests on their way
PRUNE_S, PRUNE_BATCH = 30.0, 500
log = structlog.get_logger("edgewright.hubs")


class Deliveries:
    """The thread that delivers. Events older than `retention_s` go, but those that wait and new dead letters."""

    def __init__(self, store: Store, retention_s: float = 24 * 3600.0) -> None:
        self.store, self.retention_s = store, retention_s
        self._leases = Leases(store, this_process(), "")
        self._renewal = self._next_prune = 0.0  # on the monotonic clock
        self._failing: dict[str, str] = {}  # hub -> why it takes no events
        self._broken = ""  # why nothing is delivered at all
        self._accepted: dict[str, list[int]] = {}  # hub -> events not yet written as delivered
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._ending = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._ending = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="deliveries", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """What is on its way may arrive, for CLOSE_S; the rest is delivered after the next start."""
        self._ending = True
        self.wake()
        if self._thread is not None:
            self._thread.join()

    def wake(self) -> None:
        """Call after a commit that published; any thread may."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it ended: the next start finds what was published
                self._loop.call_soon_threadsafe(self._woken.set)

    @property
    def trouble(self) -> list[str]:
        failing = [f"hub {hub}: {error}" for hub, error in list(self._failing.items())]
        return ([f"events are not delivered: {self._broken}"] if self._broken else []) + failing

    async def _run(self) -> None:
        self._woken, self._slots = asyncio.Event(), asyncio.Semaphore(AT_ONCE)
        self._loop = asyncio.get_running_loop()
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=1.0),
            timeout=aiohttp.ClientTimeout(total=ANSWER_S, connect=CONNECT_S),
            headers={"Content-Type": "application/json", "User-Agent": "edgewright"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # answers are not read
            trust_env=False,
        ) as http:
            while not self._ending:
                pause_s = POLL_S
                try:
                    if self._has_lease():
                        pause_s = self._begin(http)
                    self._broken = ""
                except Exception as error:  # nothing may end this thread: events would wait for ever
                    if not self._broken:
                        log.error("deliveries_trouble", exc_info=error)
                    self._broken = str(error)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), pause_s)
                self._woken.clear()
            if self._busy:
                _, late = await asyncio.wait(self._busy.values(), timeout=CLOSE_S)
                for task in late:
                    task.cancel()
        with contextlib.suppress(StoreError):  # it runs out, too
            self._leases.release(LEASE)
        self._renewal = 0.0

    def _has_lease(self) -> bool:
        if time.monotonic() < self._renewal:
            return True
        taken = self._leases.take(LEASE)
        self._renewal = time.monotonic() + RENEW_S if taken else 0.0
        return taken

    def _begin(self, http: aiohttp.ClientSession) -> float:
        """Begin with every hub that has something due -> how long nothing else is, s."""
        if time.monotonic() >= self._next_prune:
            more = prune(self.store, self.retention_s) >= PRUNE_BATCH
            self._next_prune = time.monotonic() + (POLL_S if more else PRUNE_S)
        head = select(DeliveryRow.due).where(DeliveryRow.hub == HubRow.id, DeliveryRow.state == "waiting")
        due = head.order_by(DeliveryRow.event).limit(1).correlate(HubRow).scalar_subquery()
        with self.store.read() as session:
            waiting = {hub: at for hub, at in session.execute(select(HubRow.id, due)) if at is not None}
        for done in (self._failing.keys() | self._accepted.keys()) - waiting.keys():
            self._failing.pop(done, None)
            self._accepted.pop(done, None)
        pause_s = POLL_S
        for hub in waiting.keys() - self._busy.keys():
            if left_s := _left_s(waiting[hub]):
                pause_s = min(pause_s, left_s)
            else:
                self._busy[hub] = task = asyncio.create_task(self._serve(http, hub), name=hub)
                task.add_done_callback(self._served)
        return pause_s

    def _served(self, task: asyncio.Task[None]) -> None:
        hub = task.get_name()
        del self._busy[hub]
        if not task.cancelled() and (error := task.exception()):  # the next poll tries again
            if self._failing.get(hub) != str(error):
                log.error("delivery_failed", hub=hub, exc_info=error)
            self._failing[hub] = str(error)
        else:
            self._woken.set()  # something may have been published since it looked

    async def _serve(self, http: aiohttp.ClientSession, hub: str) -> None:
        """Deliver until nothing is due, a batch at a time so that others have their turn."""
        more = True
        while more and not self._ending:
            async with self._slots:
                more = await self._deliver(http, hub)

    async def _deliver(self, http: aiohttp.ClientSession, hub: str) -> bool:
        """The next events of a hub -> whether there may be more to do at once. Raises StoreError."""
        accepted = self._accepted.setdefault(hub, [])  # not empty: the database did not take the last ones
        self._settle(hub, accepted)
        batch, settled = self._due(hub), time.monotonic()
        try:
            for event in batch:
                error = await _post(http, event)
                if error:
                    self._settle(hub, accepted)
                    self._failing[hub] = error
                    return _note_failure(self.store, hub, event, error)
                accepted.append(event.seq)
                self._failing.pop(hub, None)
                if time.monotonic() - settled > SETTLE_S:
                    if not self._settle(hub, accepted) or self._ending:
                        return False
                    settled = time.monotonic()
        finally:
            self._settle(hub, accepted)
        return bool(batch)

    def _due(self, hub: str) -> Sequence[Row[Any]]:
        event = select(OutboxRow.seq, OutboxRow.type, OutboxRow.body, HubRow.callback, HubRow.query)
        event = event.add_columns(DeliveryRow.attempts, DeliveryRow.due, DeliveryRow.since).select_from(DeliveryRow)
        event = event.join(OutboxRow, OutboxRow.seq == DeliveryRow.event).join(HubRow, HubRow.id == DeliveryRow.hub)
        waiting = event.where(DeliveryRow.hub == hub, DeliveryRow.state == "waiting")
        with self.store.read() as session:
            found = session.execute(waiting.order_by(DeliveryRow.event).limit(BATCH)).all()
        return found if found and not _left_s(found[0].due) else []

    def _settle(self, hub: str, accepted: list[int]) -> bool:
        """Write what was accepted -> False where the hub was deleted meanwhile. Raises StoreError."""
        if not accepted:
            return True
        these = update(DeliveryRow).where(DeliveryRow.hub == hub, DeliveryRow.event.in_(accepted))
        with self.store.write() as session:
            done = session.execute(
                these.values(state="delivered", attempts=DeliveryRow.attempts + 1, error=""),
                execution_options={"synchronize_session": False},
            )
            assert isinstance(done, CursorResult)
            known = done.rowcount == len(accepted)
        accepted.clear()
        return known


async def _post(http: aiohttp.ClientSession, event: Row[Any]) -> str:
    """-> why it was not accepted, "" where it was. The answer's body is left unread."""
    url = f"{event.callback.rstrip('/')}/listener/{event.type[:1].lower()}{event.type[1:]}"
    fields = interest(event.query).fields
    body = event.body | {"event": {name: select_fields(body, fields) for name, body in event.body["event"].items()}}
    try:
        async with http.post(url, data=json.dumps(body).encode(), allow_redirects=False) as answer:
            return "" if 200 <= answer.status < 300 else f"HTTP {answer.status}"
    except TimeoutError:
        return f"no answer within {ANSWER_S:g} s"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"[:300]


def _left_s(due: float) -> float:
    """Until it is due; a clock that was set back makes nothing wait longer than it may."""
    left_s = due - time.time()
    return left_s if 0 < left_s <= LONGEST_RETRY_S else 0.0


def _note_failure(store: Store, hub: str, event: Row[Any], error: str) -> bool:
    """-> whether the hub's next event is due: this one is a dead letter, after its last attempt."""
    attempts, now = event.attempts + 1, time.time()
    dead: bool = now - event.since > OLDEST_S
    longest_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(attempts - 1, 20))
    state, due = ("dead", now) if dead else ("waiting", now + random.uniform(0.0, longest_s))  # "full jitter"
    this = update(DeliveryRow).where(DeliveryRow.hub == hub, DeliveryRow.event == event.seq)
    with store.write() as session:
        session.execute(this.values(state=state, attempts=attempts, due=due, error=error))
    if dead:
        log.warning("dead_letter", hub=hub, event_id=event.body["eventId"], attempts=attempts, error=error)
    return dead


def redeliver(store: Store, hub: str) -> int:
    """Let a hub's dead letters be delivered, as if they were new -> how many. Raises StoreError."""
    now = time.time()
    dead = update(DeliveryRow).where(DeliveryRow.hub == hub, DeliveryRow.state == "dead")
    with store.write() as session:
        done = session.execute(dead.values(state="waiting", attempts=0, since=now, due=now, error=""))
        assert isinstance(done, CursorResult)
        return int(done.rowcount)


def prune(store: Store, retention_s: float) -> int:
    """Delete one batch of events that are too old, wait for no hub and are no new dead letter -> how many.

    Raises StoreError.
    """
    before, state = time.time() - retention_s, DeliveryRow.state
    wanted = or_(state == "waiting", and_(state == "dead", DeliveryRow.due > before))
    kept = select(DeliveryRow.event).where(wanted)
    old = select(OutboxRow.seq).where(OutboxRow.t < before, OutboxRow.seq.not_in(kept))
    with store.write() as session:
        seqs = session.scalars(old.limit(PRUNE_BATCH)).all()
        if seqs:
            session.execute(delete(OutboxRow).where(OutboxRow.seq.in_(seqs)))
    return len(seqs)
