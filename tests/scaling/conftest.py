"""Scenarios for the tests of scaling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edgewright.core.documents import validate
from edgewright.scaling.model import Scenario


def make_scenario(*loads: float | dict[str, Any], **changes: Any) -> Scenario:
    """Services a, b, ... under constant rates or profiles; `service`: fields of each; the rest: the scenario's."""
    fields = changes.pop("service", {})
    services = []
    for name, load in zip("abcdefgh", loads, strict=False):
        profile = load if isinstance(load, dict) else {"kind": "constant", "rate_hz": float(load)}
        services.append({"name": name, "load": {"profile": profile}, **fields})
    data = {"format": "edgewright.scaling/1", "name": "test", "services": services, **changes}
    return validate(Scenario, data, source="test")


@pytest.fixture
def scenario() -> Callable[..., Scenario]:
    return make_scenario
