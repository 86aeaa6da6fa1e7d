"""Evaluates the policies every second against what the services' loops see, and acts through the standard APIs."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgewright.core.documents import validate
from edgewright.core.errors import CapacityError, InputError
from edgewright.drivers.host import HostError
from edgewright.scaling.model import MB
from edgewright.scaling.observation import Observation
from edgewright.service.elasticity.rules import Armed, Policies, Policy, step
from edgewright.service.fulfilment import book
from edgewright.service.fulfilment.characteristics import LOOP, ranges, value_of
from edgewright.service.refusals import Conflict, NotFound
from edgewright.service.resources.collection import Collection
from edgewright.service.resources.query import Condition, Query
from edgewright.service.slices.records import Json
from edgewright.service.store import StoreError
from edgewright.service.tmf import inventory, kinds, ordering

if TYPE_CHECKING:
    from edgewright.service.runtime import Runtime

INTERVAL_S = 1.0
KIND, ID = "elasticity", "policies"
NONE = Policies(format="edgewright.policies/1")
REFUSALS = (CapacityError, Conflict, HostError, InputError, NotFound, StoreError)
ACTIVE = Query((Condition("state", "eq", ("active",)),), limit=10_000)


@dataclass
class Elasticity:
    """Of the worker that has the lease."""

    runtime: Runtime
    policies: Policies = NONE
    armed: dict[tuple[str, str], Armed] = field(default_factory=dict)  # by policy and service
    trouble: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def restore(self) -> None:
        """Raises StoreError."""
        with self.runtime.store.read() as session:
            kept = Collection(session, KIND).get(ID)
        self.policies = validate(Policies, kept["document"], source="policies") if kept else NONE
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="elasticity", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def replace(self, policies: Policies) -> None:
        """In force from the next second on. Raises StoreError."""
        body = {"id": ID, "document": policies.model_dump(mode="json")}
        with self.runtime.store.write() as session:
            kept = Collection(session, KIND)
            (kept.put if kept.get(ID) else kept.add)(ID, body)
        self.policies, self.armed = policies, {}
        self.runtime.recorder.event("policies", f"{len(policies.policies)} policies of elasticity are in force")

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            try:
                self.evaluate(time.monotonic())
                self.trouble = []
            except Exception as error:  # nothing may end this thread
                self.trouble = [f"policies of elasticity: {type(error).__name__}: {error}"]

    def evaluate(self, t: float) -> None:
        """Every policy once, for each service in its scope. Raises StoreError."""
        if not self.policies.policies:
            return
        with self.runtime.store.read() as session:
            services = inventory.SERVICE.of(session).find(ACTIVE).bodies
        seen = {service["id"]: self._seen(service) for service in services}
        for policy in self.policies.policies:
            for service in services:
                if _in_scope(policy, service):
                    key, now = (policy.name, service["id"]), seen[service["id"]]
                    value = None if now is None else metric(policy.metric, now)
                    self.armed[key], fires = step(policy, self.armed.get(key, Armed()), t, value)
                    if fires:
                        self._act(policy, service, services, seen)

    def _seen(self, service: Json) -> Observation | None:
        loop = self.runtime.loops.get(value_of(service, LOOP) or "")
        return loop.observation if loop is not None else None

    def _act(self, policy: Policy, service: Json, services: list[Json], seen: dict[str, Observation | None]) -> None:
        why = f"{policy.name}: {policy.metric} {self.armed[policy.name, service['id']].value:.3g}"
        try:
            if policy.action.replicas:
                told = self._replicate(policy.action.replicas, service)
            else:
                told = self._move(policy, service, services, seen)
        except REFUSALS as error:
            self._tell("policy_refused", service, f"{why}: {error}")
        else:
            if told:
                self._tell("policy_fired", service, f"{why}: {told}")

    def _replicate(self, more: int, service: Json) -> str:
        """ "" where there are as many as may be."""
        with self.runtime.store.read() as session:
            least, most, _ = ranges(book.package_of(session, service))["replicas"]
        have = int(value_of(service, "replicas"))
        wanted = int(min(max(have + more, least), most))
        if wanted == have:
            return ""
        book.change_service(self.runtime, service["id"], {"replicas": wanted})
        return f"replicas {have} -> {wanted}"

    def _move(self, policy: Policy, service: Json, services: list[Json], seen: dict[str, Observation | None]) -> str:
        """By an order, whose workflow gives back what it took where the rest cannot be done."""
        move = policy.action.move_cpu
        assert move is not None
        giver = next((each for each in services if move.from_service in (each["id"], each.get("name"))), None)
        if giver is None or giver["id"] == service["id"]:
            raise NotFound("active service", move.from_service, "from_service")
        idle = seen[giver["id"]]
        if idle is None or metric("cpu_utilization", idle) > move.idle_below:
            return ""
        with self.runtime.store.read() as session:
            least = ranges(book.package_of(session, giver))["cpu"][0]
            most = ranges(book.package_of(session, service))["cpu"][1]
        has, gets = float(value_of(giver, "cpu")), float(value_of(service, "cpu"))
        cores = round(min(move.cores, has - least, most - gets), 4)
        if cores <= 0:
            return ""
        items = [_modified(giver, has - cores, "1"), _modified(service, gets + cores, "2")]
        body = {"description": f"policy {policy.name}", "category": "elasticity", "serviceOrderItem": items}
        order = kinds.create(self.runtime, ordering.API, ordering.SERVICE_ORDER, body)
        self.runtime.fulfilment.workflows.wake()
        return f"order {order['id']}: {cores:g} cores from {giver.get('name') or giver['id']}"

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


def _modified(service: Json, cpu: float, item: str) -> Json:
    characteristics = [{"name": "cpu", "value": round(cpu, 4)}]
    return {"id": item, "action": "modify", "service": {"id": service["id"], "serviceCharacteristic": characteristics}}
