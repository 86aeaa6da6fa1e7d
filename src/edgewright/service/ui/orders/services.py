"""Services that were ordered: how each does, its replicas, and what may be changed of it."""

from __future__ import annotations

import time
from functools import partial
from typing import Any
from urllib.parse import quote

from nicegui import ui

from edgewright.service.ui.access import Access, confirmed
from edgewright.service.ui.client import Api
from edgewright.service.ui.elements import Meter, Reading, State, attributes, box, link, text
from edgewright.service.ui.orders import words
from edgewright.service.ui.orders.feed import OrdersView
from edgewright.service.ui.orders.form import Placed, place
from edgewright.service.ui.orders.shapes import Choice, Instance, Replica, Service, Specification
from edgewright.service.ui.shapes import LoopState
from edgewright.service.ui.topology.form import Field
from edgewright.service.ui.words import cpu, milliseconds, rate, share
from edgewright.service.ui.words import state as standing

LEFT_S = 30.0  # a field not touched for so long is out of its visitor's hand
RESTING = "Its replicas have ended, its slice stays booked."
HEADS = (
    ("No.", "Of the replica"),
    ("Process", "Its number (pid) on the host"),
    ("State", "Of the process, and whether the balancer sends it requests"),
    ("CPU limit", "Cores"),
    ("Memory", "In use, MB"),
    ("Requests", "Answered since it started, and in progress"),
    ("Restarts", ""),
)


class Services:
    def __init__(self, api: Api, access: Access, placed: Placed) -> None:
        self._api, self._access, self._placed = api, access, placed
        self._cards: dict[str, ServiceCard] = {}
        with box("section", "ordered").props('aria-label="Services"'):
            self._list = box("div", "ordered-list")
            with box("div", "card") as self._empty:
                text("h2", "", "Services")
                text("p", "empty", "None runs: what is ordered shows here, with its address and its controls")

    def show(self, view: OrdersView) -> None:
        self._empty.visible = not view.services
        for gone in self._cards.keys() - {service.id for service in view.services}:
            self._cards.pop(gone).box.delete()
        specifications = {each.id: each for each in view.specifications}
        for at, service in enumerate(view.services):
            if service.id not in self._cards:
                with self._list:
                    card = ServiceCard(self._api, self._access, self._placed, service)
                card.box.move(target_index=at)
                self._cards[service.id] = card
            instance = view.instances.get(service.text("instance"))
            loop = view.loops.get(service.text("loop"))
            self._cards[service.id].show(service, specifications.get(service.specification.id), instance, loop)


class ServiceCard:
    def __init__(self, api: Api, access: Access, placed: Placed, service: Service) -> None:
        self._api, self._access, self._placed, self._service = api, access, placed, service
        self._numbers: dict[str, Number] = {}
        name = service.label
        with attributes(box("article", "card ordered-service"), aria_label=f"Service {name}") as self.box:
            with box("div", "service-head"):
                attributes(text("h3", "", name), title=f"Service {service.id}")
                self._state, self._standing = State("span"), State("span")
                with box("div", "service-actions"):
                    self._turn = ui.button("", on_click=self._turn_over, color=None)
                    access.needs_key(self._turn.props("flat dense no-caps")).classes("plain")
                    self._terminate = ui.button("Terminate", icon="delete", on_click=self._ask_terminate, color=None)
                    access.needs_key(self._terminate.props("flat dense no-caps")).classes("plain")
                    attributes(self._terminate, aria_label=f"Terminate {name}")
            with box("p", "ordered-links"):
                self._of = text("span", "quiet")
                self._address = text("a", "number").props("target=_blank rel=noopener")
                self._loop = text("a")
                self._scaled = text("span", "quiet", "which sets the CPU")
                self._scaled.props('title="Pause the loop to keep the CPU that you set here"')
            self._resting = text("p", "quiet", RESTING)
            with box("div", "running") as self._running:
                with box("div", "doing"):
                    with box("div", "cpu"):
                        with box("div", "cpu-words"):
                            text("span", "", "CPU of each replica")
                            self._cpu = text("span", "number")
                        self._meter = Meter()
                    with box("dl", "readings"):
                        self._rate = Reading("Requests/s", "Of all replicas together")
                        self._p95 = Reading("Response p95, ms", "95 of 100 requests were answered within this time")
                        self._late = Reading("Late", "Share of requests over the objective's bound or failed")
                        self._objective = Reading("Objective", "What the package promises (SLO)")
                self._controls = attributes(box("div", "change").props("role=group"), aria_label=f"Change {name}")
                self._replicas = Replicas()

    def show(
        self, service: Service, offer: Specification | None, instance: Instance | None, loop: LoopState | None
    ) -> None:
        self._service = service
        self._state.show(*words.service_state(service, instance))
        self._of.text = f"{offer.name} {offer.version or ''}".rstrip() if offer else ""
        self._link(self._address, service.text("address"), service.text("address"))
        told = f"Scaling loop: {loop.policy}, {loop.mode}" if loop else None
        self._link(self._loop, f"/?loop={quote(loop.name)}" if loop else None, told)
        self._scaled.visible = loop is not None and loop.mode == "act"
        active = service.state == "active"
        self._running.visible = self._standing.box.visible = active
        self._resting.visible = service.state == "inactive"
        self._turn.visible = self._terminate.visible = active or self._resting.visible
        self._turn.text, icon = ("Deactivate", "pause") if active else ("Activate", "play_arrow")
        attributes(self._turn.props(f"icon={icon}"), aria_label=f"{self._turn.text} {service.label}")
        self._show_loop(loop, len(instance.replicas) if instance else 0)
        if not self._numbers and offer:
            self._build_controls(offer)
        for name, number in self._numbers.items():
            number.follow(service.value(name))
        self._apply_visible()
        self._replicas.show(instance.replicas if instance else [])

    def _show_loop(self, loop: LoopState | None, replicas: int) -> None:
        seen = loop.services[0] if loop and loop.services else None
        limit = self._service.number("cpu")
        used = seen.usage_cpu if seen else None
        self._cpu.text = f"{cpu(used)} used of {cpu(limit)}"
        most = max([*(number.choice.most for number in self._numbers.values() if number.choice.name == "cpu"), 1e-9])
        self._meter.show((used or 0.0) / most, (limit or 0.0) / most)
        self._standing.show(*standing(seen) if seen else ("quiet", "Not measured yet"))
        self._rate.show(rate(seen.rate_hz * replicas if seen and seen.rate_hz is not None else None))
        self._p95.show(milliseconds((seen and seen.response_p95_ms) or None))
        self._late.show(share(seen.late_in_window if seen else None))
        slo = loop.slo if loop else None
        self._objective.show(f"p{slo.percentile:g} ≤ {slo.response_ms:g} ms" if slo else "–")

    @staticmethod
    def _link(element: Any, address: str | None, word: str | None) -> None:
        element.visible = bool(address)
        element.text = word or ""
        link(element, address)

    # Changes

    def _build_controls(self, offer: Specification) -> None:
        name = self._service.label
        with self._controls:
            for choice in offer.choices:
                self._numbers[choice.name] = Number(choice, name, self._access, self._apply_visible)
            self._apply = ui.button("Apply", on_click=self._change, color=None)
            self._access.needs_key(self._apply.props("unelevated no-caps")).classes("primary")
            attributes(self._apply, aria_label=f"Apply to {name}")

    def _apply_visible(self) -> None:
        if self._numbers:
            changed = any(number.changed for number in self._numbers.values())
            self._apply.classes(**({"remove": "idle"} if changed else {"add": "idle"}))

    async def _change(self) -> None:
        numbers = [number for number in self._numbers.values() if number.changed]
        if not numbers:
            ui.notify("Nothing is changed: these are the values in force", timeout=2500)
            return
        good = [number.check() for number in numbers]  # each says what is wrong with it
        if not all(good):
            return
        values = {number.choice.name: number.value for number in numbers}
        told = ", ".join(words.amount(name, value) for name, value in values.items())
        self._apply.props("loading")
        try:
            call = partial(self._api.change_service, service=self._service.id, values=values)
            await self._access.act(call, f"{self._service.label}: {told}")
        finally:
            self._apply.props(remove="loading")

    async def _turn_over(self) -> None:
        """Its replicas end, or come back; its slice stays."""
        state, name = ("inactive" if self._service.state == "active" else "active"), self._service.label
        self._turn.props("loading")
        try:
            call = partial(self._api.set_service_state, service=self._service.id, state=state)
            await self._access.act(call, f"{name} is {state}")
        finally:
            self._turn.props(remove="loading")

    async def _ask_terminate(self) -> None:
        name = self._service.label
        lost = "Its replicas end, and its slice is given back. This cannot be undone."
        if self._access.key is not None and await confirmed(f"Terminate {name}?", lost, "Terminate"):
            item = {"action": "delete", "service": {"id": self._service.id, "name": name}}
            if id := await place(self._api, self._access, item, f"The termination of {name} is ordered"):
                self._placed(id)


class Number:
    """Follows what is in force, unless a visitor has just typed something else."""

    def __init__(self, choice: Choice, service: str, access: Access, moved: Any) -> None:
        self.choice = choice
        self._seen: float | None = None
        self._typed_s = float("-inf")

        def typed() -> None:
            self._typed_s = time.monotonic()
            moved()

        def make() -> Any:
            step = 1 if choice.whole else 0.05 if choice.name == "cpu" else 16
            self._control = ui.number(step=step).props("outlined dense no-error-icon hide-bottom-space")
            self._control.on("update:model-value", typed)
            return access.needs_key(self._control)

        self._field = Field(words.label(choice), make, words.span(choice))
        self._field.box.tooltip(choice.description)
        attributes(self._control, aria_label=f"{words.label(choice)}, of {service}")

    @property
    def value(self) -> Any:
        return self._control.value

    @property
    def changed(self) -> bool:
        return self._seen is not None and self.value != self._seen

    def follow(self, in_force: Any) -> None:
        held = self.changed and time.monotonic() - self._typed_s < LEFT_S
        self._seen = round(in_force, 3) if isinstance(in_force, float) else in_force
        if not held:
            self._control.value = self._seen
            self._field.show_error(None)

    def check(self) -> bool:
        problem = words.wrong(self.choice, self.value)
        self._field.show_error(problem)
        return problem is None


class Replicas:
    """A row each; on a narrow screen a block each."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[Any, ...]] = {}
        with box("div", "replicas").props('role=table aria-label="Replicas"'):
            with box("div", "replica-row table-head").props("role=row"):
                for word, told in HEADS:
                    attributes(text("span", "", word).props("role=columnheader"), title=told)
            self._list = box("div").props("role=rowgroup")

    def show(self, replicas: list[Replica]) -> None:
        for gone in self._rows.keys() - {replica.name for replica in replicas}:
            self._rows.pop(gone)[0].delete()
        for number, replica in enumerate(replicas, 1):
            if replica.name not in self._rows:
                with self._list:
                    self._rows[replica.name] = self._row()
            _, place, pid, state, limit, memory, requests, restarts = self._rows[replica.name]
            place.text = str(number)
            pid.text = str(replica.pid or "–")
            state.show(*words.replica_state(replica))
            limit.text = cpu(replica.cpus)
            memory.text = "–" if replica.memory_mb is None else f"{replica.memory_mb:,.0f} MB"
            requests.text = words.requests(replica)
            restarts.text = str(replica.restarts)

    @staticmethod
    def _row() -> tuple[Any, ...]:
        with box("div", "replica-row number").props("role=row") as row:
            place, pid = (text("span").props("role=cell") for _ in range(2))
            with box("span").props("role=cell"):
                state = State("span")
            return row, place, pid, state, *(text("span").props("role=cell") for _ in range(4))
