"""What the API says of itself beside its routes: how it refuses, and the documents that it reads as JSON or YAML."""

from __future__ import annotations

import threading
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from edgewright.service.api.tmf.errors import ROOT

Json = dict[str, Any]
_COMPONENTS = "#/components/schemas/"
_PARTS: dict[str, Json] = {}  # of documents: schemas by the names that they have in the description


class Refused(BaseModel):
    """Nothing was changed, or it is undone."""

    message: str
    field: str | None
    """What it is about, with dots."""
    given: Any
    allowed: str | None


def document(kind: type[BaseModel], capability: str) -> Json:
    """`openapi_extra` of a route that reads this model as JSON, or as YAML."""
    prefix = f"{capability}-"
    schema = kind.model_json_schema(ref_template=f"{_COMPONENTS}{prefix}{{model}}")
    _PARTS.update({prefix + name: part for name, part in schema.pop("$defs", {}).items()})
    _PARTS[prefix + kind.__name__] = schema
    content = {"schema": {"$ref": f"{_COMPONENTS}{prefix}{kind.__name__}"}}
    return {"requestBody": {"required": True, "content": {"application/json": content, "application/yaml": content}}}


def describe(app: FastAPI) -> None:
    """Adds the refusals of our own operations; the TM Forum's APIs tell theirs."""
    plain, making = app.openapi, threading.Lock()

    def openapi() -> Json:
        with making:
            return whole()

    def whole() -> Json:
        if app.openapi_schema is None:
            made = plain()
            schemas = made["components"]["schemas"]
            schemas |= {"Refused": Refused.model_json_schema(), **_PARTS}
            for path, operations in made["paths"].items():
                for method, operation in operations.items() if not path.startswith(ROOT) else ():
                    _add_refusals(path, method, operation)
            for unused in ("HTTPValidationError", "ValidationError"):  # the framework's own form of a 400
                schemas.pop(unused, None)
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    # In a thread, unlike the framework's own route: it takes seconds, and others need not wait.
    app.router.routes[:] = [each for each in app.router.routes if getattr(each, "path", "") != app.openapi_url]
    assert app.openapi_url
    app.add_api_route(app.openapi_url, lambda: JSONResponse(openapi()), include_in_schema=False)


def _add_refusals(path: str, method: str, operation: Json) -> None:
    answers = operation["responses"]
    answers.pop("422", None)
    statuses = [400, 503, 504]
    if "security" in operation:
        statuses.append(401)
    if "{" in path:
        statuses.append(404)
    if method != "get":
        statuses += [404, 409, 501, 502, 507]
    if "requestBody" in operation:
        statuses.append(413)
    for status in sorted({*statuses, *(int(known) for known in answers if int(known) >= 400)}):
        told = answers.setdefault(str(status), {"description": HTTPStatus(status).phrase})
        told.setdefault("content", {"application/json": {"schema": {"$ref": f"{_COMPONENTS}Refused"}}})
