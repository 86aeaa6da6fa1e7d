"""Orders, newest first, each with the steps of its workflow as they happen."""

from __future__ import annotations

from datetime import tzinfo
from functools import partial
from typing import Any

from nicegui import ui

from edgewright.service.ui.access import Access, confirmed
from edgewright.service.ui.client import Api
from edgewright.service.ui.elements import State, attributes, box, text
from edgewright.service.ui.orders import words
from edgewright.service.ui.orders.feed import SHOWN_ORDERS, OrdersView
from edgewright.service.ui.orders.shapes import CANCELLING, Order, Step
from edgewright.service.ui.words import clock

MARKS = {"waiting": "next", "running": "now"}  # of a step, as styled for generations too


class Orders:
    """A row stays the same element for as long as its order is shown."""

    def __init__(self, api: Api, access: Access) -> None:
        self._api, self._access = api, access
        self._rows: dict[str, OrderRow] = {}
        with box("section", "card orders").props('aria-label="Orders"'):
            with box("div", "card-head"):
                text("h2", "", "Orders")
                self._many = text("span", "quiet")
            with box("div", "scroll order-list").props('tabindex=0 role=region aria-label="Newest first"'):
                self._list = box("div").props("role=list")
                self._empty = text("p", "empty", "None yet: choose a service of the catalogue, and order it")

    def show(self, view: OrdersView, zone: tzinfo) -> None:
        self._empty.visible = not view.orders
        self._many.text = f"The newest {SHOWN_ORDERS}" if len(view.orders) == SHOWN_ORDERS else ""
        for gone in self._rows.keys() - {order.id for order in view.orders}:
            self._rows.pop(gone).box.delete()
        names, packages = view.names, view.packages
        for place, order in enumerate(view.orders):
            if order.id not in self._rows:
                with self._list:
                    is_open = place == 0 or not order.ended
                    self._rows[order.id] = row = OrderRow(self._api, self._access, order, is_open=is_open)
                row.box.move(target_index=place)
            title = words.title(order, names, packages)
            self._rows[order.id].show(order, title, view.steps.get(order.id, []), view.since, zone)

    def open(self, order: str) -> None:
        """That alone, of those that have ended: it was just placed."""
        for id, row in self._rows.items():
            row.unfold(id == order or row.unfinished)


class OrderRow:
    def __init__(self, api: Api, access: Access, order: Order, *, is_open: bool) -> None:
        self._api, self._access, self._order = api, access, order
        self._lines: list[StepLine] = []
        self._title = ""
        self._state_of: dict[str, str] = {}
        with box("div", "order").props("role=listitem") as self.box:
            with box("div", "order-head"):
                self._state = State("span", "order-state")
                self._name = text("span", "order-title")
                with box("div", "order-actions"):
                    self._cancel = ui.button("Cancel", icon="block", on_click=self._ask_cancel, color=None)
                    access.needs_key(self._cancel.props("flat dense no-caps").classes("plain"))
                    self._fold = ui.button(on_click=self._turn, color=None)
                    self._fold.props("flat dense round").classes("plain")
            self._facts = attributes(text("p", "quiet number order-facts"), title=f"Order {order.id}")
            self._error = text("p", "error order-error").props("role=status")
            self._steps = box("ol", "steps order-steps").props('aria-label="Steps"')
        self.unfold(is_open)

    @property
    def unfinished(self) -> bool:
        return not self._order.ended

    def _turn(self) -> None:
        self.unfold(not self._steps.visible)

    def unfold(self, is_open: bool) -> None:
        self._steps.visible = is_open
        icon, word = ("expand_less", "Hide") if is_open else ("expand_more", "Show")
        label = f"{word} the steps of {self._title or self._order.id[:8]}"
        self._fold.props(f"icon={icon} aria-expanded={str(is_open).lower()}")
        attributes(self._fold, aria_label=label)

    def show(self, order: Order, title: str, steps: list[Step], now: float, zone: tzinfo) -> None:
        self._order = order
        self._state.show(*words.order_state(order))
        if title != self._title:
            self._title = self._name.text = title
            attributes(self._cancel, aria_label=f"Cancel the order: {title}")
            self.unfold(self._steps.visible)
        self._cancel.visible = not order.ended and order.state not in CANCELLING
        when = clock(order.date.timestamp(), zone)
        self._facts.text = ", ".join(filter(None, [when, words.took(order, steps, now), order.description]))
        self._error.text = words.problem(order)
        self._error.visible = bool(order.errors)
        if len(self._lines) != len(steps):
            self._steps.clear()
            with self._steps:
                self._lines = [StepLine(step, len(order.items)) for step in steps]
        for line, step in zip(self._lines, steps, strict=True):
            line.show(step, now, order)

    async def _ask_cancel(self) -> None:
        lost = "What it has made so far is undone."
        if self._access.key is not None and await confirmed("Cancel this order?", lost, "Cancel the order"):
            call = partial(self._api.cancel_order, order=self._order.id)
            await self._access.act(call, "The order is being cancelled")


class StepLine:
    def __init__(self, step: Step, items: int) -> None:
        word, told = words.step(step.name, items)
        self._mark = ""
        with box("li") as self._box:
            attributes(text("span", "step-name", word), title=told)
            self._state = text("span", "number step-state")
            self._told: Any = text("span", "quiet step-told")

    def show(self, step: Step, now: float, order: Order) -> None:
        mark = MARKS.get(step.state, step.state)
        if mark != self._mark:
            self._mark = mark
            self._box.classes(replace=mark)
            self._box.props(**({"add": "aria-current=step"} if mark == "now" else {"remove": "aria-current"}))
        self._state.text = words.step_state(step, now, ended=order.ended)
        told = any(step.error in error.message for error in order.errors)  # above the steps
        self._told.text = step.note if told else words.reason(step.error) or step.note
