"""Generated from the specification of TMF633: see generate.py."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from edgewright.service.tmf.models.part import DateTime, Extensible, Uri, absent


class AssociationSpecificationRef(Extensible):
    id: str
    href: Uri = absent()
    name: str = absent()
    referredType: str = absent(alias="@referredType")


class ConstraintRef(Extensible):
    id: str
    href: Uri = absent()
    name: str = absent()
    version: str = absent()
    referredType: str = absent(alias="@referredType")


class ExportJob(Extensible):
    id: str = absent()
    href: Uri = absent()
    completionDate: DateTime = absent()
    contentType: str = absent()
    creationDate: DateTime = absent()
    errorLog: str = absent()
    path: str = absent()
    query: str = absent()
    url: Uri = absent()
    status: Literal["Not Started", "Running", "Succeeded", "Failed"] = absent()


class ExportJobCreate(Extensible):
    completionDate: DateTime = absent()
    contentType: str = absent()
    creationDate: DateTime = absent()
    errorLog: str = absent()
    path: str = absent()
    query: str = absent()
    url: Uri
    status: Literal["Not Started", "Running", "Succeeded", "Failed"] = absent()


class ImportJob(Extensible):
    id: str = absent()
    href: Uri = absent()
    completionDate: DateTime = absent()
    contentType: str = absent()
    creationDate: DateTime = absent()
    errorLog: str = absent()
    path: str = absent()
    url: Uri = absent()
    status: Literal["Not Started", "Running", "Succeeded", "Failed"] = absent()


class ImportJobCreate(Extensible):
    completionDate: DateTime = absent()
    contentType: str = absent()
    creationDate: DateTime = absent()
    errorLog: str = absent()
    path: str = absent()
    url: Uri
    status: Literal["Not Started", "Running", "Succeeded", "Failed"] = absent()


class Quantity(Extensible):
    amount: float = absent()
    units: str = absent()


class RelatedParty(Extensible):
    id: str
    href: Uri = absent()
    name: str = absent()
    role: str = absent()
    referredType: str = Field(..., alias="@referredType")


class ResourceSpecificationRef(Extensible):
    id: str
    href: Uri = absent()
    name: str = absent()
    version: str = absent()
    referredType: str = absent(alias="@referredType")


class ServiceCandidateRef(Extensible):
    id: str
    href: Uri = absent()
    name: str = absent()
    version: str = absent()
    referredType: str = absent(alias="@referredType")


class ServiceCategoryRef(Extensible):
    id: str
    href: Uri = absent()
    name: str = absent()
    version: str = absent()
    referredType: str = absent(alias="@referredType")


class ServiceLevelSpecificationRef(Extensible):
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


class TargetEntitySchema(Extensible):
    schemaLocation: str = Field(..., alias="@schemaLocation")
    type: str = Field(..., alias="@type")


class TimePeriod(Extensible):
    endDateTime: DateTime = absent()
    startDateTime: DateTime = absent()


class AttachmentRefOrValue(Extensible):
    id: str = absent()
    href: Uri = absent()
    attachmentType: str = absent()
    content: str = absent()
    description: str = absent()
    mimeType: str = absent()
    name: str = absent()
    url: Uri = absent()
    size: Quantity = absent()
    validFor: TimePeriod = absent()
    referredType: str = absent(alias="@referredType")


class CharacteristicSpecificationRelationship(Extensible):
    characteristicSpecificationId: str = absent()
    name: str = absent()
    parentSpecificationHref: Uri = absent()
    parentSpecificationId: str = absent()
    relationshipType: str = absent()
    validFor: TimePeriod = absent()


class CharacteristicValueSpecification(Extensible):
    isDefault: bool = absent()
    rangeInterval: str = absent()
    regex: str = absent()
    unitOfMeasure: str = absent()
    valueFrom: int = absent()
    valueTo: int = absent()
    valueType: str = absent()
    validFor: TimePeriod = absent()
    value: Any = absent()


class EntitySpecificationRelationship(Extensible):
    id: str = absent()
    href: Uri = absent()
    name: str = absent()
    relationshipType: str
    role: str = absent()
    associationSpec: AssociationSpecificationRef = absent()
    validFor: TimePeriod = absent()
    referredType: str = absent(alias="@referredType")


class FeatureSpecificationCharacteristicRelationship(Extensible):
    characteristicId: str = absent()
    featureId: str = absent()
    name: str = absent()
    relationshipType: str = absent()
    resourceSpecificationHref: Uri = absent()
    resourceSpecificationId: str = absent()
    validFor: TimePeriod = absent()


class FeatureSpecificationRelationship(Extensible):
    featureId: str = absent()
    name: str
    parentSpecificationHref: Uri = absent()
    parentSpecificationId: str = absent()
    relationshipType: str
    validFor: TimePeriod = absent()


class ServiceCandidate(Extensible):
    id: str = absent()
    href: Uri = absent()
    description: str = absent()
    lastUpdate: DateTime = absent()
    lifecycleStatus: str = absent()
    name: str = absent()
    version: str = absent()
    category: list[ServiceCategoryRef] = absent()
    serviceSpecification: ServiceSpecificationRef = absent()
    validFor: TimePeriod = absent()


class ServiceCandidateCreate(Extensible):
    description: str = absent()
    lastUpdate: DateTime = absent()
    lifecycleStatus: str = absent()
    name: str
    version: str = absent()
    category: list[ServiceCategoryRef] = absent()
    serviceSpecification: ServiceSpecificationRef
    validFor: TimePeriod = absent()


class ServiceCandidateUpdate(Extensible):
    description: str = absent()
    lifecycleStatus: str = absent()
    name: str = absent()
    version: str = absent()
    category: list[ServiceCategoryRef] = absent()
    serviceSpecification: ServiceSpecificationRef = absent()
    validFor: TimePeriod = absent()


class ServiceCatalog(Extensible):
    id: str = absent()
    href: Uri = absent()
    description: str = absent()
    lastUpdate: DateTime = absent()
    lifecycleStatus: str = absent()
    name: str = absent()
    version: str = absent()
    category: list[ServiceCategoryRef] = absent()
    relatedParty: list[RelatedParty] = absent()
    validFor: TimePeriod = absent()


class ServiceCatalogCreate(Extensible):
    description: str = absent()
    lastUpdate: DateTime = absent()
    lifecycleStatus: str = absent()
    name: str
    version: str = absent()
    category: list[ServiceCategoryRef] = absent()
    relatedParty: list[RelatedParty] = absent()
    validFor: TimePeriod = absent()


class ServiceCatalogUpdate(Extensible):
    description: str = absent()
    lifecycleStatus: str = absent()
    name: str = absent()
    version: str = absent()
    category: list[ServiceCategoryRef] = absent()
    relatedParty: list[RelatedParty] = absent()
    validFor: TimePeriod = absent()


class ServiceCategory(Extensible):
    id: str = absent()
    href: Uri = absent()
    description: str = absent()
    isRoot: bool = absent()
    lastUpdate: DateTime = absent()
    lifecycleStatus: str = absent()
    name: str = absent()
    parentId: str = absent()
    version: str = absent()
    category: list[ServiceCategoryRef] = absent()
    serviceCandidate: list[ServiceCandidateRef] = absent()
    validFor: TimePeriod = absent()


class ServiceCategoryCreate(Extensible):
    description: str = absent()
    isRoot: bool = absent()
    lastUpdate: DateTime = absent()
    lifecycleStatus: str = absent()
    name: str
    parentId: str = absent()
    version: str = absent()
    category: list[ServiceCategoryRef] = absent()
    serviceCandidate: list[ServiceCandidateRef] = absent()
    validFor: TimePeriod = absent()


class ServiceCategoryUpdate(Extensible):
    description: str = absent()
    isRoot: bool = absent()
    lifecycleStatus: str = absent()
    name: str = absent()
    parentId: str = absent()
    version: str = absent()
    category: list[ServiceCategoryRef] = absent()
    serviceCandidate: list[ServiceCandidateRef] = absent()
    validFor: TimePeriod = absent()


class ServiceSpecRelationship(Extensible):
    id: str = absent()
    href: Uri = absent()
    name: str = absent()
    relationshipType: str
    role: str = absent()
    validFor: TimePeriod = absent()
    referredType: str = absent(alias="@referredType")


class CharacteristicSpecification(Extensible):
    id: str = absent()
    configurable: bool = absent()
    description: str = absent()
    extensible: bool = absent()
    isUnique: bool = absent()
    maxCardinality: int = absent()
    minCardinality: int = absent()
    name: str = absent()
    regex: str = absent()
    valueType: str = absent()
    charSpecRelationship: list[CharacteristicSpecificationRelationship] = absent()
    characteristicValueSpecification: list[CharacteristicValueSpecification] = absent()
    validFor: TimePeriod = absent()
    valueSchemaLocation: str = absent(alias="@valueSchemaLocation")


class FeatureSpecificationCharacteristic(Extensible):
    id: str = absent()
    configurable: bool = absent()
    description: str = absent()
    extensible: bool = absent()
    isUnique: bool = absent()
    maxCardinality: int = absent()
    minCardinality: int = absent()
    name: str
    regex: str = absent()
    valueType: str = absent()
    featureSpecCharRelationship: list[FeatureSpecificationCharacteristicRelationship] = absent()
    featureSpecCharacteristicValue: list[CharacteristicValueSpecification] = absent()
    validFor: TimePeriod = absent()
    valueSchemaLocation: str = absent(alias="@valueSchemaLocation")


class FeatureSpecification(Extensible):
    id: str = absent()
    isBundle: bool = absent()
    isEnabled: bool = absent()
    name: str = absent()
    version: str = absent()
    constraint: list[ConstraintRef] = absent()
    featureSpecCharacteristic: list[FeatureSpecificationCharacteristic] = absent()
    featureSpecRelationship: list[FeatureSpecificationRelationship] = absent()
    validFor: TimePeriod = absent()


class ServiceSpecification(Extensible):
    id: str = absent()
    href: Uri = absent()
    description: str = absent()
    isBundle: bool = absent()
    lastUpdate: DateTime = absent()
    lifecycleStatus: str = absent()
    name: str = absent()
    version: str = absent()
    attachment: list[AttachmentRefOrValue] = absent()
    constraint: list[ConstraintRef] = absent()
    entitySpecRelationship: list[EntitySpecificationRelationship] = absent()
    featureSpecification: list[FeatureSpecification] = absent()
    relatedParty: list[RelatedParty] = absent()
    resourceSpecification: list[ResourceSpecificationRef] = absent()
    serviceLevelSpecification: list[ServiceLevelSpecificationRef] = absent()
    serviceSpecRelationship: list[ServiceSpecRelationship] = absent()
    specCharacteristic: list[CharacteristicSpecification] = absent()
    targetEntitySchema: TargetEntitySchema = absent()
    validFor: TimePeriod = absent()


class ServiceSpecificationCreate(Extensible):
    description: str = absent()
    isBundle: bool = absent()
    lastUpdate: DateTime = absent()
    lifecycleStatus: str = absent()
    name: str
    version: str = absent()
    attachment: list[AttachmentRefOrValue] = absent()
    constraint: list[ConstraintRef] = absent()
    entitySpecRelationship: list[EntitySpecificationRelationship] = absent()
    featureSpecification: list[FeatureSpecification] = absent()
    relatedParty: list[RelatedParty] = absent()
    resourceSpecification: list[ResourceSpecificationRef] = absent()
    serviceLevelSpecification: list[ServiceLevelSpecificationRef] = absent()
    serviceSpecRelationship: list[ServiceSpecRelationship] = absent()
    specCharacteristic: list[CharacteristicSpecification] = absent()
    targetEntitySchema: TargetEntitySchema = absent()
    validFor: TimePeriod = absent()


class ServiceSpecificationUpdate(Extensible):
    description: str = absent()
    isBundle: bool = absent()
    lifecycleStatus: str = absent()
    name: str = absent()
    version: str = absent()
    attachment: list[AttachmentRefOrValue] = absent()
    constraint: list[ConstraintRef] = absent()
    entitySpecRelationship: list[EntitySpecificationRelationship] = absent()
    featureSpecification: list[FeatureSpecification] = absent()
    relatedParty: list[RelatedParty] = absent()
    resourceSpecification: list[ResourceSpecificationRef] = absent()
    serviceLevelSpecification: list[ServiceLevelSpecificationRef] = absent()
    serviceSpecRelationship: list[ServiceSpecRelationship] = absent()
    specCharacteristic: list[CharacteristicSpecification] = absent()
    targetEntitySchema: TargetEntitySchema = absent()
    validFor: TimePeriod = absent()
