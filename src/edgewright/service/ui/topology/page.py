"""One visitor's page of topologies: the form, those that are kept, the map of one."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote

from nicegui import ui

from edgewright.service.ui.access import Access, confirmed
from edgewright.service.ui.client import Api, ApiError
from edgewright.service.ui.elements import attributes, box, link, text
from edgewright.service.ui.live import LivePage, Loops
from edgewright.service.ui.polling import Polling, Seen
from edgewright.service.ui.shapes import Refusal
from edgewright.service.ui.topology import words
from edgewright.service.ui.topology.form import Form
from edgewright.service.ui.topology.shapes import TopologyState


@dataclass
class TopologyView(Seen):
    topologies: list[TopologyState] = field(default_factory=list)  # oldest first


class TopologyFeed(Polling[TopologyView]):
    def __init__(self, api: Api) -> None:
        super().__init__(TopologyView(), "topologies")
        self._api = api

    async def _poll(self) -> str:
        self.view.topologies = await self._api.topologies()
        self.view.trouble, self.view.since = None, time.time()
        return ""


class TopologyPage(LivePage):
    def __init__(self, api: Api, feed: TopologyFeed, chosen: str | None, loops: Loops) -> None:
        super().__init__(feed, "Topology", loops)
        self._api = api
        self._asked: str | None = None  # what the form of this page asked for and is not done
        ui.page_title("Topology · edgewright")
        with box("main", "content topology") as self._main:
            text("h1", "spoken", "Topology")
            self._form = Form(self._generate)
            with box("div", "shown"):
                self._kept = KeptList(self._choose, self._delete, self._access)
                self._map = Map(chosen)
        self._begin()

    def _show(self, view: TopologyView, news: str | None = None) -> None:
        super()._show(view, news)
        states = {state.name: state for state in view.topologies}
        if (mine := states.get(self._asked or "")) and not mine.unfinished:
            self._asked = None
            if mine.error:
                self._form.refuse(mine.error)
        if self._map.name not in states:
            self._map.name = next(reversed(states), None)
        self._kept.show(view.topologies, self._map.name)
        self._map.show(states.get(self._map.name or ""))

    def _choose(self, name: str) -> None:
        self._map.name = name
        ui.navigate.history.replace(f"/topology?name={quote(name)}")
        self._show(self._feed.view)

    async def _generate(self) -> None:
        taken = [state.name for state in self._feed.view.topologies if state.phase != "failed"]
        asked = self._form.read(taken)
        if asked is None:
            return
        call = partial(self._api.generate, asked=asked)
        if await self._access.act(call, f"Generating {asked['name']}", self._refused):
            self._asked = asked["name"]  # not before: one that failed may have had the name
            self._choose(asked["name"])
            ui.run_javascript("document.querySelector('.topology-map').scrollIntoView({block: 'nearest'})")

    def _refused(self, error: ApiError) -> None:
        self._form.refuse(error.refusal or Refusal(message=error.message))

    async def _delete(self, name: str) -> None:
        state = next((each for each in self._feed.view.topologies if each.name == name), None)
        ends = "Its generation ends." if state and state.unfinished else "Its map and its file will be gone."
        if await confirmed(f"Delete {name}?", ends, "Delete"):
            await self._access.act(partial(self._api.delete_topology, name=name), f"{name} is deleted")


class KeptList:
    """A row each, newest first; drawn anew when something in it changes."""

    def __init__(self, choose: Any, delete: Any, access: Access) -> None:
        self._choose, self._delete, self._access = choose, delete, access
        self._shown: Any = None
        self._standing: dict[str, Any] = {}
        with box("section", "card kept").props('aria-label="Topologies"') as self._card:
            text("h2", "", "Topologies")
            self._list = box("ul", "scroll")

    def show(self, states: list[TopologyState], chosen: str | None) -> None:
        self._card.visible = bool(states)
        shown = [(state.name, state.phase, state.created) for state in states], chosen
        if shown != self._shown:
            self._shown = shown
            self._list.clear()
            with self._list:
                self._standing = {state.name: self._row(state, state.name == chosen) for state in reversed(states)}
        for state in states:
            if state.unfinished:
                self._standing[state.name].text = words.standing(state)

    def _row(self, state: TopologyState, chosen: bool) -> Any:
        name = state.name
        with box("li", f"kept-row {'chosen' if chosen else ''}"):
            with box("div", "kept-head"):
                show = ui.button(name, on_click=lambda: self._choose(name), color=None)
                show.props(f"flat dense no-caps aria-pressed={str(chosen).lower()}")
                attributes(show, aria_label=f"Show {name}").classes("plain kept-name")
                title = text("span", "quiet", state.title if state.title != name else "")
                title.visible = bool(title.text)
                with box("div", "kept-actions"):
                    if state.phase == "ready":
                        where = f"/topology/{quote(name)}"
                        map_ = self._action("open_in_new", "Open the map alone", f"Open the map alone: {name}")
                        link(map_, f"{where}/map").props("target=_blank rel=noopener")
                        file = self._action("download", "Download JSON", f"Download JSON: {name}")
                        attributes(link(file, f"{where}/infrastructure"), download=f"{name}.json")
                    delete = self._action("delete", "Delete", f"Delete {name}")
                    delete.on_click(lambda: self._delete(name))
                    self._access.needs_key(delete)
            if state.phase == "ready":
                with box("p", "numbers number"):
                    for part in words.numbers(state):
                        text("span", "", part)
                return None
            if state.error:
                return text("p", "error", words.problem(state.error))
            return text("p", "quiet number")

    @staticmethod
    def _action(icon: str, tip: str, label: str) -> Any:
        button = ui.button(icon=icon, color=None).props("flat dense round").classes("plain")
        with attributes(button, aria_label=label):
            ui.tooltip(tip)
        return button


class Map:
    """Of the topology called `name`: its map; how far it is; what to do where there is none."""

    def __init__(self, name: str | None) -> None:
        self.name = name
        self._shown: Any = ()
        with box("section", "card topology-map").props('aria-label="Map"'):
            self._frame = box("div", "frame")
            with box("div", "progress").props("role=status") as self._progress:
                self._title = text("h2")
                self._word = text("p", "quiet")
                with box("ol", "steps") as self._list:
                    self._steps = [text("li", "", line) for line in words.STEPS.values()]
                self._elapsed = text("p", "quiet number").props("aria-hidden=true")

    def show(self, state: TopologyState | None) -> None:
        ready = state is not None and state.phase == "ready"
        self._frame.visible, self._progress.visible = ready, not ready
        shown = (state.name, state.created) if state and ready else None
        if shown != self._shown:
            self._shown = shown
            self._frame.clear()
            if state and ready:
                # Of the page's own process: a browser may not reach the API.
                source = f"/topology/{quote(state.name)}/map?{state.created}"
                with self._frame:
                    frame = box("iframe").props("sandbox=allow-scripts")
                    attributes(frame, src=source, title=f"Map of {state.name}")
        if not ready:
            self._show_progress(state)

    def _show_progress(self, state: TopologyState | None) -> None:
        self._elapsed.text = ""
        if state is None:
            self._title.text = "No topology yet"
            self._word.text = (
                "Say where and how many cells, then press Generate: cells are spread there, grouped under switches "
                "and rings, and shown here on a map. A city takes some seconds."
            )
        elif state.error:
            self._title.text, self._word.text = f"{state.name} failed", words.problem(state.error)
        else:
            self._title.text = f"{'Waiting to generate' if state.phase == 'waiting' else 'Generating'} {state.name}"
            self._word.text = words.cells(state)
            self._elapsed.text = f"{state.seconds:.0f} s" if state.seconds is not None else ""
        self._list.visible = state is not None and state.unfinished
        steps = list(words.STEPS)
        at = steps.index(state.step) if state and state.step in steps else -1
        for number, line in enumerate(self._steps):
            line.classes(replace="done" if number < at else "now" if number == at else "next")
            line.props(**({"add": "aria-current=step"} if number == at else {"remove": "aria-current"}))
