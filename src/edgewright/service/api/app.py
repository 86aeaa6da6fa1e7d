"""The FastAPI application of one process, by its role."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI
from starlette.middleware import Middleware

import edgewright
from edgewright.service.api import (
    backhauls,
    elasticity,
    errors,
    health,
    loops,
    migrations,
    orders,
    packages,
    slice_manager,
    topologies,
)
from edgewright.service.api.description import describe
from edgewright.service.api.gate import BodyLimit, Forward, HostGate
from edgewright.service.runtime import Runtime
from edgewright.service.settings import Settings

DESCRIPTION = """Loops that keep services inside their SLA. Whatever changes state needs an API key; reading does not,
and hides then what may be secret.
Errors: `{"message", "field", "given", "allowed"}` with 400 (bad input), 401, 404, 409 (capacity, conflict), 413,
501 (this host cannot), 502 (the driver failed), 503 (the database or the worker is away; nothing was changed),
504 (the worker did not answer; whether it did what was asked is unknown), 507 (the disk is full)."""


def create_app(settings: Settings, runtime: Runtime) -> FastAPI:
    """API, health and metrics over a runtime that the caller starts and closes."""
    from edgewright.service.api.tmf.aliases import Aliases
    from edgewright.service.api.tmf.engine import router_of
    from edgewright.service.tmf import catalogue, inventory, ordering  # with large models, which no page needs

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        runtime.ask_to_stop()  # a call under way is waited for

    tmf = (catalogue.API, ordering.API, inventory.API)
    app = FastAPI(
        title="edgewright",
        version=edgewright.__version__,
        description=DESCRIPTION,
        docs_url="/api/docs",
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
        middleware=[
            Middleware(HostGate, settings=settings),
            Middleware(Aliases, apis=tmf),
            Middleware(BodyLimit),
            Middleware(Forward, runtime=runtime),
        ],
    )
    app.state.runtime = runtime
    errors.register(app)
    for part in (loops, backhauls, migrations, topologies, packages, orders, elasticity, slice_manager, health):
        app.include_router(part.router)
    for api in tmf:
        app.include_router(router_of(api))
    describe(app)
    errors.answer_the_rest(app)
    return app


def create_page_app(settings: Settings) -> FastAPI:
    """For the page alone."""
    gate = Middleware(HostGate, settings=settings)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, middleware=[gate])
    errors.answer_the_rest(app)
    return app
