"""The routes of an API, made from its value: each operation that its specification has, and no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Body, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from edgewright.core.errors import InputError
from edgewright.service.api.keys import Running, WithKey
from edgewright.service.api.tmf.bodies import MERGE, Patch, TmfRoute
from edgewright.service.api.tmf.errors import Error
from edgewright.service.api.tmf.hubs import add_hub
from edgewright.service.resources.query import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    MAX_OFFSET,
    MAX_SORT,
    Query,
    parse_query,
    select_fields,
)
from edgewright.service.tmf.kinds import Api, Kind, attributes, change, create, find, knows, remove

Json = dict[str, Any]


def _described(kind: Kind, *names: str) -> Json:
    """Parameters that are read from the address itself: there are as many more as attributes."""
    each = "|".join(attributes(kind.resource))
    schemas = {
        "fields": {"type": "string", "pattern": f"^(none|({each})(,({each}))*)$"},
        "sort": {"type": "string", "pattern": f"^-?({each})(,-?({each})){{0,{MAX_SORT - 1}}}$"},
        "offset": {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET},
        "limit": {"type": "integer", "minimum": 0, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    }
    return {"parameters": [{"name": name, "in": "query", "schema": schemas[name]} for name in names]}


def router_of(api: Api) -> APIRouter:
    """Errors under it take the TM Forum's form: see `service.api.errors`."""
    refusals: Any = {"default": {"description": "Refused", "model": Error}}
    router = APIRouter(prefix=api.base, tags=[api.name], route_class=TmfRoute, responses=refusals)
    for kind in api.kinds:
        _add_readers(router, api, kind)
        _add_writers(router, api, kind)
    add_hub(router, api)
    return router


def _add_readers(router: APIRouter, api: Api, kind: Kind) -> None:
    known = knows(kind.resource)
    path = f"/{kind.name}"

    page = _described(kind, "fields", "sort", "offset", "limit")

    @router.get(path, name=f"list {kind.name}", openapi_extra=page, responses=_answers(200, list[kind.resource]))  # type: ignore[name-defined]
    def list_(runtime: Running, request: Request) -> JSONResponse:
        """Those that meet all conditions `attribute.path[.gt|.gte|.lt|.lte|.ne|.regex]=value,value`; sort=-a,b."""
        given = request.query_params.multi_items()
        query = parse_query(given, known)
        with runtime.store.read() as session:
            found = kind.of(session).find(query)
        headers = {"X-Total-Count": str(found.total), "X-Result-Count": str(len(found.bodies))}
        if query.limit:
            headers["Link"] = _links(f"{api.base}{path}", given, query, found.total)
        return JSONResponse(found.bodies, headers=headers)

    one = _described(kind, "fields")

    @router.get(f"{path}/{{id}}", name=f"get {kind.name}", openapi_extra=one, responses=_answers(200, kind.resource))
    def get(runtime: Running, request: Request, id: str) -> JSONResponse:
        """One, or the attributes of it that `fields` names."""
        given = request.query_params.multi_items()
        for name, value in given:
            if name != "fields":
                raise InputError(name, value, "as parameter only `fields`")
        return JSONResponse(select_fields(find(runtime, kind, id), parse_query(given, known).fields))


def _add_writers(router: APIRouter, api: Api, kind: Kind) -> None:
    path = f"/{kind.name}"

    def post(runtime: Running, body: BaseModel) -> JSONResponse:
        """Create one; the server makes its `id` and `href`."""
        made = create(runtime, api, kind, body.model_dump(by_alias=True, exclude_unset=True))
        return JSONResponse(made, 201, {"Location": made["href"]})

    post.__annotations__["body"] = kind.create
    _add(router, "POST", path, post, kind, _answers(201, kind.resource), 201)
    if kind.update is not None:

        def patch(runtime: Running, id: str, body: Json) -> JSONResponse:
            """Change one by a merge patch (RFC 7396): null takes an attribute away."""
            return JSONResponse(change(runtime, api, kind, id, body))

        patch.__annotations__["body"] = Annotated[Json, Patch(kind.update), Body(media_type=MERGE)]
        _add(router, "PATCH", f"{path}/{{id}}", patch, kind, _answers(200, kind.resource), 200)
    if kind.removable:

        def delete(runtime: Running, id: str) -> None:
            """Delete one."""
            remove(runtime, api, kind, id)

        _add(router, "DELETE", f"{path}/{{id}}", delete, kind, {}, 204)


def _add(
    router: APIRouter, method: str, path: str, endpoint: Callable[..., Any], kind: Kind, answers: Any, status: int
) -> None:
    router.add_api_route(
        path,
        endpoint,
        methods=[method],
        status_code=status,
        name=f"{endpoint.__name__} {kind.name}",
        dependencies=[WithKey],
        responses=answers,
    )


def _answers(status: int, model: Any) -> Any:
    """For the description alone: what is kept is answered as it is."""
    return {status: {"model": model}}


def _links(path: str, given: list[tuple[str, str]], query: Query, total: int) -> str:
    """RFC 8288."""
    kept = [(name, value) for name, value in given if name not in ("offset", "limit")]
    last = max(total - 1, 0) // query.limit * query.limit
    offsets = {"first": 0, "last": last}
    if query.offset > 0:
        offsets["prev"] = max(min(query.offset, total) - query.limit, 0)
    if query.offset + query.limit < total:
        offsets["next"] = query.offset + query.limit
    return ", ".join(
        f'<{path}?{urlencode([*kept, ("offset", offset), ("limit", query.limit)])}>; rel="{name}"'
        for name, offset in offsets.items()
    )
