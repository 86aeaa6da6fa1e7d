"""Policies of elasticity: read, replaced as a whole, and how far each is from firing."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from edgewright.core.documents import parse
from edgewright.service.api.description import document
from edgewright.service.api.keys import Running, WithKey
from edgewright.service.api.reading import body_text
from edgewright.service.elasticity.rules import Policies

router = APIRouter(prefix="/api/edgewright/v1/elasticity", tags=["elasticity"])
Json = dict[str, Any]


@router.get("")
def get_elasticity(runtime: Running) -> Json:
    """The policies in force; for each service in their scope the metric, for how long it is beyond, when it fired."""
    now = time.monotonic()
    states = [
        {
            "policy": policy,
            "service": service,
            "value": armed.value,
            "armed_s": None if armed.since is None else round(now - armed.since, 1),
            "fired_s_ago": None if armed.fired is None else round(now - armed.fired, 1),
        }
        for (policy, service), armed in list(runtime.elasticity.armed.items())
    ]
    return runtime.elasticity.policies.model_dump(mode="json") | {"states": states}


@router.put("", dependencies=[WithKey], openapi_extra=document(Policies, "elasticity"))
async def put_elasticity(request: Request, runtime: Running) -> Json:
    """Replace all policies (`edgewright.policies/1`), in JSON or YAML."""
    text, is_yaml = await body_text(request)

    def take() -> Json:
        runtime.elasticity.replace(parse(Policies, text, source="body", yaml_syntax=is_yaml))
        return get_elasticity(runtime)

    return await run_in_threadpool(take)
