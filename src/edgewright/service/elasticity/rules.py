"""What a policy is, and when it fires: pure.

A policy arms when its metric passes the threshold, fires once it has been armed for `for_s` and is still beyond the
threshold, and again every `cooldown_s` while that lasts, but never while an order changes the service. It disarms only
beyond `clear`, so that a metric that wavers around the threshold neither fires at once nor starts anew each time
(hysteresis).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field, model_validator

from edgewright.core.documents import Document, Part, unique
from edgewright.core.errors import InputError

Metric = Literal[
    "cpu_utilization", "rate_hz", "late_share", "response_p95_ms", "response_mean_ms", "backlog", "memory_mb"
]
"""Of one replica, over the loop's last interval. `cpu_utilization`: used over its limit."""
Seconds = Annotated[float, Field(ge=0, le=86_400)]
Named = Annotated[str, Field(min_length=1, max_length=200)]


class Scope(Part):
    service: Named = "*"
    """Name or id of a service of the inventory; `*`: each."""
    specification: Named | None = None
    """Name of its specification."""


class Condition(Part):
    above: float | None = None
    below: float | None = None
    clear: float | None = None
    """Where it disarms; the threshold itself unless given."""
    for_s: Seconds = 5.0

    @model_validator(mode="after")
    def _one(self) -> Condition:
        if (self.above is None) == (self.below is None):
            raise InputError("above", self.above, "either this or below")
        wrong = self.clear is not None and (
            self.clear > self.threshold if self.is_above else self.clear < self.threshold
        )
        if wrong:
            raise InputError("clear", self.clear, f"{'at most' if self.is_above else 'at least'} {self.threshold:g}")
        return self

    @property
    def is_above(self) -> bool:
        return self.above is not None

    @property
    def threshold(self) -> float:
        return self.above if self.above is not None else self.below or 0.0

    def is_beyond(self, value: float) -> bool:
        return value > self.threshold if self.is_above else value < self.threshold

    def is_clear(self, value: float) -> bool:
        bound = self.threshold if self.clear is None else self.clear
        return value <= bound if self.is_above else value >= bound


class MoveCpu(Part):
    """From another slice to the service's: an order of two modifications."""

    cores: Annotated[float, Field(gt=0, le=64)]
    """In sum: what all replicas of the one lose, those of the other get; less where their ranges allow no more."""
    from_service: Named
    """Name or id; it keeps at least what its package says."""
    idle_below: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Nothing is taken from a service whose `cpu_utilization` is above."""


class Action(Part):
    replicas: Annotated[int, Field(ge=-8, le=8)] | None = None
    """So many more, or fewer."""
    move_cpu: MoveCpu | None = None

    @model_validator(mode="after")
    def _one(self) -> Action:
        if (not self.replicas) == (self.move_cpu is None):
            raise InputError("replicas", self.replicas, "either a number other than 0, or move_cpu")
        return self


class Policy(Part):
    name: Named
    metric: Metric
    condition: Condition
    action: Action
    scope: Scope = Scope()
    cooldown_s: Seconds = 15.0
    """After it fired, before it may fire again."""


class Policies(Document):
    format: Literal["edgewright.policies/1"]
    policies: Annotated[tuple[Policy, ...], Field(max_length=100)] = ()

    @model_validator(mode="after")
    def _names(self) -> Policies:
        unique((policy.name for policy in self.policies), "policies.{}.name")
        return self


@dataclass(frozen=True)
class Armed:
    """Of one policy and one service. Times in seconds of one clock."""

    since: float | None = None
    fired: float | None = None
    value: float | None = None


def step(policy: Policy, was: Armed, t: float, value: float | None, *, is_changing: bool = False) -> tuple[Armed, bool]:
    """One value of the metric, None where it cannot be read -> the new state, whether it fires.

    It waits while the service `is_changing`: what was ordered last has yet to show in the metric.
    """
    if value is None:
        return replace(was, since=None, value=None), False
    condition, since = policy.condition, was.since
    if condition.is_beyond(value):
        since = t if since is None else since
    elif condition.is_clear(value):
        since = None
    rested = not is_changing and (was.fired is None or t - was.fired >= policy.cooldown_s)
    fires = since is not None and t - since >= condition.for_s and condition.is_beyond(value) and rested
    return Armed(since, t if fires else was.fired, value), fires
