"""A whole body for every operation that takes one, and everything that can be wrong with each of its fields."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from . import backhauls, test_migration
from .conftest import Client, scenario
from .ordering import package

Json = dict[str, Any]
OWN, MANAGER = "/api/edgewright/v1", "/api/v1.0"
TOKENS = {  # what stands in the text of the JSON instead of a value
    "@nan": "NaN",
    "@infinity": "-Infinity",
    "@overflow": "1e400",
    "@digits": "9" * 5000,
    "@deep": "[" * 3000 + "]" * 3000,
    "@levels": '{"a":' * 60 + "1" + "}" * 60,
    "@surrogate": '"a\\ud800"',
    "@nul": '"a\\u0000"',
}
VALUES: dict[str, Any] = {
    "null": None,
    "text": "x",
    "empty": "",
    "long": "x" * 100_000,
    "true": True,
    "zero": 0,
    "negative": -1,
    "huge": 1e308,
    "half": 0.5,
    "list": [],
    "object": {},
    **{name[1:]: name for name in TOKENS},
}
UNNAMED = {"nan", "infinity", "digits", "deep", "levels"}  # refused by a parser, which does not say where


class Mutation(NamedTuple):
    path: tuple[str | int, ...]
    what: str
    text: str


def mutations(body: Any) -> Iterator[Mutation]:
    """One thing is wrong in each, at one field."""
    for what, value in VALUES.items():
        yield Mutation((), what, _text(value))
    yield Mutation((), "cut", json.dumps(body)[:-1])
    for path, value in _fields(body):
        parent, last = path[:-1], path[-1]
        for what, new in VALUES.items():
            if type(new) is not type(value) or new != value:
                yield Mutation(path, what, _text(_put(body, path, new)))
        gone = _at(copied := copy.deepcopy(body), parent)
        del gone[last]
        yield Mutation(path, "removed", _text(copied))
        if isinstance(last, str):
            yield Mutation(path, "beside", _text(_put(body, (*parent, "beside"), 1)))
            twice = _text(_put(body, (*parent, "@twice"), value)).replace('"@twice"', json.dumps(last))
            yield Mutation(path, "twice", twice)


def _fields(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inside:
        yield (*path, key), each
        yield from _fields(each, (*path, key))


def _at(body: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        body = body[key]
    return body


def _put(body: Any, path: tuple[str | int, ...], value: Any) -> Any:
    copied = copy.deepcopy(body)
    _at(copied, path[:-1])[path[-1]] = value
    return copied


def _text(body: Any) -> str:
    text = json.dumps(body)
    for name, token in TOKENS.items():
        text = text.replace(f'"{name}"', token)
    return text


def filled(schema: Json, schemas: Json, levels: int = 4) -> Any:
    """An instance with every property that the schema has, down to so many levels."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if variants := schema.get("anyOf"):
        return filled(next(each for each in variants if each.get("type") != "null"), schemas, levels)
    if "enum" in schema or "const" in schema:
        return schema.get("const") or schema["enum"][0]
    kind = schema.get("type", "string")
    if kind == "object":
        given = schema.get("properties", {})
        required = schema.get("required", ())
        return {n: filled(s, schemas, levels - 1) for n, s in given.items() if levels > 0 or n in required}
    if kind == "array":
        return [filled(schema["items"], schemas, levels - 1)] if levels > 0 or schema.get("minItems") else []
    texts = {"date-time": "2026-01-01T00:00:00Z", "uri": "http://127.0.0.1:1/a", "uri-reference": "/a"}
    return {"boolean": True, "integer": 1, "number": 1.0}.get(kind, texts.get(schema.get("format", ""), "a"))


def records(client: Client) -> Json:
    """What the examples name, by the parameters of paths."""
    ids: Json = {"loop": "demo", "service": "a", "sha256": "0" * 64}

    def make(parameter: str, path: str, body: Json) -> None:
        answer = client.post(f"{MANAGER}/{path}", json={"name": f"for {parameter}"} | body)
        assert answer.status_code == 200, answer.text
        ids[parameter] = answer.json()["id"]

    needs = {"cpus": {"required": 0.1}, "ram": {"required": 10}}
    make("user_id", "user", {"email": "a@b.example"})
    make("compute_chunk_id", "compute_chunk", {"requirements": needs})
    make("physical_network_id", "physical_network", {"data_subnetpool": "10.77.0.0/16", "bandwidth_mbps": 1000})
    make("network_chunk_id", "network_chunk", {"physical_network_id": ids["physical_network_id"], "tag": 77})
    cells = {"cells": [{"id": "c", "arfcn": 630000, "bandwidth_mhz": 20}]}
    make("ran_infrastructure_id", "ran_infrastructure", {"ran_infrastructure_data": cells})
    make("slic3_id", "slic3", {})
    make("telemetry_id", "telemetry", {})
    assert client.post(f"{OWN}/packages", json=package()).status_code == 201
    make("network_service_id", "network_service", {"package": "quick:1.0"})
    ids["instance_id"] = "none"  # there is one where services run for real alone
    return ids


def examples(ids: Json) -> dict[str, Any]:
    """Of our own API, with every field; a field of which no other can be given beside it is left out."""
    owned = {"name": "n", "user_id": ids["user_id"]}
    place = {"latitude": 1.0, "longitude": 1.0}
    cell = {
        "id": "c", "technology": "nr", "arfcn": 630000, "bandwidth_mhz": 20, "scs_khz": 30, "duplex": "tdd",
        "plmn": "00101", "prbs": 10,
    }  # fmt: skip
    chunks = [ids["compute_chunk_id"]]
    needs = {
        "cpus": {"required": 0.1},
        "ram": {"required": 10, "units": "MB"},
        "storage": {"required": 0, "units": "GB"},
    }
    policy = {
        "name": "p",
        "metric": "rate_hz",
        "condition": {"above": 9.0, "clear": 8.0, "for_s": 1.0},
        "action": {"move_cpu": {"cores": 0.1, "from_service": "x", "idle_below": 0.5}},
        "scope": {"service": "*", "specification": "s"},
        "cooldown_s": 1.0,
    }
    composed = {
        "image": "host",
        "command": "python -m http.server",
        "environment": {"A": "b"},
        "deploy": {"replicas": 1, "resources": {"limits": {"cpus": "0.5", "memory": "64m"}}},
        "healthcheck": {"test": ["CMD", "curl", "http://localhost/health"]},
        "labels": {"a": "b"},
    }
    network = {
        "format": "edgewright.backhaul/1", "name": "n", "nodes": 2, "donors": [0],
        "links": [{"u": 0, "v": 1, "capacity_mbps": 10.0, "band": "mmwave"}],
        "flows": [{"source": 1, "paths": [{"band": "mmwave", "nodes": [1, 0]}]}],
        "matrices": [{"id": 0, "demand_mbps": [6.0]}],
    }  # fmt: skip
    return {
        f"POST {OWN}/loops": scenario("fuzzed", ("c",), slice={"cpu": 0.4, "memory_mb": 300.0}),
        f"PATCH {OWN}/loops/{{loop}}": {"mode": "act", "policy": "threshold"},
        f"PUT {OWN}/loops/{{loop}}/services/{{service}}/pin": {"cpu": 0.3},
        f"POST {OWN}/loops/{{loop}}/rollback": {"seq": 1},
        f"PUT {OWN}/loops/{{loop}}/load": {"a": 1.0, "b": 1.0},
        f"POST {OWN}/backhauls": {
            "format": "edgewright.backhaul-loop/1", "name": "fuzzed", "network": network, "driver": "simulated",
            "interval_s": 1.0, "hold_s": None, "planner": "replan", "moves_share": 0.2,
        },
        f"PATCH {OWN}/backhauls/{{name}}": {"mode": "act", "planner": "replan"},
        f"PUT {OWN}/backhauls/{{name}}/demand": {"matrix": None, "factor": 1.0},
        f"POST {OWN}/migrations": test_migration.scenario("fuzzed", memory_mb=20, seed=1),
        f"PATCH {OWN}/migrations/{{name}}": {"mode": "act", "policy": "nearest"},
        f"PUT {OWN}/migrations/{{name}}/drive": {"pace": 20, "again": False},
        f"POST {OWN}/migrations/{{name}}/migrate": {"target": "none"},
        f"POST {OWN}/topologies": {
            "name": "fuzzed", "region": [0.0, 0.0, 0.01, 0.01], "process": "poisson", "cells": 10, "distance_m": 10.0,
            "marks": "random", "ties": "keep", "micro": 0.0, "pico": 0.0, "small": 0.0, "seed": 1,
        },
        f"POST {OWN}/packages": package("fuzzed", artefacts=[{"name": "a", "sha256": "0" * 64, "executable": True}]),
        f"POST {OWN}/packages/compose": {"name": "c", "version": "3", "services": {"composed": composed}},
        f"PUT {OWN}/elasticity": {"format": "edgewright.policies/1", "policies": [policy]},
        f"POST {MANAGER}/user": {"name": "n", "email": "n@b.example"},
        f"POST {MANAGER}/compute": owned | {
            "location": place, "compute_type": "host", "trusted": True, "compute_data": {}
        },
        f"POST {MANAGER}/physical_network": owned | {
            "data_subnetpool": "10.78.0.0/16", "mgmt_subnetpool": "10.79.0.0/16", "bandwidth_mbps": 10.0,
            "underlay": {"local": "127.0.0.1", "remotes": ["127.0.0.2"], "port": 4789}, "location": place,
        },
        f"POST {MANAGER}/ran_infrastructure": owned | {"ran_infrastructure_data": {"cells": [cell]}, "location": place},
        f"POST {MANAGER}/compute_chunk": owned | {"description": "d", "compute_id": None, "requirements": needs},
        f"PUT {MANAGER}/compute_chunk/{{compute_chunk_id}}/cpus": {"cpus": {"required": 0.2}},
        f"PUT {MANAGER}/compute_chunk/{{compute_chunk_id}}/ram": {"ram": {"required": 20, "units": "MB"}},
        f"PUT {MANAGER}/compute_chunk/{{compute_chunk_id}}/storage": {"storage": {"required": 0, "units": "GB"}},
        f"POST {MANAGER}/network_chunk": owned | {
            "description": "d", "physical_network_id": ids["physical_network_id"], "compute_chunk_id": chunks[0],
            "requirements": {"bandwidth": {"required": 10, "units": "Mbps"}}, "role": "data", "tag": 78,
        },
        f"PUT {MANAGER}/network_chunk/{{network_chunk_id}}/bandwidth": {"bandwidth": {"required": 9, "units": "Mbps"}},
        f"POST {MANAGER}/ran_infrastructure/{{ran_infrastructure_id}}/radio_chunk": owned | {
            "chunk_topology": {"cells": [{"cell_id": "c", "prbs": 5, "arfcn": 630000}]}
        },
        f"POST {MANAGER}/slic3": owned | {"chunk_ids": chunks},
        f"PUT {MANAGER}/slic3/{{slic3_id}}/add_chunks": {"chunk_ids": [ids["network_chunk_id"]]},
        f"PUT {MANAGER}/slic3/{{slic3_id}}/del_chunks": {"chunk_ids": [ids["network_chunk_id"]]},
        f"POST {MANAGER}/network_service": owned | {"package": "quick:1.0"},
        f"POST {MANAGER}/network_service_instance": owned | {
            "network_service_id": ids["network_service_id"], "slic3_id": ids["slic3_id"], "replicas": 1, "cpus": 0.1,
            "ram_mb": 32, "elastic": True,
        },
        f"POST {MANAGER}/network_service_instance/{{instance_id}}/scale": {"replicas": 2, "cpus": 0.1, "ram_mb": 32},
        f"POST {MANAGER}/telemetry": owned | {"compute_id": None, "telemetry_data": {"a": 1}},
        f"POST {MANAGER}/telemetry/{{telemetry_id}}/target": {"name": "n", "url": "http://127.0.0.1:1/metrics"},
    }  # fmt: skip


LOOPS = {f"{OWN}/backhauls/": backhauls.scenario, f"{OWN}/migrations/": test_migration.scenario}
"""Begun before operations under these paths are asked, and ended after: they take time of the host."""
