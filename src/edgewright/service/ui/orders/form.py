"""The catalogue, and the order of one of its services: fields within their ranges, what is wrong beside each."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from nicegui import ui

from edgewright.service.ui.access import Access
from edgewright.service.ui.client import Api, ApiError
from edgewright.service.ui.elements import attributes, box, text
from edgewright.service.ui.orders import words
from edgewright.service.ui.orders.feed import OrdersView
from edgewright.service.ui.orders.shapes import Choice, Order, Specification
from edgewright.service.ui.orders.start import Onboarding
from edgewright.service.ui.topology.form import Field

Placed = Callable[[str], None]
"""Called with the id of each order that was placed here."""
OUTLINED = "outlined dense no-error-icon hide-bottom-space"


class Catalogue:
    """A row each; the form is of the chosen one."""

    def __init__(self, api: Api, access: Access, onboarding: Onboarding, placed: Placed) -> None:
        self._shown: Any = None
        self._chosen: str | None = None
        self._view: OrdersView | None = None
        with box("section", "card catalogue").props('aria-label="Catalogue"'):
            with box("div", "card-head"):
                text("h2", "", "Catalogue")
                add = ui.button("Add a service", icon="add", on_click=onboarding.open, color=None)
                access.needs_key(add.props("flat dense no-caps").classes("plain"))
            self._empty = text("p", "empty", "Nothing can be ordered yet")
            self._list = box("ul", "offers scroll")
            self._form = OrderForm(api, access, placed)

    def show(self, view: OrdersView) -> None:
        self._view = view
        offers = view.specifications
        ids = [each.id for each in offers if each.package]
        if self._chosen not in ids:
            self._chosen = next(iter(ids), None)
        shown = [(each.id, each.description) for each in offers], self._chosen
        if shown != self._shown:
            self._shown = shown
            self._empty.visible = not offers
            self._list.clear()
            with self._list:
                for each in offers:
                    self._row(each)
            self._form.offer(next((each for each in offers if each.id == self._chosen), None), view)
        self._form.show(view)

    def _row(self, offer: Specification) -> None:
        with box("li", f"offer {'chosen' if offer.id == self._chosen else ''}"):
            with box("div", "offer-head"):
                name = ui.button(offer.name, on_click=partial(self._choose, offer.id), color=None)
                pressed = str(offer.id == self._chosen).lower()
                name.props(f"flat dense no-caps aria-pressed={pressed}")
                attributes(name, aria_label=f"Choose {offer.name}")
                name.classes("plain offer-name").set_enabled(offer.package is not None)
                text("span", "quiet", offer.version or "")
            if offer.description:
                text("p", "quiet", offer.description)
            if offer.package is None:
                text("p", "quiet", "Not run here: it has no package")

    def _choose(self, id: str) -> None:
        self._chosen = id
        if self._view is not None:
            self.show(self._view)


class OrderForm:
    def __init__(self, api: Api, access: Access, placed: Placed) -> None:
        self._api, self._access, self._placed = api, access, placed
        self._offer: Specification | None = None
        self._name: ui.input | None = None
        self._fields: dict[str, tuple[Choice, Field]] = {}
        self._mine: str | None = None  # the order that was placed last, until it is accepted
        self._sent: list[str] = []  # its characteristics
        self._taken: Collection[str] = ()  # names
        with box("div", "order-form").props('role=group aria-label="Order"') as self._box:
            self._inside = box("div", "order-fields")
            self._error = text("p", "error").props("role=alert")
            self._button = ui.button("Order", on_click=self._order, color=None).props("unelevated no-caps")
            self._button.classes("primary")

    def offer(self, offer: Specification | None, view: OrdersView) -> None:
        """Fields for another one."""
        self._offer, self._mine, self._taken = offer, None, view.names.values()
        self._box.visible = offer is not None
        self._error.visible = False
        self._inside.clear()
        self._fields = {}
        if offer is None:
            return
        with self._inside:
            name = words.free_name(offer.name, self._taken)
            Field("Name", partial(self._name_input, name))
            with box("div", "three"):
                for choice in offer.choices:
                    step = 1 if choice.whole else 0.05 if choice.name == "cpu" else 16
                    field = Field(words.label(choice), partial(_number, choice, step), words.span(choice))
                    field.box.tooltip(choice.description)
                    self._fields[choice.name] = choice, field
        self._button.text = f"Order {offer.name}"

    def _name_input(self, name: str) -> ui.input:
        self._name = ui.input(value=name).props(f"{OUTLINED} autocomplete=off maxlength=100")
        return self._name

    def show(self, view: OrdersView) -> None:
        """A rejection of what was ordered here stands at its field."""
        self._taken = view.names.values()
        mine = next((each for each in view.orders if each.id == self._mine), None)
        if mine is None or mine.state == "acknowledged":
            return
        self._mine = None
        if mine.state == "rejected":
            self._reject(mine)

    def _reject(self, order: Order) -> None:
        name, told = words.wrong_field(order.errors[0].message if order.errors else "rejected", self._sent)
        if name in self._fields:
            self._fields[name][1].show_error(told)
        else:
            self._error.text, self._error.visible = f"Rejected: {told}", True

    def _read(self) -> dict[str, Any] | None:
        """The characteristics; None where a field says what is wrong with it."""
        self._error.visible = False
        problems = {name: words.wrong(choice, field.value) for name, (choice, field) in self._fields.items()}
        for name, problem in problems.items():
            self._fields[name][1].show_error(problem)
        return None if any(problems.values()) else {name: field.value for name, (_, field) in self._fields.items()}

    async def _order(self) -> None:
        values = self._read()
        if values is None or self._offer is None or self._name is None:
            return
        name = (self._name.value or "").strip() or self._offer.name
        characteristics = [{"name": each, "value": value} for each, value in values.items()]
        service = {
            "name": name,
            "serviceSpecification": {"id": self._offer.id},
            "serviceCharacteristic": characteristics,
        }
        item = {"action": "add", "service": service}
        self._sent = list(values)

        def refused(error: ApiError) -> None:
            self._error.text, self._error.visible = error.message, True

        id = await place(self._api, self._access, item, f"{name} is ordered", refused)
        if id is not None:
            self._mine = id
            self._name.value = words.free_name(self._offer.name, {*self._taken, name})
            self._placed(id)


async def place(
    api: Api, access: Access, item: dict[str, Any], done: str, refused: Callable[[ApiError], None] | None = None
) -> str | None:
    """Place an order of one item -> its id, None where it was refused."""
    ids: list[str] = []

    async def call(key: str) -> None:
        ids.append(await api.order(key, item))

    return ids[0] if await access.act(call, done, refused) else None


def _number(choice: Choice, step: float) -> ui.number:
    """Without bounds of its own, which would change what was typed instead of telling what is wrong."""
    return ui.number(value=choice.default, step=step).props(OUTLINED)
