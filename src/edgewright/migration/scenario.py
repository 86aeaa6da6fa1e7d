"""What a loop is to do for one service and its user: one file (`format: edgewright.migration-loop/1`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from edgewright.core.documents import Document, Name, build, load, load_json, load_yaml
from edgewright.core.errors import InputError
from edgewright.migration.model import SHIPPED, Scenario, TraceLoad, read_scenario

SLOWEST, FASTEST = 0.1, 20.0
Pace = Annotated[float, Field(ge=SLOWEST, le=FASTEST)]


class LoopScenario(Document):
    format: Literal["edgewright.migration-loop/1"] = "edgewright.migration-loop/1"
    name: Name
    scenario: Scenario = Field(default_factory=lambda: read_scenario(SHIPPED / "highway.yaml"))
    """In a file: also the path of one, from where the loop's file lies. Default: the highway of the package."""
    driver: Literal["auto", "linux", "simulated"] = "auto"
    """`auto`: namespaces of this host and CRIU where it permits them, else the twin."""
    policy: str = "prospects"
    """A name of `POLICIES`, or an exported file."""
    pace: Pace = 1.0
    """How many times as fast as the scenario says a drive goes."""
    memory_mb: Annotated[int, Field(ge=1, le=100_000)] = 20
    """That the service has in use."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the drives, one after the other."""

    @model_validator(mode="after")
    def _consistent(self) -> LoopScenario:
        source = self.scenario.load
        if isinstance(source, TraceLoad) and not Path(source.file).is_absolute():
            raise InputError("scenario.load.file", source.file, "an absolute path, outside of a file")
        return self


def read_loop(path: str | Path) -> LoopScenario:
    """With its scenario, which may be a file of its own. Raises InputError naming the file and the field."""
    return _whole(load(path), source=str(path), folder=Path(path).parent)


def parse_loop(text: str, *, source: str, yaml_syntax: bool = False) -> LoopScenario:
    """The scenario stands in the text itself, and names no file. Raises InputError."""
    found = _whole((load_yaml if yaml_syntax else load_json)(text, source=source), source=source, folder=None)
    if isinstance(found.scenario.load, TraceLoad):  # who may start a loop may not therefore read this host's files
        raise InputError("scenario.load.kind", "trace", "drawn or published", source=source)
    return found


def _whole(data: Any, *, source: str, folder: Path | None) -> LoopScenario:
    if isinstance(data, Mapping) and isinstance(named := data.get("scenario"), str):
        if folder is None:
            raise InputError("scenario", named, "the scenario itself, not a path", source=source)
        folder = (folder / named).resolve().parent
        data = {**data, "scenario": read_scenario(folder / Path(named).name).model_dump(mode="json")}
    if folder is not None and isinstance(data, Mapping) and isinstance(data.get("scenario"), Mapping):
        within = data["scenario"]
        if isinstance(trace := within.get("load"), Mapping) and isinstance(file := trace.get("file"), str):
            data = {**data, "scenario": {**within, "load": {**trace, "file": str((folder / file).resolve())}}}
    return build(LoopScenario, data, source=source)
