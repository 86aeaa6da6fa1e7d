"""Replicas of a service behind one address: the balancer's file, how to start it, and how to talk to one that runs.

The orchestrator decides which backends there are and says so twice: in the balancer's file, which is read at its start,
and to the process that runs. Removing is gentle: a backend that is no longer wanted gets no new request, and is listed
as `draining` until those it has have ended; once it is listed no more, its process may stop.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from edgewright.core.documents import Document, Name, Part, read, unique, validate
from edgewright.core.errors import InputError
from edgewright.core.files import replacing
from edgewright.drivers.host import HostError, ServiceSpec

PROGRAM = "edgewright.drivers.balancer"
TOKEN_VARIABLE = "EDGEWRIGHT_BALANCER_TOKEN"  # noqa: S105  (a name, not a secret)
BACKENDS_PATH = "/-/backends"
POLL_S = 0.05
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy knows nothing of this host
Port = Annotated[int, Field(ge=1, le=65535)]
State = Literal["starting", "up", "ejected", "draining"]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Backend(Part):
    name: Name
    url: Annotated[str, Field(pattern=r"^http://([0-9.]+|\[[0-9a-f:]+\]):[1-9][0-9]{0,4}$")]
    """An address and a port: no names are resolved here."""
    namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$")] | None = None
    """The network namespace, as ip-netns(8) names it, that the address is one of."""

    @model_validator(mode="after")
    def _address(self) -> Backend:
        address, port = self.address
        try:
            ipaddress.ip_address(address)
        except ValueError:
            port = 0
        if not 0 < port <= 65535:
            raise InputError("url", self.url, "http://ADDRESS:PORT")
        return self

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host.strip("[]"), int(port)


def _once(backends: tuple[Backend, ...]) -> tuple[Backend, ...]:
    unique((backend.name for backend in backends), "{}.name")
    unique(((backend.namespace, backend.url) for backend in backends), "{}.url", "an url used once")
    return backends


Backends = Annotated[tuple[Backend, ...], Field(max_length=256), AfterValidator(_once)]


class Wanted(Part):
    """The body of PUT /-/backends: all that there shall be."""

    backends: Backends


class BalancerFile(Document):
    format: Literal["edgewright.balancer/1"] = "edgewright.balancer/1"
    service: Name
    """The label of its metrics."""
    control_port: Port
    """Of /metrics, /healthz and /-/backends, on 127.0.0.1."""
    address: str = "127.0.0.1"
    """Where the service is offered."""
    backends: Backends = ()
    health_path: Annotated[str, Field(pattern=r"^/[!-~]*$")] = "/healthz"
    """Answers 2xx or 3xx where a backend is well; asked every second."""
    timeout_s: Seconds = 60.0
    """Without any progress for this long a request is given up."""
    drain_s: Seconds = 30.0
    """What a removed backend still does after this is cut off."""
    extra_buckets_s: tuple[Seconds, ...] = ()
    """Bounds that the response histogram must contain beside its own, such as an SLO's."""


class BackendState(Part):
    name: str
    state: State
    outstanding: int
    requests: int  # given to it
    failures: int  # of connections and of health checks
    reason: str  # of the last failure


class States(Part):
    backends: tuple[BackendState, ...]


def balancer_spec(name: str, file: Path, port: int, token: str) -> ServiceSpec:
    """How to start it. The command stays the same whatever its file says, so that one that runs is adopted."""
    return ServiceSpec(
        name,
        (sys.executable, "-m", PROGRAM, "--config", str(file.resolve()), "--port", str(port)),
        environment={TOKEN_VARIABLE: token},
        health_url=f"{_control(read(BalancerFile, file))}/healthz",
    )


def write_file(file: Path, content: BalancerFile) -> None:
    with replacing(file) as new:
        new.write_text(content.model_dump_json(indent=1), encoding="utf-8")


@dataclass(frozen=True)
class Balancing:
    """Talks to a balancer that runs, and keeps in its file what it shall have."""

    file: Path
    token: str
    timeout_s: float = 5.0

    @property
    def metrics_url(self) -> str:
        """For a PrometheusSource with its default names."""
        return f"{_control(read(BalancerFile, self.file))}/metrics"

    def set_backends(self, backends: Iterable[Backend]) -> None:
        """All that there shall be; added ones start, others drain. Raises InputError, HostError: all is as it was."""
        old = read(BalancerFile, self.file)
        new = validate(
            BalancerFile, old.model_dump() | {"backends": [each.model_dump() for each in backends]}, source="backends"
        )
        write_file(self.file, new)
        try:
            self._ask("PUT", new.model_dump_json(include={"backends"}))
        except BaseException:
            write_file(self.file, old)
            raise

    def backends(self) -> dict[str, BackendState]:
        """By name. One that was removed and is not listed has ended all its requests. Raises HostError."""
        answer = self._ask("GET")
        return {each.name: each for each in validate(States, answer, source=BACKENDS_PATH).backends}

    def await_up(self, names: Collection[str], timeout_s: float) -> None:
        """Raises HostError naming those that are not up by then, and why."""

        def waiting(states: dict[str, BackendState]) -> list[str]:
            found = {name: states.get(name) for name in names}
            return [_reason(name, state) for name, state in found.items() if state is None or state.state != "up"]

        self._await(waiting, timeout_s)

    def await_drained(self, names: Collection[str], timeout_s: float) -> None:
        """Raises HostError naming those that still have requests by then."""

        def waiting(states: dict[str, BackendState]) -> list[str]:
            return [_reason(name, states[name]) for name in names if name in states]

        self._await(waiting, timeout_s)

    def _await(self, waiting: Callable[[dict[str, BackendState]], list[str]], timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while left := waiting(self.backends()):
            if time.monotonic() > deadline_s:
                raise HostError("balancer", f"after {timeout_s:g} s: {'; '.join(left)}")
            time.sleep(POLL_S)

    def _ask(self, method: str, body: str | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310  (http, to this host)
            _control(read(BalancerFile, self.file)) + BACKENDS_PATH,
            None if body is None else body.encode(),
            {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
            method=method,
        )
        try:
            with _DIRECT.open(request, timeout=self.timeout_s) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                reason = error.read().decode(errors="replace")
            raise HostError("balancer", f"{error.code}: {reason}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise HostError("balancer", f"does not answer: {error}") from error


def _reason(name: str, state: BackendState | None) -> str:
    if state is None:
        return f"{name}: not there"
    return f"{name}: {state.state}, {state.outstanding} requests" + (f", {state.reason}" if state.reason else "")


def _control(content: BalancerFile) -> str:
    return f"http://127.0.0.1:{content.control_port}"
