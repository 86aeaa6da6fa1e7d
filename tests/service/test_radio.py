"""Radio chunks, and the RAN controller that a setting names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from edgewright.core.errors import InputError
from edgewright.drivers.host import HostError
from edgewright.drivers.ran import RadioChunk
from edgewright.service.settings import read_settings
from edgewright.service.slices import radio

from .conftest import Client, running, settings

MANAGER = "/api/v1.0"
CELLS = [{"id": id, "arfcn": 630_000, "bandwidth_mhz": 20} for id in ("a", "b")]


class Controller:
    """Keeps what it is told."""

    shares: dict[str, tuple[str, int]] = {}  # id -> infrastructure, PRBs
    refused = ""  # end of the ids that it refuses
    stuck = ""  # end of the ids that it does not remove

    def __init__(self, infrastructure: Mapping[str, Any]) -> None:
        self.name = infrastructure["name"]

    def configure(self, chunk: RadioChunk) -> None:
        if self.refused and chunk.id.endswith(self.refused):
            raise HostError(chunk.id, "the cell is down")
        self.shares[chunk.id] = (self.name, chunk.topology.prbs)

    def remove(self, id: str) -> None:
        if self.stuck and id.endswith(self.stuck):
            raise HostError(id, "the cell does not answer")
        self.shares.pop(id, None)


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(Controller, "shares", {})
    with running(settings(tmp_path, scenario=None, ran_controller=f"{__name__}:Controller")) as client:
        yield client


def posted(client: Client, path: str, **body: Any) -> str:
    answer = client.post(f"{MANAGER}/{path}", json=body)
    assert answer.status_code == 200, answer.text
    id: str = answer.json()["id"]
    return id


def test_a_slice_is_told_to_the_ran_controller_and_taken_back(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = posted(client, "ran_infrastructure", name="north", ran_infrastructure_data={"cells": CELLS})
    parts = [{"cell_id": "a", "prbs": 10}, {"cell_id": "b", "prbs": 20}]
    chunk = posted(client, f"ran_infrastructure/{ran}/radio_chunk", name="c", chunk_topology={"cells": parts})
    slic3 = posted(client, "slic3", name="s", chunk_ids=[chunk])
    assert Controller.shares == {}

    monkeypatch.setattr(Controller, "refused", "/b")
    refused = client.post(f"{MANAGER}/slic3/{slic3}/activate")
    assert (refused.status_code, "the cell is down" in refused.text) == (502, True)
    assert Controller.shares == {}  # all or none
    monkeypatch.setattr(Controller, "refused", "")

    active = client.post(f"{MANAGER}/slic3/{slic3}/activate").json()
    assert active["activation_status"] == "configured"
    assert Controller.shares == {f"{chunk}/a": ("north", 10), f"{chunk}/b": ("north", 20)}
    monkeypatch.setattr(Controller, "stuck", "/a")
    refused = client.post(f"{MANAGER}/slic3/{slic3}/deactivate")
    assert (refused.status_code, "/a: the cell does not answer" in refused.json()["message"]) == (502, True)
    assert Controller.shares == {f"{chunk}/a": ("north", 10)}  # each is tried
    monkeypatch.setattr(Controller, "stuck", "")
    assert client.post(f"{MANAGER}/slic3/{slic3}/deactivate").status_code == 200
    assert Controller.shares == {}


@pytest.mark.parametrize("name", ["no_such_module:x", f"{__name__}:NoSuch"])
def test_a_controller_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(InputError, match="ran_controller"):
        radio.driver(name)


def test_a_name_of_another_form_is_refused() -> None:
    with pytest.raises(InputError, match="ran_controller"):
        read_settings(ran_controller="controller")
