"""What happened: decisions with their reasons, events, the loop's own health."""

from __future__ import annotations

from datetime import tzinfo
from functools import partial

from nicegui import ui

from edgewright.service.ui import words
from edgewright.service.ui.access import Access
from edgewright.service.ui.client import Api
from edgewright.service.ui.elements import Reading, State, box, text
from edgewright.service.ui.shapes import Decision, Event, LiveLoop

SHOWN_DECISIONS = 25
SHOWN_EVENTS = 20
LARGE_CHANGE_CPU = 0.02
FILTERS = {"notable": "Notable", "all": "All", "refused": "Refused"}


class Decisions:
    """Newest first. A row stays the same element while it moves down, so that reading and focus are not disturbed."""

    def __init__(self, api: Api, access: Access, loop: str) -> None:
        self._api, self._access, self._loop = api, access, loop
        self._rows: list[tuple[int, ui.element]] = []
        self._known: list[Decision] = []
        self._zone: tzinfo | None = None
        with box("section", "card decisions").props('aria-label="Decisions"'):
            with box("div", "card-head"):
                text("h2", "", "Decisions")
                self._filter = ui.toggle(FILTERS, value="notable", on_change=self._rebuild)
                self._filter.props('unelevated dense no-caps aria-label="Which decisions"').classes("modes")
                self._filter.tooltip(
                    f"Notable: moves of {LARGE_CHANGE_CPU:g} CPU or more, limited by the guard, or refused"
                )
                self._hold = ui.switch("Hold", on_change=lambda event: None if event.value else self._rebuild()).props(
                    "dense"
                )
                self._hold.tooltip("Keep the list as it is while you read")
            with box("div", "scroll decision-list").props('tabindex=0 role=region aria-label="Newest first"'):
                with box("div", "decision-row decision-head").props("aria-hidden=true"):
                    for word in ("Time", "Service", "CPU limit", "Why", "Guard", "Result", ""):
                        text("span", "", word)
                self._list = box("div").props("role=list")
                self._empty = text("p", "empty", "None yet")

    def show(self, decisions: list[Decision], zone: tzinfo) -> None:
        self._known = decisions
        if zone != self._zone:
            self._zone = zone
            self._rebuild()
        elif not self._hold.value:
            self._add()

    def _rebuild(self) -> None:
        self._list.clear()
        self._rows = []
        self._add()

    def _add(self) -> None:
        wanted = [decision for decision in self._known if self._keeps(decision)][:SHOWN_DECISIONS]
        newest = self._rows[0][0] if self._rows else -1
        fresh = [decision for decision in wanted if decision.seq > newest]
        shown = {seq for seq, _ in self._rows}
        if any(decision.seq not in shown for decision in wanted[len(fresh) :]):  # one that was recorded late
            fresh = wanted
            self._list.clear()
            self._rows = []
        for decision in reversed(fresh):
            with self._list:
                row = self._row(decision)
            row.move(target_index=0)
            self._rows.insert(0, (decision.seq, row))
        for _, row in self._rows[SHOWN_DECISIONS:]:
            row.delete()
        self._rows = self._rows[:SHOWN_DECISIONS]
        self._empty.visible = not self._rows

    def _keeps(self, decision: Decision) -> bool:
        changes = words.changes(decision)
        if self._filter.value == "refused":
            return any(change.refused for change in changes)
        if self._filter.value == "notable":
            return any(
                change.refused or change.guard or abs((change.after or 0) - (change.before or 0)) >= LARGE_CHANGE_CPU
                for change in changes
            )
        return bool(changes)

    def _row(self, decision: Decision) -> ui.element:
        with box("div", "decision").props("role=listitem") as row:
            for index, change in enumerate(words.changes(decision)):
                with box("div", f"decision-row {'refused' if change.refused else ''}"):
                    first = index == 0
                    text("span", "time number", words.clock(decision.time, self._zone) if first and self._zone else "")
                    text("span", "name", change.service)
                    text("span", "limits number", change.limits)
                    text("span", "why", change.reason)
                    text("span", f"guard {'held' if change.guard else 'quiet'}", change.guard or "allowed")
                    State("span", "result").show(change.level if change.refused else "ok", change.result)
                    with box("span", "undo"):
                        if first:
                            self._undo(decision)
        return row

    def _undo(self, decision: Decision) -> None:
        async def undo() -> None:
            call = partial(self._api.roll_back, loop=self._loop, seq=decision.seq)
            await self._access.act(call, f"Rolled back to the limits of decision {decision.seq}")

        button = self._access.needs_key(ui.button(icon="undo", on_click=undo, color=None))
        button.props(f'flat dense round size=sm aria-label="Roll back to decision {decision.seq}"').classes("plain")
        button.tooltip("Bring the limits after this decision back, and pause the loop")


class Events:
    def __init__(self, none: str = "Nothing was killed, restarted or refused") -> None:
        self._shown: list[str | int] = []
        with box("section", "card events").props('aria-label="Events"'):
            text("h2", "", "Events")
            self._list = box("div", "scroll").props('tabindex=0 role=list aria-label="Newest first"')
            self._empty = text("p", "empty", none)

    def show(self, events: list[Event], zone: tzinfo) -> None:
        events = events[:SHOWN_EVENTS]
        if [event.id for event in events] == self._shown:
            return
        self._shown = [event.id for event in events]
        self._empty.visible = not events
        self._list.clear()
        with self._list:
            for event in events:
                with box("div", "event").props("role=listitem"):
                    text("span", "time number", words.clock(event.time, zone))
                    kind = event.kind.replace("_", " ").capitalize()
                    State("span").show(words.event_level(event.kind), kind)
                    text("span", "detail", " ".join(filter(None, [event.service, event.detail])))


class Health:
    """How well the loop itself runs, and what it acts on."""

    def __init__(self) -> None:
        with box("section", "card health").props('aria-label="The loop itself"'):
            text("h2", "", "Loop")
            with box("dl", "readings"):
                self._period = Reading("Period, s")
                self._jitter = Reading("Jitter p99, ms", "How late the loop wakes, 99th percentile")
                self._cpu = Reading("CPU of a core")
                self._overruns = Reading("Overruns", "Steps that took longer than the period")
            self._driver = text("p", "quiet")

    def show(self, loop: LiveLoop) -> None:
        stats = loop.loop_stats
        self._period.show(words.NONE if stats.period_s is None else f"{stats.period_s:g}")
        self._jitter.show(words.milliseconds(stats.jitter_p99_ms))
        self._cpu.show(words.share(stats.cpu_share))
        self._overruns.show(words.NONE if stats.overruns is None else str(stats.overruns))
        reason = f": {loop.driver.reason}" if loop.driver.reason else ""
        self._driver.text = f"Driver: {loop.driver.kind}{reason}"
