"""The first steps where nothing is registered yet, and the dialog by which services come into the catalogue."""

from __future__ import annotations

from functools import partial
from importlib.resources import files

from nicegui import events, ui

from edgewright.service.ui.access import Access
from edgewright.service.ui.client import Api, ApiError
from edgewright.service.ui.elements import State, box, text
from edgewright.service.ui.orders import words
from edgewright.service.ui.orders.feed import OrdersView
from edgewright.service.ui.shapes import Refusal

DEMO = files("edgewright") / "demo" / "localization.yaml"
MOST_BYTES = 1_000_000


class Onboarding:
    """A dialog: a descriptor or a compose file, from a file or typed."""

    def __init__(self, api: Api, access: Access) -> None:
        self._api, self._access = api, access
        with (
            ui.dialog().props('aria-label="Add a service to the catalogue"') as self._dialog,
            box("div", "dialog onboarding"),
        ):
            text("h2", "", "Add a service to the catalogue")
            told = "A package descriptor (edgewright.package/1), or a compose file whose services run as processes."
            text("p", "quiet", told)
            self._upload = ui.upload(
                label="Choose a YAML or JSON file",
                auto_upload=True,
                max_file_size=MOST_BYTES,
                on_upload=self._take,
                on_rejected=lambda: self._refuse("A file of 1 MB at most, please."),
            )
            self._upload.props('flat accept=".yaml,.yml,.json" hide-upload-btn aria-label="File"').classes("file")
            self._text = ui.textarea(placeholder=DEMO.read_text())
            self._text.props(
                'outlined dense no-error-icon hide-bottom-space spellcheck=false aria-label="Descriptor" '
                "input-class=code rows=12"
            )
            self._error = text("p", "error").props("role=alert")
            with box("div", "dialog-buttons"):
                ui.button("Cancel", on_click=self._dialog.close, color=None).props("flat no-caps")
                button = ui.button("Add", on_click=self._add, color=None)
                button.props('unelevated no-caps aria-label="Add to the catalogue"').classes("primary")

    def open(self) -> None:
        self._error.visible = False
        self._dialog.open()

    async def add_demo(self) -> None:
        call = partial(self._api.onboard, yaml=DEMO.read_text(), compose=False)
        await self._access.act(call, "The localization service is in the catalogue")

    async def _take(self, event: events.UploadEventArguments) -> None:
        self._upload.reset()
        try:
            self._text.value = await event.file.text()
        except UnicodeDecodeError:
            self._refuse("A text file, please.")
        else:
            self._error.visible = False

    async def _add(self) -> None:
        given = self._text.value or ""
        if not given.strip():
            self._refuse("Choose a file, or write a descriptor.")
            return
        call = partial(self._api.onboard, yaml=given, compose=words.is_compose(given))

        def refused(error: ApiError) -> None:
            self._refuse(words.refused(error.refusal or Refusal(message=error.message)))

        if await self._access.act(call, "It is in the catalogue", refused):
            self._text.value = ""
            self._dialog.close()

    def _refuse(self, message: str) -> None:
        self._error.text, self._error.visible = message, True


class FirstSteps:
    """There until this host is registered and the catalogue has a service."""

    def __init__(self, api: Api, access: Access, onboarding: Onboarding) -> None:
        self._api, self._access = api, access
        with box("section", "card first-steps").props('aria-label="First steps"') as self._card:
            text("h2", "", "First steps")
            with box("ol"):
                host_told = "Services run on it, each in a share of its CPU, memory and network."
                self._host = self._step("Register this host", host_told)
                with self._host[1]:
                    self._button("Register this host", "dns", self._register, "unelevated", "primary")
                service_told = "What can be ordered: a package says how it is started and how much it may have."
                self._service = self._step("Add a service to the catalogue", service_told)
                with self._service[1]:
                    self._button(
                        "Add the demo's localization service",
                        "my_location",
                        onboarding.add_demo,
                        "unelevated",
                        "primary",
                    )
                    self._button("Add your own", "upload_file", onboarding.open, "flat", "plain")
                self._step("Order it", "Its steps show as they happen; then it is among the services.")

    def show(self, view: OrdersView) -> None:
        done = bool(view.hosts), bool(view.specifications)
        self._card.visible = not all(done)
        for (mark, controls), is_done in zip((self._host, self._service), done, strict=True):
            mark.visible, controls.visible = is_done, not is_done

    @staticmethod
    def _step(title: str, told: str) -> tuple[ui.element, ui.element]:
        with box("li"):
            with box("div", "first-head"):
                text("h3", "", title)
                with box("span") as mark:
                    State("span").show("ok", "Done")
            text("p", "quiet", told)
            mark.visible = False
            return mark, box("div", "first-controls")

    def _button(self, word: str, icon: str, action: object, props: str, classes: str) -> None:
        button = ui.button(word, icon=icon, on_click=action, color=None)  # type: ignore[arg-type]
        self._access.needs_key(button.props(f"{props} no-caps").classes(classes))

    async def _register(self) -> None:
        await self._access.act(self._api.register, "This host is registered")
