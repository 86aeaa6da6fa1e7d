"""Backhaul loops come, go, and come back; the last tests in namespaces of this host."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from edgewright.drivers.linux.namespaces import FOLDER
from edgewright.service.loops.backhaul import SHORT_SHARE
from edgewright.service.settings import Settings

from .backhauls import ROOT, Json, carries, events, get, order, paths, routed, scenario, with_backhaul
from .conftest import running, settings, until
from .test_crash import Up, up

# Coming and going


def test_create_and_delete(tmp_path: Path) -> None:
    with running(settings(tmp_path)) as client:
        assert client.get(ROOT).json() == []
        made = client.post(ROOT, json=scenario())
        assert (made.status_code, made.headers["location"]) == (201, f"{ROOT}/backhaul")
        until(lambda: get(client)["last_decision"])
        until(lambda: get(client, "/decisions"))
        assert client.delete(f"{ROOT}/backhaul").status_code == 204
        assert client.get(f"{ROOT}/backhaul").status_code == 404
        assert get(client, "/decisions")  # stay until they are old
        assert client.post(ROOT, json=scenario()).status_code == 201
        until(lambda: get(client)["last_decision"])
        assert get(client)["last_decision"]["seq"] == 2


def test_a_restart_restores_orders_and_paths(tmp_path: Path) -> None:
    given = with_backhaul(tmp_path)
    with routed(given) as client:
        key = client.made.first_key
        order(client, "PUT", "/demand", {"matrix": 1, "factor": 0.9})
        order(client, "PATCH", "", {"planner": "search"})
        until(lambda: carries(client) and get(client)["last_decision"]["policy"] == "search")
        order(client, "PATCH", "", {"mode": "shadow"})
        until(lambda: "shadow" in get(client)["last_decision"]["why"])
        before, seq = paths(client), get(client)["last_decision"]["seq"]
        until(lambda: [plan["seq"] for plan in get(client, "/decisions")][:1] == [seq])
    with routed(given, key=key) as client:
        seen = get(client)
        assert (seen["mode"], seen["planner"], seen["demand"]["matrix"], seen["demand"]["factor"]) == (
            "shadow",
            "search",
            1,
            0.9,
        )
        assert paths(client) == before
        assert seen["last_decision"]["seq"] == seq + 1


def test_an_edited_file_is_taken_over(tmp_path: Path) -> None:
    given = with_backhaul(tmp_path)
    with routed(given) as client:
        key = client.made.first_key
        order(client, "PATCH", "", {"mode": "shadow"})
    with_backhaul(tmp_path, scenario(planner="search", hold_s=77.0))
    with routed(given, key=key) as client:
        seen = get(client)
        assert (seen["planner"], seen["demand"]["hold_s"], seen["mode"]) == ("search", 77.0, "shadow")
        until(lambda: events(client, "scenario"))


def test_another_process_hands_orders_to_the_worker(tmp_path: Path) -> None:
    given = with_backhaul(tmp_path)
    with routed(given) as worker, running(settings(tmp_path, role="api"), key=worker.made.first_key) as client:
        assert client.made.runtime is not None
        assert not client.made.runtime.active
        order(client, "POST", "/links/0/break")
        until(lambda: not get(worker)["links"][0]["up"])
        until(lambda: get(client, "/decisions")[:1] == [get(worker)["last_decision"]])
        assert get(client)["name"] == "backhaul"


# Real networks


@pytest.fixture
def real(tmp_path: Path, require: Callable[..., None]) -> Settings:
    require("network-emulation")
    return with_backhaul(tmp_path, scenario(driver="emulated", interval_s=0.1))


@pytest.mark.real
def test_tcp_flows_carry_again_after_a_cut(real: Settings) -> None:
    with routed(real) as client:
        assert get(client)["driver"]["kind"] == "emulated"
        until(lambda: carries(client, SHORT_SHARE))
        order(client, "POST", "/links/0/break")
        until(lambda: paths(client) == [1, 0, 1, 0])
        until(lambda: carries(client, SHORT_SHARE), timeout_s=10.0)
        order(client, "POST", "/links/0/repair")
        until(lambda: get(client)["efficiency"] > 0.8)  # 0.75 is what the cut left
        names = [entry.name for entry in FOLDER.glob(f"edgewright-{os.getpid()}-*")]
        assert len(names) == 7
    assert not list(FOLDER.glob(f"edgewright-{os.getpid()}-*"))


@pytest.mark.real
def test_a_kill_leaves_nothing_that_the_next_start_does_not_clean(real: Settings) -> None:
    environment = {"EDGEWRIGHT_DRIVER": "simulated", "EDGEWRIGHT_BACKHAUL": str(real.backhaul)}

    def seen(process: Up) -> Json:
        answer = process.get(f"{ROOT}/backhaul")
        return dict(answer.json()) if answer.is_success else {"last_decision": None}

    def own(process: Up) -> list[Path]:
        return list(FOLDER.glob(f"edgewright-{process.process.pid}-*"))

    with up(real, **environment) as first:
        key = first.key
        until(lambda: seen(first)["last_decision"])
        first.post(f"{ROOT}/backhaul/links/0/break").raise_for_status()
        until(lambda: len(seen(first)["last_decision"]["moves"]) == 2)
        until(lambda: len(first.get(f"{ROOT}/backhaul/decisions").json()) == 2)
        left = own(first)
        assert left
        first.end(signal.SIGKILL)
    with up(real, key, **environment) as second:
        until(lambda: seen(second)["last_decision"])
        assert not any(entry.exists() for entry in left)
        plan = seen(second)["last_decision"]
        assert (plan["seq"], plan["why"], plan["observation"]["broken"]) == (3, "the loop started", [])
        began = dict(enumerate(plan["choice"]))
        began |= {move["flow"]: move["before"]["index"] for move in plan["moves"]}
        assert list(began.values()) == [1, 0, 1, 0]  # as before the kill
        assert own(second)
        assert second.end(signal.SIGTERM) == 0
    assert not own(second)
