"""The parts of a backhaul's page: headline with its switches, the picture, flows, links, decisions."""

from __future__ import annotations

import json
import time
from datetime import tzinfo
from functools import partial
from typing import Any

from nicegui import Client, events, ui

from edgewright.service.ui.access import Access
from edgewright.service.ui.backhaul import words
from edgewright.service.ui.backhaul.drawing import places
from edgewright.service.ui.backhaul.feed import BackhaulView
from edgewright.service.ui.backhaul.shapes import BackhaulState, Flow, Link, Plan
from edgewright.service.ui.client import Api
from edgewright.service.ui.elements import Meter, State, attributes, box, text
from edgewright.service.ui.summary import MARK, MODES
from edgewright.service.ui.words import Level, clock

MODE_WORDS = {
    "act": "Plans are put in force.",
    "shadow": "Plans are recorded only; paths stay as they are.",
    "paused": "No plans are made; paths stay as they are.",
}
PLANNER_WORDS = {
    "replan": "From the paths in force by few moves.",
    "search": "From scratch, however many flows move.",
    "stay": "Paths stay as they were planned ahead.",
}
LEFT_S = 5.0  # a slider not moved for so long is out of its visitor's hand
IN_TURN = "in turn"


class Headline:
    """Verdict, last change with its reason, and the loop's switches."""

    def __init__(self, api: Api, access: Access, loop: str) -> None:
        self._api, self._access, self._loop = api, access, loop
        self._level: Level | None = None
        self._busy = 0  # switches set and not yet answered by the API: until then polls must not set them back
        self._factor_moved_s = 0.0
        self._factor_seen: float | None = None
        with box("section", "card headline").props('aria-label="State of the loop"'):
            with box("div", "finding"):
                self._verdict = State("h1")
                # Read out when the standing changes, not at every new number.
                self._spoken = text("span", "spoken").props("role=status")
                self._fairness = text("p", "quiet number")
                self._last = text("p", "last")
            with box("div", "switches wide"):
                with self._switch("Mode"):
                    self._mode = access.needs_key(ui.toggle(MODES))
                    self._mode.on("update:model-value", partial(self._set, "mode"))
                    self._mode.props('unelevated dense no-caps aria-label="Mode of the loop"').classes("modes")
                    self._mode_word = text("span", "quiet")
                with self._switch("Planner"):
                    self._planner = access.needs_key(ui.select([]))
                    self._planner.on("update:model-value", partial(self._set, "planner"))
                    self._planner.props('outlined dense options-dense aria-label="Planner"')
                    self._planner_word = text("span", "quiet")
                with self._switch("Matrix"):
                    self._matrix = access.needs_key(ui.select([]))
                    self._matrix.on("update:model-value", self._set_matrix)
                    self._matrix.props('outlined dense options-dense aria-label="Traffic matrix"')
                with self._switch("Demand"), box("div", "load"):
                    self._slider = access.needs_key(ui.slider(min=0, max=3, step=0.1, value=1.0))
                    self._slider.props('aria-label="Demand factor"')
                    self._slider.on("change", self._set_factor)
                    self._factor = text("span", "number factor")
                    self._slider.on_value_change(self._moved)

    @staticmethod
    def _switch(label: str) -> ui.element:
        row = box("div", "switch")
        with row:
            text("span", "quiet label", label)
        return row

    def show(self, state: BackhaulState, view: BackhaulView, now: float) -> None:
        level, found = words.verdict(state)
        self._verdict.show(level, found)
        if level != self._level:
            self._level = level
            self._spoken.text = found
            ui.page_title(f"{MARK[level]} {state.name} · edgewright")
        self._fairness.text = words.fairness(state)
        self._last.text = words.last_change(view.plans, now)
        self._mode_word.text = MODE_WORDS.get(state.mode, "")
        self._planner_word.text = PLANNER_WORDS.get(state.planner, "")
        matrices = {IN_TURN: "Each in turn"} | {str(m): f"Matrix {m} stays" for m in state.demand.matrices}
        if self._matrix.options != matrices:
            self._matrix.set_options(matrices)
            self._planner.set_options(state.planners)
        if not self._busy:
            self._mode.value, self._planner.value = state.mode, state.planner
            self._matrix.value = str(state.demand.matrix) if state.demand.stays else IN_TURN
        factor, left = state.demand.factor, time.monotonic() - self._factor_moved_s > LEFT_S
        if left or factor != self._factor_seen:  # see ServiceCard.show
            self._factor_seen = self._slider.value = factor
            self._factor.text = f"× {factor:.1f}"

    def _moved(self, event: events.ValueChangeEventArguments[float]) -> None:
        self._factor_moved_s = time.monotonic()
        self._factor.text = f"× {event.value:.1f}"

    async def _set(self, field: str) -> None:
        value = {"mode": self._mode, "planner": self._planner}[field].value
        call = partial(self._api.change_backhaul, loop=self._loop, **{field: value})
        await self._act(call, f"{field.capitalize()}: {value}")

    async def _set_matrix(self) -> None:
        chosen = self._matrix.value
        matrix = None if chosen == IN_TURN else int(chosen)
        call = partial(self._api.demand, loop=self._loop, matrix=matrix)
        await self._act(call, f"Demand: {self._matrix.options[chosen].lower()}")

    async def _set_factor(self) -> None:
        factor = round(float(self._slider.value), 1)
        call = partial(self._api.demand, loop=self._loop, factor=factor)
        done = await self._act(call, f"Demand: × {factor:g}")
        self._factor_seen = factor if done else None

    async def _act(self, call: Any, done: str) -> bool:
        self._busy += 1
        try:
            return await self._access.act(call, done)
        finally:
            self._busy -= 1


class Picture:
    """Drawn by `assets/backhaul.js`; a second's news are the loads, what is broken, and the paths."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._drawn = ""
        with box("section", "card").props('aria-label="Network"'):
            text("h2", "", "Network")
            self._box = box("div", "network-picture").props("role=img tabindex=0")
            with box("div", "legend"):
                for kind, word in (
                    ("solid", "mmWave"),
                    ("hollow", "Sub-6"),
                    ("idle", "no load"),
                    ("light", "under half"),
                    ("busy", "50–95 %"),
                    ("full", "full (bold)"),
                    ("broken", "broken"),
                ):
                    with box("span", f"key {kind}"):
                        box("i").props("aria-hidden=true")
                        text("span", "", word)
                text("span", "", "Width: capacity. Numbers: load/capacity, Mb/s")

    def show(self, state: BackhaulState, *, anew: bool) -> None:
        now = json.dumps(
            {
                "links": [[round(link.load_mbps, 2), link.up, words.load_level(link)] for link in state.links],
                "flows": [
                    {
                        "source": flow.source,
                        "nodes": flow.path.nodes if flow.path else [],
                        "links": flow.path.links if flow.path else [],
                    }
                    for flow in state.flows
                ],
            }
        )
        what = (
            json.dumps(
                {
                    "nodes": places(state.nodes, state.donors, [(link.u, link.v) for link in state.links]),
                    "donors": state.donors,
                    "links": [[x.u, x.v, x.band, x.capacity_mbps, words.link_name(x)] for x in state.links],
                }
            )
            if anew or not self._drawn
            else self._drawn
        )
        broken = ", ".join(words.link_name(link) for link in state.links if not link.up)
        label = f"{state.nodes} nodes, {len(state.links)} links; broken: {broken or 'none'}"
        attributes(self._box, aria_label=label)
        call = "show" if what == self._drawn and not anew else "reset"
        self._drawn = what
        self._client.run_javascript(f"edgewrightNetwork.{call}({what + ', ' if call == 'reset' else ''}{now})")


class Flows:
    def __init__(self) -> None:
        self._rows: list[tuple[Any, ...]] = []
        self._built: list[int] = []
        with box("section", "card flows").props('aria-label="Flows"'):
            text("h2", "", "Flows")
            with box("div", "flow-row table-head").props("aria-hidden=true"):
                for word in ("From", "", "Mb/s of demand", "Share", "Path"):
                    text("span", {"Path": "path", "Share": "right", "Mb/s of demand": "right"}.get(word, ""), word)
            self._list = box("div", "scroll").props('tabindex=0 role=region aria-label="Flows"')

    def show(self, flows: list[Flow]) -> None:
        if self._built != (built := [flow.source for flow in flows]):
            self._built = built
            self._list.clear()
            with self._list:
                self._rows = [self._row(flow) for flow in flows]
        most = max((flow.demand_mbps for flow in flows), default=0.0) or 1.0
        for (row, meter, rate, share, path, tip), flow in zip(self._rows, flows, strict=True):
            asks = flow.demand_mbps > 0
            row.classes(**({"remove": "idle"} if asks else {"add": "idle"}))
            meter.show(flow.rate_mbps / most, flow.demand_mbps / most)
            rate.text = f"{words.mbps(flow.rate_mbps)} of {words.mbps(flow.demand_mbps)}" if asks else "none"
            share.text = words.share(flow)
            path.text = words.path_name(flow.path)
            tip.text = f"In the twin {words.mbps(flow.expected_mbps)} Mb/s"

    @staticmethod
    def _row(flow: Flow) -> tuple[Any, ...]:
        label = f"Show the path of the flow from node {flow.source}"
        with box("div", "flow-row") as row:
            attributes(row.props(f"data-flow={flow.index} tabindex=0 role=button"), aria_label=label)
            text("span", "number", str(flow.source))
            meter = Meter()
            rate = text("span", "number right")
            share = text("span", "number right")
            path = text("span", "path number")
            with rate:
                tip = ui.tooltip("")
        return row, meter, rate, share, path, tip


class Links:
    """Each with its load, and a button that breaks or repairs it."""

    def __init__(self, api: Api, access: Access, loop: str) -> None:
        self._api, self._access, self._loop = api, access, loop
        self._rows: list[tuple[Any, ...]] = []
        self._built: list[str] = []
        self._up: list[bool] = []
        with box("section", "card links").props('aria-label="Links"'):
            text("h2", "", "Links")
            with box("div", "scroll").props('tabindex=0 role=region aria-label="Links"'):
                self._list = box("div")

    def show(self, links: list[Link]) -> None:
        if self._built != (built := [words.link_name(link) for link in links]):
            self._built = built
            self._list.clear()
            with self._list:
                self._rows = [self._row(link) for link in links]
        self._up = [link.up for link in links]
        for (row, meter, load, state, button), link in zip(self._rows, links, strict=True):
            row.classes(**({"remove": "broken"} if link.up else {"add": "broken"}))
            meter.show(link.load_mbps / link.capacity_mbps, 1.0)
            load.text = f"{words.mbps(link.load_mbps)} of {words.mbps(link.capacity_mbps)}"
            state.show(*(("ok", "Up") if link.up else ("bad", "Broken")))
            button.text = "Break" if link.up else "Repair"
            button.props(f"icon={'link_off' if link.up else 'link'}")
            attributes(button, aria_label=f"{button.text} {words.link_name(link)}")

    def _row(self, link: Link) -> tuple[Any, ...]:
        with box("div", "link-row") as row:
            text("span", "number", words.link_name(link))
            with box("span", "used"):
                meter = Meter()
            load = text("span", "number right used")
            state = State("span", "state-of")
            button = self._access.needs_key(
                ui.button(on_click=partial(self._turn, link.index, words.link_name(link)), color=None)
            )
            button.props("flat dense no-caps").classes("plain")
        return row, meter, load, state, button

    async def _turn(self, index: int, name: str) -> None:
        up = not self._up[index]
        call = partial(self._api.set_link, loop=self._loop, link=index, up=up)
        await self._access.act(call, f"Link {name} is {'repaired' if up else 'broken'}")


class Plans:
    """Decisions, newest first: what moved, from where to where, why, and what the guard said."""

    def __init__(self) -> None:
        self._shown: list[tuple[int, tzinfo]] = []
        with box("section", "card plans").props('aria-label="Decisions"'):
            text("h2", "", "Decisions")
            self._list = box("div", "scroll decision-list").props('tabindex=0 role=list aria-label="Newest first"')
            self._empty = text("p", "empty", "None yet")

    def show(self, plans: list[Plan], zone: tzinfo) -> None:
        wanted = [(plan.seq, zone) for plan in plans]
        if wanted == self._shown:
            return
        self._shown = wanted
        self._empty.visible = not plans
        self._list.clear()
        with self._list:
            for plan in plans:
                self._row(plan, zone)

    @staticmethod
    def _row(plan: Plan, zone: tzinfo) -> None:
        with box("div", "plan").props("role=listitem"):
            text("span", "time number", clock(plan.time, zone))
            text("span", "what", plan.why)
            State("span", "result").show(*words.result(plan))
            for move in plan.moves:
                with box("div", f"plan-move {'refused' if move.refused else ''}"):
                    was, will = words.path_name(move.before), words.path_name(move.after)
                    text("div", "number", f"From node {move.source}: {was}  ⇒  {will}")
                    text("div", "quiet", f"{move.reason}. Refused: {move.refused}" if move.refused else move.reason)
            facts = f"objective {plan.value.before:.3f} → {plan.value.after:.3f} in the twin"
            if plan.value.wanted != plan.value.after:
                facts += f" (wanted {plan.value.wanted:.3f})"
            text("span", "plan-facts number", f"{facts}; {plan.planner}, {plan.plan_cpu_ms:.1f} ms CPU")
