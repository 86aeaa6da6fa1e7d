"""How bodies are read: strictly, as files are."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, ClassVar

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute

from edgewright.core.documents import load_json
from edgewright.core.errors import InputError
from edgewright.service.resources.collection import check_depth


class _StrictRequest(Request):
    async def json(self) -> Any:
        try:
            body = load_json(await _text(self), source="body")
            check_depth(body)
            return body
        except InputError as error:
            raise HTTPException(400, str(error)) from error  # FastAPI lets no other exception through


class StrictRoute(APIRoute):
    """Refuses a key that comes twice and nesting without end; with 415 what is of none of the types `taken`."""

    taken: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """By method; of one that is not named, whatever reads as JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            given = request.headers.get("content-type", "")
            taken = self.taken.get(request.method, ()) if self.body_field else ()
            if taken and given and given.partition(";")[0].strip().lower() not in taken:
                name = "Accept-Patch" if request.method == "PATCH" else "Accept"  # RFC 5789 2.2, RFC 9110 15.5.16
                text = f"Content-Type {given[:100]!r}: {' or '.join(taken)}"
                raise HTTPException(415, text, {name: ", ".join(taken)})
            return await handle(_StrictRequest(request.scope, request.receive))

        return strictly


async def body_text(request: Request) -> tuple[str, bool]:
    """-> the text of a document, whether it is YAML. Raises InputError."""
    return await _text(request), "yaml" in request.headers.get("content-type", "")


async def _text(request: Request) -> str:
    try:
        return (await request.body()).decode()
    except UnicodeDecodeError:
        raise InputError("body", "bytes", "UTF-8 text") from None
