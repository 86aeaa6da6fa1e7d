"""The orchestrator's live web page. It talks to the REST API only, so it can run in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi import FastAPI


class PageSettings(Protocol):
    """What the page needs of the settings."""

    @property
    def api_url(self) -> str | None:
        """Where the API answers; None: in the same app, reached without a socket."""

    @property
    def storage_secret(self) -> str:
        """Signs the session cookie."""

    @property
    def data_dir(self) -> Path:
        """The page keeps visitors' sessions, with the API keys they gave, in `page/` below it (mode 0700)."""


def mount(app: FastAPI, settings: PageSettings) -> None:
    """Serve the page at `/`. Once per process, after the API's routes: the page takes every path that is left."""
    from edgewright.service.ui.site import serve

    serve(app, settings)
