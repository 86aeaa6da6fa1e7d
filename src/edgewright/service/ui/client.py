"""The page's only door to the orchestrator: its REST API over httpx."""

from __future__ import annotations

from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError

from edgewright.service.ui.backhaul.shapes import BackhaulColumns, BackhaulState, Plan
from edgewright.service.ui.migration.shapes import Decision as MigrationDecision
from edgewright.service.ui.migration.shapes import MigrationColumns, MigrationState
from edgewright.service.ui.shapes import Columns, Decision, Event, LoopState, PolicyInfo, Refusal
from edgewright.service.ui.topology.shapes import TopologyState

PREFIX = "/api/edgewright/v1"
FILE_TIMEOUT_S = 60.0  # of some ten megabytes
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

    async def _read(self, kind: type[T], path: str, **query: Any) -> T:
        answer = await self._send("GET", path, params=query)
        try:
            return TypeAdapter(kind).validate_json(answer.content)
        except ValidationError as error:
            raise ApiGone(f"{path} answered in a form this page does not know: {error.errors()[0]['loc']}") from error

    async def _write(self, key: str, method: str, path: str, body: object = None) -> Told:
        if not (key.isascii() and key.isprintable()):  # no header can carry it
            raise ApiError(401, "this is no API key: it has characters that no key has")
        answer = await self._send(method, path, json=body, headers={"Authorization": f"Bearer {key}"})
        told = answer.json() if answer.content else None
        return told.get("message") if isinstance(told, dict) else None

    async def _send(self, method: str, path: str, **parts: Any) -> httpx.Response:
        try:
            answer = await self._http.request(method, PREFIX + path, **parts)
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
