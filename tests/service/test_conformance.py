"""Against the TM Forum's specifications: generated calls, good and bad, to a running orchestrator.

`EDGEWRIGHT_CONFORMANCE=200` asks each operation that often, and walks through the limits of every attribute (minutes).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgewright.service.tmf.kinds import Api

from .conftest import Client, running, settings
from .tmf import APIS

Json = dict[str, Any]
DATA = Path(os.environ.get("EDGEWRIGHT_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "tmf"
NUMBERS = {"serviceCatalogManagement": 633, "serviceOrdering": 641, "serviceInventory": 638}
MORE = os.environ.get("EDGEWRIGHT_CONFORMANCE")
CALLBACK = r"^http://127\.0\.0\.1:1/[a-z]{1,20}$"
# PostgreSQL keeps no NUL in a text. In a merge patch null removes at any depth, and an object may be a part of one
# (RFC 7396), so that what violates the schema of an update can be a good patch: see test_tmf.py for bad ones.
CONFIGURATION = """
[generation]
allow-x00 = false
[[operations]]
include-method = "PATCH"
checks.negative_data_rejection.enabled = false
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    pytest.importorskip("schemathesis", reason="needs schemathesis (the [dev] extra)")
    with running(settings(tmp_path_factory.mktemp("conformance"))) as client:
        yield client


@pytest.mark.parametrize("api", APIS, ids=[api.name for api in APIS])
def test_as_specified(server: Client, api: Api, tmp_path: Path) -> None:
    file = DATA / f"TMF{NUMBERS[api.name]}.swagger.json"
    if not file.exists():
        pytest.skip(f"no specification: {file}")
    given = json.loads(file.read_text())
    assert given["basePath"].rstrip("/") == api.base
    (tmp_path / "specification.json").write_text(json.dumps(completed(given)))
    ask(server, tmp_path, "fuzzing,stateful", "3", "specification.json", "--url", f"{server.made.address}{api.base}")


def test_as_described(server: Client, tmp_path: Path) -> None:
    """By ourselves, in /api/openapi.json. What addresses a hub can be given, a schema cannot say."""
    paths = ("--include-path-regex", "^/tmf-api/", "--exclude-path-regex", "/hub")
    options = ("--wait-for-schema", "60", "--mode", "positive")
    ask(server, tmp_path, "fuzzing", "2", f"{server.made.address}/api/openapi.json", *paths, *options)


def ask(server: Client, folder: Path, phases: str, most: str, specification: str, *options: str) -> None:
    if MORE:
        phases, most = "examples,coverage,fuzzing,stateful", MORE
    (folder / "schemathesis.toml").write_text(CONFIGURATION)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run", specification]
    command += ["--phases", phases, "--max-examples", most, "--seed", "1", "--no-shrink"]
    command += ["--header", f"Authorization: Bearer {server.made.first_key}", "--suppress-health-check", "all"]
    environment = {**os.environ, "NO_PROXY": "127.0.0.1", "NO_COLOR": "1", "COLUMNS": "200"}
    done = subprocess.run([*command, *options], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)[-5000:] + done.stderr[-2000:]


def completed(specification: Json) -> Json:
    """The specification with what its own text, or a rule that it stands on, adds to its schemas."""
    definitions, paths = specification["definitions"], specification["paths"]
    # Listeners are the other side: a subscriber has them.
    specification["paths"] = paths = {path: each for path, each in paths.items() if not path.startswith("/listener/")}
    specification["basePath"] = specification["basePath"].rstrip("/")  # `/v4//serviceCatalog` otherwise
    for name, schema in definitions.items():
        if "properties" not in schema or name == "Error":
            continue
        # TMF630, part 1, PATCH and POST: attributes that a resource does not have are refused.
        schema["additionalProperties"] = False
        # Required and not described: a slip of TMF641 (ServiceOrderItemRef has an `itemId`).
        for missing in set(schema.get("required", ())) - schema["properties"].keys():
            schema["properties"][missing] = {}
            schema["required"].remove(missing)
        # TMF630, part 2: every resource, and part of one, can be extended.
        if not name.startswith("EventSubscription") and not name.endswith("_Update"):
            extending = {"@baseType": {}, "@schemaLocation": {"format": "uri-reference"}, "@type": {}}
            for attribute, each in extending.items():
                schema["properties"].setdefault(attribute, {"type": "string", **each})
        # RFC 7396: null removes, but nothing that a resource must have.
        if name.endswith("_Update"):
            kept = {"state", *definitions[name.replace("_Update", "_Create")].get("required", ())}
            for attribute, each in schema["properties"].items():
                each["x-nullable"] = attribute not in kept
    # An `href` is a link, which may be relative (RFC 8288, clause 3.1; RFC 3986, clause 4.1).
    _each(definitions, lambda part: part.get("format") == "uri" and part.update(format="uri-reference"))
    # "The callback being registered": what can be called, here an address where nobody listens.
    definitions["EventSubscriptionInput"]["properties"]["callback"]["pattern"] = CALLBACK
    definitions["EventSubscriptionInput"]["properties"]["query"]["enum"] = ["", "eventType=NoEvent"]
    for path, operations in paths.items():
        for parameter in operations.get("get", {}).get("parameters", ()):
            # "Comma-separated properties", "Requested index", "Requested number of resources".
            if parameter["name"] == "fields":
                parameter["pattern"] = f"^({'|'.join(_attributes(specification, path))})(,id)?$"
            elif parameter["name"] in ("offset", "limit"):
                parameter |= {"minimum": 0, "maximum": 1000 if parameter["name"] == "limit" else 10**9}
    return specification


def _attributes(specification: Json, path: str) -> list[str]:
    answer = specification["paths"][path]["get"]["responses"]["200"]["schema"]
    name = answer.get("items", answer)["$ref"].rpartition("/")[2]
    return list(specification["definitions"][name]["properties"])


def _each(part: Any, change: Any) -> None:
    if isinstance(part, dict):
        change(part)
        part = list(part.values())
    for each in part if isinstance(part, list) else ():
        _each(each, change)
