"""The top of the page: the verdict, what the loop did last and why, its mode and policy, the slice."""

from __future__ import annotations

from functools import partial

from nicegui import ui

from edgewright.service.ui import words
from edgewright.service.ui.access import Access
from edgewright.service.ui.charts import Charts
from edgewright.service.ui.client import Api
from edgewright.service.ui.elements import State, box, text, width
from edgewright.service.ui.feed import View
from edgewright.service.ui.shapes import LoopState, PolicyInfo

MODES = {"act": "Act", "shadow": "Shadow", "paused": "Paused"}
MARK: dict[words.Level, str] = {"ok": "✓", "bad": "✗", "warn": "!", "quiet": "…"}  # in the browser's tab
MODE_WORDS = {
    "act": "Decisions are put in force.",
    "shadow": "Decisions are recorded only; limits stay as they are.",
    "paused": "No decisions are made; limits stay as they are.",
}


class Headline:
    """Verdict, last change with its reason, and the loop's two switches."""

    def __init__(self, api: Api, access: Access, loop: str, policies: list[PolicyInfo]) -> None:
        self._api, self._access, self._loop = api, access, loop
        self._policies = {policy.name: policy for policy in policies}
        self._level: words.Level | None = None
        self._busy = 0  # switches set and not yet answered by the API: until then polls must not set them back
        with box("section", "card headline").props('aria-label="State of the loop"'):
            with box("div", "finding"):
                self._verdict = State("h1")
                # Read out when the standing changes, not at every new number.
                self._spoken = text("span", "spoken").props("role=status")
                self._promise = text("p", "quiet")
                self._last = text("p", "last")
            with box("div", "switches"):
                with box("div", "switch"):
                    text("span", "quiet label", "Mode")
                    self._mode = access.needs_key(ui.toggle(MODES))
                    # Raised by the visitor only, not by a value that a poll sets.
                    self._mode.on("update:model-value", self._set_mode)
                    self._mode.props('unelevated dense no-caps aria-label="Mode of the loop"').classes("modes")
                    self._mode_word = text("span", "quiet")
                with box("div", "switch"):
                    text("span", "quiet label", "Policy")
                    options = {policy.name: _titled(policy) for policy in policies}
                    self._policy = access.needs_key(ui.select(options))
                    self._policy.on("update:model-value", self._set_policy)
                    self._policy.props('outlined dense options-dense aria-label="Policy"').classes("policy")
                    self._policy_word = text("span", "quiet clamp")
                    with self._policy_word:
                        self._policy_tip = ui.tooltip("")

    def show(self, loop: LoopState, view: View, now: float) -> None:
        level, found = words.verdict(loop)
        self._verdict.show(level, found)
        if level != self._level:
            self._level = level
            self._spoken.text = found
            ui.page_title(f"{MARK[level]} {loop.name} · edgewright")
        self._promise.text = words.promise(loop.slo)
        self._last.text = last_change(view, now)
        if not self._busy:
            self._mode.value = loop.mode
            if loop.policy not in self._policy.options:  # a policy file given by its path
                self._policy.set_options({**self._policy.options, loop.policy: loop.policy})
            self._policy.value = loop.policy
        self._mode_word.text = MODE_WORDS.get(loop.mode, "")
        info = self._policies.get(loop.policy)
        summary = (info and info.summary) or ""
        if summary != self._policy_word.text:
            self._policy_word.text = summary
            self._policy_tip.text = summary

    async def _set_mode(self) -> None:
        await self._set("mode", self._mode.value, f"Mode: {MODES[self._mode.value]}")

    async def _set_policy(self) -> None:
        await self._set("policy", self._policy.value, f"Policy: {self._policy.value}")

    async def _set(self, field: str, value: str, done: str) -> None:
        self._busy += 1
        try:
            await self._access.act(partial(self._api.change, loop=self._loop, **{field: value}), done)
        finally:
            self._busy -= 1


def last_change(view: View, now: float) -> str:
    """The newest decision that moved a limit, as one sentence."""
    for decision in view.decisions:
        moved = [change for change in words.changes(decision) if change.moved]
        if moved:
            first = max(moved, key=lambda change: abs((change.after or 0.0) - (change.before or 0.0)))
            others = f" and {len(moved) - 1} more" if len(moved) > 1 else ""
            verb = "Last change" if decision.mode == "act" else "Last advice"
            what = f"{first.service} {first.limits} CPU{others}"
            return f"{verb} {words.ago(now - decision.time)}: {what}, because {first.reason}"
    return "The loop has not changed a limit yet"


def _titled(policy: PolicyInfo) -> str:
    return f"{policy.name} ({policy.kind})" if policy.kind else policy.name


class Slice:
    """Who holds how much of the slice's CPU: a segment is a limit, its filled part what is used."""

    def __init__(self, charts: Charts) -> None:
        self._charts = charts
        self._built: tuple[list[str], float] | None = None  # names of the services, cores of the slice
        self._segments: list[tuple[ui.element, ui.element]] = []
        with box("section", "card slice").props('aria-label="CPU of the slice"'):
            with box("div", "slice-facts"):
                with box("div", "slice-words"):
                    text("h2", "", "Slice")
                    self._words = text("span", "number")
                    self._memory = text("span", "quiet number")
                self._bar = box("div", "slice-bar").props("aria-hidden=true")
                self._legend = text("p", "quiet number")
            self._chart = box("div", "slice-chart")

    def show(self, loop: LoopState) -> bool:
        """Draw the newest state -> whether the chart was made anew (and is empty)."""
        wanted = [service.name for service in loop.services], loop.slice.cpu
        if rebuilt := wanted != self._built:
            self._built = wanted
            self._build(*wanted)
        for (segment, used), service in zip(self._segments, loop.services, strict=True):
            limit = service.limit_cpu or 0.0
            width(segment, limit / loop.slice.cpu)
            width(used, (service.usage_cpu or 0.0) / limit if limit else 0.0)
        left = max(0.0, loop.slice.cpu_left)  # a sum of floats may end a hair below; this order makes -0.0 a 0.0
        self._words.text = f"{loop.slice.cpu - left:.2f} of {loop.slice.cpu:g} CPU allotted, {left:.2f} left"
        memory = loop.slice.memory_bytes
        booked = words.megabytes(memory - loop.slice.memory_left_bytes)
        self._memory.text = f"Memory {booked} of {words.megabytes(memory)} MB"
        return rebuilt

    def _build(self, names: list[str], capacity_cpu: float) -> None:
        self._bar.clear()
        self._chart.clear()
        with self._bar:
            self._segments = [self._segment(name) for name in names]
        with self._chart:
            self._charts.slice_left(capacity_cpu)
        self._legend.text = "Each segment is a service's limit; its filled part is in use."

    @staticmethod
    def _segment(name: str) -> tuple[ui.element, ui.element]:
        with box("div", "segment") as segment:
            used = box("div", "segment-used")
            text("span", "segment-name", name)
        return segment, used
