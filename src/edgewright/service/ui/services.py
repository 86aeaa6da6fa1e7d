"""One card per service: its standing, numbers, charts and controls."""

from __future__ import annotations

import time
from functools import partial

from nicegui import events, ui

from edgewright.service.ui import words
from edgewright.service.ui.access import Access, confirmed
from edgewright.service.ui.charts import Charts
from edgewright.service.ui.client import Api
from edgewright.service.ui.elements import Meter, Reading, State, attributes, box, text
from edgewright.service.ui.shapes import LoopState, ServiceState, Slo

LEFT_S = 5.0  # a slider not moved for so long is out of its visitor's hand


class ServiceCard:
    def __init__(self, api: Api, access: Access, charts: Charts, loop: LoopState, index: int) -> None:
        self._api, self._access, self._loop = api, access, loop.name
        service = loop.services[index]
        self.name = service.name
        self._load_seen: float | None = None
        self._load_moved_s = 0.0
        self._pin_seen: float | None = None
        with attributes(box("article", "card service"), aria_label=f"Service {self.name}") as self.box:
            self._build_facts(loop.slo)
            charts.response(index, self.name, loop.slo.response_ms)
            charts.cpu(index, self.name)
            self._build_controls(service)
        self.show(service, loop.slice.cpu)

    def _build_facts(self, slo: Slo) -> None:
        with box("div", "facts"):
            with box("div", "service-head"):
                text("h3", "", self.name)
                self._state = State("span")
            with box("dl", "response"):
                self._p95 = Reading(f"p{slo.percentile:g} response, ms (SLO {slo.response_ms:g})")
                self._mean = Reading("Mean, ms")
            with box("div", "cpu"):
                with box("div", "cpu-words"):
                    text("span", "", "CPU")
                    self._cpu = text("span", "number")
                self._meter = Meter()
            with box("dl", "readings"):
                self._rate = Reading("Requests/s")
                late = f"Share of requests over the SLO's bound or failed; {words.share(slo.late_allowed)} allowed"
                self._late = Reading(f"Late in {slo.window_s:g} s", late)
                self._throttled = Reading("Throttled", "Share of scheduling periods in which the CPU limit was used up")
                self._memory = Reading("Memory, MB")
                self._restarts = Reading("Restarts")
                self._pin = Reading("Pin")

    def _build_controls(self, service: ServiceState) -> None:
        with box("div", "controls"):
            self._load_box = box("div", "load")
            with self._load_box:
                text("span", "quiet", "Load")
                self._slider = self._access.needs_key(ui.slider(min=0, max=3, step=0.1, value=1.0))
                attributes(self._slider.props("label-always=false"), aria_label=f"Load factor of {self.name}")
                self._slider.on("change", self._set_load)
                self._factor = text("span", "number factor")
                self._slider.on_value_change(self._load_moved)
            with box("div", "pin"):
                field = ui.number(value=service.limit_cpu, min=0.01, step=0.05, format="%.2f")
                self._pin_field = self._access.needs_key(field)
                field.props("outlined dense suffix=CPU")
                attributes(field, aria_label=f"CPU limit to pin {self.name} at")
                field.on("keydown.enter", self._set_pin)
                self._pin_button = self._button("Pin", "push_pin", self._set_pin)
                self._unpin_button = self._button("Unpin", "lock_open", self._unset_pin)
            self._button("Restart", "restart_alt", self._restart)

    def _button(self, word: str, icon: str, action: object) -> ui.button:
        button = ui.button(word, icon=icon, on_click=action, color=None)  # type: ignore[arg-type]
        attributes(button.props("flat dense no-caps"), aria_label=f"{word} {self.name}").classes("plain")
        return self._access.needs_key(button)  # type: ignore[no-any-return]

    def show(self, service: ServiceState, slice_cpu: float) -> None:
        self._state.show(*words.state(service))
        self._p95.show(words.milliseconds(service.response_p95_ms or None))
        self._mean.show(words.milliseconds(service.response_mean_ms or None))
        usage, limit = service.usage_cpu or 0.0, service.limit_cpu or 0.0
        self._cpu.text = f"{words.cpu(service.usage_cpu)} used of {words.cpu(service.limit_cpu)}"
        self._meter.show(usage / slice_cpu, limit / slice_cpu)
        self._rate.show(words.rate(service.rate_hz))
        self._late.show(words.share(service.late_in_window))
        self._throttled.show(words.share(service.throttled))
        self._memory.show(f"{words.megabytes(service.memory_bytes)} of {words.megabytes(service.memory_limit_bytes)}")
        self._restarts.show(str(service.restarts))
        self._pin.show("none" if service.pin is None else words.cpu(service.pin))
        self._unpin_button.visible = service.pin is not None
        self._pin_button.visible = service.pin is None
        self._load_box.visible = service.load_factor is not None
        # A control follows the API when the API's value moves: a poll must not undo what the visitor is setting. What
        # they left where it is not in force (an event that came late, an order refused) goes back after a while.
        left = time.monotonic() - self._load_moved_s > LEFT_S
        if service.load_factor is not None and (left or service.load_factor != self._load_seen):
            self._load_seen = service.load_factor
            self._slider.value = service.load_factor
            self._factor.text = f"× {service.load_factor:.1f}"
        if service.pin != self._pin_seen:
            self._pin_seen = service.pin
            if service.pin is not None:
                self._pin_field.value = service.pin

    def _load_moved(self, event: events.ValueChangeEventArguments[float]) -> None:
        self._load_moved_s = time.monotonic()
        self._factor.text = f"× {event.value:.1f}"

    async def _set_load(self) -> None:
        factor = round(float(self._slider.value), 1)
        call = partial(self._api.load, loop=self._loop, service=self.name, factor=factor)
        done = await self._access.act(call, f"Load of {self.name} set to × {factor:g}")
        # From here on the slider follows what is in force, be it changed back before the next poll.
        self._load_seen = factor if done else None

    async def _set_pin(self) -> None:
        cpu = self._pin_field.value
        if cpu is None:
            ui.notify("Give the CPU limit to pin at, in cores", type="warning")
            return
        call = partial(self._api.pin, loop=self._loop, service=self.name, cpu=float(cpu))
        await self._access.act(call, f"{self.name} pinned at {cpu:g} CPU")

    async def _unset_pin(self) -> None:
        call = partial(self._api.unpin, loop=self._loop, service=self.name)
        await self._access.act(call, f"{self.name} unpinned: the policy decides again")

    async def _restart(self) -> None:
        lost = "Requests in progress will fail, and it answers none until it is ready again."
        if self._access.key is not None and await confirmed(f"Restart {self.name}?", lost, "Restart"):
            call = partial(self._api.restart, loop=self._loop, service=self.name)
            await self._access.act(call, f"{self.name} is restarting")


class Services:
    """The cards, made anew only when the services themselves change."""

    def __init__(self, api: Api, access: Access, charts: Charts) -> None:
        self._api, self._access, self._charts = api, access, charts
        self._cards: list[ServiceCard] = []
        self._box = box("section", "services").props('aria-label="Services"')

    def show(self, loop: LoopState) -> bool:
        """Draw the newest state -> whether the cards were made anew (and their charts are empty)."""
        if [card.name for card in self._cards] != [service.name for service in loop.services]:
            self._box.clear()
            with self._box:
                self._cards = [
                    ServiceCard(self._api, self._access, self._charts, loop, index)
                    for index in range(len(loop.services))
                ]
            return True
        for card, service in zip(self._cards, loop.services, strict=True):
            card.show(service, loop.slice.cpu)
        return False
