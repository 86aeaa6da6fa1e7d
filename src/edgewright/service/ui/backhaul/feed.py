"""What the page of a backhaul loop shows, polled."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from edgewright.service.ui.backhaul.shapes import BackhaulColumns, BackhaulState, Plan
from edgewright.service.ui.client import Api
from edgewright.service.ui.polling import RECORDED_WITHIN_S, Polling, Seen, merged
from edgewright.service.ui.shapes import Event

KEPT_PLANS = 30


@dataclass
class BackhaulView(Seen):
    loop: BackhaulState | None = None
    plans: list[Plan] = field(default_factory=list)  # newest first
    events: list[Event] = field(default_factory=list)  # newest first


class BackhaulFeed(Polling[BackhaulView]):
    def __init__(self, api: Api, loop: str) -> None:
        super().__init__(BackhaulView(), loop)
        self._api = api
        self._seq = -1  # of the newest decision seen
        self._search_until = 0.0

    async def _poll(self) -> str:
        now, view = time.time(), self.view
        state = await self._api.backhaul(self._loop)
        columns = await self._api.backhaul_series(self._loop, self._since(now))
        await self._ask_history(self._poll_history(state))
        view.loop, view.trouble, view.since = state, None, now
        return self._keep(_rows(columns))

    async def _poll_history(self, state: BackhaulState) -> None:
        """The newest decision comes with the state; the others, and events, are asked for when there are new ones."""
        view, last = self.view, state.last_decision
        if last and last.seq != self._seq:
            self._seq = last.seq
            self._search_until = time.monotonic() + RECORDED_WITHIN_S
            view.plans = merged(view.plans, [last], KEPT_PLANS)
        if time.monotonic() < self._search_until or view.history_trouble:
            view.plans = merged(await self._api.backhaul_decisions(self._loop, KEPT_PLANS), view.plans, KEPT_PLANS)
        view.events = await self._api.backhaul_events(self._loop)


def _rows(columns: BackhaulColumns) -> Iterator[tuple[float, list[float | None]]]:
    shown = (columns.offered_mbps, columns.carried_mbps, columns.efficiency, columns.jain)
    for t, *row in zip(columns.t, *shown, strict=False):
        yield t, row
