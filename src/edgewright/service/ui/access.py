"""What a visitor may do: the API key, kept in the session on the server; actions and their feedback."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import app, ui

from edgewright.service.ui.client import ApiError, ApiGone, Told
from edgewright.service.ui.elements import attributes, box, text

KEY = "api_key"
Call = Callable[[str], Awaitable[Told]]


class Access:
    """One page's key and the controls that need it. `after` runs once an action was taken."""

    def __init__(self, after: Callable[[], Awaitable[None]]) -> None:
        self._after = after
        self._storage = app.storage.user
        self._controls: list[Any] = []
        self._build_dialog()

    @property
    def key(self) -> str | None:
        return self._storage.get(KEY)

    def needs_key(self, control: Any) -> Any:
        """Disable the control while there is no key; returns it."""
        self._controls = [*self._present(), control]
        control.set_enabled(self.key is not None)
        return control

    def _present(self) -> list[Any]:
        return [control for control in self._controls if not control.is_deleted]

    async def act(self, call: Call, done: str, refused: Callable[[ApiError], None] | None = None) -> bool:
        """Run a state-changing call with the key; say what came of it -> whether it was done. `refused` says why not,
        where the page has a better place for it.
        """
        if self.key is None:
            self.ask()
            return False
        try:
            told = await call(self.key)
        except ApiError as error:
            if error.key_refused:
                self._set_key(None)
                self.ask(error.message)
            elif refused is not None:
                refused(error)
            else:
                ui.notify(error.message, type="negative", multi_line=True, close_button="Close", timeout=10_000)
            return False
        except ApiGone as error:
            ui.notify(f"Not done: the API does not answer ({error})", type="negative", close_button="Close")
            return False
        told = told or done
        ui.notify(told[0].upper() + told[1:], type="positive", timeout=2500 if told == done else 6000)
        await self._after()
        return True

    def button(self) -> None:
        """Shows whether there is a key; asks for it or forgets it."""

        def show() -> None:
            known = self.key is not None
            self._button.props(f"icon={'lock_open' if known else 'lock'}")
            self._button.text = "Forget key" if known else "Enter key"
            self._word.text = "You can make changes" if known else "Read only"

        def click() -> None:
            if self.key is None:
                self.ask()
            else:
                self._set_key(None)
                ui.notify("The key is forgotten; this page is read only now", timeout=2500)

        with box("div", "access"):
            self._word = text("span", "quiet")
            self._button = ui.button(on_click=click, color=None).props("flat dense no-caps").classes("plain")
        self._show = show
        show()

    def ask(self, why: str = "") -> None:
        self._why.text = why
        self._why.visible = bool(why)
        self._dialog.open()

    def _build_dialog(self) -> None:
        def keep() -> None:
            given = (field.value or "").strip()
            if given:
                self._set_key(given)
                field.value = ""
                self._dialog.close()
                ui.notify("Key kept for this session", type="positive", timeout=2500)

        with ui.dialog().props('aria-label="API key"') as self._dialog, box("div", "dialog"):
            text("h2", "", "API key")
            text("p", "quiet", "Changes need the key that was printed when edgewright first started. Reading does not.")
            self._why = text("p", "error").props("role=alert")
            field = ui.input(password=True).props('outlined dense autofocus autocomplete=off aria-label="API key"')
            with box("div", "dialog-buttons"):
                ui.button("Cancel", on_click=self._dialog.close, color=None).props("flat no-caps")
                ui.button("Keep for this session", on_click=keep, color=None).props("unelevated no-caps").classes(
                    "primary"
                )
            field.on("keydown.enter.prevent", keep)

    def _set_key(self, key: str | None) -> None:
        if key is None:
            self._storage.pop(KEY, None)
        else:
            self._storage[KEY] = key
        for control in self._present():
            control.set_enabled(key is not None)
        self._show()


async def confirmed(title: str, lost: str, verb: str) -> bool:
    """Ask before something is lost."""
    with attributes(ui.dialog(), aria_label=title) as dialog, box("div", "dialog"):
        text("h2", "", title)
        text("p", "quiet", lost)
        with box("div", "dialog-buttons"):
            ui.button("Cancel", on_click=lambda: dialog.submit(False), color=None).props("flat no-caps autofocus")
            ui.button(verb, on_click=lambda: dialog.submit(True), color=None).props("unelevated no-caps").classes(
                "danger"
            )
    answer = await dialog
    dialog.delete()
    return bool(answer)
