"""Generated from the specification of TMF641: see generate.py."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from edgewright.service.tmf.models.part import DateTime, Extensible, Part, Uri, absent


class AppointmentRef(Extensible):
    id: str
    href: str = absent()
    description: str = absent()
    referredType: str = absent(alias="@referredType")


class CharacteristicRelationship(Extensible):
    id: str = absent()
    href: Uri = absent()
    relationshipType: str = absent()


class ConstraintRef(Extensible):
    id: str
    href: Uri = absent()
    name: str = absent()
    version: str = absent()
    referredType: str = absent(alias="@referredType")


class ErrorMessage(Extensible):
    code: str = absent()
    message: str = absent()
    reason: str = absent()
    referenceError: Uri = absent()
    status: str = absent()


class ExternalReference(Extensible):
    id: str = absent()
    href: Uri = absent()
    externalReferenceType: str = absent()
    name: str


class Note(Extensible):
    id: str = absent()
    author: str = absent()
    date: DateTime = absent()
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
    type: str = Field(..., alias="@type")
    referredType: str = Field(..., alias="@referredType")


class RelatedPlaceRefOrValue(Extensible):
    id: str = absent()
    href: str = absent()
    name: str = absent()
    role: str
    referredType: str = absent(alias="@referredType")


class RelatedServiceOrderItem(Extensible):
    id: str = absent()
    href: Uri = absent()
    itemId: str = absent()
    role: str = absent()
    serviceOrderHref: str = absent()
    serviceOrderId: str = absent()
    itemAction: Literal["add", "modify", "delete", "noChange"] = absent()
    referredType: str = absent(alias="@referredType")


class ResourceRef(Extensible):
    id: str
    href: Uri = absent()
    name: str = absent()
    referredType: str = absent(alias="@referredType")


class ServiceOrderItemErrorMessage(Extensible):
    code: str = absent()
    message: str = absent()
    reason: str = absent()
    referenceError: Uri = absent()
    status: str = absent()
    timestamp: DateTime = absent()


class ServiceOrderItemRef(Extensible):
    id: Any = absent()
    itemId: str = absent()
    serviceOrderHref: Uri = absent()
    serviceOrderId: str = absent()
    referredType: str = absent(alias="@referredType")


class ServiceOrderItemRelationship(Extensible):
    relationshipType: str = absent()
    orderItem: ServiceOrderItemRef = absent()


class ServiceOrderJeopardyAlert(Extensible):
    id: str = absent()
    alertDate: DateTime = absent()
    exception: str = absent()
    jeopardyType: str = absent()
    message: str = absent()
    name: str = absent()
    serviceOrderItem: list[ServiceOrderItemRef] = absent()


class ServiceOrderMilestone(Extensible):
    id: str = absent()
    description: str = absent()
    message: str = absent()
    milestoneDate: DateTime = absent()
    name: str = absent()
    status: str = absent()
    serviceOrderItem: list[ServiceOrderItemRef] = absent()


class ServiceOrderRef(Extensible):
    id: str
    href: Uri = absent()
    name: str = absent()
    referredType: str = absent(alias="@referredType")


class ServiceOrderRelationship(Extensible):
    id: str
    href: str = absent()
    relationshipType: str
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


class CancelServiceOrder(Extensible):
    id: str = absent()
    href: Uri = absent()
    cancellationReason: str = absent()
    completionMessage: str = absent()
    effectiveCancellationDate: DateTime = absent()
    requestedCancellationDate: DateTime = absent()
    errorMessage: ErrorMessage = absent()
    serviceOrder: ServiceOrderRef = absent()
    state: Literal["accepted", "terminatedWithError", "inProgress", "done"] = absent()


class CancelServiceOrderCreate(Extensible):
    cancellationReason: str = absent()
    requestedCancellationDate: DateTime = absent()
    serviceOrder: ServiceOrderRef


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


class ServiceOrderErrorMessage(Extensible):
    code: str = absent()
    message: str = absent()
    reason: str = absent()
    referenceError: Uri = absent()
    status: str = absent()
    timestamp: DateTime = absent()
    serviceOrderItem: list[ServiceOrderItemRef] = absent()


class Feature(Extensible):
    id: str = absent()
    isBundle: bool = absent()
    isEnabled: bool = absent()
    name: str
    constraint: list[ConstraintRef] = absent()
    featureCharacteristic: list[Characteristic] = Field(..., min_length=1)
    featureRelationship: list[FeatureRelationship] = absent()


class ServiceOrder(Extensible):
    id: str = absent()
    href: str = absent()
    cancellationDate: DateTime = absent()
    cancellationReason: str = absent()
    category: str = absent()
    completionDate: DateTime = absent()
    description: str = absent()
    expectedCompletionDate: DateTime = absent()
    externalId: str = absent()
    notificationContact: str = absent()
    orderDate: DateTime = absent()
    priority: str = absent()
    requestedCompletionDate: DateTime = absent()
    requestedStartDate: DateTime = absent()
    startDate: DateTime = absent()
    errorMessage: list[ServiceOrderErrorMessage] = absent()
    externalReference: list[ExternalReference] = absent()
    jeopardyAlert: list[ServiceOrderJeopardyAlert] = absent()
    milestone: list[ServiceOrderMilestone] = absent()
    note: list[Note] = absent()
    orderRelationship: list[ServiceOrderRelationship] = absent()
    relatedParty: list[RelatedParty] = absent()
    serviceOrderItem: list[ServiceOrderItem] = absent()
    state: Literal[
        "acknowledged",
        "rejected",
        "pending",
        "held",
        "inProgress",
        "cancelled",
        "completed",
        "failed",
        "partial",
        "assessingCancellation",
        "pendingCancellation",
    ] = absent()


class ServiceOrderItem(Extensible):
    id: str
    quantity: int = absent()
    action: Literal["add", "modify", "delete", "noChange"]
    appointment: AppointmentRef = absent()
    errorMessage: list[ServiceOrderItemErrorMessage] = absent()
    service: ServiceRefOrValue
    serviceOrderItem: list[ServiceOrderItem] = absent()
    serviceOrderItemRelationship: list[ServiceOrderItemRelationship] = absent()
    state: Literal[
        "acknowledged",
        "rejected",
        "pending",
        "held",
        "inProgress",
        "cancelled",
        "completed",
        "failed",
        "assessingCancellation",
        "pendingCancellation",
        "partial",
    ] = absent()


class ServiceOrderCreate(Extensible):
    cancellationDate: DateTime = absent()
    cancellationReason: str = absent()
    category: str = absent()
    description: str = absent()
    externalId: str = absent()
    notificationContact: str = absent()
    priority: str = absent()
    requestedCompletionDate: DateTime = absent()
    requestedStartDate: DateTime = absent()
    externalReference: list[ExternalReference] = absent()
    note: list[Note] = absent()
    orderRelationship: list[ServiceOrderRelationship] = absent()
    relatedParty: list[RelatedParty] = absent()
    serviceOrderItem: list[ServiceOrderItem] = Field(..., min_length=1)


class ServiceOrderUpdate(Part):
    description: str = absent()
    expectedCompletionDate: DateTime = absent()
    externalId: str = absent()
    notificationContact: str = absent()
    priority: str = absent()
    requestedCompletionDate: DateTime = absent()
    requestedStartDate: DateTime = absent()
    externalReference: list[ExternalReference] = absent()
    note: list[Note] = absent()
    orderRelationship: list[ServiceOrderRelationship] = absent()
    relatedParty: list[RelatedParty] = absent()
    serviceOrderItem: list[ServiceOrderItem] = absent()
    state: Literal[
        "acknowledged",
        "rejected",
        "pending",
        "held",
        "inProgress",
        "cancelled",
        "completed",
        "failed",
        "partial",
        "assessingCancellation",
        "pendingCancellation",
    ] = absent()


class ServiceRefOrValue(Extensible):
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
    referredType: str = absent(alias="@referredType")


class ServiceRelationship(Extensible):
    id: str = absent()
    href: Uri = absent()
    relationshipType: str
    service: ServiceRefOrValue = absent()
    serviceRelationshipCharacteristic: list[Characteristic] = absent()


ServiceOrder.model_rebuild()
ServiceOrderItem.model_rebuild()
ServiceRefOrValue.model_rebuild()
