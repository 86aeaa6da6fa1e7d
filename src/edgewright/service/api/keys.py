"""An API key for whatever changes state or is secret: `Authorization: Bearer KEY` or `X-API-Key: KEY`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from edgewright.service.runtime import Runtime

Json = dict[str, Any]
HIDDEN = "***"
_bearer = HTTPBearer(auto_error=False, description="The key printed at the first start.")
_header = APIKeyHeader(name="X-API-Key", auto_error=False)


def runtime_of(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


def has_key(
    runtime: Annotated[Runtime, Depends(runtime_of)],
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    header: Annotated[str | None, Depends(_header)],
) -> bool:
    """Whether a known key came along."""
    key = bearer.credentials if bearer else header
    return key is not None and runtime.store.knows_key(key)


def with_key(known: Annotated[bool, Depends(has_key)]) -> None:
    """Raises 401 without a known key."""
    if not known:
        raise HTTPException(401, "needs an API key: Authorization: Bearer KEY, or X-API-Key: KEY")


def shown(record: Json, known: bool, *path: str) -> Json:
    """Without a key what is at the path, or each value of an object there, reads `***`."""
    if known:
        return record
    first, *rest = path
    inner = record[first]
    if rest:
        return record | {first: shown(inner, known, *rest)}
    return record | {first: dict.fromkeys(inner, HIDDEN) if isinstance(inner, dict) else HIDDEN}


Running = Annotated[Runtime, Depends(runtime_of)]
HasKey = Annotated[bool, Depends(has_key)]
WithKey = Depends(with_key)
MORE_WITH_KEY: Json = {"security": [{}]}  # `openapi_extra` of a route that answers without a key, too
