"""What a migration loop did: migrations with what they cost, decisions with their reasons."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

from nicegui import ui

from edgewright.service.ui.elements import State, box, text
from edgewright.service.ui.migration import words
from edgewright.service.ui.migration.shapes import Decision, Migration
from edgewright.service.ui.words import NONE, clock

FILTERS = {"moves": "Moves", "all": "All"}
SHOWN_DECISIONS = 30
COLUMNS = ("Time", "From, to", "By", "Frozen", "Client waited", "Image", "Result", "")


class Migrations:
    """Newest first. A row stays the same element while it moves down: it may be open, or have the focus."""

    def __init__(self) -> None:
        self._rows: dict[tuple[float, str], ui.element] = {}
        self._zone: tzinfo | None = None
        with box("section", "card migrations").props('aria-label="Migrations"'):
            text("h2", "", "Migrations")
            with box("div", "scroll").props('tabindex=0 role=region aria-label="Newest first"'):
                with box("div", "move-row table-head").props("aria-hidden=true"):
                    for word in COLUMNS:
                        text("span", "", word)
                self._list = box("div").props("role=list")
                self._empty = text("p", "empty", "None yet")

    def show(self, migrations: Sequence[Migration], zone: tzinfo) -> None:
        wanted = {(each.time, each.target): each for each in migrations}
        for key in [key for key in self._rows if key not in wanted or zone != self._zone]:
            self._rows.pop(key).delete()
        self._zone = zone
        self._empty.visible = not wanted
        for place, (key, each) in enumerate(wanted.items()):
            if key not in self._rows:
                with self._list:
                    self._rows[key] = self._row(each, zone)
                self._rows[key].move(target_index=place)

    @staticmethod
    def _row(migration: Migration, zone: tzinfo) -> ui.element:
        with box("div", "move").props("role=listitem") as row, box("details"):
            with box("summary", "move-row"):
                text("span", "time number", clock(migration.time, zone))
                text("span", "", f"{migration.source} → {migration.target}")
                for word, value in (
                    ("By", words.by(migration.by)),
                    ("Frozen", words.waited(migration.frozen_ms)),
                    ("Client waited", words.waited(migration.client_gap_ms)),
                    ("Image", f"{migration.image_mb:.1f} MB" if migration.image_mb else NONE),
                ):
                    text("span", "number", value).props(f'data-word="{word}"')
                State("span", "result").show(*words.status(migration))
                ui.icon("expand_more").props("aria-hidden=true")
                if migration.reason:
                    text("span", "reason", migration.reason)
            _phases(migration)
        return row


def _phases(migration: Migration) -> None:
    """Each phase where it lay in the whole."""
    whole_ms = sum(migration.phases_ms.values()) or 1.0
    began_ms = 0.0
    with box("div", "phases"):
        for name, took_ms in migration.phases_ms.items():
            with box("div", "phase"):
                text("span", "", words.phase(name).capitalize())
                with box("div", "meter").props("aria-hidden=true"):
                    place = f"left: {began_ms / whole_ms:.1%}; width: {took_ms / whole_ms:.1%}"
                    box("div", "meter-used").style(place)
                text("span", "number right", words.waited(took_ms))
            began_ms += took_ms
        text("p", "quiet number", f"{words.waited(migration.total_ms)} in all")


class Decisions:
    """Newest first: what the policy wanted, why, and what the guard said."""

    def __init__(self) -> None:
        self._known: tuple[Any, ...] = ()  # what was to be shown last
        self._shown: tuple[Any, ...] = ()
        with box("section", "card plans").props('aria-label="Decisions"'):
            with box("div", "card-head"):
                text("h2", "", "Decisions")
                self._filter = ui.toggle(
                    FILTERS, value="moves", on_change=lambda: self._known and self.show(*self._known)
                )
                self._filter.props('unelevated dense no-caps aria-label="Which decisions"').classes("modes")
            self._list = box("div", "scroll decision-list").props('tabindex=0 role=list aria-label="Newest first"')
            self._empty = text("p", "empty", "None yet")

    def show(self, decisions: Sequence[Decision], names: Sequence[str], zone: tzinfo) -> None:
        self._known = decisions, names, zone
        moves_only = self._filter.value == "moves"
        kept = [each for each in decisions if each.wanted != each.node or not moves_only][:SHOWN_DECISIONS]
        wanted = [each.seq for each in kept], zone
        if wanted == self._shown:
            return
        self._shown = wanted
        self._empty.visible = not kept
        self._list.clear()
        with self._list:
            for decision in kept:
                with box("div", "plan").props("role=listitem"):
                    text("span", "time number", clock(decision.time, zone))
                    text("span", "wish", words.wish(decision))
                    State("span", "result").show(*words.result(decision))
                    text("span", "why", decision.reason)
                    text("span", "plan-facts number", words.seen(decision, names))
