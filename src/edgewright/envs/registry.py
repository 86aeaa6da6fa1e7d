"""Twins by name, and their Gymnasium ids. Loaded by Gymnasium's plugin entry point: nothing heavy is imported here."""

from __future__ import annotations

from typing import Any

from edgewright.core.registry import find

TWINS: dict[str, str] = {
    "Backhaul-v0": "edgewright.backhaul.twin:backhaul_twin",
    "Migration-v0": "edgewright.migration.twin:migration_twin",
    "Scaling-v0": "edgewright.scaling.twin:scaling_twin",
}
"""Name -> a callable that takes the twin's own options and returns it."""


def twin(name: str, **options: Any) -> Any:
    """Make a registered twin. Raises InputError that lists the names."""
    return find(TWINS, name, "twin")(**options)


def register() -> None:
    """Register `edgewright/<name>` with Gymnasium, for `make` and `make_vec`."""
    from gymnasium.envs.registration import register as register_id
    from gymnasium.envs.registration import registry

    for name in TWINS:
        if f"edgewright/{name}" not in registry:
            register_id(
                id=f"edgewright/{name}",
                entry_point="edgewright.envs.gymnasium:make_env",
                vector_entry_point="edgewright.envs.gymnasium:make_vector_env",
                kwargs={"twin": name},
            )
