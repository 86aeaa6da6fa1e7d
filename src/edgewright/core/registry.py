"""Methods are listed as `{"name": "package.module:attribute"}`: nothing is imported until it is used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
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


def make_policy(registry: Mapping[str, str], learned: str, name: str, scenario: Any, /, **parameters: float) -> Any:
    """The policy of that name, made by its factory from the scenario and the parameters; or by `learned` from the
    scenario and a path, where `name` is an exported `.npz` file.

    Raises InputError for an unknown name and a parameter that the factory does not take or allow.
    """
    from pydantic import ConfigDict, ValidationError, validate_call

    from edgewright.core.documents import input_error

    given: tuple[Any, ...] = (scenario,)
    if name in registry:
        factory = load(registry[name])
    elif name.endswith(".npz") and Path(name).exists():
        factory, given = load(learned), (scenario, Path(name))
    else:
        raise InputError("policy", name, f"one of {sorted(registry)}, or the path of an exported .npz file")
    try:
        return validate_call(config=ConfigDict(strict=True, allow_inf_nan=False))(factory)(*given, **parameters)
    except ValidationError as error:
        found = input_error(error, None)
        raise InputError(f"parameters.{found.field}", found.given, f"{found.allowed} ({name})") from None
