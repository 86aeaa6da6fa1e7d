"""A backhaul loop over HTTP: on the twin in real time, unless a test says otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from edgewright.service.settings import Settings

from .conftest import PREFIX, Client, running, settings, until

ROOT = f"{PREFIX}/backhauls"
DEMO = Path(__file__).parents[2] / "src" / "edgewright" / "demo" / "backhaul.yaml"
Json = dict[str, Any]


def scenario(name: str = "backhaul", **more: Any) -> Json:
    """The demo's network on the twin; the first matrix stays."""
    demo: Json = yaml.safe_load(DEMO.read_text())
    return demo | {"name": name, "driver": "simulated", "hold_s": None, "interval_s": 0.05, "moves_share": 1.0} | more


def with_backhaul(folder: Path, content: Json | None = None) -> Settings:
    file = folder / "backhaul.yaml"
    file.write_text(yaml.safe_dump(content or scenario()))
    return settings(folder, backhaul=file)


def get(client: Client, path: str = "", name: str = "backhaul") -> Any:
    answer = client.get(f"{ROOT}/{name}{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def order(client: Client, method: str, path: str, body: object = None, name: str = "backhaul") -> Any:
    answer = client.request(method, f"{ROOT}/{name}{path}", json=body)
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


def paths(client: Client) -> list[int]:
    return [flow["path"]["index"] for flow in get(client)["flows"]]


def events(client: Client, kind: str) -> list[str]:
    return [event["detail"] for event in get(client, "/events") if event["kind"] == kind]


def carries(client: Client, share: float = 0.98) -> bool:
    """Whether every flow has had what the twin expects since the last decision."""
    seen, times = get(client), get(client, "/series?seconds=1")["t"]
    fresh = times and times[-1] > seen["last_decision"]["t"]
    return fresh and all(flow["rate_mbps"] >= share * flow["expected_mbps"] > 0 for flow in seen["flows"])


@contextmanager
def routed(given: Settings, **more: Any) -> Iterator[Client]:
    """An orchestrator whose backhaul loop has made its first decision."""
    with running(given, **more) as client:
        until(lambda: get(client)["last_decision"])
        yield client
