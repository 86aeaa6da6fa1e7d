"""What is well formed and not done, beside `InputError` and `CapacityError`: see `api.errors` for the answers to it."""

from __future__ import annotations


class Conflict(Exception):
    """What there is does not let it be."""


class NotFound(Exception):
    """There is none of that name or id."""

    def __init__(self, kind: str, id: object, field: str | None = None, known: str = "") -> None:
        """`field`: what names it, where that is not the address; `known`: which there are."""
        self.field = field
        named, others = f"{field}: " if field else "", f"; there are {known}" if known else ""
        super().__init__(f"{named}no {kind} {id!r}{others}")


class NotSupported(Exception):
    """This host cannot do it, and why."""
