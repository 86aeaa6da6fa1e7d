"""What can be studied: the capabilities by name, or anything importable as `module:OBJECT`."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from edgewright.core.errors import InputError
from edgewright.core.registry import load
from edgewright.studies.contract import Capability, Cell, Metric, Result, ScenarioSource

CAPABILITIES = {
    "scaling": "edgewright.scaling.evaluation:STUDY",
    "backhaul": "edgewright.backhaul.evaluation:STUDY",
    "migration": "edgewright.migration.evaluation:STUDY",
}


def open_capability(reference: str, folder: Path) -> Capability:
    """The capability of that name, or the user's own `module:OBJECT`, looked for in `folder` (the study's) first.

    A bare function (scenario mapping, method, parameters, seed) -> {metric: number} is one, too; the study then
    says what its metrics are. Raises InputError where nothing is found or the object does not fit.
    """
    if reference not in CAPABILITIES and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        found = load(CAPABILITIES.get(reference, reference))
    except (ImportError, AttributeError, ValueError) as error:
        allowed = f"one of {sorted(CAPABILITIES)}, or an importable module:OBJECT ({error})"
        raise InputError("capability", reference, allowed) from error
    missing = [name for name in ("version", "metrics", "prepare", "run", "figures") if not hasattr(found, name)]
    if not missing:
        capability: Capability = found
        return capability
    if callable(found) and not isinstance(found, type) and "run" in missing:
        return _Function(found)
    raise InputError("capability", reference, f"an object with version, metrics, prepare, run, figures; no {missing}")


class _Function:
    """A user's function seen as a capability. Its version is its module's source."""

    metrics: tuple[Metric, ...] = ()

    def __init__(self, function: Callable[..., Mapping[str, float]]) -> None:
        self._function = function
        source = import_module(function.__module__).__file__
        self.version = hashlib.sha256(Path(source).read_bytes()).hexdigest()[:16] if source else "0"

    def prepare(self, source: ScenarioSource) -> Mapping[str, Any]:
        return source.data

    def run(self, scenario: Any, method: str, parameters: Mapping[str, Any], seed: int) -> Result:
        return Result(self._function(scenario, method, parameters, seed))

    def figures(self, cells: Sequence[Cell], folder: Path) -> list[Path]:
        return []
