"""TMF633, service catalogue: catalogues, categories, candidates and specifications; their import and export."""

from __future__ import annotations

from typing import Any

from edgewright.service.tmf.jobs import job_kinds
from edgewright.service.tmf.kinds import Api, Kind
from edgewright.service.tmf.models import tmf633

Json = dict[str, Any]
EVENTS = ("Create", "Change", "Delete")


def _complete(type_: str, **more: Any) -> Any:
    """Attributes of what has none of its own; TMF633 leaves the stages of a life cycle to the provider."""
    return lambda body: {"@type": type_, "lifecycleStatus": "In study", "version": "1.0", **more} | body


SERVICE_CATALOG = Kind(
    "serviceCatalog",
    tmf633.ServiceCatalog,
    tmf633.ServiceCatalogCreate,
    tmf633.ServiceCatalogUpdate,
    events=("Create", "Change", "Batch", "Delete"),
    complete=_complete("ServiceCatalog"),
    touched="lastUpdate",
)
SERVICE_CATEGORY = Kind(
    "serviceCategory",
    tmf633.ServiceCategory,
    tmf633.ServiceCategoryCreate,
    tmf633.ServiceCategoryUpdate,
    events=EVENTS,
    complete=lambda body: _complete("ServiceCategory", isRoot="parentId" not in body)(body),
    touched="lastUpdate",
)
SERVICE_CANDIDATE = Kind(
    "serviceCandidate",
    tmf633.ServiceCandidate,
    tmf633.ServiceCandidateCreate,
    tmf633.ServiceCandidateUpdate,
    events=EVENTS,
    complete=_complete("ServiceCandidate"),
    touched="lastUpdate",
)
SERVICE_SPECIFICATION = Kind(
    "serviceSpecification",
    tmf633.ServiceSpecification,
    tmf633.ServiceSpecificationCreate,
    tmf633.ServiceSpecificationUpdate,
    events=EVENTS,
    complete=_complete("ServiceSpecification", isBundle=False),
    touched="lastUpdate",
    removing=lambda runtime, session, old: runtime.fulfilment.withdrawing(session, old),
)
CATALOGUED = (SERVICE_CATALOG, SERVICE_CATEGORY, SERVICE_CANDIDATE, SERVICE_SPECIFICATION)
API: Api = Api(
    "serviceCatalogManagement",
    "/tmf-api/serviceCatalogManagement/v4",
    (*CATALOGUED, *job_kinds(lambda: API, CATALOGUED, tmf633, "service")),
    {
        "/tmf-api/service-catalog-management/v4": (),
        "/tmf-api/service-category-management/v4": ("serviceCategory",),
        "/tmf-api/service-candidate-management/v4": ("serviceCandidate",),
        "/tmf-api/service-specification-management/v4": ("serviceSpecification",),
    },
)
