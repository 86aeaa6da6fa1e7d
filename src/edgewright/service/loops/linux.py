"""A slice on this Linux host: processes in control groups, and the load generator that measures them from outside."""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgewright.core.errors import InputError
from edgewright.drivers.host import HostError, ServiceSpec
from edgewright.drivers.linux.services import LinuxHost
from edgewright.drivers.response import ProbeSource, ProbeTarget, PrometheusSource, ResponseSource
from edgewright.scaling.launch import GENERATOR as GENERATOR_MODULE
from edgewright.scaling.launch import free_port, load_document, load_targets, service_spec, with_port
from edgewright.scaling.model import Scenario, Service
from edgewright.service.loops.host_slice import HostSlice, no_load

GENERATOR = "load-generator"


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
                target = {service.name: ProbeTarget(with_port(endpoint.probe_url, chosen[service.name]))}
                sources.append(ProbeSource(target, endpoint.probe_hz, late_s=slo.response_s, timeout_s=slo.timeout_s))
        load = load_document(slo, load_targets(scenario, chosen, folder))
        if not load["targets"]:
            return HostSlice(scenario, host, specs, sources, no_load, chosen)
        token = hmac.new(secret.encode(), instance.encode(), hashlib.sha256).hexdigest()
        chosen[GENERATOR] = ports.get(GENERATOR, 0)
        generator = _generator(state, instance, load, token, chosen[GENERATOR])
        if not (chosen[GENERATOR] and host.adopt(generator)):
            chosen[GENERATOR] = free_port(chosen[GENERATOR])
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
    if (port := ports.get(service.name, 0)) and host.adopt(spec := service_spec(service, port, folder)):
        chosen[service.name] = port
        return spec
    chosen[service.name] = free_port(port)
    return service_spec(service, chosen[service.name], folder)


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
        (sys.executable, "-m", GENERATOR_MODULE, "--config", str(file.resolve()), "--port", str(port)),
        environment={"EDGEWRIGHT_LOAD_TOKEN": token},
        health_url=f"http://127.0.0.1:{port}/healthz",
    )
