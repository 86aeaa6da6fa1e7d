"""One poll of a loop per second for all open pages of this process: they share what came and each draws it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from nicegui import background_tasks

from edgewright.service.ui.client import ApiError, ApiGone

SPAN_S = 300.0  # what the charts show
PERIOD_S = 1.0
RETRY_S = 2.0
RECORDED_WITHIN_S = 3.0  # decisions are written a moment after they were made

log = logging.getLogger("edgewright.ui")


@dataclass
class Seen:
    """What every view of a loop has."""

    trouble: str | None = None  # why there is nothing newer
    history_trouble: str | None = None  # why decisions and events may be incomplete
    since: float = 0.0  # when the loop was last seen, seconds since the epoch


V = TypeVar("V", bound=Seen)


class Polling(Generic[V]):
    """Polls while somebody listens. A kind of loop has its own `_poll`, which keeps the charts' rows in `_rows`."""

    def __init__(self, view: V, loop: str) -> None:
        self.view, self._loop = view, loop
        self._listeners: dict[str, Callable[[V, str | None], None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._rows: dict[float, str] = {}  # time -> one chart row as JSON, oldest first

    def listen(self, who: str, listener: Callable[[V, str | None], None]) -> None:
        """Call with the view and the charts' new rows (JSON), or None where nothing new came."""
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

    async def _poll(self) -> str:
        """Bring the view up to date -> the charts' new rows, JSON. Raises ApiGone, ApiError."""
        raise NotImplementedError

    async def _run(self) -> None:
        while True:
            started = time.monotonic()
            await self.refresh()
            period = PERIOD_S if self.view.trouble is None else RETRY_S
            await asyncio.sleep(max(period - (time.monotonic() - started), 0.1))

    def _since(self, now: float) -> float:
        """Seconds of the series that are still to be asked for."""
        newest = next(reversed(self._rows), None)
        return SPAN_S if newest is None else min(now - newest + 2.0, SPAN_S)

    async def _ask_history(self, history: Awaitable[None]) -> None:
        """The database may be away: what the loop does can be shown all the same."""
        try:
            await history
            self.view.history_trouble = None
        except ApiError as error:
            self.view.history_trouble = error.message

    def _keep(self, rows: Iterable[tuple[float, list[Any]]]) -> str:
        """Append the chart rows (time, and what follows it) that are new, drop those past the span -> the new ones,
        JSON.
        """
        newest = next(reversed(self._rows), 0.0)
        fresh = {t: json.dumps([round(t * 1e3), *row]) for t, row in rows if t > newest}
        self._rows |= fresh
        for t in [t for t in self._rows if t < next(reversed(self._rows)) - SPAN_S]:
            del self._rows[t]
        return f"[{','.join(fresh.values())}]"


class Numbered(Protocol):
    @property
    def seq(self) -> int: ...


N = TypeVar("N", bound=Numbered)


def merged(old: list[N], new: list[N], kept: int) -> list[N]:
    """Newest first; of two with one number the one in `new`."""
    seen = {decision.seq: decision for decision in (*old, *new)}
    return [seen[seq] for seq in sorted(seen, reverse=True)[:kept]]
