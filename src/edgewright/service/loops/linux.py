"""A slice on this Linux host: processes in control groups, and the load generator that measures them from outside."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgewright.core.errors import InputError
from edgewright.drivers.host import HostError, ServiceSpec
from edgewright.drivers.linux.services import LinuxHost
from edgewright.drivers.response import ProbeSource, ProbeTarget, PrometheusSource, ResponseSource
from edgewright.scaling.model import Scenario, Service
from edgewright.service.loops.host_slice import HostSlice, no_load

GENERATOR = "load-generator"
LOCALIZATION = "edgewright.demo.localization"  # run as a process, never imported


def linux_slice(
    scenario: Scenario, *, folder: Path, state: Path, instance: str, ports: Mapping[str, int], secret: str
) -> HostSlice:
    """Adopts at once what an earlier orchestrator left running. Raises InputError, cgroups.Unavailable."""
    if GENERATOR in scenario.names:
        raise InputError("services.name", GENERATOR, "another name: the load generator has this one")
    host = LinuxHost(state, instance)
    try:
        chosen: dict[str, int] = {}
        specs = [_adopted_or_free(host, service, ports, folder, chosen) for service in scenario.services]
        sources: list[ResponseSource] = []
        slo = scenario.slo
        for service in scenario.services:
            endpoint = service.run.endpoint if service.run else None
            if endpoint is not None and endpoint.probe_url is not None:
                target = {service.name: ProbeTarget(_with_port(endpoint.probe_url, chosen[service.name]))}
                sources.append(ProbeSource(target, endpoint.probe_hz, late_s=slo.response_s, timeout_s=slo.timeout_s))
        load = _load_file(scenario, chosen, folder)
        if not load["targets"]:
            return HostSlice(scenario, host, specs, sources, no_load, chosen)
        token = hmac.new(secret.encode(), instance.encode(), hashlib.sha256).hexdigest()
        chosen[GENERATOR] = ports.get(GENERATOR, 0)
        generator = _generator(state, instance, load, token, chosen[GENERATOR])
        if not (chosen[GENERATOR] and host.adopt(generator)):
            chosen[GENERATOR] = _free_port(chosen[GENERATOR])
            generator = _generator(state, instance, load, token, chosen[GENERATOR])
        address = f"http://127.0.0.1:{chosen[GENERATOR]}"
        sources.append(PrometheusSource(f"{address}/metrics", slo.response_s, failed_as_s=slo.timeout_s))

        def offer(factors: Mapping[str, float]) -> None:
            import httpx

            targets = {target["name"]: {"multiplier": factors[target["name"]]} for target in load["targets"]}
            try:
                answer = httpx.put(
                    f"{address}/load",
                    json={"targets": targets},
                    headers={"Authorization": f"Bearer {token}"},
                    timeout=2.0,
                    trust_env=False,
                )
            except httpx.HTTPError as error:
                raise HostError(GENERATOR, f"does not answer: {error}") from error
            if answer.status_code != 200:
                raise HostError(GENERATOR, answer.text)

        return HostSlice(scenario, host, [*specs, generator], sources, offer, chosen)
    except BaseException:
        host.close()
        raise


def _adopted_or_free(
    host: LinuxHost, service: Service, ports: Mapping[str, int], folder: Path, chosen: dict[str, int]
) -> ServiceSpec:
    """On the port it had, where it still runs there or the port is free; else on another."""
    if (port := ports.get(service.name, 0)) and host.adopt(spec := _spec(service, port, folder)):
        chosen[service.name] = port
        return spec
    chosen[service.name] = _free_port(port)
    return _spec(service, chosen[service.name], folder)


def _spec(service: Service, port: int, folder: Path) -> ServiceSpec:
    run = service.run
    assert run is not None
    first, *rest = (_with_port(word, port) for word in run.command)
    program = sys.executable if first in ("python", "python3") else first
    return ServiceSpec(
        service.name,
        (program, *rest),
        environment=run.environment,
        working_directory=folder,
        health_url=f"http://127.0.0.1:{port}{run.health_path}",
        start_timeout_s=run.start_timeout_s,
        start_unthrottled=True,
    )


def _load_file(scenario: Scenario, ports: Mapping[str, int], folder: Path) -> dict[str, Any]:
    """`edgewright.load/1` for every service that no probe measures."""
    targets = []
    for service in scenario.services:
        run = service.run
        assert run is not None
        if run.endpoint.probe_url is not None:
            continue
        known = any(LOCALIZATION in word for word in run.command)
        load = service.load.model_dump(mode="json")
        if load["profile"]["kind"] == "trace":
            load["profile"]["file"] = str((folder / load["profile"]["file"]).resolve())
        targets.append(
            {
                "name": service.name,
                "url": f"http://127.0.0.1:{ports[service.name]}/{'locate' if known else ''}",
                "request": {"kind": "localization"} if known else {"kind": "plain"},
                "load": load,
            }
        )
    slo = scenario.slo
    head = {"format": "edgewright.load/1", "timeout_s": slo.timeout_s, "extra_buckets_s": [slo.response_s]}
    return {**head, "targets": targets}


def _generator(state: Path, instance: str, load: dict[str, Any], token: str, port: int) -> ServiceSpec:
    """Its file is named by its content: with another load to offer, an old process is not taken for this one."""
    text = json.dumps(load, indent=1, sort_keys=True)
    file = state / f"{instance}-load-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    if not file.exists():
        for old in state.glob(f"{instance}-load-*.json"):
            old.unlink()
        file.write_text(text)
    return ServiceSpec(
        GENERATOR,
        (sys.executable, "-m", "edgewright.demo.load", "--config", str(file.resolve()), "--port", str(port)),
        environment={"EDGEWRIGHT_LOAD_TOKEN": token},
        health_url=f"http://127.0.0.1:{port}/healthz",
    )


def _with_port(word: str, port: int) -> str:
    return word.replace("{port}", str(port))


def _free_port(preferred: int) -> int:
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise HostError(GENERATOR, "no free port on 127.0.0.1")
