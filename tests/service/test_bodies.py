"""Every field of every body of every API, wrong in every way: a documented answer that names it, and nothing stays.

`EDGEWRIGHT_CONFORMANCE` set to anything tries everything (minutes); else a part of it, another one for each operation.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from edgewright.service.settings import Settings
from edgewright.service.store.tables import BackhaulRow, ChunkRow, HubRow, LoopRow, MigrationRow, ResourceRow

from . import tmf
from .bodies import LOOPS, OWN, UNNAMED, Mutation, examples, filled, mutations, records
from .conftest import Client, running
from .ordering import left_on_host

Json = dict[str, Any]
SOME = None if os.environ.get("EDGEWRIGHT_CONFORMANCE") else 40
HUB = {"callback": "http://127.0.0.1:1/x", "query": "eventType=NoEvent"}
REFUSED = {  # what their bodies are about is not here
    f"POST {OWN}/migrations/{{name}}/migrate",
    f"POST {OWN}/loops/{{loop}}/rollback",
}
REAL = tuple(f"{method} /api/v1.0/{kind}_chunk" for method in ("POST", "PUT") for kind in ("compute", "network"))
SAME_AGAIN = (f"{OWN}/loops/{{loop}}/rollback", f"{OWN}/migrations/{{name}}/migrate")
OWN_PACE = {"limits", "ports", "choice", "node", "seq", "created", "updated", "load"}
ERROR, TMF_ERROR = {"message", "field", "given", "allowed"}, {"code", "reason", "message", "status"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with tmf.idle(tmp_path_factory.mktemp("bodies")) as client:
        client.timeout = 120
        yield client


@pytest.fixture(scope="module")
def described(server: Client) -> Json:
    found: Json = server.get("/api/openapi.json", timeout=120).json()
    return found


@pytest.fixture(scope="module")
def ids(server: Client) -> Json:
    return records(server)


def operations(described: Json) -> dict[str, Json]:
    """With a body of JSON."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
        if any("json" in kind for kind in operation.get("requestBody", {}).get("content", ()))
    }


def test_every_operation_with_a_body_has_an_example(described: Json, ids: Json) -> None:
    own = {name for name in operations(described) if "/tmf-api/" not in name}
    assert own == set(examples(ids))


@pytest.mark.parametrize("prefix", ["/api/v1.0/", f"{OWN}/", "/tmf-api/"])
def test_every_field_of_every_body(server: Client, described: Json, ids: Json, prefix: str) -> None:
    own = examples(ids)
    wrong = []
    for name, operation in operations(described).items():
        path = name.partition(" ")[2]
        if path.startswith(prefix):
            body = own.get(name) or tmf_body(described, name, operation)
            wrong += [f"{name} {problem}" for problem in ask(server, described, name, body, ids)]
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong[:40])


def test_a_nul_in_an_address_is_of_nothing(server: Client, described: Json) -> None:
    for path, methods in described["paths"].items():
        for method in methods if "{" in path else ():
            answer = server.request(method, re.sub(r"\{\w+\}", "a%00", path))
            assert answer.status_code == 404, (method, path, answer.text)


@pytest.mark.real
def test_what_is_refused_leaves_nothing_on_the_host(real: Settings) -> None:
    with running(real.model_copy(update={"scenario": None})) as client:
        client.timeout = 120
        described, ids = client.get("/api/openapi.json").json(), records(client)
        before, own = left_on_host(client), examples(ids)
        assert before  # the chunks that are there
        wrong = []
        for name in filter(lambda name: name.startswith(REAL), own):
            wrong += [f"{name} {problem}" for problem in ask(client, described, name, own[name], ids)]
        assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong[:40])
        assert left_on_host(client) == before


def ask(client: Client, described: Json, name: str, body: Any, ids: Json) -> Iterator[str]:
    """Problems with an operation."""
    method, _, path = name.partition(" ")
    operation = operations(described)[name]
    first, *others = operation["requestBody"]["content"]
    kinds = itertools.cycle([first] * 9 + others)  # a long text takes YAML long
    with there(client, path, ids) as address:
        undone = undoing(client, described, method, address, path, body)
        fine = send(client, method, address, json.dumps(body), first)
        if fine.status_code == 400 and name not in REFUSED:
            yield f"the example is refused: {fine.text[:300]}"
        made = undone(fine) if fine.is_success else set()
        before = state(client)
        for mutation in chosen(name, body):
            answer = send(client, method, address, mutation.text, next(kinds))
            if problem := judge(operation, mutation, answer, tmf="/tmf-api/" in path):
                yield f"{mutation.path} {mutation.what}: {answer.status_code} {problem}: {answer.text[:300]}"
            if answer.is_success:
                made |= undone(answer)
        after = state(client)
        for key in before.keys() | {key for key in after if key[-1] not in made}:
            if before.get(key) != after.get(key):
                yield f"left {key}: {str(before.get(key))[:400]} -> {str(after.get(key))[:400]}"


def chosen(name: str, body: Any) -> list[Mutation]:
    every = list(mutations(body))
    return every if SOME is None or len(every) <= SOME else random.Random(name).sample(every, SOME)


def send(client: Client, method: str, address: str, text: str, kind: str) -> httpx.Response:
    return client.request(method, address, content=text.encode(), headers={"Content-Type": kind})


def judge(operation: Json, mutation: Mutation, answer: httpx.Response, *, tmf: bool) -> str | None:
    """What is wrong with an answer."""
    status = str(answer.status_code)
    if status == "500" or not {status, "default"} & operation["responses"].keys():
        return "is not described"
    if answer.is_success:
        return None
    told = answer.json()
    if told.keys() != (TMF_ERROR if tmf else ERROR) or not told["message"]:
        return "has another form"
    names = {part for part in mutation.path if isinstance(part, str)} | {"beside"} & {mutation.what}
    said = f"{told['message']} {told.get('field')}"
    if status == "400" and names and mutation.what not in UNNAMED and not any(part in said for part in names):
        return "does not name it"
    return None


@contextmanager
def there(client: Client, path: str, ids: Json) -> Iterator[str]:
    """The address of an operation, where what it is about is there."""
    for start, scenario in LOOPS.items():
        if path.startswith(start):
            content = scenario()
            assert client.post(start.rstrip("/"), json=content).status_code == 201
            yield path.format(name=content["name"])
            assert client.delete(f"{start}{content['name']}").status_code == 204
            return
    if path.endswith("/{id}"):
        collection = path.removesuffix("/{id}")
        answer = client.post(collection, json=tmf.BODIES[collection.rpartition("/")[2]])
        assert answer.status_code == 201, answer.text
        yield path.format(id=answer.json()["id"])
        client.delete(f"{collection}/{answer.json()['id']}")
        return
    yield path.format(**ids)


def undoing(
    client: Client, described: Json, method: str, address: str, path: str, body: Any
) -> Callable[[httpx.Response], set[str]]:
    """-> what takes back what was done: a deletion where there is one; -> ids of what was made."""
    one = next((each for each in described["paths"] if re.fullmatch(re.escape(path) + r"/\{\w+\}", each)), None)
    one = f"{OWN}/packages/{{package}}" if path.endswith("/compose") else one

    def undo(answer: httpx.Response) -> set[str]:
        if method != "POST" or path in SAME_AGAIN:
            again = send(client, method, address, json.dumps(body), kind_of(described, method, path))
            assert again.is_success or again.status_code == 409, again.text  # what is taken out is out
            return set()
        given = answer.json()
        ids = {str(each.get("id") or each["name"]) for each in (given if isinstance(given, list) else [given])}
        base = address.removesuffix("/compose")
        for id_ in ids if one and "delete" in described["paths"][one] else ():
            gone = client.delete(f"{base}/{id_}")
            assert gone.status_code in (204, 409), gone.text  # an order that is under way stays
        return ids

    return undo


def kind_of(described: Json, method: str, path: str) -> str:
    return str(next(iter(described["paths"][path][method.lower()]["requestBody"]["content"])))


def state(client: Client) -> dict[tuple[str, ...], str]:
    """All that is kept, but for what loops write by themselves; and what the host has left."""
    runtime = client.made.runtime
    assert runtime is not None
    found = {("left", name): str(round(runtime.ledger.left(name), 6)) for name in runtime.ledger.capacity}
    with runtime.store.read() as session:
        for table in (LoopRow, BackhaulRow, MigrationRow, ChunkRow, HubRow, ResourceRow):
            for row in session.scalars(select(table)):
                kept = {c.name: getattr(row, c.name) for c in table.__table__.columns if c.name not in OWN_PACE}
                if table is ResourceRow:
                    kept["body"] = {name: each for name, each in row.body.items() if name != "lastUpdate"}
                key = str(kept.pop("id", kept.get("name")))
                found[table.__tablename__, str(kept.get("kind", "")), key] = json.dumps(kept, sort_keys=True)
    return found


def tmf_body(described: Json, name: str, operation: Json) -> Any:
    """All that the schema has; what must fit to what is here, from the examples of the other tests."""
    path = name.partition(" ")[2].removesuffix("/{id}")
    collection = path.rpartition("/")[2]
    if collection == "hub":
        return HUB
    (content,) = operation["requestBody"]["content"].values()
    whole = filled(content["schema"], described["components"]["schemas"])
    if name.startswith("PATCH"):
        fixed = ("state", "serviceOrderItem")  # of an order that is under way
        return {key: value for key, value in whole.items() if key not in fixed}
    return whole | tmf.BODIES[collection]
