"""From a scenario to what a host must run: each service's process, and the load generator that measures them."""

from __future__ import annotations

import json
import socket
import sys
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgewright.core.errors import InputError
from edgewright.drivers.host import HostError, ServiceSpec
from edgewright.scaling.model import Scenario, Service, Slo

LOCALIZATION = "edgewright.demo.localization"  # run as processes, never imported
GENERATOR = "edgewright.demo.load"
_given: deque[int] = deque(maxlen=1024)  # ports whose process may not listen yet: the kernel would offer them again


def service_spec(service: Service, port: int, folder: Path) -> ServiceSpec:
    """How to start a service on a loopback port; `python` in the command is the interpreter that runs this."""
    run = service.run
    if run is None:
        raise InputError(f"services.{service.name}.run", None, "how to start the service: `run: {command: [...]}`")
    first, *rest = (with_port(word, port) for word in run.command)
    return ServiceSpec(
        service.name,
        (sys.executable if first in ("python", "python3") else first, *rest),
        environment=run.environment,
        working_directory=folder,
        health_url=f"http://127.0.0.1:{port}{run.health_path}",
        start_timeout_s=run.start_timeout_s,
        start_unthrottled=True,
    )


def load_document(slo: Slo, targets: list[dict[str, Any]], duration_s: int | None = None) -> dict[str, Any]:
    """The generator's file, `edgewright.load/1`."""
    ends = {} if duration_s is None else {"duration_s": duration_s}
    return {
        "format": "edgewright.load/1",
        "timeout_s": slo.timeout_s,
        "extra_buckets_s": [slo.response_s],
        "targets": targets,
        **ends,
    }


def load_targets(scenario: Scenario, ports: Mapping[str, int], folder: Path) -> list[dict[str, Any]]:
    """One target for every service that no probe measures; a trace's path becomes absolute."""
    targets = []
    for service in scenario.services:
        if service.run is None or service.run.endpoint.probe_url is not None:
            continue
        load = service.load.model_dump(mode="json")
        if load["profile"]["kind"] == "trace":
            load["profile"]["file"] = str((folder / load["profile"]["file"]).resolve())
        targets.append(target(service, ports[service.name], load))
    return targets


def target(service: Service, port: int, load: dict[str, Any]) -> dict[str, Any]:
    """One target of the generator. A localization service is asked about the radio world its map is of (`--seed`)."""
    command = service.run.command if service.run is not None else ()
    known = any(LOCALIZATION in word for word in command)
    request: dict[str, Any] = {"kind": "localization"} if known else {"kind": "plain"}
    if known and "--seed" in command[:-1]:
        seed = command[command.index("--seed") + 1]
        try:
            request["seed"] = int(seed)
        except ValueError:
            raise InputError(f"services.{service.name}.run.command", seed, "a whole number after --seed") from None
    return {
        "name": service.name,
        "url": f"http://127.0.0.1:{port}/{'locate' if known else ''}",
        "request": request,
        "load": load,
    }


def write_load(path: Path, document: Mapping[str, Any]) -> Path:
    path.write_text(json.dumps(document, indent=1, sort_keys=True), encoding="utf-8")
    return path


def with_port(word: str, port: int) -> str:
    return word.replace("{port}", str(port))


def free_port(preferred: int = 0) -> int:
    """`preferred` where it is free, else one not given before. Raises HostError where there is none."""
    for port in (preferred, *[0] * 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
        if found == preferred or found not in _given:
            _given.append(found)
            return found
    raise HostError("port", "no free port on 127.0.0.1")
