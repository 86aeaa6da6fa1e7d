"""Events of the standard APIs, and who is told of them."""

from __future__ import annotations

from datetime import tzinfo
from functools import partial
from typing import Any

from nicegui import ui

from edgewright.service.ui.access import Access
from edgewright.service.ui.client import Api
from edgewright.service.ui.elements import State, attributes, box, text
from edgewright.service.ui.orders import words
from edgewright.service.ui.orders.feed import SHOWN_EVENTS, OrdersView
from edgewright.service.ui.orders.shapes import Hub, TmfEvent
from edgewright.service.ui.words import clock


class TmfEvents:
    """Newest first; a row stays the same element while it moves down."""

    def __init__(self) -> None:
        self._rows: list[tuple[TmfEvent, ui.element, Any]] = []  # with the text of its time
        self._zone: tzinfo | None = None
        with box("section", "card tmf-events").props('aria-label="Events"'):
            with box("div", "card-head"):
                text("h2", "", "Events").props('title="Of the TM Forum APIs: what hubs are told"')
            self._list = box("div", "scroll").props('tabindex=0 role=list aria-label="Newest first"')
            self._empty = text("p", "empty", "None yet")

    def show(self, view: OrdersView, zone: tzinfo) -> None:
        if zone != self._zone:
            self._zone = zone
            for event, _, at in self._rows:
                at.text = clock(event.time, zone)
        newest = self._rows[0][0].seq if self._rows else -1
        names = view.names | {order.id: words.title(order, view.names, view.packages) for order in view.orders}
        for event in reversed([event for event in view.events if event.seq > newest]):
            with self._list:
                row, at = self._row(event, names.get(event.subject, event.subject[:8]), zone)
            row.move(target_index=0)
            self._rows.insert(0, (event, row, at))
        for _, row, _ in self._rows[SHOWN_EVENTS:]:
            row.delete()
        self._rows = self._rows[:SHOWN_EVENTS]
        self._empty.visible = not self._rows

    @staticmethod
    def _row(event: TmfEvent, subject: str, zone: tzinfo) -> tuple[ui.element, Any]:
        with box("div", "event").props("role=listitem") as row:
            at = text("span", "time number", clock(event.time, zone))
            attributes(text("span", "", words.event(event.type)), title=event.type)
            attributes(text("span", "detail", subject), title=event.subject)
        return row, at


class Hubs:
    """Each with what it was told, what waits, and what was given up."""

    def __init__(self, api: Api, access: Access) -> None:
        self._api, self._access = api, access
        self._rows: dict[str, tuple[Any, ...]] = {}
        with box("section", "card hubs").props('aria-label="Hubs"'):
            text("h2", "", "Hubs").props('title="Who registered a callback to be told of events"')
            self._list = box("div")
            self._empty = text("p", "empty", "Nobody has asked to be told of events (POST to an API's /hub)")

    def show(self, view: OrdersView) -> None:
        self._empty.visible = not view.hubs
        for gone in self._rows.keys() - {hub.id for hub in view.hubs}:
            self._rows.pop(gone)[0].delete()
        for hub in view.hubs:
            if hub.id not in self._rows:
                with self._list:
                    self._rows[hub.id] = self._row(hub)
            _, state, button = self._rows[hub.id]
            state.show(*words.hub(hub))
            button.visible = hub.dead > 0

    def _row(self, hub: Hub) -> tuple[Any, ...]:
        with box("div", "hub") as row:
            text("span", "hub-callback", hub.callback)
            text("span", "quiet", ", ".join(filter(None, [hub.api, hub.query])))
            state = State("span", "number")
            button = ui.button("Send again", icon="replay", on_click=partial(self._redeliver, hub.id), color=None)
            attributes(button.props("flat dense no-caps"), aria_label=f"Send again to {hub.callback}").classes("plain")
            self._access.needs_key(button)
        return row, state, button

    async def _redeliver(self, id: str) -> None:
        await self._access.act(partial(self._api.redeliver, hub=id), "Sent again")
