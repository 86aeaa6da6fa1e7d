"""What a capability offers to be studied: scenarios it prepares, methods it runs, metrics it returns.

A cell is one (method, scenario, seed). The same seed must mean the same randomness for every method (common random
numbers), because methods are compared seed by seed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from edgewright.core.documents import Document, parse, read
from edgewright.core.errors import InputError

Array = Any  # numpy.ndarray
D = TypeVar("D", bound=Document)


@dataclass(frozen=True)
class Metric:
    name: str
    title: str
    unit: str
    """Shown with the title; empty for a pure number."""
    better: Literal["lower", "higher"]
    format: str = ".3g"
    """Python format of a mean in tables."""


@dataclass(frozen=True)
class Result:
    """What one cell gave. Every metric of the capability must be there; NaN is "not defined in this cell"."""

    metrics: Mapping[str, float]
    series: Mapping[str, Array] | None = None
    """Arrays kept for the capability's own figures, not in the table."""


@dataclass(frozen=True)
class ScenarioSource:
    """A scenario as the study file gives it: a file, or a mapping written inline."""

    name: str
    folder: Path
    """Where relative paths inside the scenario start."""
    path: Path | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    """The plain content, parsed."""
    where: str = ""
    """What errors name."""

    def read(self, kind: type[D]) -> D:
        """Read strictly as a document of that kind. Raises InputError naming file (or study) and field."""
        if self.path is not None:
            return read(kind, self.path)
        try:
            text = json.dumps(self.data, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError("scenario", str(error), "text and finite numbers only", source=self.where) from None
        return parse(kind, text, source=self.where)


@dataclass(frozen=True)
class Cell:
    """A finished cell, as given to `figures`."""

    method: str
    scenario: str
    seed: int
    metrics: Mapping[str, float]
    series: Mapping[str, Array]


class Capability(Protocol):
    """What `CAPABILITIES` (or `module:OBJECT` in a study file) refers to.

    Where it has a `check(scenario, method, parameters)`, that is asked about every method and scenario before anything
    runs, and raises InputError for what `run` would refuse.
    """

    @property
    def version(self) -> str:
        """Part of every cell's key: raise it when the same input gives other numbers."""
        ...

    @property
    def metrics(self) -> tuple[Metric, ...]: ...

    def prepare(self, source: ScenarioSource) -> Any:
        """Read a scenario, once per process. Raises InputError for a bad one."""
        ...

    def run(self, scenario: Any, method: str, parameters: Mapping[str, Any], seed: int) -> Result:
        """Run one cell. Pure: the same arguments give the same result in any process.

        method: the study's `policy`, or the method's name where it has none; a file is an absolute path.
        Raises InputError for an unknown method or parameter.
        """
        ...

    def figures(self, cells: Sequence[Cell], folder: Path) -> list[Path]:
        """Draw what is particular to the capability -> files written; an empty list is fine."""
        ...
