"""Compose files (compose-spec.io) as packages: what this host can run of them, and a refusal of what it cannot.

This host runs processes, not images: a service needs a `command`, and `image` may name nothing but `host`.
"""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Any, Literal

from pydantic import Field

from edgewright.core.documents import Part, load_json, load_yaml, validate
from edgewright.core.errors import InputError
from edgewright.service.packages import Package

_UNITS = {"": 1, "b": 1, "k": 2**10, "kb": 2**10, "m": 2**20, "mb": 2**20, "g": 2**30, "gb": 2**30}
_HEALTH = re.compile(r"https?://[^/\s]+(/[^\s'\"]*)?")


class Amounts(Part):
    cpus: str | float | None = None
    memory: str | None = None


class Resources(Part):
    limits: Amounts = Amounts()
    reservations: Amounts = Amounts()


class Deploy(Part):
    replicas: Annotated[int, Field(ge=1)] = 1
    resources: Resources = Resources()


class Healthcheck(Part):
    test: str | tuple[str, ...]


class ComposeService(Part):
    image: Literal["host"] | None = None
    command: str | tuple[str, ...]
    environment: dict[str, str | int | float | bool | None] | tuple[str, ...] = {}
    deploy: Deploy = Deploy()
    healthcheck: Healthcheck | None = None
    labels: dict[str, str] = {}


class ComposeFile(Part):
    name: str | None = None
    version: str | None = None
    """Has had no meaning since Compose 2."""
    services: Annotated[dict[str, ComposeService], Field(min_length=1, max_length=50)]


def packages_of(text: str, *, yaml_syntax: bool = True, source: str = "body") -> list[Package]:
    """One package a service, named after it. Raises InputError naming what cannot be run here."""
    data = load_yaml(text, source=source) if yaml_syntax else load_json(text, source=source)
    if not isinstance(data, dict):
        raise InputError("document", data, "a compose file: a mapping with services", source=source)
    file = validate(ComposeFile, data, source=source)
    return [_package(name, service, f"{source}: services.{name}") for name, service in file.services.items()]


def _package(name: str, service: ComposeService, source: str) -> Package:
    limits, reserved = service.deploy.resources.limits, service.deploy.resources.reservations
    most, most_mb = _cpus(limits, 1.0, source), _megabytes(limits, 512.0, source)
    least, least_mb = min(_cpus(reserved, 0.05, source), most), min(_megabytes(reserved, 64.0, source), most_mb)
    replicas = service.deploy.replicas
    document: dict[str, Any] = {
        "format": "edgewright.package/1",
        "name": name,
        "run": {
            "command": _command(service.command, source),
            "environment": _environment(service.environment),
            "health_path": _health(service.healthcheck),
        },
        "cpu": {"min": least, "max": most, "initial": most},
        "memory": {"min_mb": least_mb, "max_mb": most_mb, "initial_mb": most_mb},
        "replicas": {"min": 1, "max": replicas, "initial": replicas},
    }
    return validate(Package, document, source=source)


def _command(given: str | tuple[str, ...], source: str) -> list[str]:
    try:
        return shlex.split(given) if isinstance(given, str) else list(given)
    except ValueError as error:
        raise InputError("command", given, f"words as a shell reads them ({error})", source=source) from None


def _environment(given: dict[str, Any] | tuple[str, ...]) -> dict[str, str]:
    if isinstance(given, tuple):
        given = dict(line.partition("=")[::2] for line in given)
    return {name: "" if value is None else str(value) for name, value in given.items()}


def _health(check: Healthcheck | None) -> str:
    """The path of the address that the check asks; where it asks none, the root."""
    words = "" if check is None else check.test if isinstance(check.test, str) else " ".join(check.test)
    found = _HEALTH.search(words)
    return (found[1] if found else None) or "/"


def _cpus(amounts: Amounts, default: float, source: str) -> float:
    try:
        return default if amounts.cpus is None else float(amounts.cpus)
    except ValueError:
        raise InputError("deploy.resources.cpus", amounts.cpus, "a number of cores", source=source) from None


def _megabytes(amounts: Amounts, default: float, source: str) -> float:
    if amounts.memory is None:
        return default
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", amounts.memory.lower())
    if found is None or found[2] not in _UNITS:
        raise InputError("deploy.resources.memory", amounts.memory, "bytes, with k, m or g", source=source)
    return float(found[1]) * _UNITS[found[2]] / 1e6
