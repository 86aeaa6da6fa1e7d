"""What to generate: fields with their help, and what is wrong with each beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nicegui import ui

from edgewright.service.ui.elements import attributes, box, text
from edgewright.service.ui.shapes import Refusal
from edgewright.service.ui.topology import words

AROUND = ("micro", "pico", "small")
AROUND_HELP = "3GPP has 3 micro (TR 38.913) and 4 pico cells (TR 36.814); they need room around each macro cell."
CITY, BOX = "city", "region"
SIDES = {"West": -3.75, "South": 40.38, "East": -3.65, "North": 40.45}
ADVANCED = ("name", "distance_m", "marks", "areas")
MARKS = {
    "random keep": "Either, by chance",
    "intensity keep": "That with more people around; equal ones both (as published)",
    "intensity random": "That with more people around; of equal ones either",
}
"""Marks and ties of a process."""


class Field:
    """A label, controls, help, and an error that is there only while there is one."""

    def __init__(self, label: str, make: Callable[[], Any], help: str = "") -> None:
        with box("div", "field") as self.box:
            text("span", "field-label", label).props("aria-hidden=true")
            made = make()
            self._controls = made if isinstance(made, list) else [made]
            self.help = text("p", "quiet help", help)
            self.help.visible = bool(help)
            self._error = text("p", "error help").props("role=alert")
            self._error.visible = False
        if len(self._controls) == 1:
            described = f"c{self.help.id} c{self._error.id}"
            attributes(self._controls[0], aria_label=label, aria_describedby=described)

    @property
    def value(self) -> Any:
        return self._controls[0].value

    @property
    def values(self) -> list[Any]:
        return [control.value for control in self._controls]

    def show_error(self, message: str | None) -> None:
        self._error.text, self._error.visible = message or "", bool(message)
        for control in self._controls:
            control.props(**({"add": "error"} if message else {"remove": "error"}))


def _number(value: float | None = None, **more: Any) -> Callable[[], Any]:
    return lambda: ui.number(value=value, **more).props("outlined dense no-error-icon hide-bottom-space")


def _text(value: str = "", placeholder: str = "") -> Callable[[], Any]:
    props = "outlined dense no-error-icon hide-bottom-space autocomplete=off spellcheck=false"
    return lambda: ui.input(value=value, placeholder=placeholder).props(props)


def _choice(options: dict[str, str]) -> Callable[[], Any]:
    return lambda: ui.select(options, value=next(iter(options))).props("outlined dense options-dense hide-bottom-space")


class Form:
    def __init__(self, generate: Callable[[], Any]) -> None:
        self._fields: dict[str, Field] = {}
        with box("section", "card topology-form").props('aria-label="New topology"'):
            text("h2", "", "New topology")
            self._where = self._toggle("Where", {CITY: "In a city", BOX: "In a box"})
            with box("div", "pair") as city:
                self._add("city", "City", _text("Madrid"), "As Madrid or Madrid,ES.")
                self._add("radius_km", "Radius, km", _number(min=0.1, max=400), "Empty: as wide as the city.")
            sides = self._add("region", "Box, degrees", self._box, "West, south, east, north: positive is east, north.")
            city.bind_visibility_from(self._where, "value", value=CITY)
            sides.box.bind_visibility_from(self._where, "value", value=BOX)
            self._many = self._toggle("How many", {"per_km2": "By density", "cells": "By number"})
            density = self._add("per_km2", "Macro cells per km²", _number(12, min=0.01, step=1), "In the mean.")
            cells = self._add("cells", "Macro cells", _number(8000, min=1, step=100), "In the mean; up to 200,000.")
            density.box.bind_visibility_from(self._many, "value", value="per_km2")
            cells.box.bind_visibility_from(self._many, "value", value="cells")
            process = self._add("process", "Macro cells stand", _choice({k: v[0] for k, v in words.PROCESSES.items()}))
            process.help.visible = True
            process.help.bind_text_from(process._controls[0], "value", lambda chosen: words.PROCESSES[chosen][1])
            text("p", "field-label", "Small cells for each macro cell")
            with box("div", "three"):
                for name in AROUND:
                    self._add(name, name.capitalize(), _number(0, min=0, max=1000, step=1))
            text("p", "quiet help", AROUND_HELP)
            self._add("seed", "Seed", _number(0, min=0, step=1), "The same seed gives the same cells.")
            with ui.expansion("Advanced").props("dense").classes("advanced") as self._advanced:
                self._build_advanced()
            self._error = text("p", "error").props("role=alert")
            self._error.visible = False
            self._button = ui.button("Generate", on_click=generate, color=None)
            self._button.props("unelevated no-caps").classes("primary")

    def _build_advanced(self) -> None:
        self._add("name", "Name", _text(placeholder="As the place"), "Lower-case letters, digits and hyphens.")
        distance = "No two macro cells closer; of clusters, how far they spread."
        self._add("distance_m", "Distance, m", _number(125, min=1, max=10_000), distance)
        marks = self._add("marks", "Of two too close to each other stays", _choice(MARKS))
        rows = "A line each: longitude, latitude, people and, if wanted, radius in m and dispersion."
        areas = self._add("areas", "Areas with people", self._areas, f"{rows} Empty: the towns known there.")
        process = self._fields["process"]._controls[0]
        areas.box.bind_visibility_from(process, "value", lambda chosen: chosen in words.OF_AREAS)
        marks.box.bind_visibility_from(process, "value", value="inhomogeneous-matern-ii")

    @staticmethod
    def _box() -> list[Any]:
        with box("div", "sides"):
            made = [_number(value, step=0.01)().props(f'aria-label="{side}"') for side, value in SIDES.items()]
        return made

    @staticmethod
    def _areas() -> Any:
        made = ui.textarea(placeholder="-3.70, 40.42, 3200000")
        return made.props("outlined dense no-error-icon hide-bottom-space rows=3 spellcheck=false")

    def _add(self, name: str, label: str, make: Callable[[], Any], help: str = "") -> Field:
        self._fields[name] = Field(label, make, help)
        return self._fields[name]

    @staticmethod
    def _toggle(label: str, options: dict[str, str]) -> Any:
        made = ui.toggle(options, value=next(iter(options)))
        return made.props(f'unelevated dense no-caps role=group aria-label="{label}"').classes("modes")

    def read(self, taken: list[str]) -> dict[str, Any] | None:
        """What is asked for; None where a field says what is wrong with it."""
        self._clear()
        f = self._fields
        wrong: dict[str, str | None] = {}
        asked: dict[str, Any] = {"process": f["process"].value}

        def take(name: str, low: float, high: float, *, whole: bool = False) -> None:
            value = f[name].value
            wrong[name] = words.number(value, low, high, whole=whole)
            asked[name] = int(value) if whole and not wrong[name] else value

        if self._where.value == CITY:
            asked["city"] = (f["city"].value or "").strip()
            wrong["city"] = None if asked["city"] else "Name a city."
            if f["radius_km"].value is not None:
                take("radius_km", 0.1, 400)
        else:
            west, south, east, north = asked["region"] = f["region"].values
            if None in asked["region"]:
                wrong["region"] = "Four numbers, please."
            elif not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
                wrong["region"] = "West must be less than east, and south less than north."
        if self._many.value == "cells":
            take("cells", 1, 200_000, whole=True)
        else:
            take("per_km2", 0.0001, 1e6)
        for name in AROUND:
            take(name, 0, 1000)
        take("seed", 0, 2**53, whole=True)
        take("distance_m", 1, 10_000)
        asked["marks"], asked["ties"] = f["marks"].value.split()
        if asked["process"] in words.OF_AREAS:
            try:
                if rows := words.places(f["areas"].value or ""):
                    asked["areas"] = rows
            except ValueError as error:
                wrong["areas"] = str(error)
        asked["name"] = (f["name"].value or "").strip() or words.name_for(asked.get("city", "box"), taken)
        for name, message in wrong.items():
            if message:
                self._show_error(name, message)
        return None if any(wrong.values()) else asked

    def refuse(self, refusal: Refusal) -> None:
        """Beside the field that it is about; below all where it is about none."""
        self._clear()
        name = words.field_of(refusal, self._fields)
        if name == CITY and self._where.value == BOX:
            name = "areas"
        if name == "per_km2" and self._many.value == "cells":
            name = "cells"
        if name:
            self._show_error(name, words.problem(refusal))
        else:
            self._error.text, self._error.visible = words.problem(refusal), True

    def _show_error(self, name: str, message: str) -> None:
        self._fields[name].show_error(message)
        if name in ADVANCED:
            self._advanced.open()

    def _clear(self) -> None:
        self._error.visible = False
        for each in self._fields.values():
            each.show_error(None)
