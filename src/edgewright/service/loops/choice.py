"""Which driver runs the slices here: this host's control groups where it permits them, else the simulated one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from edgewright.core.errors import InputError
from edgewright.drivers.host import Capacity
from edgewright.scaling.model import Scenario
from edgewright.service.loops.slices import DriverChoice, RunningSlice
from edgewright.service.settings import Settings

SIMULATED_CAPACITY = Capacity(cpu=4.0, memory_bytes=8 * 2**30)


def choose(settings: Settings) -> DriverChoice:
    """By doing the smallest real thing: making and removing a control group. Raises InputError where one was asked."""
    if settings.driver == "simulated":
        return DriverChoice("simulated", "asked for by EDGEWRIGHT_DRIVER=simulated", SIMULATED_CAPACITY)
    from edgewright.drivers.linux.cgroups import Unavailable
    from edgewright.drivers.linux.services import LinuxHost

    try:
        with LinuxHost(settings.data_dir / "services", f"probe-{instance(settings, 'probe')}") as host:
            host.reconcile([])  # one that was killed meanwhile left its group
            return DriverChoice("linux", "this host permits control groups", host.capacity)
    except (Unavailable, OSError) as error:
        if settings.driver == "linux":
            raise InputError("driver", "linux", f"a host that permits control groups ({error})") from None
        return DriverChoice("simulated", f"this host permits no control groups: {error}", SIMULATED_CAPACITY)


def choose_for(choice: DriverChoice, scenario: Scenario) -> DriverChoice:
    """A scenario that does not say how to run its services is simulated."""
    missing = [service.name for service in scenario.services if service.run is None]
    if choice.kind == "linux" and missing:
        return DriverChoice("simulated", f"the scenario has no `run` for {', '.join(missing)}", choice.capacity)
    return choice


def make_slice(
    settings: Settings, choice: DriverChoice, scenario: Scenario, folder: Path, ports: Mapping[str, int]
) -> RunningSlice:
    if choice.kind == "simulated":
        from edgewright.service.loops.simulated import simulated_slice

        return simulated_slice(scenario, choice.capacity, folder=folder)
    from edgewright.service.loops.linux import linux_slice

    return linux_slice(
        scenario,
        folder=folder,
        state=settings.data_dir / "services",
        instance=instance(settings, scenario.name),
        ports=ports,
        secret=settings.storage_secret,
    )


def instance(settings: Settings, name: str) -> str:
    """Tells apart the control groups of equally named loops of several orchestrators on one host."""
    whole = f"{settings.data_dir.resolve()}\0{name}"
    return f"{name[:32].rstrip('-')}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def forget(settings: Settings, name: str) -> None:
    """Remove the files of a loop that is no more: its services' state and logs."""
    own = instance(settings, name)
    for pattern in (f"{own}.*", f"{own}-load-*.json"):
        for file in (settings.data_dir / "services").glob(pattern):
            file.unlink(missing_ok=True)
