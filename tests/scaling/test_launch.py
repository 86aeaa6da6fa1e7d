"""What a scenario becomes on a host."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

import pytest

from edgewright.core.errors import InputError
from edgewright.scaling.launch import load_document, load_targets, service_spec
from edgewright.scaling.model import read_scenario

DEMO = Path(str(files("edgewright") / "demo" / "demo.yaml"))


def test_the_demo_is_asked_about_its_own_radio_worlds(tmp_path: Path) -> None:
    """Requests once came from another world than the services' maps: every position was wrong."""
    demo = read_scenario(DEMO)
    ports = {service.name: 9000 + n for n, service in enumerate(demo.services)}
    targets = load_targets(demo, ports, tmp_path)
    assert [t["request"] for t in targets] == [{"kind": "localization", "seed": n} for n in (1, 2, 3)]
    assert [t["url"] for t in targets] == [f"http://127.0.0.1:{port}/locate" for port in ports.values()]
    assert 0.05 in load_document(demo.slo, targets)["extra_buckets_s"]


def test_the_command_gets_its_port_and_interpreter(tmp_path: Path) -> None:
    service = read_scenario(DEMO).services[0]
    spec = service_spec(service, 9123, tmp_path)
    assert spec.command[0] == sys.executable
    assert "9123" in spec.command
    assert spec.health_url == "http://127.0.0.1:9123/healthz"
    with pytest.raises(InputError, match="run"):
        service_spec(service.model_copy(update={"run": None}), 9123, tmp_path)
