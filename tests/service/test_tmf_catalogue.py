"""The catalogue over TMF633: times and defaults; export and import as one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgewright.service.tmf import catalogue
from edgewright.service.tmf.jobs import FORMAT

from .conftest import Client
from .tmf import events, made

Json = dict[str, Any]
BASE = catalogue.API.base


def run(client: Client, job: str, **body: str) -> Json:
    answer = client.post(f"{BASE}/{job}", json={"url": "file:all.json"} | body)
    assert answer.status_code == 201, answer.text
    done: Json = answer.json()
    assert client.get(done["href"]).json() == done
    assert done["status"] in ("Succeeded", "Failed")
    assert done["creationDate"] <= done["completionDate"]
    return done


def folder(client: Client) -> Path:
    return client.made.settings.data_dir / "catalogues"


def fill(client: Client) -> dict[str, Json]:
    return {kind.name: made(client, catalogue.API, kind) for kind in catalogue.CATALOGUED}


def test_what_the_server_adds(client: Client) -> None:
    body = made(client, catalogue.API, catalogue.SERVICE_CATEGORY, parentId="p", lastUpdate="2001-01-01T00:00:00Z")
    assert (body["isRoot"], body["version"], body["@type"]) == (False, "1.0", "ServiceCategory")
    assert body["lastUpdate"] > "2026"
    patched = client.patch(body["href"], json={"version": "2.0"}).json()
    assert patched["lastUpdate"] > body["lastUpdate"]
    assert client.patch(body["href"], json={"version": "2.0"}).json() == patched
    assert len(events(client, body["id"])) == 2


def test_exported_and_imported_again(client: Client) -> None:
    there = fill(client)
    assert run(client, "exportJob")["status"] == "Succeeded"
    content = json.loads((folder(client) / "all.json").read_text())
    assert content == {"format": FORMAT} | {name: [body] for name, body in there.items()}
    for body in there.values():
        assert client.delete(body["href"]).status_code == 204
    assert run(client, "importJob", url="file:///all.json")["status"] == "Succeeded"
    for body in there.values():
        found = client.get(body["href"]).json()
        assert found | {"lastUpdate": ""} == body | {"lastUpdate": ""}
    assert run(client, "importJob")["status"] == "Succeeded"  # over what is there
    assert client.get(f"{BASE}/serviceCatalog?limit=0").headers["X-Total-Count"] == "1"
    told = [type_ for type_, _ in events(client, there["serviceCatalog"]["id"])]
    assert told[:4] == [f"ServiceCatalog{which}Event" for which in ("Create", "Delete", "Create", "Batch")]


def test_a_part_of_it(client: Client) -> None:
    there = fill(client)
    made(client, catalogue.API, catalogue.SERVICE_SPECIFICATION, name="other")
    run(client, "exportJob", path=f"{BASE}/serviceSpecification", query="name=s", url="file:part.json")
    content = json.loads((folder(client) / "part.json").read_text())
    assert content == {"format": FORMAT, "serviceSpecification": [there["serviceSpecification"]]}


@pytest.mark.parametrize("job", ["importJob", "exportJob"])
@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "file:///etc/passwd"},
        {"url": "file:../edgewright.sqlite"},
        {"url": "file:..%2Fx.json"},
        {"url": "file:%2e%2e/x.json"},
        {"url": "file://host/x.json"},
        {"url": "http://127.0.0.1:1/x.json"},
        {"url": "file:.json"},
        {"url": "file:a/b.json"},
        {"url": "file:x.sqlite"},
        {"contentType": "text/csv"},
        {"path": "/tmf-api/serviceInventory/v4/service"},
    ],
)
def test_jobs_that_fail(shared: Client, job: str, wrong: dict[str, str]) -> None:
    before = sorted(shared.made.settings.data_dir.rglob("*.json"))
    done = run(shared, job, **wrong)
    assert (done["status"], *wrong) == ("Failed", done["errorLog"].partition(":")[0])
    assert sorted(shared.made.settings.data_dir.rglob("*.json")) == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "syntax"),
        ("[]", "format"),
        ('{"format": "other/1"}', "format"),
        ('{"format": "F", "format": "F"}', "key"),
        ('{"format": "F", "wind": []}', "wind"),
        ('{"format": "F", "serviceCatalog": {}}', "serviceCatalog"),
        ('{"format": "F", "serviceCatalog": [{"id": "a"}]}', "name"),
        ('{"format": "F", "serviceCatalog": [{"name": "a"}]}', "id"),
        ('{"format": "F", "serviceCatalog": [{"name": "a", "id": "a/b"}]}', "id"),
        ('{"format": "F", "serviceCatalog": [{"name": "a", "id": "a"}, {"name": "a", "id": "a"}]}', "id"),
        ('{"format": "F", "serviceCatalog": [{"name": "a", "id": "a"}, 7]}', "serviceCatalog.1"),
        ('{"format": "F", "serviceCatalog": [{"name": "a", "id": "a", "wind": 1}]}', "wind"),
        ('{"format": "F", "serviceCatalog": [{"name": "a", "id": "a"}, {"name": "\\u0000", "id": "b"}]}', "NUL"),
        ("\xff", "utf-8"),
    ],
)
def test_an_import_is_all_or_nothing(shared: Client, content: str, said: str) -> None:
    folder(shared).mkdir(parents=True, exist_ok=True)
    (folder(shared) / "bad.json").write_bytes(content.replace('"F"', f'"{FORMAT}"').encode("latin-1"))
    done = run(shared, "importJob", url="file:bad.json")
    assert done["status"] == "Failed"
    assert said in done["errorLog"]
    assert shared.get(f"{BASE}/serviceCatalog").json() == []


def test_a_file_that_is_not_there_is_told_without_its_folder(shared: Client) -> None:
    done = run(shared, "importJob", url="file:none.json")
    assert done["errorLog"] == "file:none.json: No such file or directory"
