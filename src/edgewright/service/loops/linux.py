"""A slice on this Linux host: processes in control groups, and the load generator that measures them from outside."""

from __future__ import annotations

import functools
import hashlib
import hmac
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgewright.core.errors import InputError
from edgewright.drivers.host import HostError, ServiceSpec
from edgewright.drivers.linux.services import LinuxHost
from edgewright.drivers.response import ProbeSource, ProbeTarget, PrometheusSource, ResponseSource
from edgewright.scaling.launch import GENERATOR as GENERATOR_MODULE
from edgewright.scaling.launch import free_port, load_document, load_targets, service_spec, with_port
from edgewright.scaling.model import Scenario
from edgewright.service.loops.host_slice import HostSlice

GENERATOR = "load-generator"


def linux_slice(
    scenario: Scenario, *, folder: Path, state: Path, instance: str, ports: Mapping[str, int], secret: str
) -> HostSlice:
    """Adopts at once what an earlier orchestrator left running. Raises InputError, cgroups.Unavailable."""
    if GENERATOR in scenario.names:
        raise InputError("services.name", GENERATOR, "another name: the load generator has this one")
    host, slo = LinuxHost(state, instance), scenario.slo
    token = hmac.new(secret.encode(), instance.encode(), hashlib.sha256).hexdigest()
    chosen = {name: ports[name] for name in (*scenario.names, GENERATOR) if name in ports}
    known: dict[str, ServiceSpec] = {}
    probes: dict[str, tuple[str, ProbeSource]] = {}
    sources: list[ResponseSource] = []

    def settle(name: str, spec: Callable[[int], ServiceSpec]) -> None:
        """On the port it had, where it still runs there or the port is free; else on another."""
        port = chosen.get(name, 0)
        if name in host.services:
            if spec(port).command == known[name].command:
                return
            host.stop(name)  # a generator that loads ports of before
        if not (port and host.adopt(spec(port))):
            port = free_port(port)
        chosen[name], known[name] = port, spec(port)

    def specs() -> list[ServiceSpec]:
        for service in scenario.services:
            settle(service.name, functools.partial(service_spec, service, folder=folder))
        if targets := load_targets(scenario, chosen, folder):
            load = load_document(slo, targets)
            settle(GENERATOR, functools.partial(_generator, state, instance, load, token))
        for name, (url, source) in probes.items():
            source.targets[name] = ProbeTarget(with_port(url, chosen[name]))
        for ingress in sources:
            if isinstance(ingress, PrometheusSource):
                ingress.url = f"{address()}/metrics"
        return list(known.values())

    def address() -> str:
        return f"http://127.0.0.1:{chosen[GENERATOR]}"

    def offer(factors: Mapping[str, float]) -> None:
        import httpx

        try:
            answer = httpx.put(
                f"{address()}/load",
                json={"targets": {name: {"multiplier": factors[name]} for name in loaded}},
                headers={"Authorization": f"Bearer {token}"},
                timeout=2.0,
                trust_env=False,
            )
        except httpx.HTTPError as error:
            raise HostError(GENERATOR, f"does not answer: {error}") from error
        if answer.status_code != 200:
            raise HostError(GENERATOR, answer.text)

    try:
        first = specs()
        for service in scenario.services:
            endpoint = service.run.endpoint if service.run else None
            if endpoint is not None and (url := endpoint.probe_url) is not None:
                target = {service.name: ProbeTarget(with_port(url, chosen[service.name]))}
                probe = ProbeSource(target, endpoint.probe_hz, late_s=slo.response_s, timeout_s=slo.timeout_s)
                probes[service.name] = url, probe
                sources.append(probe)
        loaded = [target["name"] for target in load_targets(scenario, chosen, folder)]
        if loaded:
            sources.append(PrometheusSource(f"{address()}/metrics", slo.response_s, failed_as_s=slo.timeout_s))
        return HostSlice(scenario, host, first, sources, offer, ports=chosen, loaded=loaded, again=specs)
    except BaseException:
        host.close()
        raise


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
