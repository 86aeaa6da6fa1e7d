"""What a host is told to run for a scenario: ports, seeds, and a load file that the generator takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgewright.core.documents import validate
from edgewright.core.errors import InputError
from edgewright.demo.ingress import LoadFile, read_arrivals
from edgewright.scaling import launch
from edgewright.scaling.model import Scenario


def scenario(services: int = 1, seed: str = "0", **slo: float) -> Scenario:
    command = ["python", "-m", "edgewright.demo.localization", "--port", "{port}", "--seed", seed]
    data = {
        "format": "edgewright.scaling/1",
        "name": "x",
        "slice": {"cpu": 500.0, "memory_mb": 1e6},
        "slo": slo,
        "services": [
            {
                "name": f"s{n}",
                "load": {"profile": {"kind": "constant", "rate_hz": 1.0}},
                "run": {"command": command},
            }
            for n in range(services)
        ],
    }
    return validate(Scenario, data, source="test")


def load_document(given: Scenario) -> dict[str, Any]:
    ports = dict.fromkeys(given.names, 9000)
    return launch.load_document(given.slo, launch.load_targets(given, ports, Path("/")))


@pytest.mark.parametrize("given", [scenario(services=256), scenario(timeout_s=3600.0, response_ms=90_000.0)])
def test_generator_takes_what_a_scenario_may_say(given: Scenario) -> None:
    assert len(validate(LoadFile, load_document(given), source="x").targets) == len(given.services)


def test_seed_that_is_no_number_is_named() -> None:
    with pytest.raises(InputError, match=r"services\.s0\.run\.command: got 'abc'"):
        load_document(scenario(seed="abc"))


def test_no_port_is_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may offer one again while nobody listens there yet."""
    offered = iter([5001, 5001, 5001, 5002, 5001])

    class Probe:
        def __enter__(self) -> Probe:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def setsockopt(self, *_: object) -> None:
            pass

        def bind(self, address: tuple[str, int]) -> None:
            pass

        def getsockname(self) -> tuple[str, int]:
            return "127.0.0.1", next(offered)

    monkeypatch.setattr(launch.socket, "socket", Probe)
    assert (launch.free_port(), launch.free_port()) == (5001, 5002)
    assert launch.free_port(5001) == 5001  # whose it was may have it back


@pytest.mark.parametrize("content", [b"t_s,service\n\xe9,a\n", b"t_s,service\n" + b"1" * 200_000])
def test_recorded_arrivals_that_are_no_csv_text(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.csv"):
        read_arrivals(tmp_path / "a.csv")
