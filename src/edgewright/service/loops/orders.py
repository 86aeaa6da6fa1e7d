"""Users' orders to a loop: checked, kept in the store, then applied. An order that fails changes nothing."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from sqlalchemy import select, update

from edgewright.core.contracts import FloatArray, Outcome
from edgewright.core.errors import InputError
from edgewright.drivers.host import Limits
from edgewright.scaling.actions import bound
from edgewright.scaling.control import Controller
from edgewright.scaling.model import MB
from edgewright.scaling.observation import Observation
from edgewright.scaling.policies import make_policy
from edgewright.service.loops.loop import Loop, Mode
from edgewright.service.store import Store, StoreError
from edgewright.service.store.tables import DecisionRow, LoopRow

P = ParamSpec("P")
R = TypeVar("R")

MODES: tuple[Mode, ...] = ("act", "shadow", "paused")
MAX_LOAD_FACTOR = 20.0


class Conflict(Exception):
    """The order is well formed, and what there is does not let it be."""


def _in_turn(order: Callable[Concatenate[Loop, P], R]) -> Callable[Concatenate[Loop, P], R]:
    """One order at a time to a loop; its steps go on meanwhile."""

    @functools.wraps(order)
    def taken(loop: Loop, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with loop.ordering:
            return order(loop, *args, **kwargs)

    return taken


@_in_turn
def change(loop: Loop, *, mode: Mode | None = None, policy: str | None = None) -> None:
    """Switch mode and policy, both or neither. Raises InputError where the policy does not fit: the old one goes on."""
    fresh = None
    if policy is not None and policy.endswith(".npz"):
        policy = str(Path(policy).resolve())  # found again after a start from another folder
    if policy is not None and policy != loop.orders.policy:
        fresh = make_policy(policy, loop.scenario)
    values: dict[str, Any] = {"mode": mode or loop.orders.mode, "policy": policy or loop.orders.policy}
    _keep(loop, **values)
    with loop.lock:
        old = loop.orders
        before = (old.mode, old.policy)
        old.mode, old.policy = values["mode"], values["policy"]
        if fresh is not None:
            loop.controller = Controller(loop.scenario, fresh, pins=loop.controller.pins)
            loop.event("policy", f"{before[1]} -> {old.policy}")
        if before[0] != old.mode:
            loop.event("mode", f"{before[0]} -> {old.mode}")


@_in_turn
def pin(loop: Loop, service: str, cpu: float) -> None:
    """Fix a service's CPU limit (cores) at once and until unpinned. Raises InputError."""
    index = service_index(loop, service)
    allowed = loop.scenario.services[index].cpu
    if not (math.isfinite(cpu) and allowed.min <= cpu <= allowed.max):
        raise InputError("cpu", cpu, f"{allowed.min:g} .. {allowed.max:g} cores")
    pins = {**loop.orders.pins, service: cpu}
    if (least := _least(loop, pins)) > loop.orders.slice_cpu + 1e-9:
        most = loop.orders.slice_cpu - (least - cpu)
        raise InputError(
            "cpu", cpu, f"at most {most:.3g} cores: the other pins and minimums need the rest of the slice"
        )
    _keep(loop, pins=pins)
    with loop.lock:
        _set_pins(loop, pins)
        loop.enforce(_fit(loop), None, f"{service} pinned at {cpu:g}")


@_in_turn
def unpin(loop: Loop, service: str) -> None:
    """The policy decides again. Raises InputError for an unknown service; one without a pin is fine."""
    service_index(loop, service)
    pins = {name: cpu for name, cpu in loop.orders.pins.items() if name != service}
    _keep(loop, pins=pins)
    with loop.lock:
        _set_pins(loop, pins)
        loop.event("unpinned", "the policy decides again", service)


@_in_turn
def roll_back(loop: Loop, seq: int) -> tuple[dict[str, Any], Outcome]:
    """Put the limits of an earlier decision in force and pause, so that they stay. -> limits, what was done."""
    with loop.recorder.store.read() as session:
        wanted = select(DecisionRow.body).where(DecisionRow.loop == loop.name, DecisionRow.seq == seq)
        body = session.scalar(wanted)
    if body is None:
        raise InputError("seq", seq, f"a recorded decision (the last is {loop.seq})")
    limits: dict[str, Any] = body["limits"]
    if set(limits) != set(loop.scenario.names):
        raise InputError("seq", seq, "a decision about the services of today")
    cpu = np.array([limits[name]["cpu"] for name in loop.scenario.names])
    memory = [limits[name]["memory_bytes"] for name in loop.scenario.names]
    _keep(loop, mode="paused")
    with loop.lock:
        loop.orders.mode = "paused"
        memory_bytes = None if None in memory else np.array(memory, dtype=np.float64)
        outcome = loop.enforce(_fit(loop, cpu, pins=False), memory_bytes, f"rolled back to decision {seq}")
        return limits, outcome


def check_capacity(loop: Loop, cpu: float | None, memory_mb: float | None) -> None:
    """Raises Conflict where the services' minimums (and pins) need more."""
    least, least_mb = _least(loop, loop.orders.pins), sum(s.memory.min_mb for s in loop.scenario.services)
    if cpu is not None and cpu < least - 1e-9:
        raise Conflict(f"cpus: {cpu:g} is less than the {least:g} that the services' minimums and pins need")
    if memory_mb is not None and memory_mb < least_mb:
        raise Conflict(f"ram: {memory_mb:g} MB is less than the {least_mb:g} MB that the services' minimums need")


@_in_turn
def set_capacity(loop: Loop, cpu: float | None, memory_mb: float | None) -> None:
    """What the loop's chunk now has: checked and kept already. Limits above it shrink at once, in every mode."""
    services = loop.scenario.services
    with loop.lock:
        orders = loop.orders
        orders.slice_cpu = orders.slice_cpu if cpu is None else cpu
        orders.slice_memory_mb = orders.slice_memory_mb if memory_mb is None else memory_mb
        resized = loop.scenario.slice.model_copy(update={"cpu": orders.slice_cpu, "memory_mb": orders.slice_memory_mb})
        loop.controller.scenario = loop.scenario.model_copy(update={"slice": resized})
        in_force = np.array([loop.limits[name].cpu for name in loop.scenario.names])
        memory = np.array([loop.limits[name].memory_bytes or 0 for name in loop.scenario.names], dtype=np.float64)
        over = memory.sum() - orders.slice_memory_mb * MB
        if in_force.sum() > orders.slice_cpu + 1e-9 or over > 0:
            low = np.array([s.memory.min_mb * MB for s in services])
            extra = memory - low
            less = None if over <= 0 else low + extra * max(0.0, 1 - over / max(extra.sum(), 1.0))
            loop.enforce(_fit(loop), less, f"the chunk now has {orders.slice_cpu:g} CPU")


@_in_turn
def set_load(loop: Loop, factors: Mapping[str, float]) -> dict[str, float]:
    """Multiply the load offered to services -> all factors. Raises InputError, HostError."""
    for name, factor in factors.items():
        service_index(loop, name)
        if not (math.isfinite(factor) and 0 <= factor <= MAX_LOAD_FACTOR):
            raise InputError(name, factor, f"a factor 0 .. {MAX_LOAD_FACTOR:g}")
    load = {**loop.orders.load, **factors}
    loop.slice.set_load(load)
    try:
        _keep(loop, load=load)
    except StoreError:
        loop.slice.set_load({**dict.fromkeys(load, 1.0), **loop.orders.load})
        raise
    with loop.lock:
        loop.orders.load = load
    return load


def refit(loop: Loop) -> None:
    """Make the limits to start with fit the chunk and the pins of today."""
    cpu = _fit(loop)
    loop.limits = {
        name: Limits(float(cpu[i]), loop.limits[name].memory_bytes) for i, name in enumerate(loop.scenario.names)
    }


def service_index(loop: Loop, service: str) -> int:
    if service not in loop.scenario.names:
        raise InputError("service", service, f"one of {sorted(loop.scenario.names)}")
    return loop.scenario.names.index(service)


def keep_loop(store: Store, name: str, **values: Any) -> None:
    """Change a loop's row. Raises StoreError."""
    with store.write() as session:
        session.execute(update(LoopRow).where(LoopRow.name == name).values(**values))


def _keep(loop: Loop, **values: Any) -> None:
    keep_loop(loop.recorder.store, loop.name, **values)


def _set_pins(loop: Loop, pins: dict[str, float]) -> None:
    loop.orders.pins = pins
    loop.controller.pins = dict(pins)


def _least(loop: Loop, pins: Mapping[str, float]) -> float:
    """Cores without which pins and minimums cannot hold."""
    return sum(pins.get(s.name, s.cpu.min) for s in loop.scenario.services)


def _fit(loop: Loop, cpu: FloatArray | None = None, *, pins: bool = True) -> FloatArray:
    """Limits (those in force, or `cpu`) made to fit the slice of today, pins kept."""

    def column(values: Any) -> FloatArray:
        return np.array(list(values), dtype=np.float64)

    services = loop.scenario.services
    if cpu is None:
        cpu = column(loop.limits[s.name].cpu for s in services)
    held = loop.orders.pins if pins else {}
    low = column(held.get(s.name, s.cpu.min) for s in services)
    high = column(held.get(s.name, s.cpu.max) for s in services)
    nothing = np.zeros(len(services))
    seen = Observation(
        **dict.fromkeys(
            ("usage_cpu", "throttled", "arrived_hz", "backlog", "response_mean_s", "response_p95_s"), nothing
        ),
        **dict.fromkeys(("late", "failed", "priority", "cpu_per_request_s", "cpu_cv", "overhead_s"), nothing),
        limit_cpu=cpu,
        min_cpu=low,
        max_cpu=high,
        slice_cpu=np.float64(loop.orders.slice_cpu),
        slo_response_s=np.float64(loop.scenario.slo.response_s),
        slo_late_allowed=np.float64(1.0),
    )
    return bound(np, cpu, seen)  # type: ignore[no-any-return]
