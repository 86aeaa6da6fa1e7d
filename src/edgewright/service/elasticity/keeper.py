"""Evaluates the policies every second against what the services' loops see; those that fire place orders."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgewright.core.documents import validate
from edgewright.core.errors import CapacityError, InputError
from edgewright.scaling.model import MB
from edgewright.scaling.observation import Observation
from edgewright.service.elasticity import orders
from edgewright.service.elasticity.rules import Armed, MoveCpu, Policies, Policy, step
from edgewright.service.fulfilment.characteristics import LOOP, value_of
from edgewright.service.refusals import NotFound
from edgewright.service.resources.collection import Collection
from edgewright.service.resources.query import Condition, Query
from edgewright.service.slices.records import Json
from edgewright.service.store import StoreError
from edgewright.service.tmf import inventory

if TYPE_CHECKING:
    from edgewright.service.runtime import Runtime

INTERVAL_S, PRUNE_S = 1.0, 30.0
CLOSE_S = 5.0  # a database that does not answer holds up nobody for longer
KIND, ID = "elasticity", "policies"
NONE = Policies(format="edgewright.policies/1")
REFUSALS = (CapacityError, InputError, NotFound, StoreError)
ACTIVE = Query((Condition("state", "eq", ("active",)),), limit=10_000)
States = dict[tuple[str, str], Armed]  # by policy and service


@dataclass(frozen=True)
class _Now:
    """What one evaluation is about."""

    services: list[Json]
    seen: dict[str, Observation | None]  # by service
    changing: set[str]  # services that orders are about to change


@dataclass
class Elasticity:
    """Of the worker that has the lease."""

    runtime: Runtime
    policies: Policies = NONE
    armed: States = field(default_factory=dict)  # replaced as a whole, never changed
    trouble: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)  # policies, and what of them is armed
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def restore(self) -> None:
        """Raises StoreError."""
        with self.runtime.store.read() as session:
            kept = Collection(session, KIND).get(ID)
        self._take(validate(Policies, kept["document"], source="policies") if kept else NONE)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._stop,), name="elasticity", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Within CLOSE_S."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(CLOSE_S)
            self._thread = None

    def replace(self, policies: Policies) -> None:
        """In force from the next second on. Raises StoreError."""
        body = {"id": ID, "document": policies.model_dump(mode="json")}
        with self.runtime.store.write() as session:
            kept = Collection(session, KIND)
            (kept.put if kept.get(ID) else kept.add)(ID, body)
        self._take(policies)
        self.runtime.recorder.event("policies", f"{len(policies.policies)} policies of elasticity are in force")

    def _take(self, policies: Policies) -> None:
        with self._lock:
            self.policies, self.armed = policies, {}

    def _run(self, stop: threading.Event) -> None:
        next_prune = 0.0
        while not stop.wait(INTERVAL_S):
            now = time.monotonic()
            try:
                self.evaluate(now)
                if now >= next_prune:
                    gone = orders.prune(self.runtime, self.runtime.settings.retention_hours * 3600)
                    next_prune = now + (INTERVAL_S if gone == orders.PRUNE_BATCH else PRUNE_S)
                self.trouble = []
            except Exception as error:  # nothing may end this thread
                self.trouble = [f"policies of elasticity: {type(error).__name__}: {error}"]

    def evaluate(self, t: float) -> None:
        """Every policy once, for each active service in its scope. Raises StoreError."""
        with self._lock:
            policies, was = self.policies, self.armed
        if not policies.policies:
            return
        with self.runtime.store.read() as session:
            services = inventory.SERVICE.of(session).find(ACTIVE).bodies
            changing = orders.changing(session)
        now = _Now(services, {service["id"]: self._seen(service) for service in services}, changing)
        armed: States = {}
        for policy in policies.policies:
            for service in services:
                if _in_scope(policy, service):
                    key, seen = (policy.name, service["id"]), now.seen[service["id"]]
                    value = None if seen is None else metric(policy.metric, seen)
                    is_changing = service["id"] in changing
                    armed[key], fires = step(policy, was.get(key, Armed()), t, value, is_changing=is_changing)
                    if fires:
                        self._act(policy, service, f"{policy.name}: {policy.metric} {value:.3g}", now)
        with self._lock:
            if self.policies is policies:  # nobody replaced them meanwhile
                self.armed = armed

    def _seen(self, service: Json) -> Observation | None:
        loop = self.runtime.loops.get(value_of(service, LOOP) or "")
        return loop.observation if loop is not None else None

    def _act(self, policy: Policy, service: Json, why: str, now: _Now) -> None:
        """By an order, whose workflow gives back what it took where the rest cannot be done."""
        try:
            if policy.action.move_cpu is not None:
                changes, told = self._moved(policy.action.move_cpu, service, now)
            else:
                changes, told = self._replicated(policy.action.replicas or 0, service)
            if not changes:
                return
            order = orders.place(self.runtime, policy.name, changes)
        except REFUSALS as error:
            self._tell("policy_refused", service, f"{why}: {error}")
        else:
            now.changing.update(changes)
            self._tell("policy_fired", service, f"{why}: order {order}: {told}")

    def _replicated(self, more: int, service: Json) -> tuple[orders.Changes, str]:
        """Nothing where there are as many as may be."""
        have, wanted = int(value_of(service, "replicas")), orders.replicas(self.runtime, service, more)
        if wanted == have:
            return {}, ""
        return {service["id"]: {"replicas": wanted}}, f"replicas {have} -> {wanted}"

    def _moved(self, move: MoveCpu, service: Json, now: _Now) -> tuple[orders.Changes, str]:
        """Nothing where the giver is busy, or there is too little to move."""
        giver = next((each for each in now.services if move.from_service in (each["id"], each.get("name"))), None)
        if giver is None or giver["id"] == service["id"]:
            raise NotFound("active service", move.from_service, "from_service")
        idle = now.seen[giver["id"]]
        if idle is None or metric("cpu_utilization", idle) > move.idle_below or giver["id"] in now.changing:
            return {}, ""
        cores, changes = orders.moved(self.runtime, giver, service, move.cores)
        return changes, f"{cores:g} cores from {giver.get('name') or giver['id']}"

    def _tell(self, kind: str, service: Json, detail: str) -> None:
        self.runtime.recorder.event(kind, detail, loop=value_of(service, LOOP) or "")


def metric(name: str, seen: Observation) -> float:
    """Of one replica."""
    values: dict[str, Any] = {
        "cpu_utilization": seen.usage_cpu / seen.limit_cpu,
        "rate_hz": seen.arrived_hz,
        "late_share": seen.late,
        "response_p95_ms": seen.response_p95_s * 1e3,
        "response_mean_ms": seen.response_mean_s * 1e3,
        "backlog": seen.backlog,
        "memory_mb": seen.memory_bytes / MB if seen.memory_bytes is not None else [0.0],
    }
    return float(values[name][0])


def _in_scope(policy: Policy, service: Json) -> bool:
    scope = policy.scope
    if scope.specification is not None and service["serviceSpecification"].get("name") != scope.specification:
        return False
    return scope.service in ("*", service["id"], service.get("name"))
