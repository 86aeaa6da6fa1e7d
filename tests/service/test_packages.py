"""Packages and their artefacts come in as a whole or not at all, and stay while they are wanted."""

from __future__ import annotations

from .conftest import Client
from .ordering import CATALOGUE, OWN


def test_a_compose_file_comes_in_as_a_whole_or_not_at_all(client: Client) -> None:
    def post(**services: str) -> int:
        body = {"services": {name: {"command": command} for name, command in services.items()}}
        return client.post(f"{OWN}/packages/compose", json=body).status_code

    def names() -> list[list[str]]:
        paths = (f"{OWN}/packages", f"{CATALOGUE}/serviceSpecification", f"{CATALOGUE}/serviceCandidate")
        return [sorted(each["name"] for each in client.get(path).json()) for path in paths]

    assert post(b="sleep 1") == 201
    assert post(a="sleep 1", b="sleep 2") == 409
    assert names() == [["b"]] * 3
    assert post(a="sleep 1", b="sleep 1", c="sleep 1") == 201
    assert names() == [["a", "b", "c"]] * 3
    category = client.get(f"{CATALOGUE}/serviceCategory").json()
    assert sorted(each["name"] for each in category[0]["serviceCandidate"]) == ["a", "b", "c"]
