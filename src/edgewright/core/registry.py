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
