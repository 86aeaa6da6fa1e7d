"""Where a migration loop's service runs: edge nodes of this host with CRIU, or the twin in real time."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from sqlalchemy import make_url

from edgewright.core.errors import InputError
from edgewright.drivers.capabilities import probe_one
from edgewright.drivers.linux.leftovers import is_left
from edgewright.drivers.linux.preflight import available_bytes
from edgewright.migration.scenario import LoopScenario
from edgewright.migration.sites import LiveSite, SimulatedSite, Site
from edgewright.service.settings import Settings


@dataclass(frozen=True)
class SiteChoice:
    """Which, and why."""

    kind: Literal["linux", "simulated"]
    reason: str
    key: str = ""  # by which the next orchestrator finds the service, should this one crash


def site_key(settings: Settings, loop: str) -> str:
    store = str(settings.data_dir.resolve())
    if settings.database_url is not None:  # whatever the password is
        store = make_url(settings.database_url).render_as_string(hide_password=True)
    return sha256(f"{store} {loop}".encode()).hexdigest()[:16]


def choose_site(settings: Settings, scenario: LoopScenario) -> SiteChoice:
    """By doing the smallest real thing. Raises InputError where this host was asked for and cannot."""
    if scenario.driver == "simulated":
        return SiteChoice("simulated", "asked for by the scenario")
    if scenario.driver == "auto" and settings.driver == "simulated":
        return SiteChoice("simulated", "asked for by EDGEWRIGHT_DRIVER=simulated")
    found = probe_one("criu")
    if found.available:
        key, most = site_key(settings, scenario.name), available_bytes() // 3 >> 20
        if most < scenario.memory_mb and not is_left(key):  # the service, its image and its copy
            raise InputError("memory_mb", scenario.memory_mb, f"at most {most}: so much has this host thrice")
        return SiteChoice("linux", "this host migrates processes by CRIU", key)
    if scenario.driver == "linux":
        raise InputError("driver", "linux", f"a host that can migrate processes ({found.reason})")
    return SiteChoice("simulated", f"this host can migrate no process: {found.reason}")


def make_site(choice: SiteChoice, scenario: LoopScenario, node: int, step_s: float) -> Site:
    """`step_s`: between two steps of the loop. Raises CriuMissing, NetworkError, HostError, and nothing is left."""
    if choice.kind == "simulated":
        return SimulatedSite(scenario.scenario, node, step_s=step_s)
    return LiveSite(scenario.scenario, node, memory_mb=scenario.memory_mb, step_s=step_s, key=choice.key)
