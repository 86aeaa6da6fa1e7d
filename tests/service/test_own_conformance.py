"""Our own API against its own description in /api/openapi.json: generated calls, good and bad, to a running server.

`EDGEWRIGHT_CONFORMANCE=200` asks each operation that often, and walks through the limits of every field (minutes).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Client, running, settings

MORE = os.environ.get("EDGEWRIGHT_CONFORMANCE")
PHASES = "examples,coverage,fuzzing,stateful" if MORE else "fuzzing"
RULES = {  # bodies whose fields depend on each other, or on what is here, as no schema can say
    "POST /api/edgewright/v1/loops": "min, initial and max in order; names once; policies that are here",
    "POST /api/edgewright/v1/backhauls": "links between nodes that are there; paths to donors",
    "POST /api/edgewright/v1/migrations": "nodes by the road; weights that add up",
    "POST /api/edgewright/v1/topologies": "one of city and region, which must be known",
    "POST /api/edgewright/v1/packages": "min, initial and max in order",
    "POST /api/edgewright/v1/packages/compose": "numbers in texts",
    "PUT /api/edgewright/v1/elasticity": "one of above and below, of replicas and move_cpu",
    "PUT /api/edgewright/v1/artefacts/{sha256}": "the checksum of the bytes",
    "PATCH /api/edgewright/v1/loops/{loop}": "a change of something",
    "PATCH /api/edgewright/v1/backhauls/{name}": "a change of something",
    "PATCH /api/edgewright/v1/migrations/{name}": "a change of something",
    "PUT /api/edgewright/v1/loops/{loop}/load": "names of services",
    "PUT /api/edgewright/v1/loops/{loop}/services/{service}/pin": "the limits of the service",
    "POST /api/edgewright/v1/loops/{loop}/rollback": "a decision that there was",
    "POST /api/edgewright/v1/migrations/{name}/migrate": "a node by the road",
    "PUT /api/edgewright/v1/backhauls/{name}/demand": "a change of something",
    "PUT /api/edgewright/v1/migrations/{name}/drive": "a change of something",
    "POST /api/v1.0/ran_infrastructure": "carriers that 3GPP allows",
    "POST /api/v1.0/ran_infrastructure/{ran_infrastructure_id}/radio_chunk": "cells that are there",
    "POST /api/v1.0/physical_network": "host bits of networks",
    "POST /api/v1.0/compute": "no credentials for this host",
    "POST /api/v1.0/telemetry/{telemetry_id}/target": "one of url and network_service_instance_id",
    "POST /api/v1.0/network_service_instance/{instance_id}/scale": "a change of something",
}
# 501 where this host cannot: NANCY D4.2 names it. No database keeps a NUL in a text.
CONFIGURATION = """
[generation]
allow-x00 = false
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", "501"]
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "404", "409", "501"]
[parameters]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    pytest.importorskip("schemathesis", reason="needs schemathesis (the [dev] extra)")
    with running(settings(tmp_path_factory.mktemp("own"))) as client:
        yield client


def test_every_rule_is_of_an_operation(server: Client) -> None:
    paths = server.get("/api/openapi.json", timeout=120).json()["paths"]
    assert {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods} >= set(RULES)


def made(client: Client) -> dict[str, str]:
    """Parameters of paths, of what is there when the calls begin."""
    found = {"loop": "demo", "service": "a"}

    def make(parameter: str, path: str, body: object) -> None:
        answer = client.post(f"/api/v1.0/{path}", json=body)
        assert answer.status_code == 200, answer.text
        found[parameter] = answer.json()["id"]

    needs = {"cpus": {"required": 0.1}, "ram": {"required": 10}}
    cells = {"cells": [{"id": "c", "arfcn": 630000, "bandwidth_mhz": 20, "scs_khz": 30}]}
    name = uuid.uuid4().hex
    make("user_id", "user", {"name": name, "email": "a@b.example"})
    make("compute_chunk_id", "compute_chunk", {"name": name, "requirements": needs})
    make("physical_network_id", "physical_network", {"name": name, "data_subnetpool": "10.77.0.0/16"})
    network = {"name": name, "physical_network_id": found["physical_network_id"], "tag": 77}
    make("network_chunk_id", "network_chunk", network)
    make("ran_infrastructure_id", "ran_infrastructure", {"name": name, "ran_infrastructure_data": cells})
    radio = {"name": name, "chunk_topology": {"cells": [{"cell_id": "c", "prbs": 5}]}}
    make("radio_chunk_id", f"ran_infrastructure/{found['ran_infrastructure_id']}/radio_chunk", radio)
    make("slic3_id", "slic3", {"name": name, "chunk_ids": [found["radio_chunk_id"]]})
    make("telemetry_id", "telemetry", {"name": name})
    return found


def test_as_described(server: Client, tmp_path: Path) -> None:
    without = "".join(
        f'[[operations]]\ninclude-name = "{name}"\nchecks.positive_data_acceptance.enabled = false\n' for name in RULES
    )
    there = "".join(f'"path.{name}" = "{value}"\n' for name, value in made(server).items())
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION + there + without)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run"]
    command += [f"{server.made.address}/api/openapi.json", "--exclude-path-regex", "^/tmf-api/"]
    command += ["--phases", PHASES, "--max-examples", MORE or "2", "--seed", "1", "--no-shrink"]
    command += ["--header", f"Authorization: Bearer {server.made.first_key}", "--suppress-health-check", "all"]
    environment = {**os.environ, "NO_PROXY": "127.0.0.1", "NO_COLOR": "1", "COLUMNS": "200"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)[-9000:] + done.stderr[-2000:]
    assert server.get("/healthz").json()["status"] == "ok"
