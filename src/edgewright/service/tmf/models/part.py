"""What the generated models are built of."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

DATE_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt]([01]\d|2[0-3])(:[0-5]\d:)([0-5]\d|60)(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)", re.ASCII
)
ESCAPED = re.compile(r"%(?![0-9A-Fa-f]{2})")
URI = re.compile(  # RFC 3986, appendix B, with the characters of its clause 2
    r"([A-Za-z][A-Za-z0-9+.-]*:|(?=[^:]*$|[^:]*[/?#]))(//([^/?#\[\]]*|([^/?#\[\]@]*@)?\[[0-9A-Fa-fv:.]+\](:\d*)?))?"
    r"[^?#\[\]]*(\?[^#\[\]]*)?(#[^#\[\]]*)?"
)
FOREIGN = re.compile(r"[^A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]")


def _date_time(text: str) -> str:
    found = DATE_TIME.fullmatch(text)
    if found is None:
        raise ValueError("a date-time with its offset (RFC 3339)")
    datetime.fromisoformat(found[1])  # such a day
    return text


def _uri(text: str) -> str:
    if FOREIGN.search(text) or ESCAPED.search(text) or not URI.fullmatch(text):
        raise ValueError("a URI, or a reference relative to one (RFC 3986)")
    return text


DateTime = Annotated[str, AfterValidator(_date_time), WithJsonSchema({"type": "string", "format": "date-time"})]
# Relative too: an `href` of ours is an absolute path, and comes back in references.
Uri = Annotated[str, AfterValidator(_uri), WithJsonSchema({"type": "string", "format": "uri-reference"})]


def _as_specified(schema: dict[str, Any]) -> None:
    """What may be absent has no default, and is never null."""
    for each in schema.get("properties", {}).values():
        each.pop("default", None)
        each.pop("title", None)


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, json_schema_extra=_as_specified)


def absent(*, alias: str | None = None, min_length: int | None = None) -> Any:
    """What need not be there. Nobody reads the models' attributes: they check bodies, and describe them."""
    return Field(default=None, alias=alias, min_length=min_length)


class Extensible(Part):
    """With the attributes that TMF630, part 2, lets any resource have, whether its specification has them or not."""

    baseType: str = absent(alias="@baseType")
    schemaLocation: Uri = absent(alias="@schemaLocation")
    type: str = absent(alias="@type")
