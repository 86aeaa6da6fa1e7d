"""One poll of a loop per second for all open pages of this process: they share what came and each draws it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from nicegui import background_tasks

from edgewright.service.ui.client import Api, ApiError, ApiGone
from edgewright.service.ui.shapes import Columns, Decision, Event, LoopState
from edgewright.service.ui.words import changes

SPAN_S = 300.0  # what the charts show
PERIOD_S = 1.0
RETRY_S = 2.0
EVENTS_EVERY_S = 3.0
KEPT_DECISIONS = 40
RECORDED_WITHIN_S = 3.0  # decisions are written a moment after they were made

log = logging.getLogger("edgewright.ui")


@dataclass
class View:
    """The newest of everything a page shows."""

    loop: LoopState | None = None
    decisions: list[Decision] = field(default_factory=list)  # newest first
    events: list[Event] = field(default_factory=list)  # newest first
    trouble: str | None = None  # why there is nothing newer
    history_trouble: str | None = None  # why decisions and events may be incomplete
    since: float = 0.0  # when the loop was last seen, seconds since the epoch


Listener = Callable[[View, str | None], None]
"""Called with the view and the new part of the charts' data (JSON), or None where nothing new came."""


class Feed:
    """Polls while somebody listens."""

    def __init__(self, api: Api, loop: str) -> None:
        self.view = View()
        self._api, self._loop = api, loop
        self._listeners: dict[str, Listener] = {}
        self._task: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._rows: dict[float, str] = {}  # time -> one chart row as JSON, oldest first
        self._events_at = 0.0
        self._seq = -1  # of the newest decision seen
        self._search_until = 0.0  # ask for recorded decisions until then: some did not come with the state

    def listen(self, who: str, listener: Listener) -> None:
        self._listeners[who] = listener
        if self._task is None or self._task.done():
            self._task = background_tasks.create(self._run(), name=f"feed {self._loop}")

    def leave(self, who: str) -> None:
        self._listeners.pop(who, None)
        if not self._listeners and self._task is not None:
            self._task.cancel()
            self._task = None

    def whole(self) -> str:
        """All chart rows of the last five minutes, JSON."""
        return f"[{','.join(self._rows.values())}]"

    async def refresh(self) -> None:
        """Poll now and tell every page."""
        async with self._lock:
            try:
                news = await self._poll()
            except (ApiGone, ApiError) as error:
                self.view.trouble = str(error)
                news = None
        for listener in list(self._listeners.values()):
            try:
                listener(self.view, news)
            except Exception:
                log.exception("a page could not draw the newest state")

    async def _run(self) -> None:
        while True:
            started = time.monotonic()
            await self.refresh()
            period = PERIOD_S if self.view.trouble is None else RETRY_S
            await asyncio.sleep(max(period - (time.monotonic() - started), 0.1))

    async def _poll(self) -> str:
        now, view = time.time(), self.view
        state = await self._api.loop(self._loop)
        if view.loop and [s.name for s in state.services] != [s.name for s in view.loop.services]:
            self._rows.clear()  # the loop was made anew: the columns of its rows are other services'
        newest = next(reversed(self._rows), None)
        seconds = SPAN_S if newest is None else min(now - newest + 2.0, SPAN_S)
        columns = await self._api.series(self._loop, seconds)
        try:
            await self._poll_history(state)
            view.history_trouble = None
        except ApiError as error:  # the database: what the loop does can be shown all the same
            view.history_trouble = error.message
        view.loop, view.trouble, view.since = state, None, now
        return self._keep(columns, state)

    async def _poll_history(self, state: LoopState) -> None:
        last, view = state.last_decision, self.view
        seq, self._seq = self._seq, last.seq if last else 0
        if view.trouble or view.history_trouble or self._seq - seq not in (0, 1):
            self._search_until = time.monotonic() + RECORDED_WITHIN_S
        if last and changes(last):  # usually one a second, and it came with the state
            view.decisions = _merge([last], view.decisions)
        if time.monotonic() < self._search_until:
            shadow = state.mode == "shadow"  # nothing is changed then, and everything is advice
            recorded = await self._api.decisions(self._loop, KEPT_DECISIONS, changed_only=not shadow)
            view.decisions = _merge(recorded, view.decisions)
        if time.monotonic() - self._events_at >= EVENTS_EVERY_S:
            view.events = await self._api.events(self._loop)
            self._events_at = time.monotonic()

    def _keep(self, columns: Columns, state: LoopState) -> str:
        """Append the rows that are new, drop those past the span -> the new ones, JSON."""
        newest = next(reversed(self._rows), 0.0)
        fresh = []
        for index, t in enumerate(columns.t):
            if t <= newest:
                continue
            row: list[object] = [round(t * 1e3), _at(columns.slice.cpu_left, index)]
            for service in state.services:
                mine = columns.services.get(service.name)
                for column in ("response_p95_ms", "response_mean_ms", "limit_cpu", "usage_cpu"):
                    row.append(_at(getattr(mine, column, []), index))
            self._rows[t] = json.dumps(row)
            fresh.append(self._rows[t])
        for t in [t for t in self._rows if t < next(reversed(self._rows)) - SPAN_S]:
            del self._rows[t]
        return f"[{','.join(fresh)}]"


def _at(column: list[float | None], index: int) -> float | None:
    value = column[index] if index < len(column) else None
    return None if value is None else round(value, 4)


def _merge(new: list[Decision], old: list[Decision]) -> list[Decision]:
    seen = {decision.seq: decision for decision in (*old, *new)}
    return [seen[seq] for seq in sorted(seen, reverse=True)[:KEPT_DECISIONS]]
