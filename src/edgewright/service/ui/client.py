"""The page's only door to the orchestrator: its REST API over httpx."""

from __future__ import annotations

from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError

from edgewright.service import CHANGE_TIMEOUT_S
from edgewright.service.ui.backhaul.shapes import BackhaulColumns, BackhaulState, Plan
from edgewright.service.ui.migration.shapes import Decision as MigrationDecision
from edgewright.service.ui.migration.shapes import MigrationColumns, MigrationState
from edgewright.service.ui.orders import shapes as order_shapes
from edgewright.service.ui.shapes import Columns, Decision, Event, LoopState, PolicyInfo, Refusal
from edgewright.service.ui.topology.shapes import TopologyState

PREFIX = "/api/edgewright/v1"
MANAGER = "/api/v1.0"
CATALOGUE, ORDERING = "/tmf-api/serviceCatalogManagement/v4", "/tmf-api/serviceOrdering/v4"
INVENTORY = "/tmf-api/serviceInventory/v4"
FILE_TIMEOUT_S = 60.0  # of some ten megabytes
SHOWN = 200  # of resources that a page lists
PATIENCE_S = CHANGE_TIMEOUT_S + 5.0  # the API itself says that a change took too long
T = TypeVar("T")
Told = str | None  # what the API says of a change it made, where it says anything


class ApiError(Exception):
    """The API refused; `message` is its own sentence, with field, value and what is allowed where it said so."""

    def __init__(self, status: int, message: str, refusal: Refusal | None = None) -> None:
        self.status, self.message, self.refusal = status, message, refusal
        super().__init__(message)

    @property
    def key_refused(self) -> bool:
        return self.status in (401, 403)


class ApiGone(Exception):
    """No answer, or not the answer of this API."""


class Api:
    """One process's client. `key` is given by each state-changing call: it belongs to a visitor, not to the page."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def knows(self, key: str) -> bool:
        """Whether the API takes that key."""
        try:
            await self._write(key, "GET", "/key")
        except ApiError as error:
            if error.key_refused:
                return False
            raise
        return True

    async def policies(self) -> list[PolicyInfo]:
        return await self._read(list[PolicyInfo], "/policies")

    async def loops(self) -> list[LoopState]:
        return await self._read(list[LoopState], "/loops")

    async def loop(self, loop: str) -> LoopState:
        return await self._read(LoopState, _path(loop))

    async def series(self, loop: str, seconds: float) -> Columns:
        return await self._read(Columns, _path(loop, "series"), seconds=round(seconds))

    async def decisions(self, loop: str, limit: int, *, changed_only: bool) -> list[Decision]:
        return await self._read(list[Decision], _path(loop, "decisions"), limit=limit, changed_only=changed_only)

    async def events(self, loop: str) -> list[Event]:
        return await self._read(list[Event], _path(loop, "events"))

    async def change(self, key: str, loop: str, **fields: str) -> Told:
        """Set `mode` or `policy` of a loop."""
        return await self._write(key, "PATCH", _path(loop), fields)

    async def pin(self, key: str, loop: str, service: str, cpu: float) -> Told:
        return await self._write(key, "PUT", _path(loop, "services", service, "pin"), {"cpu": cpu})

    async def unpin(self, key: str, loop: str, service: str) -> Told:
        return await self._write(key, "DELETE", _path(loop, "services", service, "pin"))

    async def roll_back(self, key: str, loop: str, seq: int) -> Told:
        return await self._write(key, "POST", _path(loop, "rollback"), {"seq": seq})

    async def load(self, key: str, loop: str, service: str, factor: float) -> Told:
        return await self._write(key, "PUT", _path(loop, "load"), {service: factor})

    async def restart(self, key: str, loop: str, service: str) -> Told:
        return await self._write(key, "POST", _path(loop, "services", service, "restart"))

    # Backhaul

    async def backhauls(self) -> list[BackhaulState]:
        return await self._read(list[BackhaulState], "/backhauls")

    async def backhaul(self, loop: str) -> BackhaulState:
        return await self._read(BackhaulState, _backhaul(loop))

    async def backhaul_series(self, loop: str, seconds: float) -> BackhaulColumns:
        return await self._read(BackhaulColumns, _backhaul(loop, "series"), seconds=round(seconds))

    async def backhaul_decisions(self, loop: str, limit: int) -> list[Plan]:
        return await self._read(list[Plan], _backhaul(loop, "decisions"), limit=limit)

    async def backhaul_events(self, loop: str) -> list[Event]:
        return await self._read(list[Event], _backhaul(loop, "events"))

    async def change_backhaul(self, key: str, loop: str, **fields: str) -> Told:
        """Set `mode` or `planner` of a loop."""
        return await self._write(key, "PATCH", _backhaul(loop), fields)

    async def demand(self, key: str, loop: str, **fields: float | None) -> Told:
        """Set the `matrix` or the `factor`."""
        return await self._write(key, "PUT", _backhaul(loop, "demand"), fields)

    async def set_link(self, key: str, loop: str, link: int, up: bool) -> Told:
        return await self._write(key, "POST", _backhaul(loop, "links", str(link), "repair" if up else "break"))

    # Migration

    async def migrations(self) -> list[MigrationState]:
        return await self._read(list[MigrationState], "/migrations")

    async def migration(self, loop: str) -> MigrationState:
        return await self._read(MigrationState, _migration(loop))

    async def migration_series(self, loop: str, seconds: float) -> MigrationColumns:
        return await self._read(MigrationColumns, _migration(loop, "series"), seconds=round(seconds))

    async def migration_decisions(self, loop: str, limit: int) -> list[MigrationDecision]:
        return await self._read(list[MigrationDecision], _migration(loop, "decisions"), limit=limit)

    async def migration_events(self, loop: str) -> list[Event]:
        return await self._read(list[Event], _migration(loop, "events"))

    async def change_migration(self, key: str, loop: str, **fields: str) -> Told:
        """Set `mode` or `policy` of a loop."""
        return await self._write(key, "PATCH", _migration(loop), fields)

    async def drive(self, key: str, loop: str, **fields: float) -> Told:
        """Set the `pace`, or begin the next drive (`again`)."""
        return await self._write(key, "PUT", _migration(loop, "drive"), fields)

    async def migrate(self, key: str, loop: str, target: str) -> Told:
        return await self._write(key, "POST", _migration(loop, "migrate"), {"target": target})

    # Topology

    async def topologies(self) -> list[TopologyState]:
        return await self._read(list[TopologyState], "/topologies")

    async def generate(self, key: str, asked: dict[str, Any]) -> Told:
        return await self._write(key, "POST", "/topologies", asked)

    async def delete_topology(self, key: str, name: str) -> Told:
        return await self._write(key, "DELETE", _topology(name))

    async def topology_file(self, name: str, which: str) -> httpx.Response:
        """Its `map` or its `infrastructure`."""
        return await self._send("GET", _topology(name, which), timeout=FILE_TIMEOUT_S)

    # Orders

    async def hosts(self) -> list[order_shapes.Host]:
        return await self._read(list[order_shapes.Host], f"{MANAGER}/compute")

    async def compute_chunks(self) -> list[order_shapes.ComputeChunk]:
        return await self._read(list[order_shapes.ComputeChunk], f"{MANAGER}/compute_chunk")

    async def network_chunks(self) -> list[order_shapes.NetworkChunk]:
        return await self._read(list[order_shapes.NetworkChunk], f"{MANAGER}/network_chunk")

    async def radio_chunks(self) -> list[order_shapes.RadioChunk]:
        """Of every radio access network."""
        found = []
        for ran in await self._read(list[order_shapes.Reference], f"{MANAGER}/ran_infrastructure"):
            path = f"{MANAGER}/ran_infrastructure/{quote(ran.id, safe='')}/radio_chunk"
            found += await self._read(list[order_shapes.RadioChunk], path)
        return found

    async def slices(self) -> list[order_shapes.Slice]:
        return await self._read(list[order_shapes.Slice], f"{MANAGER}/slic3")

    async def instances(self) -> list[order_shapes.Instance]:
        return await self._read(list[order_shapes.Instance], f"{MANAGER}/network_service_instance")

    async def specifications(self) -> list[order_shapes.Specification]:
        """Of the candidates of the catalogue, in their order."""
        candidates = await self._read(list[order_shapes.Candidate], f"{CATALOGUE}/serviceCandidate", limit=SHOWN)
        found = await self._read(list[order_shapes.Specification], f"{CATALOGUE}/serviceSpecification", limit=SHOWN)
        known = {each.id: each for each in found}
        return [known[each.specification.id] for each in candidates if each.specification.id in known]

    async def orders(self, limit: int) -> list[order_shapes.Order]:
        """Newest first."""
        return await self._read(list[order_shapes.Order], f"{ORDERING}/serviceOrder", sort="-orderDate", limit=limit)

    async def steps(self, order: str) -> list[order_shapes.Step]:
        return await self._read(list[order_shapes.Step], f"/orders/{quote(order, safe='')}/steps")

    async def services(self) -> list[order_shapes.Service]:
        """Those that are not terminated, newest first."""
        wanted = {"state.ne": "terminated", "sort": "-serviceDate", "limit": SHOWN}
        return await self._read(list[order_shapes.Service], f"{INVENTORY}/service", **wanted)

    async def tmf_events(self, limit: int) -> list[order_shapes.TmfEvent]:
        """Newest first."""
        return await self._read(list[order_shapes.TmfEvent], "/tmf-events", limit=limit)

    async def hubs(self) -> list[order_shapes.Hub]:
        return await self._read(list[order_shapes.Hub], "/hubs")

    async def elasticity(self) -> order_shapes.Elasticity:
        return await self._read(order_shapes.Elasticity, "/elasticity")

    async def register(self, key: str) -> Told:
        return await self._write(key, "POST", f"{MANAGER}/compute", {"name": "this host"})

    async def onboard(self, key: str, yaml: str, *, compose: bool) -> Told:
        return await self._write(key, "POST", "/packages/compose" if compose else "/packages", yaml)

    async def order(self, key: str, item: dict[str, Any]) -> str:
        """-> the order's id."""
        answer = await self._ask(key, "POST", f"{ORDERING}/serviceOrder", {"serviceOrderItem": [{"id": "1"} | item]})
        return str(answer.json()["id"])

    async def cancel_order(self, key: str, order: str) -> Told:
        task = (await self._ask(key, "POST", f"{ORDERING}/cancelServiceOrder", {"serviceOrder": {"id": order}})).json()
        if task["state"] == "terminatedWithError":
            raise ApiError(409, task.get("completionMessage") or "this order cannot be cancelled")
        return None

    async def change_service(self, key: str, service: str, values: dict[str, float]) -> Told:
        listed = [{"name": name, "value": value} for name, value in values.items()]
        path, body = f"{INVENTORY}/service/{quote(service, safe='')}", {"serviceCharacteristic": listed}
        return await self._write(key, "PATCH", path, body, timeout=PATIENCE_S)

    async def set_service_state(self, key: str, service: str, state: str) -> Told:
        path = f"{INVENTORY}/service/{quote(service, safe='')}"
        return await self._write(key, "PATCH", path, {"state": state}, timeout=PATIENCE_S)

    async def redeliver(self, key: str, hub: str) -> Told:
        many = (await self._ask(key, "POST", f"/hubs/{quote(hub, safe='')}/redeliver")).json()["events"]
        return f"{many} event{'s are' if many != 1 else ' is'} sent again"

    async def put_elasticity(self, key: str, yaml: str) -> Told:
        return await self._write(key, "PUT", "/elasticity", yaml)

    async def _read(self, kind: type[T], path: str, **query: Any) -> T:
        answer = await self._send("GET", path, params=query)
        try:
            return TypeAdapter(kind).validate_json(answer.content)
        except ValidationError as error:
            raise ApiGone(f"{path} answered in a form this page does not know: {error.errors()[0]['loc']}") from error

    async def _write(self, key: str, method: str, path: str, body: object = None, **parts: Any) -> Told:
        answer = await self._ask(key, method, path, body, **parts)
        told = answer.json() if answer.content else None
        return told.get("message") if isinstance(told, dict) else None

    async def _ask(self, key: str, method: str, path: str, body: object = None, **parts: Any) -> httpx.Response:
        """`body`: what is sent as JSON, or a YAML text."""
        if not (key.isascii() and key.isprintable()):  # no header can carry it
            raise ApiError(401, "this is no API key: it has characters that no key has")
        headers = {"Authorization": f"Bearer {key}"}
        if isinstance(body, str):
            sent: dict[str, Any] = {"content": body, "headers": headers | {"Content-Type": "application/yaml"}}
        else:
            sent = {"json": body, "headers": headers}
        return await self._send(method, path, **sent, **parts)

    async def _send(self, method: str, path: str, **parts: Any) -> httpx.Response:
        """`path`: below our own API's, or that of another API as a whole."""
        whole = path if path.startswith((MANAGER, "/tmf-api/")) else PREFIX + path
        try:
            answer = await self._http.request(method, whole, **parts)
        except httpx.TimeoutException as error:
            raise ApiGone("no answer in time") from error
        except httpx.HTTPError as error:
            raise ApiGone(str(error) or type(error).__name__) from error
        if answer.is_success:
            return answer
        try:
            refusal = Refusal.model_validate_json(answer.content)
        except ValidationError:
            raise ApiError(answer.status_code, f"{answer.status_code} {answer.reason_phrase}") from None
        raise ApiError(answer.status_code, _sentence(refusal), refusal)


def _sentence(refusal: Refusal) -> str:
    """The API's error as one sentence; its own words, nothing left out that they do not already say."""
    parts = [refusal.message]
    if refusal.field and refusal.field not in refusal.message:
        parts.append(f"{refusal.field}: got {refusal.given!r}")
    if refusal.allowed and str(refusal.allowed) not in refusal.message:
        parts.append(f"allowed: {refusal.allowed}")
    return "; ".join(parts)


def _path(*parts: str) -> str:
    return "/loops/" + "/".join(quote(part, safe="") for part in parts)


def _backhaul(*parts: str) -> str:
    return "/backhauls/" + "/".join(quote(part, safe="") for part in parts)


def _migration(*parts: str) -> str:
    return "/migrations/" + "/".join(quote(part, safe="") for part in parts)


def _topology(*parts: str) -> str:
    return "/topologies/" + "/".join(quote(part, safe="") for part in parts)
