"""The parts of a migration loop's page: headline with its switches, the road, the courses, the nodes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from nicegui import Client, ui

from edgewright.service.ui.access import Access
from edgewright.service.ui.charts import Charts, tone
from edgewright.service.ui.client import Api
from edgewright.service.ui.elements import Meter, State, attributes, box, text
from edgewright.service.ui.migration import words
from edgewright.service.ui.migration.shapes import MigrationState
from edgewright.service.ui.summary import MARK, MODES

MODE_WORDS = {
    "act": "The service is migrated as the policy decides.",
    "shadow": "Decisions are recorded only; the service stays.",
    "paused": "No decisions are made; the service stays.",
}
POLICY_WORDS = {
    "never": "Stays.",
    "nearest": "The lowest round-trip time.",
    "greedy": "The highest reward if nothing changed.",
    "hysteresis": "Once another node is better by a margin.",
    "forecast": "The best plan for what is predicted.",
    "sarsa": "Learned: Deep SARSA.",
    "dqn": "Learned: deep Q-network.",
    "dqn-lstm": "Learned: deep Q-network with LSTM.",
    "prospects": "Learned: what each node is worth from now on.",
}
PACES = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
TRACK = 1.5  # of a meter, in limits


class Headline:
    """Verdict, last migration, and the loop's switches."""

    def __init__(self, api: Api, access: Access, loop: str) -> None:
        self._api, self._access, self._loop = api, access, loop
        self._standing: tuple[Any, ...] | None = None
        self._busy = 0  # switches set and not yet answered by the API: until then polls must not set them back
        with box("section", "card headline follows").props('aria-label="State of the loop"'):
            with box("div", "finding"):
                self._verdict = State("h1")
                # Read out when the standing changes, not at every new number.
                self._spoken = text("span", "spoken").props("role=status")
                self._promise = text("p", "quiet number")
                self._last = text("p", "last")
                self._client = text("p", "quiet number")
            with box("div", "switches wide"):
                with _switch("Mode"):
                    self._mode = access.needs_key(ui.toggle(MODES))
                    self._mode.on("update:model-value", partial(self._set, "mode"))
                    self._mode.props('unelevated dense no-caps aria-label="Mode of the loop"').classes("modes")
                    self._mode_word = text("span", "quiet")
                with _switch("Policy"):
                    self._policy = access.needs_key(ui.select([]))
                    self._policy.on("update:model-value", partial(self._set, "policy"))
                    self._policy.props('outlined dense options-dense aria-label="Policy"')
                    self._policy_word = text("span", "quiet")
                with _switch("Pace"):
                    self._pace = access.needs_key(ui.select({}))
                    self._pace.on("update:model-value", self._set_pace)
                    self._pace.props('outlined dense options-dense aria-label="Pace of the drive"')
                with _switch("Drive"):
                    again = partial(self._act, partial(api.drive, loop=loop, again=True), "The next drive begins")
                    button = access.needs_key(ui.button("Next drive", icon="skip_next", on_click=again, color=None))
                    button.props("flat dense no-caps").classes("plain next-drive")

    def show(self, state: MigrationState, now: float) -> None:
        level, found = words.verdict(state)
        self._verdict.show(level, found)
        standing = level, state.phase, state.serving, state.under_way and state.under_way.target
        if standing != self._standing:
            self._standing = standing
            self._spoken.text = found
            ui.page_title(f"{MARK[level]} {state.name} · edgewright")
        self._promise.text = words.promise(state.objective)
        self._last.text = words.last_migration(state.migrations, now)
        self._client.text = words.client(state.client) if state.client else ""
        self._mode_word.text = MODE_WORDS.get(state.mode, "")
        self._policy_word.text = POLICY_WORDS.get(state.policy, "")
        if self._policy.options != state.policies:
            self._policy.set_options(state.policies)
        paces = {pace: f"× {pace:g}" for pace in sorted({*PACES, state.drive.pace})}
        if self._pace.options != paces:
            self._pace.set_options(paces)
        if not self._busy:
            self._mode.value, self._policy.value, self._pace.value = state.mode, state.policy, state.drive.pace

    async def _set(self, field: str) -> None:
        value = {"mode": self._mode, "policy": self._policy}[field].value
        call = partial(self._api.change_migration, loop=self._loop, **{field: value})
        await self._act(call, f"{field.capitalize()}: {value}")

    async def _set_pace(self) -> None:
        pace = self._pace.value
        await self._act(partial(self._api.drive, loop=self._loop, pace=pace), f"Pace: × {pace:g}")

    async def _act(self, call: Any, done: str) -> None:
        self._busy += 1
        try:
            await self._access.act(call, done)
        finally:
            self._busy -= 1


@contextmanager
def _switch(label: str) -> Iterator[None]:
    with box("div", "switch"):
        text("span", "quiet label", label)
        yield


class Picture:
    """Drawn by `assets/migration.js`; a second's news are the car, the nodes' numbers and who serves."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._drawn = ""
        with box("section", "card road").props('aria-label="Road"'):
            with box("div", "card-head"):
                text("h2", "", "Road")
                self._words = text("span", "quiet number")
            self._box = box("div", "road-picture").props("role=img")
            with box("div", "legend"):
                for kind, word in (
                    ("user", "user"),
                    ("serving", "serves"),
                    ("over", "! over its limit"),
                    ("moving", "migration"),
                ):
                    with box("span", f"key {kind}"):
                        box("i").props("aria-hidden=true")
                        text("span", "", word)

    def show(self, state: MigrationState, *, anew: bool) -> None:
        target = state.under_way and state.under_way.target
        now = json.dumps(
            {
                "user": state.drive.user_m,
                "drive": state.drive.number,
                "serving": state.serving,
                "target": state.names.index(target) if target in state.names else None,
                "nodes": [
                    {
                        "texts": [words.rtt(node.rtt_ms), f"load {words.load(node.load)}"],
                        "over": words.over(node, state.objective),
                        "breach": node.in_breach,
                    }
                    for node in state.nodes
                ],
            }
        )
        what = json.dumps(
            {
                "road": state.road.corners_m,
                "nodes": [[node.name, node.at_m, tone(i)] for i, node in enumerate(state.nodes)],
            }
        )
        self._words.text = words.drive(state)
        serving = "none" if state.serving is None else state.names[state.serving]
        breaching = ", ".join(node.name for node in state.nodes if node.in_breach) or "none"
        label = f"{len(state.nodes)} nodes along a road; serves: {serving}; over a limit: {breaching}"
        attributes(self._box, aria_label=label)
        call = "show" if what == self._drawn and not anew else "reset"
        self._drawn = what
        self._client.run_javascript(f"edgewrightRoad.{call}({what + ', ' if call == 'reset' else ''}{now})")


class Courses:
    """Of the last minutes, made anew when the nodes or their limits change."""

    def __init__(self, charts: Charts) -> None:
        self._charts = charts
        self._built: tuple[Any, ...] | None = None
        self._box = box("section", "card").props('aria-label="Last minutes"')

    def show(self, state: MigrationState) -> bool:
        """-> whether the charts were made anew (and are empty)."""
        wanted = state.names, state.objective
        if wanted == self._built:
            return False
        self._built, (names, aim) = wanted, wanted
        self._box.clear()
        with self._box:
            with box("div", "tones"):
                for index, name in enumerate(names):
                    with box("span", "key"):
                        box("i", f"swatch {tone(index)}").props("aria-hidden=true")
                        text("span", "", name)
            with box("div", "courses"):
                self._charts.each_node("Round-trip time, ms", names, 0, aim.rtt_max_ms)
                self._charts.each_node("Load", names, 1, aim.load_max)
                self._charts.serving(names)
        return True


class Nodes:
    """Each with what is measured of it, and a button that has the service migrated to it."""

    def __init__(self, api: Api, access: Access, loop: str) -> None:
        self._api, self._access, self._loop = api, access, loop
        self._rows: list[tuple[Any, ...]] = []
        self._built: list[str] = []
        with box("section", "card nodes").props('aria-label="Nodes"'):
            text("h2", "", "Nodes")
            with box("div", "node-row table-head").props("aria-hidden=true"):
                for word in ("Node", "Round trip", "Load", ""):
                    text("span", "", word)
            self._list = box("div", "scroll").props('tabindex=0 role=region aria-label="Nodes"')

    def show(self, state: MigrationState) -> None:
        if self._built != state.names:
            self._built = state.names
            self._list.clear()
            with self._list:
                self._rows = [self._row(index, name) for index, name in enumerate(state.names)]
        aim = state.objective
        for (row, rtt, load, standing), node in zip(self._rows, state.nodes, strict=True):
            row.classes(**({"add": "serves"} if node.serves else {"remove": "serves"}))
            for (meter, number), value, limit, told, over in zip(
                (rtt, load),
                (node.rtt_ms, node.load),
                (aim.rtt_max_ms, aim.load_max),
                (words.rtt(node.rtt_ms), words.load(node.load)),
                words.over(node, aim),
                strict=True,
            ):
                meter.show((value or 0.0) / limit / TRACK, 1 / TRACK)
                number.text = f"! {told}" if over else told
                number.classes(**({"add": "over"} if over else {"remove": "over"}))
            standing.show(*words.standing(node))

    def _row(self, index: int, name: str) -> tuple[Any, ...]:
        with box("div", "node-row") as row:
            with box("span", "key"):
                box("i", f"dot {tone(index)}").props("aria-hidden=true")
                text("span", "", name)
            rtt, load = self._measured(), self._measured()
            with box("div"):
                standing = State("span")
                button = self._access.needs_key(ui.button("Move here", on_click=partial(self._move, name), color=None))
                attributes(button.props("flat dense no-caps"), aria_label=f"Move here, to {name}").classes("plain")
        return row, rtt, load, standing

    @staticmethod
    def _measured() -> tuple[Meter, Any]:
        with box("div", "measured"):
            return Meter(), text("span", "number")

    async def _move(self, name: str) -> None:
        call = partial(self._api.migrate, loop=self._loop, target=name)
        await self._access.act(call, f"The service is migrated to {name}")
