"""Bodies of the TM Forum APIs, read strictly: of the right type, JSON without doubt, not nested without end."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from edgewright.core.documents import load_json
from edgewright.core.errors import InputError
from edgewright.service.resources.collection import check_depth

JSON = "application/json"
MERGE = "application/merge-patch+json"  # RFC 7396
TAKEN = {"POST": (JSON,), "PATCH": (JSON, MERGE)}


class _Request(Request):
    async def json(self) -> Any:
        try:
            body = load_json((await self.body()).decode("utf-8", "replace"), source="body")
            check_depth(body)
            return body
        except InputError as error:
            raise HTTPException(400, str(error)) from error  # FastAPI lets no other exception through


class TmfRoute(APIRoute):
    """415 for a body that is no JSON, or in a PATCH a patch of another kind."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def checked(request: Request) -> Response:
            given = request.headers.get("content-type", "")
            taken = TAKEN[request.method] if self.body_field else ()
            if taken and given and given.partition(";")[0].strip().lower() not in taken:
                name = "Accept-Patch" if request.method == "PATCH" else "Accept"  # RFC 5789 2.2, RFC 9110 15.5.16
                text = f"Content-Type {given[:100]!r}: {' or '.join(taken)}"
                raise HTTPException(415, text, {name: ", ".join(taken)})
            return await handle(_Request(request.scope, request.receive))

        return checked


class Patch:
    """An object that the API describes as `model`, and takes apart itself: in a merge patch null is a value, too."""

    def __init__(self, model: type[BaseModel]) -> None:
        self.model = model

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.dict_schema(core_schema.str_schema())

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> Any:
        return handler(self.model.__pydantic_core_schema__)
