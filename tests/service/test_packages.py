"""Packages and their artefacts come in as a whole or not at all, and stay while they are wanted."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgewright.core.documents import validate
from edgewright.service.packages import UNNAMED_S, Artefacts, Package

from .conftest import Client, running, settings
from .ordering import CATALOGUE, OWN, package

BYTES = b"map" * 500_000  # in more than one part
SHA = hashlib.sha256(BYTES).hexdigest()


def put(client: Client, content: bytes = BYTES, sha256: str = SHA) -> int:
    return client.put(f"{OWN}/artefacts/{sha256}", content=content).status_code


def files(client: Client) -> list[str]:
    return sorted(file.name for file in (client.made.settings.data_dir / "artefacts").iterdir())


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


def test_an_artefact_is_what_its_checksum_says_or_is_not_kept(shared: Client) -> None:
    assert put(shared, BYTES + b"!") == 400
    assert files(shared) == []
    assert put(shared) == 204
    assert files(shared) == [SHA]
    named = package(artefacts=[{"name": "map", "sha256": SHA}])
    assert shared.post(f"{OWN}/packages", json=named).json()["missing"] == []


def test_a_deletion_takes_what_nobody_waits_for(client: Client) -> None:
    put(client)
    folder = client.made.settings.data_dir / "artefacts"
    kept = "e" * 64
    for name in (kept, "f" * 64, ".writing-now"):
        (folder / name).write_bytes(b"")
        os.utime(folder / name, (0, time.time() - UNNAMED_S - 1))
    for name, artefacts in (("a", []), ("b", [{"name": "e", "sha256": kept}])):
        assert client.post(f"{OWN}/packages", json=package(name, artefacts=artefacts)).status_code == 201
    assert client.delete(f"{OWN}/packages/a:1.0").status_code == 204
    assert files(client) == sorted([SHA, kept, ".writing-now"])


def test_what_a_crash_cut_short_is_gone_after_a_start(tmp_path: Path) -> None:
    given = settings(tmp_path)
    (folder := given.data_dir / "artefacts").mkdir(parents=True)
    for name in (SHA, ".writing-x"):
        (folder / name).touch()
    with running(given) as client:
        assert files(client) == [SHA]


@contextmanager
def held_fsync(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Set once a file waits for the disk, where it waits until the end."""
    waits, go_on = threading.Event(), threading.Event()

    def fsync(_: int) -> None:
        waits.set()
        assert go_on.wait(30)

    monkeypatch.setattr("edgewright.core.files.os.fsync", fsync)
    yield waits
    go_on.set()


def test_the_api_answers_while_an_artefact_is_written(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadPoolExecutor(1) as pool:
        with held_fsync(monkeypatch) as waits:
            sent = pool.submit(put, client)
            assert waits.wait(10)
            assert client.get(f"{OWN}/packages", timeout=5).status_code == 200
        assert sent.result(30) == 204


def test_a_full_disk_is_told_and_nothing_stays(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("edgewright.core.files.os.fsync", fsync)
    answer = client.put(f"{OWN}/artefacts/{SHA}", content=BYTES)
    assert (answer.status_code, "no room on the disk" in answer.json()["message"]) == (507, True)
    assert files(client) == []


def test_artefacts_are_laid_out_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artefacts, work = Artefacts(tmp_path / "artefacts"), tmp_path / "work"
    work.mkdir()
    with artefacts.receiving(SHA) as take:
        take(BYTES)
    described = package(artefacts=[{"name": "run", "sha256": SHA, "executable": True}])
    given = validate(Package, described, source="here")

    def copyfile(_: Path, to: Path) -> None:
        to.write_bytes(BYTES[:9])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr("edgewright.service.packages.shutil.copyfile", copyfile)
        with pytest.raises(OSError, match="No space"):
            artefacts.lay_out(given, work)
    assert list(work.iterdir()) == []
    artefacts.lay_out(given, work)
    assert (work / "run").read_bytes() == BYTES
    assert os.access(work / "run", os.X_OK)
