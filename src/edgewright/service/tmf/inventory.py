"""TMF638, service inventory."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from edgewright.service.tmf import states
from edgewright.service.tmf.kinds import Api, Kind, now
from edgewright.service.tmf.models import tmf638

if TYPE_CHECKING:
    from edgewright.service.runtime import Runtime

Json = dict[str, Any]


def _complete(body: Json) -> Json:
    return {"@type": "Service", "serviceDate": now()} | body


def _changing(runtime: Runtime, old: Json, new: Json, wait_s: float) -> AbstractContextManager[Json]:
    return runtime.fulfilment.changing(old, new, wait_s)


SERVICE: Kind = Kind(
    "service",
    tmf638.Service,
    tmf638.ServiceCreate,
    tmf638.ServiceUpdate,
    machine=states.SERVICE,
    complete=_complete,
    created=lambda runtime, session, new: runtime.fulfilment.recorded(new),
    changing=_changing,
    removing=lambda runtime, session, old: runtime.fulfilment.removing(old),
)
API: Api = Api(
    "serviceInventory",
    "/tmf-api/serviceInventory/v4",
    (SERVICE,),
    {"/tmf-api/service-inventory-management/v4": ()},
)
