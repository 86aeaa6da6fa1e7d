"""The few building blocks of the page: a tag with classes, a text that changes in place, a state with its icon."""

from __future__ import annotations

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from edgewright.service.ui.words import ICON, Level


def box(tag: str = "div", classes: str = "") -> ui.element:
    return ui.element(tag).classes(classes)


def text(tag: str, classes: str = "", value: str = "") -> TextElement:
    element = TextElement(tag=tag, text=value)
    element.classes(classes)
    return element


class State:
    """An icon and a word; colour repeats what they say."""

    def __init__(self, tag: str, classes: str = "") -> None:
        with box(tag, f"state {classes}") as self._box:
            self._icon = ui.icon("pending").props("aria-hidden=true")
            self._word = text("span")
        self._level: Level | None = None

    def show(self, level: Level, word: str) -> None:
        if level != self._level:
            self._box.classes(remove=f"level-{self._level}", add=f"level-{level}")
            self._icon.props(f"name={ICON[level]}")
            self._level = level
        self._word.text = word


class Reading:
    """A labelled number that changes in place."""

    def __init__(self, label: str, hint: str = "") -> None:
        with box("div", "reading") as self.box:
            text("dt", "", label)
            self._value = text("dd", "", "–")
        if hint:
            self.box.tooltip(hint)

    def show(self, value: str) -> None:
        self._value.text = value


class Meter:
    """A bar: what is used inside what is allowed, both as shares of the track, 0..1. The numbers stand beside it."""

    def __init__(self) -> None:
        with box("div", "meter").props("aria-hidden=true"):
            self._limit = box("div", "meter-limit")
            self._used = box("div", "meter-used")

    def show(self, used: float, limit: float) -> None:
        width(self._limit, limit)
        width(self._used, used)


def width(element: ui.element, part: float) -> None:
    element.style(f"width: {min(max(part, 0.0), 1.0):.1%}")
