"""Policies of elasticity: their text, and how far each is from firing."""

from __future__ import annotations

from functools import partial
from typing import Any

from nicegui import ui

from edgewright.service.ui.access import Access
from edgewright.service.ui.client import Api, ApiError
from edgewright.service.ui.elements import State, box, text
from edgewright.service.ui.orders import words
from edgewright.service.ui.orders.feed import OrdersView
from edgewright.service.ui.orders.shapes import Policy
from edgewright.service.ui.shapes import Refusal


class Policies:
    def __init__(self, api: Api, access: Access) -> None:
        self._api, self._access = api, access
        self._in_force: str | None = None
        self._states: dict[tuple[str, str], tuple[Any, ...]] = {}
        with box("section", "card policies").props('aria-label="Policies of elasticity"'):
            with box("div", "card-head"):
                head = text("h2", "", "Policies of elasticity")
                head.props('title="Rules that add replicas, or move CPU between slices, when a metric passes a bound"')
                self._example = ui.button("Insert an example", on_click=self._insert, color=None)
                self._example.props("flat dense no-caps").classes("plain")
            self._list = box("div", "policy-list").props("role=list")
            self._none = text("p", "empty")
            self._text = ui.textarea()
            self._text.props(
                "outlined dense no-error-icon hide-bottom-space spellcheck=false autogrow input-class=code "
                'aria-label="Policies, YAML"'
            )
            self._error = text("p", "error").props("role=alert")
            self._error.visible = False
            with box("div", "policy-buttons") as self._buttons:
                put = ui.button("Apply", on_click=self._put, color=None)
                access.needs_key(put.props('unelevated no-caps aria-label="Apply the policies"').classes("primary"))
                discard = ui.button("Discard", on_click=self._discard, color=None)
                discard.props('flat no-caps aria-label="Discard the changes"').classes("plain")

    def show(self, view: OrdersView) -> None:
        elasticity = view.elasticity
        written = words.policies_text(elasticity.policies)
        if written != self._in_force:
            if self._text.value == (self._in_force or ""):  # nobody is writing
                self._text.value = written
            self._in_force = written
        self._buttons.visible = self._text.value != written
        self._example.visible = not elasticity.policies
        policies = {each.name: each for each in map(Policy.model_validate, elasticity.policies)}
        idle = "No service is in their scope yet" if policies else "None: services keep what they were ordered with"
        self._none.text = "" if elasticity.states else idle
        self._none.visible = bool(self._none.text)
        keys = {(state.policy, state.service) for state in elasticity.states}
        for gone in self._states.keys() - keys:
            self._states.pop(gone)[0].delete()
        names = view.names
        for state in elasticity.states:
            key, policy = (state.policy, state.service), policies.get(state.policy)
            if key not in self._states:
                with self._list:
                    self._states[key] = self._row(state.policy, names.get(state.service, state.service[:8]))
            _, told, standing = self._states[key]
            told.text = words.threshold(policy) if policy else ""
            standing.show(*words.policy_state(state, policy))

    @staticmethod
    def _row(policy: str, service: str) -> tuple[Any, ...]:
        with box("div", "policy-row").props("role=listitem") as row:
            text("span", "policy-name", f"{policy}: {service}")
            told = text("span", "quiet number")
            standing = State("span", "number")
        return row, told, standing

    def _insert(self) -> None:
        self._text.value = words.EXAMPLE
        self._buttons.visible = True

    def _discard(self) -> None:
        self._text.value = self._in_force or ""
        self._error.visible = self._buttons.visible = False

    async def _put(self) -> None:
        given = self._text.value or ""

        def refused(error: ApiError) -> None:
            self._error.text = words.refused(error.refusal or Refusal(message=error.message))
            self._error.visible = True

        before, self._in_force = self._in_force, given  # what comes back is written in the API's way
        if await self._access.act(partial(self._api.put_elasticity, yaml=given), "The policies are in force", refused):
            self._error.visible = False
        else:
            self._in_force = before
