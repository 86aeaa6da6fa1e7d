"""Generated from the specification of TMF638: see generate.py."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from edgewright.service.tmf.models.part import DateTime, Extensible, Part, Uri, absent


class CharacteristicRelationship(Extensible):
    id: str = absent()
    relationshipType: str = absent()


class ConstraintRef(Extensible):
    id: str
    href: Uri = absent()
    name: str = absent()
    version: str = absent()
    referredType: str = absent(alias="@referredType")


class Note(Extensible):
    id: str = absent()
    author: str
    date: DateTime
    text: str


class RelatedEntityRefOrValue(Extensible):
    id: str = absent()
    href: str = absent()
    name: str = absent()
    role: str
    referredType: str = absent(alias="@referredType")


class RelatedParty(Extensible):
    id: str
    href: Uri = absent()
    name: str = absent()
    role: str = absent()
    referredType: str = Field(..., alias="@referredType")


class RelatedPlaceRefOrValue(Extensible):
    id: str = absent()
    href: str = absent()
    name: str = absent()
    role: str
    referredType: str = absent(alias="@referredType")


class RelatedServiceOrderItem(Extensible):
    itemId: str
    role: str = absent()
    serviceOrderHref: str = absent()
    serviceOrderId: str
    itemAction: Literal["add", "modify", "delete", "noChange"] = absent()
    referredType: str = absent(alias="@referredType")


class ResourceRef(Extensible):
    id: str
    href: Uri = absent()
    name: str = absent()
    referredType: str = absent(alias="@referredType")


class ServiceSpecificationRef(Extensible):
    id: str
    href: Uri = absent()
    name: str = absent()
    version: str = absent()
    referredType: str = absent(alias="@referredType")


class TimePeriod(Extensible):
    endDateTime: DateTime = absent()
    startDateTime: DateTime = absent()


class Characteristic(Extensible):
    id: str = absent()
    name: str
    valueType: str = absent()
    characteristicRelationship: list[CharacteristicRelationship] = absent()
    value: Any


class FeatureRelationship(Extensible):
    id: str = absent()
    name: str
    relationshipType: str
    validFor: TimePeriod = absent()


class Feature(Extensible):
    id: str
    isBundle: bool = absent()
    isEnabled: bool = absent()
    name: str
    constraint: list[ConstraintRef] = absent()
    featureCharacteristic: list[Characteristic] = Field(..., min_length=1)
    featureRelationship: list[FeatureRelationship] = absent()


class Service(Extensible):
    id: str = absent()
    href: str = absent()
    category: str = absent()
    description: str = absent()
    endDate: DateTime = absent()
    hasStarted: bool = absent()
    isBundle: bool = absent()
    isServiceEnabled: bool = absent()
    isStateful: bool = absent()
    name: str = absent()
    serviceDate: str = absent()
    serviceType: str = absent()
    startDate: DateTime = absent()
    startMode: str = absent()
    feature: list[Feature] = absent()
    note: list[Note] = absent()
    place: list[RelatedPlaceRefOrValue] = absent()
    relatedEntity: list[RelatedEntityRefOrValue] = absent()
    relatedParty: list[RelatedParty] = absent()
    serviceCharacteristic: list[Characteristic] = absent()
    serviceOrderItem: list[RelatedServiceOrderItem] = absent()
    serviceRelationship: list[ServiceRelationship] = absent()
    serviceSpecification: ServiceSpecificationRef = absent()
    state: Literal["feasibilityChecked", "designed", "reserved", "inactive", "active", "terminated"] = absent()
    supportingResource: list[ResourceRef] = absent()
    supportingService: list[ServiceRefOrValue] = absent()


class ServiceRefOrValue(Extensible):
    id: str
    href: str = absent()
    category: str = absent()
    description: str = absent()
    endDate: DateTime = absent()
    hasStarted: bool = absent()
    isBundle: bool = absent()
    isServiceEnabled: bool = absent()
    isStateful: bool = absent()
    name: str = absent()
    serviceDate: str = absent()
    serviceType: str = absent()
    startDate: DateTime = absent()
    startMode: str = absent()
    feature: list[Feature] = absent()
    note: list[Note] = absent()
    place: list[RelatedPlaceRefOrValue] = absent()
    relatedEntity: list[RelatedEntityRefOrValue] = absent()
    relatedParty: list[RelatedParty] = absent()
    serviceCharacteristic: list[Characteristic] = absent()
    serviceOrderItem: list[RelatedServiceOrderItem] = absent()
    serviceRelationship: list[ServiceRelationship] = absent()
    serviceSpecification: ServiceSpecificationRef = absent()
    state: Literal["feasibilityChecked", "designed", "reserved", "inactive", "active", "terminated"] = absent()
    supportingResource: list[ResourceRef] = absent()
    supportingService: list[ServiceRefOrValue] = absent()
    referredType: str = absent(alias="@referredType")


class ServiceRelationship(Extensible):
    relationshipType: str
    service: ServiceRefOrValue
    serviceRelationshipCharacteristic: list[Characteristic] = absent()


class ServiceCreate(Extensible):
    category: str = absent()
    description: str = absent()
    endDate: DateTime = absent()
    hasStarted: bool = absent()
    isBundle: bool = absent()
    isServiceEnabled: bool = absent()
    isStateful: bool = absent()
    name: str = absent()
    serviceDate: str = absent()
    serviceType: str = absent()
    startDate: DateTime = absent()
    startMode: str = absent()
    feature: list[Feature] = absent()
    note: list[Note] = absent()
    place: list[RelatedPlaceRefOrValue] = absent()
    relatedEntity: list[RelatedEntityRefOrValue] = absent()
    relatedParty: list[RelatedParty] = absent()
    serviceCharacteristic: list[Characteristic] = absent()
    serviceOrderItem: list[RelatedServiceOrderItem] = absent()
    serviceRelationship: list[ServiceRelationship] = absent()
    serviceSpecification: ServiceSpecificationRef
    state: Literal["feasibilityChecked", "designed", "reserved", "inactive", "active", "terminated"]
    supportingResource: list[ResourceRef] = absent()
    supportingService: list[ServiceRefOrValue] = absent()


class ServiceUpdate(Part):
    category: str = absent()
    description: str = absent()
    endDate: DateTime = absent()
    hasStarted: bool = absent()
    isBundle: bool = absent()
    isServiceEnabled: bool = absent()
    isStateful: bool = absent()
    name: str = absent()
    serviceType: str = absent()
    startDate: DateTime = absent()
    startMode: str = absent()
    feature: list[Feature] = absent()
    note: list[Note] = absent()
    place: list[RelatedPlaceRefOrValue] = absent()
    relatedEntity: list[RelatedEntityRefOrValue] = absent()
    relatedParty: list[RelatedParty] = absent()
    serviceCharacteristic: list[Characteristic] = absent()
    serviceOrderItem: list[RelatedServiceOrderItem] = absent()
    serviceRelationship: list[ServiceRelationship] = absent()
    serviceSpecification: ServiceSpecificationRef = absent()
    state: Literal["feasibilityChecked", "designed", "reserved", "inactive", "active", "terminated"] = absent()
    supportingResource: list[ResourceRef] = absent()
    supportingService: list[ServiceRefOrValue] = absent()


Service.model_rebuild()
ServiceRefOrValue.model_rebuild()
