"""Methods are listed as `{"name": "package.module:attribute"}`: nothing is imported until it is used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from edgewright.core.errors import InputError


def load(reference: str) -> Any:
    """Import `package.module:attribute`."""
    module, _, attribute = reference.partition(":")
    return getattr(import_module(module), attribute)


def find(registry: Mapping[str, str], name: str, field: str) -> Any:
    """The method of that name; an unknown one is an InputError that lists the names."""
    if name not in registry:
        raise InputError(field, name, f"one of {sorted(registry)}")
    return load(registry[name])


def call(factory: Any, name: str, *given: Any, **parameters: Any) -> Any:
    """`factory(*given, **parameters)`, the method of that name; InputError for a parameter that it does not take or
    allow.
    """
    from pydantic import ConfigDict, ValidationError, validate_call

    from edgewright.core.documents import input_error

    try:
        return validate_call(config=ConfigDict(strict=True, allow_inf_nan=False))(factory)(*given, **parameters)
    except ValidationError as error:
        found = input_error(error, None)
        raise InputError(f"parameters.{found.field}", found.given, f"{found.allowed} ({name})") from None
