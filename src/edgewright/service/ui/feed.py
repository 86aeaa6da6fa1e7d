"""What the page of a scaling loop shows, polled."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from edgewright.service.ui.client import Api
from edgewright.service.ui.polling import RECORDED_WITHIN_S, Polling, Seen, merged
from edgewright.service.ui.shapes import Columns, Decision, Event, LoopState
from edgewright.service.ui.words import changes

EVENTS_EVERY_S = 3.0
KEPT_DECISIONS = 40


@dataclass
class View(Seen):
    """The newest of everything a page shows."""

    loop: LoopState | None = None
    decisions: list[Decision] = field(default_factory=list)  # newest first
    events: list[Event] = field(default_factory=list)  # newest first


class Feed(Polling[View]):
    def __init__(self, api: Api, loop: str) -> None:
        super().__init__(View(), loop)
        self._api = api
        self._events_at = 0.0
        self._seq = -1  # of the newest decision seen
        self._search_until = 0.0  # ask for recorded decisions until then: some did not come with the state

    async def _poll(self) -> str:
        now, view = time.time(), self.view
        state = await self._api.loop(self._loop)
        if view.loop and [s.name for s in state.services] != [s.name for s in view.loop.services]:
            self._rows.clear()  # the loop was made anew: the columns of its rows are other services'
        columns = await self._api.series(self._loop, self._since(now))
        await self._ask_history(self._poll_history(state))
        view.loop, view.trouble, view.since = state, None, now
        return self._keep(_rows(columns, state))

    async def _poll_history(self, state: LoopState) -> None:
        last, view = state.last_decision, self.view
        seq, self._seq = self._seq, last.seq if last else 0
        if view.trouble or view.history_trouble or self._seq - seq not in (0, 1):
            self._search_until = time.monotonic() + RECORDED_WITHIN_S
        if last and changes(last):  # usually one a second, and it came with the state
            view.decisions = merged(view.decisions, [last], KEPT_DECISIONS)
        if time.monotonic() < self._search_until:
            shadow = state.mode == "shadow"  # nothing is changed then, and everything is advice
            recorded = await self._api.decisions(self._loop, KEPT_DECISIONS, changed_only=not shadow)
            view.decisions = merged(view.decisions, recorded, KEPT_DECISIONS)
        if time.monotonic() - self._events_at >= EVENTS_EVERY_S:
            view.events = await self._api.events(self._loop)
            self._events_at = time.monotonic()


def _rows(columns: Columns, state: LoopState) -> Iterator[tuple[float, list[float | None]]]:
    for index, t in enumerate(columns.t):
        row = [_at(columns.slice.cpu_left, index)]
        for service in state.services:
            mine = columns.services.get(service.name)
            for column in ("response_p95_ms", "response_mean_ms", "limit_cpu", "usage_cpu"):
                row.append(_at(getattr(mine, column, []), index))
        yield t, row


def _at(column: list[float | None], index: int) -> float | None:
    value = column[index] if index < len(column) else None
    return None if value is None else round(value, 4)
