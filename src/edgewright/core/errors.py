"""Errors that say which file, which field, what was given and what is allowed."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input from a user: a file, a request or an option.

    The command line turns it into exit code 2, the API into a 400.
    """

    def __init__(self, field: str, given: object, allowed: str, *, source: str | None = None) -> None:
        self.source, self.field, self.given, self.allowed = source, field, given, allowed
        where = f"{source}: " if source else ""
        super().__init__(f"{where}{field}: got {_short(given)}, allowed: {allowed}")

    def at(self, source: str) -> InputError:
        """The same error, naming the file (or request) it came from."""
        return InputError(self.field, self.given, self.allowed, source=source)


def _short(value: object, limit: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


class CapacityError(Exception):
    """A booking that would exceed what the host has left. Nothing was booked."""

    def __init__(self, resource: str, wanted: float, left: float, *, owner: str) -> None:
        self.resource, self.wanted, self.left, self.owner = resource, wanted, left, owner
        super().__init__(f"{owner}: wants {wanted:g} of {resource}, {left:g} left")
