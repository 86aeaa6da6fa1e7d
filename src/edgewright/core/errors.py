"""Errors that say which file, which field, what was given and what is allowed."""

from __future__ import annotations

from typing import Any


class InputError(ValueError):
    """Bad input from a user: a file, a request or an option.

    The command line turns it into exit code 2, the API into a 400.
    """

    def __init__(self, field: str, given: object, allowed: str, *, source: str | None = None) -> None:
        self.source, self.field, self.given, self.allowed = source, field, given, allowed
        where = f"{source}: " if source else ""
        super().__init__(f"{where}{field}: got {_short(given)}, allowed: {allowed}")

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is rebuilt from its message otherwise, which loses the fields on the way between processes.
        return _input_error, (self.field, self.given, self.allowed, self.source)

    def at(self, source: str) -> InputError:
        """The same error, naming the file (or request) it came from."""
        return InputError(self.field, self.given, self.allowed, source=source)


def _input_error(field: str, given: object, allowed: str, source: str | None) -> InputError:
    return InputError(field, given, allowed, source=source)


def _capacity_error(resource: str, wanted: float, left: float, owner: str) -> CapacityError:
    return CapacityError(resource, wanted, left, owner=owner)


def _short(value: object, limit: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


class CapacityError(Exception):
    """A booking that would exceed what the host has left. Nothing was booked."""

    def __init__(self, resource: str, wanted: float, left: float, *, owner: str) -> None:
        self.resource, self.wanted, self.left, self.owner = resource, wanted, left, owner
        super().__init__(f"{owner}: wants {wanted:g} of {resource}, {left:g} left")

    def __reduce__(self) -> tuple[Any, ...]:
        return _capacity_error, (self.resource, self.wanted, self.left, self.owner)
