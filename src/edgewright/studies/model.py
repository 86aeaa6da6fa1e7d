"""The study file (`format: edgewright.study/1`): a capability, methods, scenarios, seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, JsonValue, model_validator

from edgewright.core.documents import Document, Part, read, unique
from edgewright.core.errors import InputError

MIN_SEEDS = 10
MAX_SEEDS = 100_000


def _counted(value: Any) -> Any:
    """A count of seeds means 0, 1, ..."""
    if isinstance(value, list | tuple):
        return tuple(value)
    if type(value) is not int or not 0 <= value <= MAX_SEEDS:
        raise ValueError(f"a count up to {MAX_SEEDS}, or a list of whole numbers")
    return tuple(range(value))


def _named(value: Any) -> Any:
    if not isinstance(value, str | dict):
        raise ValueError("a metric's name, or a mapping")
    return {"name": value} if isinstance(value, str) else value


def _scenario(value: Any) -> Any:
    if not isinstance(value, str | dict) or not value:
        raise ValueError("the name of a file, or a mapping written inline")
    return value


Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
LABEL = r"^\w[\w .+-]{0,39}$"
Label = Annotated[str, Field(pattern=LABEL)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Method(Part):
    name: Label
    policy: str | None = None
    """The capability's name of the method, where `name` is a label of your own; or a file, relative to the study."""
    parameters: dict[str, JsonValue] = {}
    """Given to the method. A value under `file`, `folder`, `*_file` or `*_folder` is relative to the study file."""


class ShownMetric(Part):
    """A metric of the table; what is not given comes from the capability."""

    name: str
    title: str | None = None
    unit: str | None = None
    better: Literal["lower", "higher"] | None = None
    format: str | None = None
    """Python format of a number, such as `.1f`."""

    @model_validator(mode="after")
    def _formats(self) -> ShownMetric:
        try:
            format(1.0, self.format or "")
        except ValueError:
            raise InputError("format", self.format, "a Python format of a number, such as .1f") from None
        return self


class TradeOff(Part):
    """Two metrics drawn against each other."""

    x: str
    y: str


class Figures(Part):
    metrics: tuple[str, ...] | None = None
    """Metrics drawn by method; all shown ones where not given."""
    trade_offs: tuple[TradeOff, ...] = ()
    capability: bool = True
    """Also the figures particular to the capability."""


class Study(Document):
    format: Literal["edgewright.study/1"]
    name: Name
    capability: str
    """A name such as `scaling`, or `module:OBJECT`, looked for beside the study file too."""
    methods: Annotated[tuple[Method, ...], Field(min_length=1)]
    scenarios: Annotated[tuple[Annotated[JsonValue, BeforeValidator(_scenario)], ...], Field(min_length=1)]
    """Files relative to the study file, or mappings."""
    seeds: Annotated[tuple[Seed, ...], BeforeValidator(_counted)] = tuple(range(20))
    """A count, or a list."""
    quick: bool = False
    """Allow fewer than 10 seeds: for a look, not for a claim."""
    baseline: str | None = None
    """The method that the others are compared with, seed by seed."""
    average: Literal["interquartile_mean", "mean"] = "interquartile_mean"
    metrics: Annotated[tuple[Annotated[ShownMetric, BeforeValidator(_named)], ...], Field(min_length=1)] | None = None
    """Shown in this order; all of the capability's where not given."""
    figures: Figures = Figures()

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        names = [method.name for method in self.methods]
        unique(names, "methods.name")
        unique(map(str, self.seeds), "seeds")
        unique((metric.name for metric in self.metrics or ()), "metrics.name")
        least = 1 if self.quick else MIN_SEEDS
        if len(self.seeds) < least:
            raise InputError("seeds", len(self.seeds), f"at least {least}" + ("" if self.quick else ", or quick: true"))
        if self.baseline is not None and self.baseline not in names:
            raise InputError("baseline", self.baseline, f"one of {names}")
        return self


def read_study(path: str | Path) -> Study:
    """Read a study file. Raises InputError naming file, field, value and what is allowed."""
    return read(Study, path)
