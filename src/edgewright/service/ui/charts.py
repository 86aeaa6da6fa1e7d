"""The charts: empty ECharts options made once, and data that is sent as it grows and kept in the browser.

A chart's whole options every second would be some 60 kB per page; the new row is 200 bytes (see `assets/charts.js`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from nicegui import Client, ui

from edgewright.service.ui.elements import attributes, box, text

TONES = 6  # colours of nodes; after them they come again, dashed


class Charts:
    """The charts of one page."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._shown: list[tuple[ui.echart, dict[str, Any]]] = []  # and what charts.js must know of each

    def slice_left(self, capacity_cpu: float) -> None:
        with _figure("CPU left in the slice", [("area", "left, cores")]):
            chart = _chart("CPU left in the slice over the last 5 minutes", [_line("left", area=True)])
        self._shown.append((chart, {"columns": [1], "top": capacity_cpu}))

    def response(self, index: int, name: str, slo_ms: float) -> None:
        """p95 and mean response time of the index-th service on a log axis, with the SLO's bound."""
        with _figure("Response time, ms", [("line", "p95"), ("thin", "mean"), ("slo", f"SLO {slo_ms:g}")]):
            series = [{**_line("p95"), **_bound(slo_ms)}, _line("mean", thin=True)]
            chart = _chart(f"Response time of {name} over the last 5 minutes", series, log=True)
        self._shown.append((chart, {"columns": _columns(index, 0), "slo": slo_ms}))

    def cpu(self, index: int, name: str) -> None:
        """Limit (a step) and usage of the index-th service."""
        with _figure("CPU, cores", [("step", "limit"), ("area", "used")]):
            series = [{**_line("limit", thin=True), "step": "start"}, _line("used", area=True)]
            chart = _chart(f"CPU limit and usage of {name} over the last 5 minutes", series)
        self._shown.append((chart, {"columns": _columns(index, 2), "group": "cpu"}))

    def traffic(self) -> None:
        """Of a backhaul: what is offered, what is carried."""
        with _figure("Traffic, Mb/s", [("step", "offered"), ("area", "carried")]):
            series = [{**_line("offered", thin=True), "step": "end"}, _line("carried", area=True)]
            chart = _chart("Traffic offered and carried over the last 5 minutes", series)
        self._shown.append((chart, {"columns": [1, 2], "group": "cpu"}))

    def shares(self) -> None:
        """Of a backhaul: efficiency and fairness, 0..1."""
        with _figure("Share and fairness", [("line", "carried of offered"), ("thin", "Jain's index")]):
            series = [_line("carried of offered"), _line("Jain's index", thin=True)]
            chart = _chart("Carried of offered and Jain's index over the last 5 minutes", series)
        self._shown.append((chart, {"columns": [3, 4], "top": 1}))

    def each_node(self, title: str, names: Sequence[str], which: int, limit: float) -> None:
        """Of a migration loop: the `which`-th quantity of every node, the serving one's underlaid, with its limit."""
        with _figure(title, [("served", "serves"), ("slo", f"limit {limit:g}")]):
            series = [{**_line("serves", width=7), **_bound(limit)}, *(_line(name) for name in names)]
            for index, line in enumerate(series[1:]):
                line["lineStyle"]["type"] = "dashed" if _round(index) else "solid"
            chart = _chart(f"{title} of each node over the last 5 minutes", series)
        first = 4 + which * len(names)  # after time, node that serves, and its two quantities
        columns = [2 + which, *range(first, first + len(names))]
        tones = ["--glow", *(f"--node-{index % TONES}" for index in range(len(names)))]
        self._shown.append((chart, {"columns": columns, "limit": limit, "tones": tones}))

    def serving(self, names: Sequence[str]) -> None:
        """Of a migration loop: which node serves."""
        with _figure("Serves", []):
            series = [{**_line("serves"), "step": "end"}]
            chart = _chart("Node that serves over the last 5 minutes", series)
            chart.options["grid"]["left"] = min(16 + 7 * max(map(len, names)), 120)
            chart.style(f"min-height: {14 * len(names) + 40}px")
            chart.options["yAxis"] = {
                "type": "category",
                "data": list(names),
                "inverse": True,
                "axisLine": {"show": False},
                "axisTick": {"show": False},
                "axisLabel": {"width": 100, "overflow": "truncate"},
            }
        self._shown.append((chart, {"columns": [1], "names": list(names)}))

    def reset(self, rows: str) -> None:
        """Draw these rows (JSON) alone, in the charts that are still there."""
        self._shown = [(chart, facts) for chart, facts in self._shown if not chart.is_deleted]
        known = json.dumps([{"id": chart.id, **facts} for chart, facts in self._shown])
        self._client.run_javascript(f"edgewright.reset({known}, {rows})")

    def push(self, rows: str) -> None:
        """Draw these rows (JSON) too."""
        self._client.run_javascript(f"edgewright.push({rows})")


def _columns(index: int, first: int) -> list[int]:
    """Where two neighbouring columns of a service lie in a row: time, slice left, then four per service."""
    return [2 + 4 * index + first, 3 + 4 * index + first]


@contextmanager
def _figure(title: str, keys: Sequence[tuple[str, str]]) -> Iterator[None]:
    with box("figure", "chart"):
        with box("figcaption"):
            text("span", "chart-title", title)
            for kind, word in keys:
                with box("span", "key"):
                    box("i", f"swatch {kind}").props("aria-hidden=true")
                    text("span", "", word)
        yield


def _chart(label: str, series: list[dict[str, Any]], *, log: bool = False) -> ui.echart:
    options = {
        "animation": False,
        "grid": {"left": 40, "right": 8, "top": 8, "bottom": 20},
        "tooltip": {"trigger": "axis", "confine": True, "axisPointer": {"animation": False}},
        "xAxis": {
            "type": "time",
            "axisTick": {"show": False},
            "splitLine": {"show": False},
            "splitNumber": 4,
            "axisLabel": {"hideOverlap": True, "formatter": "{HH}:{mm}", "showMinLabel": False, "showMaxLabel": False},
        },
        "yAxis": {"type": "log" if log else "value", "min": 0, "splitNumber": 3, "axisLine": {"show": False}},
        "series": series,
    }
    if log:
        del options["yAxis"]["min"]  # type: ignore[attr-defined]
    return attributes(ui.echart(options).props("role=img"), aria_label=label)


def tone(index: int) -> str:
    """CSS classes in the colour of the index-th node."""
    return f"tone-{index % TONES}" + (" second" if _round(index) else "")


def _round(index: int) -> int:
    return index // TONES % 2


def _bound(value: float) -> dict[str, Any]:
    line = {"silent": True, "symbol": "none", "label": {"show": False}, "data": [{"yAxis": value}]}
    return {"markLine": line}


def _line(name: str, *, thin: bool = False, area: bool = False, width: float = 1.6) -> dict[str, Any]:
    line: dict[str, Any] = {
        "type": "line",
        "name": name,
        "showSymbol": False,
        "data": [],
        "lineStyle": {"width": 1 if thin else width},
        "emphasis": {"disabled": True},
    }
    return line | ({"areaStyle": {"opacity": 0.18}} if area else {})
