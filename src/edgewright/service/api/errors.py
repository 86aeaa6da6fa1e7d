"""Every refusal in one form: `{"message", "field", "given", "allowed"}`; under /tmf-api/ in the TM Forum's."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from edgewright.core.errors import CapacityError, InputError
from edgewright.drivers.host import HostError
from edgewright.service.api.tmf.errors import ROOT, error_body
from edgewright.service.generation import NoRoom
from edgewright.service.refusals import Conflict, NotFound, NotSupported
from edgewright.service.store import StoreError

log = structlog.get_logger("edgewright.api")
APIS = ("/api/", ROOT)
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


class _Answer(JSONResponse):
    def render(self, content: Any) -> bytes:
        # What was given may hold half of a surrogate pair, which JSON can escape and UTF-8 cannot carry.
        return json.dumps(content, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


class _Refusal(_Answer):
    """Its form depends on where it was asked."""

    def __init__(self, message: str, status: int, more: dict[str, Any], headers: Mapping[str, str] | None) -> None:
        super().__init__({"message": message, "field": None, "given": None, "allowed": None, **more}, status, headers)
        self.message, self.more_headers = message, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(ROOT):
            other = _Answer(error_body(self.status_code, self.message), self.status_code, self.more_headers)
            await other(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def answer(status: int, message: str, headers: Mapping[str, str] | None = None, **more: Any) -> JSONResponse:
    return _Refusal(message, status, more, {"WWW-Authenticate": "Bearer"} if status == 401 else headers)


def _bad_input(error: InputError) -> JSONResponse:
    status = 409 if isinstance(error, NoRoom) else 400
    return answer(status, str(error), field=error.field, given=_plain(error.given), allowed=error.allowed)


def register(app: FastAPI) -> None:
    """Map every exception of ours, and of the framework, to an answer."""

    @app.exception_handler(InputError)
    async def _(_: Request, error: InputError) -> JSONResponse:
        return _bad_input(error)

    @app.exception_handler(RequestValidationError)
    async def _(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        parts = [str(part) for part in first["loc"][1:]]  # after where it was: body, query, path
        cause = (first.get("ctx") or {}).get("error")
        if isinstance(cause, InputError):  # of a rule between fields
            return _bad_input(InputError(".".join([*parts, cause.field]), cause.given, cause.allowed))
        field, allowed = ".".join(parts) or "body", first["msg"].removeprefix("Value error, ")
        given = None if first["type"] == "missing" else _plain(first.get("input"))
        return answer(400, f"{field}: {allowed}", field=field, given=given, allowed=allowed)

    @app.exception_handler(CapacityError)
    async def _(_: Request, error: CapacityError) -> JSONResponse:
        allowed = f"at most {error.left:g}"
        return answer(409, str(error), field=error.resource, given=error.wanted, allowed=allowed)

    for kind, status in (
        (Conflict, 409),
        (NotFound, 404),
        (NotSupported, 501),
        (StoreError, 503),
        (HostError, 502),
    ):
        app.add_exception_handler(kind, _plainly(status))

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error.__cause__, InputError):
            return _bad_input(error.__cause__)
        return answer(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(OSError)
    async def _(request: Request, error: OSError) -> JSONResponse:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return answer(507, f"there is no room on the disk: {error}")
        return failed(request, error)

    @app.exception_handler(Exception)
    async def _(request: Request, error: Exception) -> JSONResponse:
        return failed(request, error)

    def failed(request: Request, error: Exception) -> JSONResponse:
        log.error("request_failed", path=request.url.path, exc_info=error)
        return answer(500, "an error of ours, it is in the log")


def answer_the_rest(app: FastAPI) -> None:
    """After all routes of the APIs, and before the page, which takes every path that is left."""
    rest = _Rest(tuple(app.routes))
    app.router.routes += [Route(f"{root}{{path:path}}", rest, include_in_schema=False) for root in APIS]


@dataclass(frozen=True)
class _Rest:
    """405 for a path of the routes, else 404."""

    routes: tuple[BaseRoute, ...]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        told, allowed = f"no {scope['method']} {scope['path']}", self._allowed(scope)
        refusal = answer(405, f"{told}, but {allowed}", {"Allow": allowed}) if allowed else answer(404, told)
        await refusal(scope, receive, send)

    def _allowed(self, scope: Scope) -> str:
        """By all routes of the path (RFC 9110, 10.2.1): the framework names those of the first alone."""
        asked = [(method, {**scope, "method": method}) for method in METHODS]
        return ", ".join(
            method for method, each in asked if any(route.matches(each)[0] is Match.FULL for route in self.routes)
        )


def _plainly(status: int) -> Any:
    async def handle(_: Request, error: Exception) -> JSONResponse:
        return answer(status, str(error))

    return handle


def _plain(value: object) -> Any:
    """What JSON can carry of what was given (a NaN, bytes or an object cannot)."""
    if value is None or isinstance(value, str | bool | int):
        return value if not isinstance(value, str) else value[:200]
    if isinstance(value, float) and abs(value) < 1e300:
        return value
    return repr(value)[:200]
