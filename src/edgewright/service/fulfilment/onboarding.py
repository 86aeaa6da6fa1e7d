"""Packages come in: kept with their artefacts, and offered in the service catalogue."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from edgewright.service.fulfilment.characteristics import specified
from edgewright.service.packages import Package
from edgewright.service.refusals import Conflict
from edgewright.service.resources.query import Condition, Query
from edgewright.service.slices import records
from edgewright.service.slices.records import ALL, PACKAGE, Json
from edgewright.service.tmf import catalogue, kinds
from edgewright.service.tmf.kinds import Kind

if TYPE_CHECKING:
    from edgewright.service.runtime import Runtime

CATALOG, CATEGORY = "edgewright", "services"


def onboard(runtime: Runtime, packages: Iterable[Package]) -> list[Json]:
    """Keep packages and offer them, all or none. The same again changes nothing.

    Raises Conflict where another one has the name and version of one, StoreError.
    """
    with runtime.changing, runtime.store.write() as session:
        kept = [_keep(session, package) for package in packages]
    return [view(runtime, each) for each in kept]


def packages(runtime: Runtime) -> list[Json]:
    with runtime.store.read() as session:
        found = records.collection(session, PACKAGE).find(ALL).bodies
    return [view(runtime, each) for each in found]


def package(runtime: Runtime, key: str) -> Json:
    """Raises NotFound."""
    with runtime.store.read() as session:
        return view(runtime, records.known(session, PACKAGE, key))


def remove(runtime: Runtime, key: str) -> None:
    """With its artefacts that no other names, and its place in the catalogue. Raises NotFound, Conflict while used."""
    with runtime.changing:
        with runtime.store.write() as session:
            kept = records.known(session, PACKAGE, key)
            for service in records.listed(session, records.SERVICE):
                if service["package"] == key:
                    records.remove(session, records.SERVICE, service["id"])  # raises Conflict while instances run
            _withdraw(session, kept["serviceSpecification"])
            records.collection(session, PACKAGE).remove(key)
        prune(runtime)


def prune(runtime: Runtime) -> None:
    """Remove artefacts that no package names. Raises StoreError."""
    with runtime.store.read() as session:
        kept = records.collection(session, PACKAGE).find(ALL).bodies
    runtime.slices.artefacts.prune(each["sha256"] for body in kept for each in body["descriptor"]["artefacts"])


def view(runtime: Runtime, kept: Json) -> Json:
    """With the names of the artefacts that are still to be sent."""
    return kept | {"missing": runtime.slices.artefacts.missing(records.as_package(kept))}


def _keep(session: Session, package: Package) -> Json:
    descriptor = package.model_dump(mode="json")
    known = records.collection(session, PACKAGE).get(package.key)
    if known is not None and known["descriptor"] != descriptor:
        raise Conflict(f"version: there is another package {package.key}: give this one a new version")
    if known is None:
        known = {"id": package.key, "name": package.name, "version": package.version, "descriptor": descriptor}
        known["serviceSpecification"] = _offer(session, package)
        records.collection(session, PACKAGE).add(package.key, known)
    return known


def _offer(session: Session, package: Package) -> Json:
    """Specification and candidate, in our category and catalogue -> reference to the specification."""
    slo = package.slo
    specification = kinds.add(
        session,
        catalogue.API,
        catalogue.SERVICE_SPECIFICATION,
        {
            "name": package.name,
            "version": package.version,
            "description": package.description
            or f"{slo.percentile:g} % of requests within {slo.response_ms:g} ms at {package.rate_hz:g} per second",
            "lifecycleStatus": "Active",
            "specCharacteristic": specified(package),
            "attachment": [{"name": package.key, "attachmentType": PACKAGE, "mimeType": "application/json"}],
        },
    )
    reference = {name: specification[name] for name in ("id", "href", "name", "version")}
    candidate = kinds.add(
        session,
        catalogue.API,
        catalogue.SERVICE_CANDIDATE,
        {
            "name": package.name,
            "version": package.version,
            "lifecycleStatus": "Active",
            "serviceSpecification": reference,
        },
    )
    listed = {name: candidate[name] for name in ("id", "href", "name", "version")}
    category = _named(session, catalogue.SERVICE_CATEGORY, CATEGORY) or kinds.add(
        session,
        catalogue.API,
        catalogue.SERVICE_CATEGORY,
        {"name": CATEGORY, "isRoot": True, "lifecycleStatus": "Active"},
    )
    _set_candidates(session, category, [*(category.get("serviceCandidate") or ()), listed])
    if _named(session, catalogue.SERVICE_CATALOG, CATALOG) is None:
        within = [{name: category[name] for name in ("id", "href", "name")}]
        body = {"name": CATALOG, "category": within, "lifecycleStatus": "Active"}
        kinds.add(session, catalogue.API, catalogue.SERVICE_CATALOG, body)
    return reference


def _withdraw(session: Session, reference: Json) -> None:
    kind = catalogue.SERVICE_CANDIDATE
    gone = kind.of(session).find(Query((Condition("serviceSpecification.id", "eq", (reference["id"],)),))).bodies
    ids = {each["id"] for each in gone}
    if category := _named(session, catalogue.SERVICE_CATEGORY, CATEGORY):
        left = [each for each in category.get("serviceCandidate") or () if each["id"] not in ids]
        _set_candidates(session, category, left)
    for kind, id_ in [*((kind, each["id"]) for each in gone), (catalogue.SERVICE_SPECIFICATION, reference["id"])]:
        if (old := kind.of(session).get(id_)) is not None:
            kind.of(session).remove(id_)
            kinds.tell(session, catalogue.API, kind, "Delete", old)


def _set_candidates(session: Session, category: Json, candidates: list[Json]) -> None:
    new = category | {"serviceCandidate": candidates}
    kinds.save(session, catalogue.API, catalogue.SERVICE_CATEGORY, category, new)


def _named(session: Session, kind: Kind, name: str) -> Json | None:
    found = kind.of(session).find(Query((Condition("name", "eq", (name,)),), limit=1)).bodies
    return found[0] if found else None
