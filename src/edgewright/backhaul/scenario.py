"""What a loop is to do with a backhaul network: one file (`format: edgewright.backhaul-loop/1`)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from edgewright.backhaul.model import Network, Problem, WithObjective, read_network
from edgewright.backhaul.simulation import PLANNERS, Planner, budget, few_moves
from edgewright.core.documents import Name, build, load, load_json, load_yaml
from edgewright.core.errors import InputError


class LoopScenario(WithObjective):
    format: Literal["edgewright.backhaul-loop/1"] = "edgewright.backhaul-loop/1"
    name: Name
    network: Network
    """In a file: also the path of one, from where the scenario lies."""
    driver: Literal["auto", "emulated", "simulated"] = "auto"
    """`auto`: namespaces of this host where it permits them, else the twin."""
    interval_s: Annotated[float, Field(ge=0.05, le=60)] = 0.2
    hold_s: Annotated[float, Field(gt=0)] | None = 10.0
    """A traffic matrix holds so long, then the next has its turn; null: the first stays."""
    planner: str = "replan"
    """A name of `PLANNERS`."""
    moves_share: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Of the flows with demand, the most that one plan of `replan` moves (one at least); broken paths do not count."""

    @model_validator(mode="after")
    def _consistent(self) -> LoopScenario:
        check_planner(self.planner)
        if not self.network.matrices:
            raise InputError("network.matrices", 0, "at least one traffic matrix")
        return self

    def planner_of(self, name: str) -> Planner:
        return partial(few_moves, share=self.moves_share) if name == "replan" else PLANNERS[name]

    def most_moves(self, planner: str, problem: Problem) -> int | None:
        """That one plan may make; None: any number."""
        return budget(problem, self.moves_share) if planner == "replan" else None


def check_planner(name: str) -> None:
    if name not in PLANNERS:
        raise InputError("planner", name, f"one of {sorted(PLANNERS)}")


def read_scenario(path: str | Path) -> LoopScenario:
    """With its network, which may be a file of its own. Raises InputError naming the file and the field."""
    return _with_network(load(path), source=str(path), folder=Path(path).parent)


def parse_scenario(text: str, *, source: str, yaml_syntax: bool = False) -> LoopScenario:
    """The network stands in the text itself. Raises InputError."""
    return _with_network((load_yaml if yaml_syntax else load_json)(text, source=source), source=source, folder=None)


def _with_network(data: Any, *, source: str, folder: Path | None) -> LoopScenario:
    if isinstance(data, Mapping) and isinstance(named := data.get("network"), str):
        if folder is None:
            raise InputError("network", named, "the network itself, not a path", source=source)
        data = {**data, "network": read_network(folder / named).model_dump(mode="json")}
    return build(LoopScenario, data, source=source)
