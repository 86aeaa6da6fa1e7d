"""The few building blocks of the page: a tag with classes, a text that changes in place, a state with its icon."""

from __future__ import annotations

import re
from typing import TypeVar

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from edgewright.service.ui.words import ICON, Level

LINK = re.compile(r"(https?://|/(?![/\\]))[^\s]*\Z", re.IGNORECASE)
E = TypeVar("E", bound=ui.element)


def box(tag: str = "div", classes: str = "") -> ui.element:
    return ui.element(tag).classes(classes)


def text(tag: str, classes: str = "", value: str = "") -> TextElement:
    element = TextElement(tag=tag, text=value)
    element.classes(classes)
    return element


def attributes(element: E, **values: str) -> E:
    """Set `aria_label`, `title`, ... to any text: in `props` a quote in a name would begin another attribute."""
    for name, value in values.items():
        if element.props.get(key := name.replace("_", "-")) != value:
            element.props[key] = value
    return element


def link(element: E, address: str | None) -> E:
    """Leads to a page of ours or over http, and else nowhere: an address from an API may be a script."""
    if address is not None and LINK.match(address):
        return attributes(element, href=address)
    if "href" in element.props:
        del element.props["href"]
    return element


class State:
    """An icon and a word; colour repeats what they say."""

    def __init__(self, tag: str, classes: str = "") -> None:
        with box(tag, f"state {classes}") as self.box:
            self._icon = ui.icon("pending").props("aria-hidden=true")
            self._word = text("span")
        self._level: Level | None = None

    def show(self, level: Level, word: str) -> None:
        if level != self._level:
            self.box.classes(remove=f"level-{self._level}", add=f"level-{level}")
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
