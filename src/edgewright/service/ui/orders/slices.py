"""Who has booked how much of each host, and slices with the quotas of their chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nicegui import ui

from edgewright.service.ui.elements import State, attributes, box, text, width
from edgewright.service.ui.orders import words
from edgewright.service.ui.orders.feed import OrdersView
from edgewright.service.ui.orders.shapes import ComputeChunk, Host, NetworkChunk, RadioChunk
from edgewright.service.ui.words import Level, megabytes

Standing = tuple[Level, str]
SMALL = 1e-3  # of a capacity: less is a rounding of sums
LOWEST_NAMED = 0.06  # of a bar's width: a narrower part has its name in a tooltip alone


@dataclass(frozen=True)
class Part:
    """Of a host's capacity, as shares."""

    name: str
    cpu: float
    memory: float


def parts(host: Host, chunks: list[ComputeChunk], names: dict[str, str]) -> list[Part]:
    """What each chunk has, and last what is booked by others."""
    cpus, memory_mb = host.capacity.get("cpu") or 1.0, (host.capacity.get("memory_bytes") or 1e6) / 1e6
    found = [
        Part(names[chunk.id], chunk.requirements.cpus.required / cpus, chunk.requirements.ram.required / memory_mb)
        for chunk in chunks
        if chunk.compute_id in (host.id, None)
    ]
    booked = [1 - host.left.get(name, 0.0) / (host.capacity.get(name) or 1.0) for name in ("cpu", "memory_bytes")]
    rest = [max(0.0, booked[0] - sum(p.cpu for p in found)), max(0.0, booked[1] - sum(p.memory for p in found))]
    return [*found, Part("others", *rest)] if max(rest) > SMALL else found


def chunk_names(view: OrdersView) -> dict[str, str]:
    """By compute chunk: whose it is."""
    services = {service.text("slice"): service.label for service in view.services}
    of = {chunk: services.get(each.id, each.name) for each in view.slices for chunk in each.chunk_ids}
    return {chunk.id: of.get(chunk.id) or chunk.loop or chunk.name for chunk in view.compute}


class Slices:
    def __init__(self) -> None:
        self._hosts: dict[str, HostBars] = {}
        self._rows: dict[str, SliceRow] = {}
        with box("section", "card slices").props('aria-label="Slices"'):
            with box("div", "card-head"):
                text("h2", "", "Slices and capacity")
            self._bars = box("div", "host-bars")
            with box("div", "slice-table").props('role=table aria-label="Slices"') as self._table:
                with box("div", "slice-row table-head").props("role=row"):
                    for word, told in (
                        ("Slice", "Chunks put together, in which a service runs"),
                        ("State", ""),
                        ("Compute", "Quota of CPU, memory and storage (compute chunk)"),
                        ("Network", "VLAN tag, subnet and rate (network chunk)"),
                        ("Radio", "Physical resource blocks (PRBs) of cells (radio chunk)"),
                    ):
                        attributes(text("span", "", word).props("role=columnheader"), title=told)
                self._list = box("div").props("role=rowgroup")
            self._empty = text("p", "empty", "No slice yet: an order makes one for each service")

    def show(self, view: OrdersView) -> None:
        names = chunk_names(view)
        for gone in self._hosts.keys() - {host.id for host in view.hosts}:
            self._hosts.pop(gone).box.delete()
        for host in view.hosts:
            if host.id not in self._hosts:
                with self._bars:
                    self._hosts[host.id] = HostBars(host)
            self._hosts[host.id].show(host, parts(host, view.compute, names))
        rows = _rows(view)
        self._empty.visible, self._table.visible = not rows, bool(rows)
        for gone in self._rows.keys() - rows.keys():
            self._rows.pop(gone).box.delete()
        for id, told in rows.items():
            if id not in self._rows:
                with self._list:
                    self._rows[id] = SliceRow(id)
            self._rows[id].show(*told)


def _rows(view: OrdersView) -> dict[str, tuple[str, Standing, str, str, str]]:
    """By slice, or by chunk that is in none: name, state, compute, network, radio."""
    services = {service.text("slice"): service.label for service in view.services}
    compute = {chunk.id: words.compute(chunk) for chunk in view.compute}
    network = {chunk.id: words.network(chunk) for chunk in view.networks}
    radio = {chunk.id: words.radio(chunk) for chunk in view.radios}

    def told(ids: list[str]) -> tuple[str, str, str]:
        of = ["; ".join(known[id] for id in ids if id in known) for known in (compute, network, radio)]
        return of[0], of[1], of[2]

    found: dict[str, tuple[str, Standing, str, str, str]] = {}
    for each in view.slices:
        found[each.id] = services.get(each.id, each.name), words.slice_state(each), *told(each.chunk_ids)
    in_slices = {id for each in view.slices for id in each.chunk_ids}
    loops = {chunk.id: chunk.loop for chunk in view.compute if chunk.loop}
    chunks: list[ComputeChunk | NetworkChunk | RadioChunk] = [*view.compute, *view.networks, *view.radios]
    for chunk in chunks:
        if chunk.id not in in_slices:
            state = "Of a loop" if chunk.id in loops else "In no slice"
            found[chunk.id] = loops.get(chunk.id, chunk.name), ("quiet", state), *told([chunk.id])
    return found


class SliceRow:
    def __init__(self, id: str) -> None:
        with attributes(box("div", "slice-row number").props("role=row"), title=id) as self.box:
            self._name = text("span", "slice-name").props("role=cell")
            with box("span").props("role=cell"):
                self._state = State("span")
            self._amounts = [text("span").props("role=cell") for _ in range(3)]

    def show(self, name: str, state: Standing, *amounts: str) -> None:
        self._name.text = name
        self._state.show(*state)
        for element, amount in zip(self._amounts, amounts, strict=True):
            element.text = amount


class HostBars:
    """CPU and memory of a host: a part for each chunk, the rest is left."""

    def __init__(self, host: Host) -> None:
        self._names: list[str] = []
        self._segments: list[tuple[Any, Any]] = []
        with box("div", "host") as self.box:
            with box("p", "host-name"):
                text("span", "quiet", "Host")
                text("span", "", host.name)
                self._driver = text("span", "quiet")
            self._words = []
            self._bars = []
            for word in ("CPU", "Memory"):
                with box("div", "host-line"):
                    text("span", "", word)
                    self._bars.append(box("div", "slice-bar").props("role=img"))
                    self._words.append(text("span", "number"))

    def show(self, host: Host, shown: list[Part]) -> None:
        cpu, cpu_left = host.capacity.get("cpu", 0.0), max(0.0, host.left.get("cpu", 0.0))
        memory, memory_left = (each.get("memory_bytes", 0.0) for each in (host.capacity, host.left))
        self._driver.text = "simulated" if host.driver == "simulated" else ""
        self._words[0].text = f"{cpu_left:.2f} of {cpu:g} cores left"
        self._words[1].text = f"{megabytes(memory_left)} of {megabytes(memory)} MB left"
        names = [part.name for part in shown]
        if names != self._names:
            self._names = names
            for bar in self._bars:
                bar.clear()
            made = [[self._segment(bar, name) for name in names] for bar in self._bars]
            self._segments = list(zip(*made, strict=True))
        for i, (unit, of) in enumerate((("cores", cpu), ("MB", memory / 1e6))):
            told = []
            for (segment, label, tip), part in zip((both[i] for both in self._segments), shown, strict=True):
                amount = (part.cpu, part.memory)[i]
                width(segment, amount)
                label.visible = amount >= LOWEST_NAMED
                tip.text = f"{part.name}: {amount * of:.4g} {unit}"
                told.append(tip.text)
            attributes(self._bars[i], aria_label=f"Booked: {'; '.join(told) or 'nothing'}")

    @staticmethod
    def _segment(bar: Any, name: str) -> tuple[Any, Any, Any]:
        with bar, box("div", "segment") as segment:
            label = text("span", "segment-name", name)
            with segment:
                tip = ui.tooltip("")
        return segment, label, tip
