"""What the page of a migration loop shows, polled."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from edgewright.service.ui.client import Api
from edgewright.service.ui.migration.shapes import Decision, MigrationColumns, MigrationState
from edgewright.service.ui.polling import RECORDED_WITHIN_S, Polling, Seen, merged
from edgewright.service.ui.shapes import Column, Event

KEPT_DECISIONS = 60
APART_S = 0.4  # of two rows: at a high pace there are more steps than a chart has pixels


@dataclass
class MigrationView(Seen):
    loop: MigrationState | None = None
    decisions: list[Decision] = field(default_factory=list)  # newest first
    events: list[Event] = field(default_factory=list)  # newest first


class MigrationFeed(Polling[MigrationView]):
    def __init__(self, api: Api, loop: str) -> None:
        super().__init__(MigrationView(), loop)
        self._api = api
        self._seq = -1  # of the newest decision seen
        self._search_until = 0.0
        self._row: tuple[float, float | None] = (0.0, None)  # time and node of the last

    async def _poll(self) -> str:
        now, view = time.time(), self.view
        state = await self._api.migration(self._loop)
        if view.loop and state.names != view.loop.names:
            self._rows.clear()  # the loop was made anew: the columns of its rows are other nodes'
            self._row = 0.0, None
        columns = await self._api.migration_series(self._loop, self._since(now))
        await self._ask_history(self._poll_history(state))
        view.loop, view.trouble, view.since = state, None, now
        return self._keep(self._apart(columns, state.names))

    async def _poll_history(self, state: MigrationState) -> None:
        """The newest decision comes with the state; the others, and events, are asked for when there are new ones."""
        view, last = self.view, state.last_decision
        if last and last.seq != self._seq:
            self._seq = last.seq
            self._search_until = time.monotonic() + RECORDED_WITHIN_S
            view.decisions = merged(view.decisions, [last], KEPT_DECISIONS)
        if time.monotonic() < self._search_until or view.history_trouble:
            recorded = await self._api.migration_decisions(self._loop, KEPT_DECISIONS)
            view.decisions = merged(recorded, view.decisions, KEPT_DECISIONS)
        view.events = await self._api.migration_events(self._loop)

    def _apart(self, columns: MigrationColumns, names: list[str]) -> Iterator[tuple[float, list[float | None]]]:
        """Rows that lie apart, and each in which another node serves."""
        for t, row in _rows(columns, names):
            before, node = self._row
            if t > before and (t >= before + APART_S or row[0] != node):
                self._row = t, row[0]
                yield t, row


def _rows(columns: MigrationColumns, names: list[str]) -> Iterator[tuple[float, list[float | None]]]:
    """A row: node that serves, its round-trip time and load, round-trip time of each node, load of each node."""
    for index, t in enumerate(columns.t):
        node = columns.node[index] if index < len(columns.node) else None
        rtt_ms, load = ([_at(each.get(name, []), index) for name in names] for each in (columns.rtt_ms, columns.load))
        served = [None, None] if node is None else [rtt_ms[node], load[node]]
        yield t, [node, *served, *rtt_ms, *load]


def _at(column: Column, index: int) -> float | None:
    value = column[index] if index < len(column) else None
    return None if value is None else round(value, 2)
