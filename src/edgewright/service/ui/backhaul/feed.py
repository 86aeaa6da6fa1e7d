"""What the page of a backhaul loop shows, polled."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field

from edgewright.service.ui.backhaul.shapes import BackhaulColumns, BackhaulState, Plan
from edgewright.service.ui.client import Api, ApiError
from edgewright.service.ui.polling import Polling, Seen
from edgewright.service.ui.shapes import Event

KEPT_PLANS = 30
RECORDED_WITHIN_S = 3.0  # decisions are written a moment after they were made


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
        try:
            await self._poll_history(state)
            view.history_trouble = None
        except ApiError as error:  # the database: what the loop does can be shown all the same
            view.history_trouble = error.message
        view.loop, view.trouble, view.since = state, None, now
        return self._keep(columns)

    async def _poll_history(self, state: BackhaulState) -> None:
        """The newest decision comes with the state; the others, and events, are asked for when there are new ones."""
        view, last = self.view, state.last_decision
        if last and last.seq != self._seq:
            self._seq = last.seq
            self._search_until = time.monotonic() + RECORDED_WITHIN_S
            view.plans = [last, *(plan for plan in view.plans if plan.seq != last.seq)][:KEPT_PLANS]
        if time.monotonic() < self._search_until or view.history_trouble:
            recorded = {plan.seq: plan for plan in await self._api.backhaul_decisions(self._loop, KEPT_PLANS)}
            recorded |= {plan.seq: plan for plan in view.plans}
            view.plans = [recorded[seq] for seq in sorted(recorded, reverse=True)[:KEPT_PLANS]]
        view.events = await self._api.backhaul_events(self._loop)

    def _keep(self, columns: BackhaulColumns) -> str:
        """Append the rows that are new, drop those past the span -> the new ones, JSON."""
        newest = next(reversed(self._rows), 0.0)
        fresh = []
        for t, *row in zip(
            columns.t, columns.offered_mbps, columns.carried_mbps, columns.efficiency, columns.jain, strict=False
        ):
            if t > newest:
                self._rows[t] = json.dumps([round(t * 1e3), *row])
                fresh.append(self._rows[t])
        self._forget()
        return f"[{','.join(fresh)}]"
