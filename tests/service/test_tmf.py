"""Every resource of the TM Forum APIs, by the same rules (TMF630, part 1): the rules, for each of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgewright.service.tmf import inventory
from edgewright.service.tmf.kinds import Api, Kind

from .conftest import Client, running, settings
from .tmf import BODIES, KINDS, check_error, end, events, idle, made, path

EACH = pytest.mark.parametrize(("api", "kind"), KINDS, ids=[kind.name for _, kind in KINDS])
PATCHED = pytest.mark.parametrize(
    ("api", "kind"), [each for each in KINDS if each[1].update], ids=[kind.name for _, kind in KINDS if kind.update]
)
JSON = {"Content-Type": "application/json"}
MERGE = {"Content-Type": "application/merge-patch+json"}
NOBODY = {"Authorization": "Bearer wrong"}
MOVES = inventory.SERVICE.machine.moves if inventory.SERVICE.machine else {}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with idle(tmp_path_factory.mktemp("shared")) as client:
        yield client


@EACH
def test_created_read_deleted(shared: Client, api: Api, kind: Kind) -> None:
    answer = shared.post(path(api, kind), json=BODIES[kind.name])
    body = answer.json()
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == body["href"] == f"{path(api, kind)}/{body['id']}"
    assert BODIES[kind.name].keys() <= body.keys()
    assert shared.get(body["href"]).json() == body
    end(shared, api, kind, body)
    gone = shared.delete(body["href"])
    if kind.removable:
        assert (gone.status_code, gone.content) == (204, b"")
        check_error(shared.get(body["href"]), 404, body["id"])
    else:
        check_error(gone, 405)


@EACH
def test_pages_of_a_list(shared: Client, api: Api, kind: Kind) -> None:
    shown = [made(shared, api, kind)["id"] for _ in range(3)]
    total = int(shared.get(f"{path(api, kind)}?limit=0").headers["X-Total-Count"])
    assert total >= 3
    answer = shared.get(f"{path(api, kind)}?offset={total - 3}&limit=2&fields=id")
    assert answer.status_code == 200
    assert [each["id"] for each in answer.json()] == shown[:2]
    assert (answer.headers["X-Total-Count"], answer.headers["X-Result-Count"]) == (str(total), "2")
    links = {name: target for target, name in re.findall(r'<([^>]+)>; rel="(\w+)"', answer.headers["Link"])}
    assert {"first", "last", "next"} <= links.keys() <= {"first", "last", "next", "prev"}
    following = shared.get(links["next"])
    assert [each["id"] for each in following.json()] == shown[2:]
    assert 'rel="next"' not in following.headers["Link"]
    assert 'rel="prev"' in following.headers["Link"]
    assert shared.get(links["first"]).json()[0].keys() <= {"id", "href", "@type"}
    assert shared.get(f"{path(api, kind)}?offset=1000000").json() == []


@EACH
@pytest.mark.parametrize("query", ["limit=-1", "limit=x", "limit=1.5", "offset=-1", "limit=1&limit=2", "wind=3"])
def test_bad_parameters_of_a_list(shared: Client, api: Api, kind: Kind, query: str) -> None:
    check_error(shared.get(f"{path(api, kind)}?{query}"), 400, query.partition("=")[0])


@EACH
def test_fields(shared: Client, api: Api, kind: Kind) -> None:
    body = made(shared, api, kind)
    wanted = next(iter(BODIES[kind.name]))
    one = shared.get(f"{body['href']}?fields={wanted}").json()
    assert {"id", "href", wanted} <= one.keys() <= {"id", "href", "@type", wanted}
    assert shared.get(f"{path(api, kind)}?id={body['id']}&fields={wanted}").json() == [one]
    check_error(shared.get(f"{body['href']}?fields=wind"), 400, "fields")
    check_error(shared.get(f"{body['href']}?limit=1"), 400, "limit")


@EACH
def test_filters_and_order(shared: Client, api: Api, kind: Kind) -> None:
    ids = [made(shared, api, kind)["id"] for _ in range(3)]
    those = ",".join(ids)
    found = shared.get(f"{path(api, kind)}?id={those}&sort=-id").json()
    assert [each["id"] for each in found] == sorted(ids, reverse=True)
    assert [each["id"] for each in shared.get(f"{path(api, kind)}?id.regex=^{ids[0]}$").json()] == [ids[0]]
    assert len(shared.get(f"{path(api, kind)}?id={those}&id.ne={ids[0]}").json()) == 2
    assert len(shared.get(f"{path(api, kind)}?id={those}&id.gt={min(ids)}").json()) == 2


@EACH
@pytest.mark.parametrize("text", ["' OR '1'='1", "x'; DROP TABLE resources; --", "%", "_", '" OR ""="', "\\", "a%00b"])
def test_a_filter_is_a_value_and_no_command(shared: Client, api: Api, kind: Kind, text: str) -> None:
    body = made(shared, api, kind)
    for name in ("id", "id.gt", "id.regex"):
        answer = shared.get(f"{path(api, kind)}?{name}=" + (text if "%00" in text else httpx.QueryParams(q=text)["q"]))
        assert answer.status_code in (200, 400)
        assert name != "id" or answer.status_code == 400 or answer.json() == []
    check_error(shared.get(path(api, kind), params={f"id) OR ({text}": "1"}), 400)
    assert shared.get(body["href"]).status_code == 200


@EACH
@pytest.mark.parametrize("more", [{"wind": 3}, {"id": "mine"}, {"href": "/mine"}])
def test_attributes_that_nobody_may_give(shared: Client, api: Api, kind: Kind, more: dict[str, Any]) -> None:
    before = shared.get(f"{path(api, kind)}?limit=0").headers["X-Total-Count"]
    check_error(shared.post(path(api, kind), json=BODIES[kind.name] | more), 400, *more)
    assert shared.get(f"{path(api, kind)}?limit=0").headers["X-Total-Count"] == before


@EACH
def test_required_attributes(shared: Client, api: Api, kind: Kind) -> None:
    for name in (each for each, field in kind.create.model_fields.items() if field.is_required()):
        without = {key: value for key, value in BODIES[kind.name].items() if key != name}
        check_error(shared.post(path(api, kind), json=without), 400, name)
        for wrong in (None, 7, {"wind": 1}):
            check_error(shared.post(path(api, kind), json=without | {name: wrong}), 400, name)


@EACH
@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", JSON, 400),
        (b"", JSON, 400),
        (b"[]", JSON, 400),
        (b"\xff", JSON, 400),
        (b'{"name": "a", "name": "b"}', JSON, 400),
        (b'{"name": NaN}', JSON, 400),
        (b'{"@type": "a\\u0000"}', JSON, 400),
        (b'{"@type": "\\ud800"}', JSON, 400),
        (b"[" * 100_000, JSON, 400),
        (b'{"name": ' + b"[" * 100 + b"]" * 100 + b"}", JSON, 400),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {"Content-Type": "application/json-patch+json"}, 415),
        (b"{}", MERGE, 415),
        (b" " * 1_000_001, JSON, 413),
    ],
)
def test_broken_bodies(shared: Client, api: Api, kind: Kind, content: bytes, headers: Any, status: int) -> None:
    check_error(shared.post(path(api, kind), content=content, headers=headers), status)


@EACH
def test_who_may_change(shared: Client, api: Api, kind: Kind) -> None:
    body = made(shared, api, kind)
    check_error(shared.post(path(api, kind), json=BODIES[kind.name], headers=NOBODY), 401)
    if kind.removable:
        check_error(shared.delete(body["href"], headers=NOBODY), 401)
    if kind.update:
        check_error(shared.patch(body["href"], json={}, headers=NOBODY), 401)
    assert shared.get(body["href"], headers=NOBODY).json() == body


@EACH
def test_methods_that_are_not_there(shared: Client, api: Api, kind: Kind) -> None:
    body = made(shared, api, kind)
    there = {"GET"} | ({"PATCH"} if kind.update else set()) | ({"DELETE"} if kind.removable else set())
    for at, methods in ((path(api, kind), {"GET", "POST"}), (body["href"], there)):
        for method in {"PUT", "PATCH", "DELETE", "POST", "OPTIONS", "TRACE"} - methods:
            answer = shared.request(method, at)
            check_error(answer, 405)
            assert answer.headers["Allow"] == ", ".join(sorted(methods))


@PATCHED
@pytest.mark.parametrize("headers", [JSON, MERGE | {"Content-Type": "application/merge-patch+json; charset=utf-8"}])
def test_patched(shared: Client, api: Api, kind: Kind, headers: dict[str, str]) -> None:
    body = made(shared, api, kind, description="old")
    answer = shared.patch(body["href"], content=b'{"description": "new"}', headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json() == shared.get(body["href"]).json()
    assert answer.json()["description"] == "new"
    assert answer.json() | {"description": "old", "lastUpdate": ""} == body | {"lastUpdate": ""} | (
        {} if kind.touched else {"lastUpdate": ""}
    )
    taken = shared.patch(body["href"], content=b'{"description": null}', headers=headers).json()
    assert "description" not in taken
    assert [type_ for type_, _ in events(shared, body["id"])] == [
        kind.event("Create"),
        *[kind.event(kind.teller("description"))] * 2,
    ]


@PATCHED
def test_a_patch_that_is_refused_changes_nothing(shared: Client, api: Api, kind: Kind) -> None:
    body = made(shared, api, kind)
    assert shared.patch(body["href"], json={}).json() == body
    required = next(name for name, field in kind.create.model_fields.items() if field.is_required())
    for patch in (
        {"id": "other"},
        {"id": body["id"]},
        {"href": "/other"},
        {"wind": 1},
        {"description": "new", "wind": None},
        {"description": 7},
        {"relatedParty": [{"name": "no id"}]},
        {required: None},
        {"description": "new", "@schemaLocation": "no uri"},
    ):
        check_error(shared.patch(body["href"], json=patch), 400, list(patch)[-1])
    for content, status in ((b"[]", 400), (b'{"name": 1, "name": 2}', 400), (b"{", 400)):
        check_error(shared.patch(body["href"], content=content, headers=JSON), status)
    answer = shared.patch(body["href"], content=b"[]", headers={"Content-Type": "application/json-patch+json"})
    check_error(answer, 415)
    assert "application/merge-patch+json" in answer.headers["Accept-Patch"]
    assert shared.get(body["href"]).json() == body
    assert [type_ for type_, _ in events(shared, body["id"])] == [kind.event("Create")]


@pytest.mark.parametrize(("old", "new"), [(old, new) for old in MOVES for new in MOVES])
def test_moves_between_states(shared: Client, old: str, new: str) -> None:
    body = made(shared, inventory.API, inventory.SERVICE, state=old)
    answer = shared.patch(body["href"], json={"state": new, "description": "moved"})
    if new == old or new in MOVES[old]:
        assert (answer.status_code, answer.json()["state"]) == (200, new)
        told = ["ServiceAttributeValueChangeEvent"] + ["ServiceStateChangeEvent"] * (new != old)
        assert [type_ for type_, _ in events(shared, body["id"])] == ["ServiceCreateEvent", *told]
    else:
        check_error(answer, 409, "state", old, new)
        assert shared.get(body["href"]).json() == body


def test_states_that_there_are_not(shared: Client) -> None:
    body = made(shared, inventory.API, inventory.SERVICE)
    for wrong in ("flying", "", None, 3):
        check_error(shared.patch(body["href"], json={"state": wrong}), 400, "state")


@EACH
def test_unknown_ids(shared: Client, api: Api, kind: Kind) -> None:
    for unknown in ("none", "a%2Fb", "%00", "..%2F..", "é", "x" * 500):
        at = f"{path(api, kind)}/{unknown}"
        check_error(shared.get(at), 404)
        if kind.removable:
            check_error(shared.delete(at), 404)
        if kind.update:
            check_error(shared.patch(at, json={}), 404)


@EACH
def test_events_of_its_life(shared: Client, api: Api, kind: Kind) -> None:
    body = made(shared, api, kind)
    end(shared, api, kind, body)
    if kind.removable:
        assert shared.delete(body["href"]).status_code == 204
    told = events(shared, body["id"])
    lasting = [kind.event(which) for which in ("Create", "Delete") if which in kind.events]
    assert [type_ for type_, _ in told if "StateChange" not in type_] == lasting
    assert all(payload.keys() == {kind.name} and payload[kind.name]["id"] == body["id"] for _, payload in told)


@EACH
def test_under_other_names(shared: Client, api: Api, kind: Kind) -> None:
    for base, kinds in api.aliases.items():
        answer = shared.post(f"{base}/{kind.name}", json=BODIES[kind.name])
        if kinds and kind.name not in kinds:
            check_error(answer, 404)
            continue
        href = answer.json()["href"]
        assert (answer.status_code, answer.headers["Location"]) == (201, href)
        assert href.startswith(f"{path(api, kind)}/")
        under = f"{base}/{kind.name}/{answer.json()['id']}"
        assert shared.get(under).json() == answer.json()
        listed = shared.get(f"{base}/{kind.name}?limit=1")
        assert f"<{path(api, kind)}?" in listed.headers["Link"]
        end(shared, api, kind, answer.json())
        assert shared.delete(under).status_code == (204 if kind.removable else 405)


def test_there_is_nothing_beside(shared: Client) -> None:
    for missing in ("/tmf-api/", "/tmf-api/none/v4/service", "/tmf-api/serviceInventory/v4/none"):
        check_error(shared.get(missing), 404)
        check_error(shared.get(missing, headers={"Host": "evil.example"}), 400)


def test_a_process_without_the_loops_reads_and_hands_on_what_changes(tmp_path: Path) -> None:
    with running(settings(tmp_path, role="api")) as client:
        assert client.get("/tmf-api/serviceInventory/v4/service").json() == []
        assert client.get("/tmf-api/service-inventory-management/v4/service").status_code == 200
        check_error(client.get("/tmf-api/serviceInventory/v4/service/none"), 404)
        check_error(client.post("/tmf-api/serviceInventory/v4/service", json=BODIES["service"]), 503, "no worker")
