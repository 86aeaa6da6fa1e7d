"""Whether a scenario is like those a policy was trained for; each check raises InputError naming the policy's file."""

from __future__ import annotations

from edgewright.core.errors import InputError
from edgewright.scaling.model import Scenario


def require_interval(scenario: Scenario, source: str) -> None:
    if abs(scenario.control.interval_s - 1.0) > 1e-9:
        raise InputError("control.interval_s", scenario.control.interval_s, "1.0, as trained", source=source)


def require_slo(scenario: Scenario, response_ms: float, source: str) -> None:
    if not 0.5 <= scenario.slo.response_ms / response_ms <= 2.0:
        allowed = f"{response_ms / 2:g} .. {response_ms * 2:g} ms, near what it was trained for"
        raise InputError("slo.response_ms", scenario.slo.response_ms, allowed, source=source)
