"""Users' orders to a loop: checked, kept in the store, then applied. An order that fails changes nothing."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from sqlalchemy import select, update

from edgewright.core.contracts import FloatArray, Outcome, Policy
from edgewright.core.errors import InputError
from edgewright.drivers.host import Limits
from edgewright.scaling.control import bound_memory
from edgewright.scaling.model import MB, Action, Scenario, Service
from edgewright.scaling.observation import Observation
from edgewright.scaling.policies import make_policy
from edgewright.service.loops.fit import fit_cpu, least_cpu, least_memory_mb
from edgewright.service.loops.loop import Loop, Mode
from edgewright.service.refusals import Conflict
from edgewright.service.store import Store, StoreError
from edgewright.service.store.tables import DecisionRow, LoopRow

P = ParamSpec("P")
R = TypeVar("R")

MAX_LOAD_FACTOR = 20.0


def _in_turn(order: Callable[Concatenate[Loop, P], R]) -> Callable[Concatenate[Loop, P], R]:
    """One order at a time to a loop; its steps go on meanwhile."""

    @functools.wraps(order)
    def taken(loop: Loop, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with loop.ordering:
            return order(loop, *args, **kwargs)

    return taken


def policy_of(name: str, scenario: Scenario) -> tuple[str, Policy[Observation, Action]]:
    """See `named_policy`."""
    return named_policy(name, lambda name: make_policy(name, scenario))


def named_policy(name: str, make: Callable[[str], R]) -> tuple[str, R]:
    """-> the name that finds it again after a start from another folder, the policy.

    Raises InputError where there is none of that name, or the name can be no path.
    """
    try:
        if name.endswith(".npz"):
            name = str(Path(name).resolve())
        return name, make(name)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError("policy", name, f"the name of a policy or the path of an .npz file ({error})") from None


@_in_turn
def change(loop: Loop, *, mode: Mode | None = None, policy: str | None = None) -> None:
    """Switch mode and policy, both or neither. Raises InputError where the policy does not fit: the old one goes on."""
    fresh = None
    if policy is not None:
        policy, fresh = policy_of(policy, loop.scenario)
    values: dict[str, Any] = {"mode": mode or loop.orders.mode, "policy": policy or loop.orders.policy}
    _keep(loop, **values)
    with loop.lock:
        old = loop.orders
        before = (old.mode, old.policy)
        old.mode, old.policy = values["mode"], values["policy"]
        if fresh is not None and before[1] != old.policy:
            loop.controller.policy, loop.controller.memory = fresh, None
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
    if (least := least_cpu(loop.scenario, pins)) > loop.orders.slice_cpu + 1e-9:
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
        loop.pending.pop(f"{service}.cpu", None)
        loop.event("unpinned", "the policy decides again", service)


@_in_turn
def roll_back(loop: Loop, seq: int) -> tuple[dict[str, Any], Outcome]:
    """Put the limits of an earlier decision in force and pause, so that they stay. -> limits, what was done.

    They are bounded by the ranges and the chunk of today.
    """
    with loop.recorder.store.read() as session:
        wanted = select(DecisionRow.body).where(DecisionRow.loop == loop.name, DecisionRow.seq == seq)
        body = session.scalar(wanted)
    if body is None:
        raise InputError("seq", seq, f"a recorded decision (the last is {loop.seq})")
    then: dict[str, Any] = body["limits"]
    names = loop.scenario.names
    if set(then) != set(names):
        raise InputError("seq", seq, "a decision about the services of today")
    memory = [then[name]["memory_bytes"] for name in names]
    _keep(loop, mode="paused")
    with loop.lock:
        loop.orders.mode = "paused"
        today = loop.controller.scenario
        cpu = fit_cpu(today, np.array([then[name]["cpu"] for name in names]), {})
        memory_bytes = None if None in memory else bound_memory(today, np.array(memory, dtype=np.float64))
        outcome = loop.enforce(cpu, memory_bytes, f"rolled back to decision {seq}")
        limits = {
            name: {"cpu": float(cpu[i]), "memory_bytes": None if memory_bytes is None else int(memory_bytes[i])}
            for i, name in enumerate(names)
        }
        return limits, outcome


def check_capacity(loop: Loop, cpu: float | None, memory_mb: float | None) -> None:
    """Raises Conflict where the services' minimums (and pins) need more."""
    least, least_mb = least_cpu(loop.scenario, loop.orders.pins), least_memory_mb(loop.scenario)
    if cpu is not None and cpu < least - 1e-9:
        raise Conflict(f"cpus: {cpu:g} is less than the {least:g} that the services' minimums and pins need")
    if memory_mb is not None and memory_mb < least_mb:
        raise Conflict(f"ram: {memory_mb:g} MB is less than the {least_mb:g} MB that the services' minimums need")


@_in_turn
def set_capacity(loop: Loop, cpu: float | None, memory_mb: float | None) -> None:
    """What the loop's chunk now has: checked and kept already. Limits above it shrink at once, in every mode."""
    with loop.lock:
        orders = loop.orders
        orders.slice_cpu = orders.slice_cpu if cpu is None else cpu
        orders.slice_memory_mb = orders.slice_memory_mb if memory_mb is None else memory_mb
        resized = loop.scenario.slice.model_copy(update={"cpu": orders.slice_cpu, "memory_mb": orders.slice_memory_mb})
        loop.controller.scenario = loop.scenario.model_copy(update={"slice": resized})
        limits = [loop.limits[name] for name in loop.scenario.names]
        over_cpu = sum(limit.cpu for limit in limits) > orders.slice_cpu + 1e-9
        over_memory = sum(limit.memory_bytes or 0 for limit in limits) > orders.slice_memory_mb * MB
        if over_cpu or over_memory or loop.pending:  # what is pending was fitted to the chunk of before
            less = _fit_memory(loop) if over_memory or loop.pending else None
            note = f"the chunk now has {orders.slice_cpu:g} CPU, {orders.slice_memory_mb:g} MB"
            loop.enforce(_fit(loop), less, note)


@_in_turn
def set_load(loop: Loop, factors: Mapping[str, float]) -> dict[str, float]:
    """Multiply the load offered to services -> all factors. Raises InputError, HostError."""
    for name, factor in factors.items():
        service_index(loop, name)
        if name not in loop.slice.loaded:
            raise InputError("service", name, f"one that the load generator loads: {sorted(loop.slice.loaded)}")
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
    cpu, memory = _fit(loop), _fit_memory(loop)
    loop.limits = {name: Limits(float(cpu[i]), int(memory[i])) for i, name in enumerate(loop.scenario.names)}


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


def _fit(loop: Loop) -> FloatArray:
    """CPU limits in force, or ordered, made to fit the slice and the pins of today."""
    cpu = [loop.pending.get(f"{name}.cpu", loop.limits[name].cpu) for name in loop.scenario.names]
    return fit_cpu(loop.controller.scenario, np.array(cpu), loop.orders.pins)


def _fit_memory(loop: Loop) -> FloatArray:
    """The same of memory; a limit that was lifted counts as the service's most."""

    def limit(service: Service) -> float:
        in_force = loop.limits[service.name].memory_bytes
        most = service.memory.max_mb * MB
        return loop.pending.get(f"{service.name}.memory_bytes", most if in_force is None else in_force)

    return bound_memory(loop.controller.scenario, np.array([limit(s) for s in loop.scenario.services]))
