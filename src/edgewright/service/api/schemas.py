"""Bodies that the API takes, read strictly."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, RootModel

from edgewright.service.loops.backhaul_orders import MAX_FACTOR
from edgewright.service.loops.loop import Mode
from edgewright.service.loops.orders import MAX_LOAD_FACTOR


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 2.0 is a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)


class LoopChange(Body):
    mode: Mode | None = None
    """`act`; `shadow`: decide and record, change nothing; `paused`: only observe."""
    policy: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """A name from /policies, or the path of an exported .npz file on the server."""


class BackhaulChange(Body):
    mode: Mode | None = None
    planner: Annotated[str, Field(min_length=1, max_length=40)] | None = None
    """A name that the loop's `planners` list."""


class Demand(Body):
    matrix: Annotated[int, WHOLE] | None = None
    """Id of the traffic matrix that is offered and stays; null: they take turns again."""
    factor: Annotated[float, Field(ge=0, le=MAX_FACTOR)] = 1.0
    """Multiplies every demand."""


class DriveChange(Body):
    pace: Annotated[float, Field(ge=0.1, le=20)] | None = None
    """How many times as fast as the scenario says."""
    again: bool = False
    """Begin the next drive now."""


class Target(Body):
    target: Annotated[str, Field(min_length=1, max_length=63)]
    """Name of a node."""


class Pin(Body):
    cpu: Annotated[float, Field(gt=0)]
    """Cores."""


class Rollback(Body):
    seq: Annotated[int, Field(ge=1, le=2**62), WHOLE]
    """The decision whose limits come back."""


class LoadFactors(RootModel[dict[str, Annotated[float, Field(ge=0, le=MAX_LOAD_FACTOR)]]]):
    """`{service: factor}`"""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)
