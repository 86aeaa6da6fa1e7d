"""Bodies of the TM Forum APIs, read strictly: of the right type, JSON without doubt, not nested without end."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from edgewright.service.api.reading import StrictRoute

JSON = "application/json"
MERGE = "application/merge-patch+json"  # RFC 7396


class TmfRoute(StrictRoute):
    taken = MappingProxyType({"POST": (JSON,), "PATCH": (JSON, MERGE)})


class Patch:
    """An object that the API describes as `model`, and takes apart itself: in a merge patch null is a value, too."""

    def __init__(self, model: type[BaseModel]) -> None:
        self.model = model

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.dict_schema(core_schema.str_schema())

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> Any:
        return handler(self.model.__pydantic_core_schema__)
